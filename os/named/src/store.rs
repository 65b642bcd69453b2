//! Where a namespace is kept: keys and values, changed in batches, one owner at a time.

mod memory;
mod redb;
#[cfg(test)]
mod tests;

pub use memory::Memory;
pub use redb::Redb;

use crate::tree::Batch;
use bytes::Bytes;
use sigma_abi::Error;

/// A store of keys and values. Whoever opens one takes it over: each opening has a greater epoch, and a batch of an owner
/// before is refused.
pub trait Store: Send {
    /// All that is kept, in the order of the keys.
    ///
    /// # Errors
    /// `Internal` where it is damaged or cannot be read.
    fn load(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>, Error>;

    /// Makes a batch durable, wholly or not at all.
    ///
    /// # Errors
    /// `Stale` where somebody else has taken the store over; `Quota` without room; `Internal`.
    fn commit(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Bytes that could still be written; none where nobody can say.
    fn room(&self) -> Option<u64>;

    /// Whether a commit takes time, so that others should go on meanwhile.
    fn is_slow(&self) -> bool;
}
