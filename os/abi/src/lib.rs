//! The nouns and the wire of SigmaOS: everything that the kernel, procs and tools share.
//!
//! Principles, held by review and by `cargo xtask tidy`:
//! - No I/O, no async, no clock, no randomness: a value goes in, a value comes out.
//! - Whatever comes from outside is checked here once, on its way into a type; what has the type is right.
//! - Every length has a limit, and every limit is a named constant in [`limits`].

pub mod error;
pub mod frame;
pub mod layer;
pub mod limits;
pub mod path;
pub mod pid;
pub mod realm;
pub mod spec;
pub mod status;
mod timing;

/// The protobuf messages, as `proto/*.proto` defines them.
#[allow(clippy::all, missing_docs)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/sigma.rs"));

    /// Those of SQL databases.
    pub mod db {
        include!(concat!(env!("OUT_DIR"), "/sigma.db.rs"));
    }

    /// Those of the document database.
    pub mod mongo {
        include!(concat!(env!("OUT_DIR"), "/sigma.mongo.rs"));
    }
}

pub use error::{Code, Error, Result};
pub use path::Path;
pub use pid::{MachineId, Pid};
pub use realm::{Principal, Realm};
pub use spec::{Class, ProcSpec, Restart};
pub use status::{Cause, Status};
