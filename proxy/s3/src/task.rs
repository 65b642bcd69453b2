//! Tasks that end with their owner, and work that goes on without.

use sigmaos::{Code, Error, Result};
use tokio::task::{JoinError, JoinHandle};

/// A task on its way; dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<Result<T>>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for what it gives. It goes on where the wait is given up.
    ///
    /// # Errors
    /// Its own.
    pub(crate) async fn join(&mut self) -> Result<T> {
        (&mut self.0).await.unwrap_or_else(|error| Err(ended(&error)))
    }
}

/// Waits for work, which goes on to its end where the wait is given up.
///
/// # Errors
/// `Internal` where it panicked.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.map_err(|error| ended(&error))
}

fn ended(error: &JoinError) -> Error {
    Error::new(Code::Internal, format!("a task ended: {error}"))
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
