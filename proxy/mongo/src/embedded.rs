//! The embedded store: documents and indexes in one file, and what is done with them.
//!
//! Reads look at the last state that is durable, which they share, and wait for nobody. Changes are carried out by one thread, one
//! after the other; those that arrive together are made durable together, and are answered then. So what anybody was told is durable,
//! and a reader sees each change wholly or not at all.

mod catalog;
mod change;
mod room;
mod search;
mod service;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod walk;
mod write;
mod writer;

pub use room::Room;
pub use service::Embedded;
