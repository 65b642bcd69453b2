//! Work that does not run where it was asked for.

use sigmaos::{Code, Error, Result};

/// Runs `work` on a thread for what blocks, so that others are served meanwhile.
///
/// # Errors
/// Its own; `Internal` where it panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(Code::Internal, format!("work on another thread ended: {error}")))?
}

/// Waits for work, which goes on to its end where the wait is given up.
///
/// # Errors
/// `Internal` where it panicked.
pub async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| Error::new(Code::Internal, format!("a task ended: {error}")))
}
