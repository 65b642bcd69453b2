//! What keeps a tenant from more than its share: time, memory, and calls at once.

use bytes::Bytes;
use sigma_proxy::to_its_end;
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

/// Changes that are carried out at a time. One whose caller is gone is carried out to its end all the same.
pub(crate) const CHANGES: usize = 256;

/// Bytes of objects that are in memory at a time, one half each: fetched and not yet sent, and received and not yet stored.
pub(crate) const MEMORY: usize = 256 << 20;

/// Of the former, bytes that were read for one connection and are not yet sent; further reads wait.
pub(crate) const READ_AT_ONCE: usize = 4 * MAX_PAYLOAD;

/// The bounds of one proxy, shared by all that it does.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Bounds {
    pub(crate) fn new(memory: usize, open: usize) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        let [reading, writing] = [memory / 2, memory / 2].map(places);
        Self { reading, writing, changes: places(CHANGES), open: places(open) }
    }

    /// Room in memory for `bytes` that are read, once there is.
    ///
    /// # Errors
    /// `Busy` where others do not give theirs back in time.
    pub(crate) async fn to_read(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        taken(&self.reading, bytes, || "too much is being read at once: try again later".to_owned()).await
    }

    /// Room in memory for `bytes` that are written, once there is.
    ///
    /// # Errors
    /// `Busy` where others do not give theirs back in time.
    pub(crate) async fn to_write(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        taken(&self.writing, bytes, || {
            "too much is being written at once: close what is written, or try again later".to_owned()
        })
        .await
    }

    /// Carries out a change to its end, and waits for that as [`within`] does. Where nobody waits any more it goes on, so that what is counted,
    /// and who is shut out meanwhile, agrees with what was done.
    ///
    /// # Errors
    /// As [`within`].
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        system: &str,
        what: &(dyn Display + Sync),
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let carried_out = async {
            let place = Arc::clone(&self.changes).acquire_owned().await;
            let work = async move {
                let _place = place;
                work.await
            };
            // It ends by itself: the store's own deadlines see to that.
            to_its_end(work).await?
        };
        within(system, what, carried_out).await
    }

    /// Bytes that were read and are not yet sent.
    #[cfg(test)]
    pub(crate) fn reading(&self) -> usize {
        MEMORY / 2 - self.reading.available_permits()
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

/// Room for `bytes`, once there is.
///
/// # Errors
/// `Busy`, as `busy` words it, where there is none in time.
pub(crate) async fn taken(
    memory: &Arc<Semaphore>,
    bytes: usize,
    busy: impl FnOnce() -> String,
) -> Result<OwnedSemaphorePermit> {
    let permit = timeout(LONGEST, Arc::clone(memory).acquire_many_owned(bytes as u32)).await;
    permit.ok().and_then(std::result::Result::ok).ok_or_else(|| Error::new(Code::Busy, busy()))
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
