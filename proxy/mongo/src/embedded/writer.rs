//! The thread that changes: it carries out what has arrived, makes it durable together, and answers.

use super::change::{Change, Done};
use super::store::Snapshot;
use super::tables::{Fault, Result, broken};
use super::write::Writing;
use crate::limits::MAX_COMMIT_BYTES;
use redb::{Database, Durability};
use sigma_abi::{Code, Error};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How long changes are carried out before those that are done are made durable.
const TURN: Duration = Duration::from_millis(20);

/// A change that waits for its turn.
pub(super) struct Job {
    pub(super) collection: String,
    pub(super) change: Change,
    pub(super) bytes: usize,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<Done>>,
    /// Its share of what may wait.
    pub(super) _waiting: OwnedSemaphorePermit,
}

/// What readers, callers and the thread share.
pub(super) struct Shared {
    snapshot: RwLock<Arc<Snapshot>>,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl Shared {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: RwLock::new(Arc::new(snapshot)), queue: Mutex::default(), arrived: Condvar::new() }
    }

    /// The last state that is durable.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn ask(&self, job: Job) {
        self.queue().jobs.push_back(job);
        self.arrived.notify_one();
    }

    /// The thread ends once it has answered.
    pub(super) fn end(&self) {
        self.queue().ended = true;
        self.arrived.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for changes, and takes those that are made durable together.
    fn next(&self) -> Option<VecDeque<Job>> {
        let mut queue = self.queue();
        while queue.jobs.is_empty() {
            if queue.ended {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let fits = queue.jobs.iter().take_while(|job| {
            bytes += job.bytes;
            bytes <= MAX_COMMIT_BYTES
        });
        let count = fits.count().max(1);
        Some(queue.jobs.drain(..count).collect())
    }

    fn put_back(&self, rest: VecDeque<Job>) {
        let mut queue = self.queue();
        rest.into_iter().rev().for_each(|job| queue.jobs.push_front(job));
    }
}

/// Starts the thread. Where the store fails, `failed` is told, and nothing more is written.
pub(super) fn start(
    shared: Arc<Shared>,
    database: Database,
    failed: impl Fn(&Error) + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while let Some(jobs) = shared.next() {
            if let Err(error) = carry_out(&shared, &database, jobs) {
                tracing::error!(%error, "changes could not be made durable");
                failed(&error);
                return;
            }
        }
    })
}

type Answered = (oneshot::Sender<Result<Done>>, Result<Done>);

fn carry_out(shared: &Shared, database: &Database, mut jobs: VecDeque<Job>) -> Result<()> {
    let begun = Instant::now();
    let mut answers = Vec::with_capacity(jobs.len());
    let written = write(shared, database, &mut jobs, &mut answers, begun);
    shared.put_back(jobs);
    match written {
        Ok(()) => {
            // Nobody waits for an answer that nobody takes.
            answers.into_iter().for_each(|(answer, done)| drop(answer.send(done)));
            Ok(())
        }
        Err(fault) => {
            let error = Error::from(fault);
            for (answer, _) in answers {
                let _ = answer.send(Err(Error { maybe_done: true, ..error.clone() }));
            }
            Err(error)
        }
    }
}

fn write(
    shared: &Shared,
    database: &Database,
    jobs: &mut VecDeque<Job>,
    answers: &mut Vec<Answered>,
    begun: Instant,
) -> Result<(), Fault> {
    let mut transaction = database.begin_write().map_err(broken)?;
    transaction.set_durability(Durability::Immediate).map_err(broken)?;
    let before = shared.snapshot();
    let mut writing = Writing::begin(&transaction, &before.catalog)?;
    while begun.elapsed() < TURN
        && let Some(job) = jobs.pop_front()
    {
        if job.answer.is_closed() {
            continue;
        }
        let done = match job.until.checked_duration_since(Instant::now()) {
            None => Err(Error::new(Code::Deadline, "the embedded store had no time for it").into()),
            Some(_) => job.change.run(&job.collection, &mut writing, job.until),
        };
        match done {
            Ok(done) => answers.push((job.answer, Ok(done))),
            Err(Fault::Wrong(error)) => answers.push((job.answer, Err(error))),
            Err(fault) => {
                answers.push((job.answer, Ok(Done::default())));
                return Err(fault);
            }
        }
    }
    let changed = writing.changed;
    let catalog = Arc::new(writing.catalog.clone());
    drop(writing);
    if !changed {
        // What was answered rests on what is durable already.
        return transaction.abort().map_err(broken);
    }
    transaction.commit().map_err(broken)?;
    let snapshot = Arc::new(Snapshot::take(database, catalog)?);
    *shared.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    Ok(())
}
