//! What keeps a tenant from more than its share: time, memory, and calls at once.

use bytes::Bytes;
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::{Code, Error, Result};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The longest wait of a call for the store; less than callers wait unless they say otherwise, so that they hear for what.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// Calls that are worked on at a time, over all connections.
pub(crate) const IN_FLIGHT: usize = 256;

/// Objects that may be open at a time, over all connections.
pub(crate) const OPEN: usize = 4096;

/// Bytes of objects that are in memory at a time: fetched and not yet sent, received and not yet stored.
pub(crate) const MEMORY: usize = 256 << 20;

/// Of these, bytes that were read for one connection and are not yet sent; further reads wait.
pub(crate) const READ_AT_ONCE: usize = 4 * MAX_PAYLOAD;

/// The bounds of one proxy, shared by all that it does.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    memory: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Bounds {
    pub(crate) fn new(memory: usize, open: usize) -> Self {
        Self { memory: Arc::new(Semaphore::new(memory)), open: Arc::new(Semaphore::new(open)) }
    }

    /// Room in memory for `bytes`, once there is.
    ///
    /// # Errors
    /// `Busy` where others do not give theirs back in time.
    pub(crate) async fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permit = timeout(LONGEST, Arc::clone(&self.memory).acquire_many_owned(bytes as u32)).await;
        permit.ok().and_then(std::result::Result::ok).ok_or_else(|| {
            let text =
                "too much is being read and written at once: close what is written, or try again later";
            Error::new(Code::Busy, text)
        })
    }

    /// Room in memory for `bytes`, where there is some now.
    pub(crate) fn spare_memory(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_many_owned(bytes as u32).ok()
    }

    /// A place for one open object.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn open(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            Error::new(Code::Busy, "too many objects of this realm are open on this machine: close some")
        })
    }
}

/// Bytes that give back their room when the last part of them is gone.
pub(crate) fn held(bytes: Bytes, permits: impl Send + 'static) -> Bytes {
    struct Held<P> {
        bytes: Bytes,
        _permits: P,
    }
    impl<P> AsRef<[u8]> for Held<P> {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    Bytes::from_owner(Held { bytes, _permits: permits })
}

/// Waits for the store, and no longer than [`LONGEST`].
///
/// # Errors
/// `Deadline`, naming the store, and the work's own.
pub(crate) async fn within<T>(
    system: &str,
    what: &(dyn Display + Sync),
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(LONGEST, work).await.unwrap_or_else(|_| {
        let text = format!("{what}: {system} did not answer within {} s", LONGEST.as_secs());
        Err(Error::maybe_done(Code::Deadline, text))
    })
}
