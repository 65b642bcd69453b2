//! What a client asks of a namespace, again and again.

use crate::report::histogram;
use anyhow::Result;
use hdrhistogram::Histogram;
use sigmaos::{Create, Sigma};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Calls at a time, where their rate is measured.
pub(crate) const IN_FLIGHT: usize = 64;

const CONTENTS: [u8; 64] = [7; 64];

const WATCHED: &str = "/bench/watched";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Stat,
    Put,
    Create,
    Rename,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::Stat, Self::Put, Self::Create, Self::Rename];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Stat => "stat",
            Self::Put => "put",
            Self::Create => "create",
            Self::Rename => "rename",
        }
    }

    /// Whether it waits for the store.
    pub(crate) fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Stat)
    }
}

/// A client at work. Cheap to clone; the clones work on.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) sigma: Sigma,
    /// Numbers what is made.
    made: Arc<AtomicU64>,
}

impl Worker {
    /// Makes what the operations work on.
    pub(crate) async fn start(sigma: Sigma) -> Result<Self> {
        for directory in ["/bench", "/bench/made", WATCHED] {
            sigma.create_dir(directory).await?;
        }
        sigma.put_file("/bench/file", CONTENTS.to_vec()).await?;
        for caller in 0..IN_FLIGHT {
            sigma.put_file(&format!("/bench/left-{caller}"), CONTENTS.to_vec()).await?;
        }
        Ok(Self { sigma, made: Arc::default() })
    }

    /// One operation of one of the callers, who count theirs: a caller renames its file there and back.
    async fn once(&self, operation: Operation, caller: usize, turn: u64) -> sigmaos::Result<()> {
        let sigma = &self.sigma;
        match operation {
            Operation::Get => sigma.get_file("/bench/file").await.map(drop),
            Operation::Stat => sigma.stat("/bench/file").await.map(drop),
            Operation::Put => {
                sigma.put_file(&format!("/bench/put-{caller}"), CONTENTS.to_vec()).await.map(drop)
            }
            Operation::Create => {
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                sigma.create(&format!("/bench/made/{number}"), Create::file()).await.map(drop)
            }
            Operation::Rename => {
                let (left, right) = (format!("/bench/left-{caller}"), format!("/bench/right-{caller}"));
                if turn.is_multiple_of(2) {
                    sigma.rename(&left, &right).await
                } else {
                    sigma.rename(&right, &left).await
                }
            }
        }
    }

    /// One after the other: what each takes. A tenth more, before them, is not counted.
    pub(crate) async fn one_by_one(&self, operation: Operation, count: usize) -> Result<Histogram<u64>> {
        let mut times = histogram()?;
        let warm_up = count / 10;
        // An even number of turns, so that a file is back where it was.
        for turn in 0..(warm_up + count).next_multiple_of(2) {
            let begun = Instant::now();
            self.once(operation, 0, turn as u64).await?;
            if turn >= warm_up {
                times.record(begun.elapsed().as_nanos() as u64)?;
            }
        }
        Ok(times)
    }

    /// [`IN_FLIGHT`] at a time: how many a second.
    pub(crate) async fn rate(&self, operation: Operation, count: usize) -> Result<f64> {
        let turns = count.div_ceil(IN_FLIGHT).next_multiple_of(2);
        let begun = Instant::now();
        let callers: Vec<_> = (0..IN_FLIGHT)
            .map(|caller| {
                let worker = self.clone();
                tokio::spawn(async move {
                    for turn in 0..turns {
                        worker.once(operation, caller, turn as u64).await?;
                    }
                    sigmaos::Result::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        Ok((turns * IN_FLIGHT) as f64 / begun.elapsed().as_secs_f64())
    }

    /// From the call that makes an entry until a watcher of its directory has heard of it.
    pub(crate) async fn notifications(&self, watcher: &Sigma, count: usize) -> Result<Histogram<u64>> {
        let mut times = histogram()?;
        let mut watch = watcher.watch_dir(WATCHED).await?;
        for turn in 0..count / 10 + count {
            let path = format!("{WATCHED}/{}", self.made.fetch_add(1, Ordering::Relaxed));
            let begun = Instant::now();
            let heard = async { watch.next().await.map(|_| begun.elapsed()) };
            let (heard, put) = tokio::join!(heard, self.sigma.put_file(&path, Vec::new()));
            put?;
            let heard: Duration = heard?;
            if turn >= count / 10 {
                times.record(heard.as_nanos() as u64)?;
            }
        }
        Ok(times)
    }
}
