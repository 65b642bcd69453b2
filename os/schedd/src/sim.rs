//! A machine in virtual time: the policy that runs in `sigmad`, over a trace of what is spawned.
//!
//! Everything follows from the [`Trace`], and a random trace from its seed, so what fails once fails each time. A [ledger](ledger)
//! counts on its own what the policy decides, and after every event holds it to what the crate promises: the book is never
//! over-committed, nobody passes a realm that has less, limits hold, nobody starves. What is [`Broken`] says the seed.

mod ledger;
mod random;
mod trace;
mod world;

pub use ledger::Broken;
pub use trace::{Arrival, Shape, Trace};
pub use world::{Outcome, run};
