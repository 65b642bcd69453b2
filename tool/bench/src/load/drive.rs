//! Sends what is due when it is due, and gathers what comes of it.

use super::asks::{Ask, Asks, Kind};
use super::clock::Clock;
use super::pool::{Job, Pool};
use super::progress::Progress;
use super::tally::{Failure, Tally};
use super::{Load, answer};
use crate::cpu;
use anyhow::{Result, ensure};
use hyper::body::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From when its times count.
    pub begun: Instant,
    pub tally: Tally,
    pub posts: Vec<Posted>,
    /// The most connections at a time.
    pub connections: usize,
    /// The CPU that this process took, and for how long it was measured.
    pub own_cpu: Duration,
    pub took: Duration,
}

/// A post that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub user: u32,
    pub key: u64,
    pub mentioned: Vec<u32>,
    /// Whether it was answered with success: then it must be there. Else it may be.
    pub acknowledged: bool,
}

/// What has been measured so far.
pub(super) struct Record {
    begun: Instant,
    check: bool,
    tally: Mutex<Tally>,
    posts: Mutex<Vec<Posted>>,
}

/// Sends the load, and waits until all of it is answered or out of time. A line on standard error shows how it goes, where that is
/// a terminal.
///
/// # Errors
/// Where there is no server to send it to. What servers do is part of the outcome.
pub async fn run(load: &Load) -> Result<Outcome> {
    ensure!(!load.servers.is_empty(), "no server was named");
    let (begun, before) = (Instant::now(), cpu::own());
    let tally = Mutex::new(Tally::new()?);
    let record = Arc::new(Record { begun, check: load.check, tally, posts: Mutex::default() });
    let each = (load.connections / load.servers.len()).max(1);
    let pool = |server: &super::Server| Pool::new(server.clone(), each, load.timeout, &record);
    let mut pools: Vec<_> = load.servers.iter().map(pool).collect();
    let mut asks = Asks::new(load.mix, load.plan.seed);
    let mut progress = Progress::new(&load.plan)?;
    let mut clock = Clock::start(begun, load.plan.arrivals())?;
    let (mut ask, mut number) = (asks.next_ask(), 0);
    while let Some(at) = clock.next().await? {
        record.tally().sent(at, begun.elapsed());
        let count = pools.len();
        pools[number % count].submit(Job { ask, due: begun + at });
        // Made ahead, while nothing is due.
        (ask, number) = (asks.next_ask(), number + 1);
        progress.show(begun.elapsed(), &record.tally());
    }
    let connections = pools.iter().map(Pool::connections).sum();
    for pool in pools {
        pool.finish().await?;
    }
    progress.finish(&record.tally());
    let (took, own_cpu) = (begun.elapsed(), cpu::own().saturating_sub(before));
    let (tally, posts) = (record.tally().clone(), record.posts().clone());
    Ok(Outcome { begun, tally, posts, connections, own_cpu, took })
}

impl Record {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn posts(&self) -> MutexGuard<'_, Vec<Posted>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has been answered, or never will be.
    pub(super) fn done(&self, job: &Job, answer: Result<Bytes, (Failure, String)>) {
        let now = self.begun.elapsed();
        let answer = answer.and_then(|body| match self.check {
            true => answer::check(&job.ask, &body).map_err(|wrong| (Failure::Wrong, wrong)),
            false => Ok(()),
        });
        let due = job.due.saturating_duration_since(self.begun);
        let Ask { kind, user, key, ref mentioned, .. } = job.ask;
        if kind == Kind::Compose {
            let mentioned = mentioned.clone();
            self.posts().push(Posted { user, key, mentioned, acknowledged: answer.is_ok() });
        }
        match answer {
            Ok(()) => self.tally().answered(kind, due, now),
            Err((failure, words)) => self.tally().failed(kind, due, now, failure, &words),
        }
    }
}
