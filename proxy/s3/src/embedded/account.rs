//! How many bytes of the disk the store takes, and how many more it may.
//!
//! The kernel grants room ahead of need. Past what it grants, and where the disk has only the kernel's reserve left, growing is
//! `Quota`. What is about to be is counted before it is.

use sigmaos::Result;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Bytes that were given free before the kernel is told, so that others may have them.
const GIVE_BACK: u64 = 1 << 20;

/// Says something about the room to the kernel.
pub(crate) type Ask = Box<dyn Fn(Say) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// May it be `wanted` bytes in all, where `used` are used?
    Wanted { used: u64, wanted: u64 },
    /// So many are used, and no more for now.
    Used(u64),
}

pub(super) struct Account {
    ask: Ask,
    used: AtomicU64,
    /// Bytes that were given free since the kernel was last told.
    freed: AtomicU64,
    shrunk: Notify,
}

impl Account {
    pub(super) fn new(ask: Ask, used: u64) -> Self {
        let shrunk = Notify::new();
        // The kernel is told of what is there, since nobody else is to have that room.
        shrunk.notify_one();
        Self { ask, used: AtomicU64::new(used), freed: AtomicU64::new(0), shrunk }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// # Errors
    /// `Quota`; then it is not counted.
    pub(super) async fn add(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        // Whoever gives up waiting for the answer takes nothing either.
        let mut counted = Counted { account: self, bytes };
        (self.ask)(Say::Wanted { used, wanted: used.saturating_add(bytes) }).await?;
        counted.bytes = 0;
        Ok(())
    }

    pub(super) fn remove(&self, bytes: u64) {
        self.subtract(bytes);
        if self.freed.fetch_add(bytes, Ordering::Relaxed) + bytes >= GIVE_BACK {
            self.shrunk.notify_one();
        }
    }

    /// Tells the kernel, whenever much was given free.
    pub(super) async fn settle(&self) {
        loop {
            self.shrunk.notified().await;
            self.freed.store(0, Ordering::Relaxed);
            if let Err(error) = (self.ask)(Say::Used(self.used())).await {
                tracing::warn!(%error, "the kernel was not told what is used");
            }
        }
    }

    fn subtract(&self, bytes: u64) {
        // More than there is was never counted.
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes)));
    }
}

/// Bytes that are counted, unless this is dropped with them.
struct Counted<'a> {
    account: &'a Account,
    bytes: u64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.account.subtract(self.bytes);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").field("used", &self.used).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigmaos::{Code, Error};

    /// What was counted for a call that was given up while the kernel was asked once stayed counted.
    #[tokio::test]
    async fn whoever_gives_up_or_is_refused_takes_no_room() {
        let silent = Account::new(Box::new(|_| Box::pin(std::future::pending())), 10);
        let mut asking = Box::pin(silent.add(5));
        assert!(futures_util::poll!(&mut asking).is_pending());
        assert_eq!(silent.used(), 15, "counted before it is answered");
        drop(asking);
        assert_eq!(silent.used(), 10);
        let refuse: Ask = Box::new(|_| Box::pin(async { Err(Error::new(Code::Quota, "no room")) }));
        let full = Account::new(refuse, 10);
        assert_eq!(full.add(5).await.map_err(|error| error.code), Err(Code::Quota));
        assert_eq!(full.used(), 10);
    }
}
