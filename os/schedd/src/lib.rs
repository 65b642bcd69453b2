//! The scheduler of a kernel, as a pure policy: events go in, actions come out.
//!
//! Principles:
//! - No clock, no I/O, no randomness. The same events give the same actions, in `sigmad`, in a test and in a
//!   simulator; the edge measures idle CPU and carries out what is decided.
//! - What is started is in one [book](book): LC and BE memory are counted together, and the book is never
//!   over-committed.
//! - A proc that can never run here is refused at once; every other one waits in the line of its realm and class,
//!   and [`Policy::why`] says for what.
//! - Nobody is asked for trust: an unknown or repeated pid changes nothing, and each realm's queue has a limit.
//!
//! # Who goes next
//! 1. LC procs go before BE procs.
//! 2. Within a class the realm with the smallest share goes next: reserved mcpu for LC, running procs for BE. Where
//!    shares are equal, the one whose turn is longest ago. So a realm that runs nothing and queues a proc sees at most
//!    one start of each other realm before its own.
//! 3. Within a realm and class, first in, first out. A head that does not fit waits, and those behind it in its own
//!    line wait with it, so a large proc is not starved by smaller ones of its realm. A realm whose LC head lacks
//!    memory starts no BE procs either.
//! 4. While a head waits for a resource (mcpu or memory), other realms may go past it only up to an **even share** of
//!    that resource: the machine divided by the realms that are present, or one proc where they hold none. So a realm
//!    that holds more than its share cannot starve the head, and a head that asks for the whole machine cannot keep
//!    other realms from their share. A head that goes beyond its own realm's even share takes what others leave, and may
//!    wait as long as they use theirs.
//! 5. BE procs start up to a baseline of places: the cores and a slight oversubscription. A BE proc that waits for a child of
//!    its own holds no place, so parents cannot keep their children out for good; it has one again when the wait ends, even
//!    if that is one too many for a while. Beyond the baseline each whole core that was measured idle lets one more start.
//! 6. What would take a realm past its own limits of mcpu or memory waits until the realm holds less, and takes no turn of
//!    anybody. Limits that are lowered end nothing.
//! 7. Where BE procs hold the memory, or the last of the procs, that the next LC proc lacks, they are killed for it: of the
//!    realm whose BE procs hold most first, the youngest first. Nobody takes what comes free before that LC proc.
//! 8. An LC proc that uses more than it reserved while others wait for a core is served as BE: see [usage](usage).
//!
//! While the machine itself is short of memory no BE proc starts; LC procs do, since theirs is reserved.
//!
//! An event costs about a logarithm of what is queued, and as much again for each proc that it starts.

mod admit;
pub mod anchors;
pub mod book;
mod event;
mod evict;
pub mod homes;
mod lane;
mod order;
mod policy;
mod proc;
mod realm;
pub mod sim;
#[cfg(test)]
mod tests;
pub mod usage;
mod why;

pub use book::Machine;
pub use event::{Action, Event, Load, RealmLimits};
pub use policy::{MAX_QUEUED_PER_REALM, Policy};
