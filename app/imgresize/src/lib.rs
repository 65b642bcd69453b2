//! Serverless image resizing (thesis, section 3.2): a manager proc spawns a best-effort worker proc for each picture,
//! watches them, and begins one that crashed again.
//!
//! The core is pure: in [`picture`] and [`resize`] bytes go in and bytes come out; [`job`] and [`retry`] decide. The
//! edge is in [`worker`], [`run`] and [`service`], which know paths of the namespace and nothing below it, and in
//! [`plain`], the same work as one process of the machine.

pub mod args;
pub mod command;
pub mod job;
pub mod memory;
pub mod picture;
pub mod plain;
pub mod resize;
pub mod retry;
pub mod run;
pub mod sample;
pub mod service;
pub mod worker;

/// The messages, the trait and the client of the service, as `proto/imgresize.proto` defines them.
#[allow(clippy::all)]
pub mod proto {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    sigmaos::include_proto!("imgresize");
}
