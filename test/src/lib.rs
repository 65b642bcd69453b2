//! The fixture of the stories: a machine that boots for each story, clients of its realms, and what the host sees of it.
//!
//! Guarantees:
//! - What runs is the installation that `SIGMA_DIST` names, on real processes. A missing one is an error, never a skip.
//! - A story that waits too long fails, and shows the kernel's log.
//! - After each story nothing is left of its machine: no process, no control group, no mount.

mod compile;
mod example;
pub mod followed;
pub mod history;
pub mod host;
mod introduced;
mod machine;
mod neighbour;
pub mod outside;
mod python;
pub mod raw;
mod story;
mod tenant;

pub use compile::compiled;
pub use example::example;
pub use introduced::introduced;
pub use machine::{Machine, Said};
pub use neighbour::Neighbour;
pub use python::{python, script};
pub use story::{eventually, story, story_with, within};
pub use tenant::Tenant;

/// The service of the test proc `echo`.
#[allow(clippy::all)]
pub mod echo {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    sigmaos::include_proto!("echo");
}
