//! The SDK of SigmaOS: what a proc, a tool or a kernel server links.
//!
//! A proc has one door: a unix socket that it inherits as descriptor 3. Everything goes through it: the proc API, and
//! dialling a path, which gives a connection straight to the server of that path.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     sigmaos::main(async |sigma| {
//!         let greeting = sigma.get_file("/greeting").await?;
//!         sigma.started().await?;
//!         println!("{}", String::from_utf8_lossy(&greeting));
//!         sigmaos::Result::Ok(())
//!     })
//! }
//! ```
//!
//! # The thesis' calls
//! Each row of Figures A.1 and A.2 of "Evaluating SigmaOS with Kubernetes for Orchestrating Microservice and Serverless
//! Applications" (2023), and where it is here:
//!
//! | Figure A.1 | here | | Figure A.2 | here |
//! |---|---|---|---|---|
//! | `Spawn` | [`Sigma::spawn`] | | `Create` | [`Sigma::create`], [`Sigma::create_dir`], [`Sigma::symlink`] |
//! | `WaitStart` | [`Sigma::wait_start`] | | `Open` | [`Sigma::open`], [`Sigma::open_with`], [`Sigma::open_rpc`] |
//! | `WaitExit` | [`Sigma::wait_exit`] | | `Close` | [`File::close`]; dropping a handle closes it |
//! | `WaitKill` | [`Sigma::wait_kill`] | | `Remove` | [`Sigma::remove`] |
//! | `Started` | [`Sigma::started`] | | `Rename` | [`Sigma::rename`] |
//! | `Exited` | [`Sigma::exited`] | | `Stat` | [`Sigma::stat`] |
//! | `Kill` | [`Sigma::kill`] | | `Read`, `Write` | [`File::read`], [`File::write`] |
//! | | | | `RPC` | [`rpc::Device::call`], or a typed client by [`Sigma::client`] |
//! | | | | `Lseek` | [`File::lseek`] |
//! | | | | `Mount` | [`Sigma::mount`], [`Sigma::serve_rpc`] |
//! | | | | `ResolveMount` | [`Sigma::resolve_mount`] |
//! | | | | `OpenWatch` | [`Sigma::open_watch`] |
//! | | | | `WatchDir` | [`Sigma::watch_dir`] |
//! | | | | `WatchRemove` | [`Sigma::watch_remove`] |
//!
//! Beyond them: [`Sigma::get_file`] and [`Sigma::put_file`] in one round trip, [`Sigma::read_dir`], [`Sigma::read_link`],
//! [`Sigma::wait_for`], [`Sigma::elect`]. The examples of these pages are tests: each runs on a machine of its own.
//!
//! Principles:
//! - A proc names paths, never machines or addresses.
//! - Dropping a future cancels its call; dropping a handle closes it.
//! - An error says what was attempted on what, why it failed, and whether it may have been done all the same.
//! - A connection that breaks is the SDK's business where sending again does no harm: reads anywhere, and changes of the
//!   realm's named, which knows them by their numbers. What stays an error says whether it may have been done.

mod changes;
pub mod db;
mod directory;
pub mod door;
mod elect;
mod export;
mod file;
mod fs;
pub mod local;
#[cfg(feature = "mongo")]
pub mod mongo;
mod mounts;
mod proc;
mod published;
pub mod rpc;
mod run;
pub mod serve;
mod sigma;
mod watch;
pub mod wire;

/// The stubs of the system's own services, for servers and tools.
#[allow(clippy::all)]
pub mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/sigma.rs"));

    /// What the services of the system itself look like: an encoded `google.protobuf.FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sigma.descriptor"));
}

pub use elect::Leader;
pub use export::{DESCRIPTOR_SUFFIX, Export};
pub use file::File;
pub use fs::Create;
pub use proc::Output;
pub use published::Published;
pub use run::{inside, main};
pub use sigma::Sigma;
pub use sigma_abi::{
    Cause, Class, Code, Error, MachineId, Path, Pid, Principal, ProcSpec, Realm, Restart, Result, Status,
};
pub use sigma_abi::{error::code_name, limits, proto};
pub use watch::DirWatch;

/// Includes what `sigma_rpcgen::compile` made of a package's `.proto` files.
#[macro_export]
macro_rules! include_proto {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}
