//! The connections of one database: made when they are wanted, used again, bounded, and ended where they are in no state to be
//! used again.
//!
//! Guarantees: a connection that a caller left in the middle of something is never given to another. What ran on it has been told to
//! end before another may take its place, so that no more statements run than there are places.

use crate::engine::Engine;
use sigma_proxy::Held;
use sigmaos::{Code, Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// A connection that was not used for so long is asked whether it still lives.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// A connection that was not used for so long is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(60);

/// How long a new connection may take, whatever its caller waits.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the answer of an idle connection may take.
const ANSWER: Duration = Duration::from_secs(2);

/// The connections of one database.
pub(crate) struct Pool<E: Engine> {
    pub(crate) engine: Arc<E>,
    /// As tenants name it: `/db/main`.
    pub(crate) path: String,
    free: Arc<Mutex<Vec<Free<E>>>>,
    /// One permit a connection.
    places: Arc<Semaphore>,
    /// The permit to write, where there is one writer.
    writer: Arc<Semaphore>,
    /// Grows when a connection broke: those of before are not used again.
    epoch: Arc<AtomicU64>,
    ended: mpsc::UnboundedSender<Ended<E>>,
    keeper: AbortHandle,
}

/// A connection that nobody uses.
struct Free<E: Engine> {
    connection: E::Connection,
    since: Instant,
    epoch: u64,
}

/// A connection that is to end, and the places that it has until then. There are at most as many as places.
struct Ended<E: Engine> {
    connection: E::Connection,
    places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    held: Held,
}

/// A connection for one caller. Dropping it ends the connection; see [`Lease::give_back`].
pub(crate) struct Lease<E: Engine> {
    connection: Option<E::Connection>,
    places: Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
    epoch: u64,
    /// Later elections that are held off until what runs here has ended.
    held: Held,
    pub(crate) pool: Arc<Pool<E>>,
}

impl<E: Engine> Drop for Pool<E> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<E: Engine> Pool<E> {
    pub(crate) fn new(path: String, engine: E) -> Arc<Self> {
        let (engine, free) = (Arc::new(engine), Arc::new(Mutex::new(Vec::new())));
        let (ended, ends) = mpsc::unbounded_channel();
        let keeper = tokio::spawn(keep(Arc::clone(&engine), Arc::clone(&free), ends)).abort_handle();
        Arc::new(Self {
            engine,
            path,
            free,
            places: Arc::new(Semaphore::new(E::CONNECTIONS)),
            writer: Arc::new(Semaphore::new(1)),
            epoch: Arc::default(),
            ended,
            keeper,
        })
    }

    /// A connection, for a writer the one to write with.
    ///
    /// # Errors
    /// `Busy` where none is free in time; why none can be made.
    pub(crate) async fn lease(self: &Arc<Self>, writes: bool, deadline: Instant) -> Result<Lease<E>> {
        let writer = if writes && E::ONE_WRITER {
            let writer = self.place(&self.writer, "another transaction writes", deadline).await?;
            self.engine.has_room().await?;
            Some(writer)
        } else {
            None
        };
        let all = || format!("all {} connections are in use", E::CONNECTIONS);
        let place = self.place(&self.places, &all(), deadline).await?;
        let epoch = self.epoch.load(Ordering::Relaxed);
        let lease = |connection| Lease {
            connection: Some(connection),
            places: Some((place, writer)),
            epoch,
            held: Held::default(),
            pool: Arc::clone(self),
        };
        loop {
            let free = self.free().pop();
            let Some(mut free) = free else { break };
            if free.epoch != epoch {
                continue;
            }
            if free.since.elapsed() < ASK_AFTER {
                return Ok(lease(free.connection));
            }
            let alive =
                timeout_at(deadline.min(Instant::now() + ANSWER), self.engine.is_alive(&mut free.connection));
            match alive.await {
                Ok(true) => return Ok(lease(free.connection)),
                // What ended this one has ended the others, too.
                _ => self.forget(),
            }
        }
        let latest = deadline.min(Instant::now() + CONNECT);
        match timeout_at(latest, self.engine.connect()).await {
            Ok(connected) => connected.map(lease),
            Err(_) => {
                let text = format!("{} did not take a connection in time", self.engine.system());
                Err(Error::new(Code::Deadline, text))
            }
        }
    }

    async fn place(
        &self,
        places: &Arc<Semaphore>,
        taken: &str,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit> {
        match timeout_at(deadline, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Error::new(Code::NotFound, format!("{} was removed", self.path))),
            Err(_) => Err(Error::new(Code::Busy, format!("{}: {taken}; try again", self.path))),
        }
    }

    /// No idle connection of now is used again.
    fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.free().clear();
    }

    /// Ends all connections, if none is in use, and gives no more.
    ///
    /// # Errors
    /// `Busy` where one is in use.
    pub(crate) async fn close(&self) -> Result<()> {
        let all = u32::try_from(E::CONNECTIONS).unwrap_or(u32::MAX);
        let Ok(_all) = self.places.try_acquire_many(all) else {
            let text = format!("{} is in use: end its transactions and results first", self.path);
            return Err(Error::new(Code::Busy, text));
        };
        self.places.close();
        self.writer.close();
        let free = std::mem::take(&mut *self.free());
        for free in free {
            self.engine.end(free.connection).await;
        }
        Ok(())
    }

    fn free(&self) -> MutexGuard<'_, Vec<Free<E>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Engine> Lease<E> {
    pub(crate) fn parts(&mut self) -> (&E, &mut E::Connection) {
        let connection = self.connection.as_mut().expect("a lease has its connection until it is given back");
        (&self.pool.engine, connection)
    }

    /// What runs from here on rests on these elections, and no longer on those before.
    pub(crate) fn hold(&mut self, held: Held) {
        self.held = held;
    }

    /// Another caller may use the connection: nothing is open on it.
    pub(crate) fn give_back(mut self) {
        let pool = Arc::clone(&self.pool);
        if self.epoch == pool.epoch.load(Ordering::Relaxed)
            && let Some(connection) = self.connection.take()
        {
            pool.free().push(Free { connection, since: Instant::now(), epoch: self.epoch });
        }
    }

    /// The other side has gone, and so it has for those that are idle.
    pub(crate) fn broken(self) {
        self.pool.forget();
    }
}

impl<E: Engine> Drop for Lease<E> {
    fn drop(&mut self) {
        if let (Some(connection), Some(places)) = (self.connection.take(), self.places.take()) {
            self.pool.engine.interrupt(&connection);
            // Where the keeper has gone, so has the process.
            let _ = self.pool.ended.send(Ended { connection, places, held: std::mem::take(&mut self.held) });
        }
    }
}

/// Ends connections: those that were left in the middle of something, and those that nobody uses. One that takes its time does not keep
/// the others.
async fn keep<E: Engine>(
    engine: Arc<E>,
    free: Arc<Mutex<Vec<Free<E>>>>,
    mut ends: mpsc::UnboundedReceiver<Ended<E>>,
) {
    let mut ending = JoinSet::new();
    let mut look = tokio::time::interval(CLOSE_AFTER / 4);
    loop {
        tokio::select! {
            ended = ends.recv() => {
                let Some(Ended { connection, places, held }) = ended else { break };
                let engine = Arc::clone(&engine);
                ending.spawn(async move {
                    engine.end(connection).await;
                    drop((places, held));
                });
            }
            _ = look.tick() => {
                let idle: Vec<Free<E>> = {
                    let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
                    let (idle, kept) = free.drain(..).partition(|free| free.since.elapsed() > CLOSE_AFTER);
                    *free = kept;
                    idle
                };
                for idle in idle {
                    let engine = Arc::clone(&engine);
                    ending.spawn(async move { engine.end(idle.connection).await });
                }
            }
            Some(_) = ending.join_next() => {}
        }
    }
}
