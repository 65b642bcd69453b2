//! The experiments. Each prints a table, or JSON, and says whether the promises of SPECIFICATION.md are kept.
//!
//! A promise is a ratio against a floor or a peer that is measured in the same run: absolute times are notes.

mod cpu;
pub mod floor;
pub mod idle;
pub mod image;
pub mod isolation;
pub mod kernel_processes;
pub mod load;
mod machine;
pub mod measured;
pub mod mongo;
pub mod ns;
pub mod peer;
pub mod pin;
mod procs;
pub mod promise;
mod random;
mod realm;
pub mod report;
pub mod rpc;
pub mod s3;
pub mod sched;
pub mod socialnet;
pub mod start;
mod steps;
