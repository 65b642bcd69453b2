//! Work that waits for a disk.

use sigmaos::{Code, Error, Result};

/// Runs `work` on a thread for what blocks, so that others are served meanwhile.
///
/// # Errors
/// Its own; `Internal` where it panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(Code::Internal, format!("work on another thread ended: {error}")))?
}
