//! Tasks that end with their owner.

use sigmaos::{Code, Error, Result};
use tokio::task::JoinHandle;

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
        let done = (&mut self.0).await;
        done.map_err(|error| Error::new(Code::Internal, format!("a task ended: {error}")))?
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
