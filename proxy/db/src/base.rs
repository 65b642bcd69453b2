//! A database, whatever engine is behind it.

use crate::engine::{Engine, LONGEST};
use crate::pool::Pool;
use crate::sql::Dialect;
use crate::talk::{Run, Talk};
use futures_util::future::BoxFuture;
use sigmaos::{Code, Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What bounds callers.
pub(crate) struct Limits;

impl Limits {
    /// A transaction, or a result of which more rows follow, that nobody used for so long has ended.
    pub(crate) const IDLE: Duration = Duration::from_secs(30);

    /// A transaction that is this old has ended.
    pub(crate) const TRANSACTION: Duration = Duration::from_secs(600);

    /// Calls that are worked on at a time, over all callers.
    pub(crate) const IN_FLIGHT: usize = 1024;
}

/// A database.
pub(crate) trait Base: Send + Sync {
    fn dialect(&self) -> Dialect;

    /// The system behind it, for people.
    fn system(&self) -> &str;

    /// Runs one statement.
    fn single(self: Arc<Self>, run: Run, writes: bool, deadline: Instant)
    -> BoxFuture<'static, Result<Talk>>;

    /// Begins a transaction.
    fn begin(self: Arc<Self>, read_only: bool, deadline: Instant) -> BoxFuture<'static, Result<Talk>>;

    /// Gives no more connections, if none is in use.
    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<()>>;
}

impl<E: Engine> Base for Pool<E> {
    fn dialect(&self) -> Dialect {
        E::DIALECT
    }

    fn system(&self) -> &str {
        self.engine.system()
    }

    fn single(
        self: Arc<Self>,
        run: Run,
        writes: bool,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Talk>> {
        Box::pin(async move { Ok(Talk::single(self.lease(writes, deadline).await?, run)) })
    }

    fn begin(self: Arc<Self>, read_only: bool, deadline: Instant) -> BoxFuture<'static, Result<Talk>> {
        Box::pin(async move {
            let mut lease = self.lease(!read_only, deadline).await?;
            let (engine, connection) = lease.parts();
            match timeout_at(deadline, engine.simple(connection, E::begin(read_only))).await {
                Ok(Ok(())) => Ok(Talk::transaction(lease)),
                Ok(Err(fault)) => {
                    if fault.broken {
                        lease.broken();
                    }
                    // Nothing has been done that could have been lost.
                    Err(Error { maybe_done: false, ..fault.error })
                }
                Err(_) => Err(late(self.engine.system(), "begin a transaction")),
            }
        })
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { Pool::close(&self).await })
    }
}

/// When a call that asks for so many milliseconds is over.
pub(crate) fn deadline(deadline_ms: u32) -> Instant {
    let asked = Duration::from_millis(deadline_ms.into());
    Instant::now() + if asked.is_zero() { LONGEST } else { asked.min(LONGEST) }
}

/// A call whose time is over.
pub(crate) fn late(system: &str, what: &str) -> Error {
    Error::new(Code::Deadline, format!("{system} did not {what} in time"))
}
