//! The connections to one server: as many as are needed at a time, up to a bound; what is due while all are busy waits its turn.
//!
//! Each connection is one task. It takes what waits, and drives its socket while it has nothing to do, so that it notices when
//! the server closes it.

use super::asks::Ask;
use super::connection::{Connection, Error};
use super::drive::Record;
use super::tally::Failure;
use super::{MAX_WAITING, Server};
use anyhow::{Context, Result};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A request that is due.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) due: Instant,
}

pub(super) struct Pool {
    shared: Arc<Shared>,
    /// One for each connection.
    tasks: JoinSet<()>,
    bound: usize,
}

struct Shared {
    server: Server,
    timeout: Duration,
    record: Arc<Record>,
    waiting: Mutex<Waiting>,
    /// Wakes one that has nothing to do.
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Tasks that wait for a job.
    idle: usize,
    /// No more jobs come.
    over: bool,
}

impl Pool {
    pub(super) fn new(server: Server, bound: usize, timeout: Duration, record: &Arc<Record>) -> Self {
        let (record, waiting, news) = (Arc::clone(record), Mutex::default(), Notify::new());
        Self {
            shared: Arc::new(Shared { server, timeout, record, waiting, news }),
            tasks: JoinSet::new(),
            bound,
        }
    }

    pub(super) fn submit(&mut self, job: Job) {
        let mut waiting = self.shared.waiting();
        if waiting.jobs.len() >= MAX_WAITING {
            drop(waiting);
            self.shared
                .record
                .done(&job, Err((Failure::Unsent, format!("{MAX_WAITING} wait for a connection"))));
            return;
        }
        waiting.jobs.push_back(job);
        let more = waiting.jobs.len() > waiting.idle && self.tasks.len() < self.bound;
        drop(waiting);
        if more {
            self.tasks.spawn(work(Arc::clone(&self.shared)));
        } else {
            self.shared.news.notify_one();
        }
    }

    /// Connections that were made, or are being made.
    pub(super) fn connections(&self) -> usize {
        self.tasks.len()
    }

    /// Returns when everything has been answered, or has run out of time.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.shared.waiting().over = true;
        self.shared.news.notify_waiters();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("the task of a connection panicked")?;
        }
        Ok(())
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` where no more come.
    async fn next(&self) -> Option<Job> {
        self.waiting().idle += 1;
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // From here on it is woken, so nothing is missed between the look and the wait.
            news.as_mut().enable();
            {
                let mut waiting = self.waiting();
                let job = waiting.jobs.pop_front();
                if job.is_some() || waiting.over {
                    waiting.idle -= 1;
                    return job;
                }
            }
            news.await;
        }
    }
}

async fn work(shared: Arc<Shared>) {
    let mut connection = None;
    while let Some(job) = next(&shared, &mut connection).await {
        let left = (job.due + shared.timeout).saturating_duration_since(Instant::now());
        let answer = match tokio::time::timeout(left, exchange(&shared.server, &mut connection, &job)).await {
            Ok(answer) => answer,
            Err(_) => Err((Failure::Timeout, format!("nothing within {} s", shared.timeout.as_secs_f64()))),
        };
        if answer.as_ref().is_err_and(|(failure, _)| !matches!(failure, Failure::Status(_))) {
            // What else would come on it belongs to the request that was given up.
            connection = None;
        }
        shared.record.done(&job, answer);
    }
}

/// The next job; meanwhile the connection is closed where the server closes it.
async fn next(shared: &Shared, connection: &mut Option<Connection>) -> Option<Job> {
    let mut job = std::pin::pin!(shared.next());
    if let Some(idle) = connection {
        tokio::select! {
            biased;
            job = &mut job => return job,
            () = idle.closed() => *connection = None,
        }
    }
    job.await
}

async fn exchange(server: &Server, connection: &mut Option<Connection>, job: &Job) -> Result<Bytes, Error> {
    let mut kept = connection.take();
    if let Some(idle) = &mut kept
        && !idle.is_open().await
    {
        kept = None;
    }
    let mut open = match kept {
        Some(open) => open,
        None => Connection::open(server).await?,
    };
    let path = if job.ask.path.is_empty() { &server.path } else { &job.ask.path };
    let answer = open.exchange(server, path, job.ask.body.clone()).await;
    *connection = Some(open);
    answer
}
