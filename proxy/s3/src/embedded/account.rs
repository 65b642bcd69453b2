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

/// Asks whether so many bytes may be used in all, where so many are used; the same number twice tells it what is.
pub(crate) type Ask = Box<dyn Fn(u64, u64) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

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
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        (self.ask)(before, before.saturating_add(bytes)).await.inspect_err(|_| self.subtract(bytes))
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
            let used = self.used();
            if let Err(error) = (self.ask)(used, used).await {
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

impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").field("used", &self.used).finish_non_exhaustive()
    }
}
