//! The server of a namespace: one for each realm.
//!
//! Principles:
//! - What decides is [`tree`], a pure state machine: it has no clock and no I/O. What acts is [`session`].
//! - Nothing that a client sends reaches a panic or grows memory past a limit.
//! - Who calls is what the kernel wrote on the connection, never what the caller says.

mod commit;
pub mod options;
mod pipe;
mod progress;
pub mod replies;
pub mod sandbox;
pub mod server;
mod session;
pub mod state;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tree;
mod watch;
