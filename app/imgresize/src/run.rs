//! A job that runs: a worker proc for each task.
//!
//! ```text
//!   waiting for a slot ──▶ worker ──▶ done
//!                      ▲      └─crashed─┘ └──▶ failed: it said so, was killed, or crashed too often
//! ```
//! All workers are spawned at once, up to the slots; which of them run is the scheduler's business.

use crate::job::{Job, Task};
use crate::memory;
use crate::picture::Header;
use crate::retry::{Next, decide};
use crate::worker::Request;
use sigmaos::{Code, Path, Pid, ProcSpec, Sigma, Status};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The worker's program in the namespace.
pub const WORKER: &str = "/bin/imgresize-worker";

/// Workers that one manager has spawned at a time.
pub const MAX_SPAWNED: usize = 256;

/// Failures of a job that are kept with their reasons; more are counted.
pub const MAX_FAILURES: usize = 100;

/// How often a spawn is tried where the realm has no room, and how long it is waited in between; twice as long each time.
const SPAWNS: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Tasks that have ended, well or not.
    pub done: u32,
    pub total: u32,
    pub failed: u32,
    /// The first failures, each with its input.
    pub failures: Vec<(Path, String)>,
}

impl Progress {
    pub fn finished(&self) -> bool {
        self.done == self.total
    }
}

/// A job and its workers.
#[derive(Debug)]
pub struct Run {
    sigma: Sigma,
    job: Job,
    slots: Arc<Semaphore>,
    /// The memory limit of a worker, by input.
    limits: Vec<tokio::sync::Mutex<Option<u64>>>,
    workers: Mutex<Workers>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Workers {
    running: BTreeSet<Pid>,
    stopped: bool,
}

impl Run {
    /// A job that takes a slot for each worker.
    pub fn new(sigma: Sigma, job: Job, slots: Arc<Semaphore>) -> Arc<Self> {
        let total = job.tasks().len() as u32;
        let limits = job.inputs.iter().map(|_| tokio::sync::Mutex::default()).collect();
        let progress = watch::Sender::new(Progress { total, ..Progress::default() });
        Arc::new(Self { sigma, job, slots, limits, workers: Mutex::default(), progress })
    }

    /// Follows the job.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Runs the job to its end and tells how it went; `each` sees every step.
    ///
    /// # Errors
    /// Where nothing can be begun: the directory for the results or the worker's program is missing.
    pub async fn run(self: &Arc<Self>, each: impl Fn(&Progress)) -> sigmaos::Result<Progress> {
        self.sigma.stat(WORKER).await.map_err(|error| match error.code {
            Code::NotFound => {
                error.context(format!("the worker is missing: upload it with 'sigma put FILE {WORKER}'"))
            }
            _ => error,
        })?;
        self.sigma.create_dir_all(self.job.output.as_str()).await?;
        let mut waiting = self.job.tasks().iter();
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                slot = Arc::clone(&self.slots).acquire_owned(), if waiting.len() > 0 => {
                    let (Some(task), run) = (waiting.next().cloned(), Arc::clone(self)) else { continue };
                    running.spawn(async move {
                        let ended = run.task(&task).await;
                        drop(slot);
                        (task.input, ended)
                    });
                }
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    // A task of ours neither panics nor is it cancelled.
                    let Ok((input, ended)) = ended else { continue };
                    self.record(input, ended);
                    each(&self.progress.borrow());
                }
                else => return Ok(self.progress.borrow().clone()),
            }
        }
    }

    fn record(&self, input: usize, ended: Result<(), String>) {
        self.progress.send_modify(|progress| {
            progress.done += 1;
            if let Err(why) = ended {
                progress.failed += 1;
                if progress.failures.len() < MAX_FAILURES {
                    progress.failures.push((self.job.inputs[input].clone(), why));
                }
            }
        });
    }

    /// Begins no more workers and kills those that run; the job then ends soon.
    pub async fn stop(&self) {
        let running = {
            let mut workers = self.lock();
            workers.stopped = true;
            workers.running.clone()
        };
        for pid in running {
            // One that has ended, or whose kernel has gone, needs no killing.
            let _ = self.sigma.kill(pid).await;
        }
    }

    async fn task(&self, task: &Task) -> Result<(), String> {
        let mut attempt = 1;
        loop {
            if self.lock().stopped {
                return Err("the job was stopped".into());
            }
            let status = self.attempt(task).await.map_err(|error| error.to_string())?;
            match decide(attempt, &status) {
                Next::Done => return Ok(()),
                Next::Retry => attempt += 1,
                Next::Failed(why) => return Err(why),
            }
        }
    }

    async fn attempt(&self, task: &Task) -> sigmaos::Result<Status> {
        let limit = self.limit(task.input).await;
        let request = Request {
            input: self.job.inputs[task.input].clone(),
            output: task.output.clone(),
            width: self.job.width,
            resizes: self.job.resizes,
        };
        // A worker has nothing to put in order before it ends.
        let spec = ProcSpec::new(WORKER)?.args(request.to_args()).memory_bytes(limit).grace(Duration::ZERO);
        let pid = self.spawn(spec).await?;
        let stopped = {
            let mut workers = self.lock();
            workers.running.insert(pid);
            workers.stopped
        };
        if stopped {
            self.sigma.kill(pid).await?;
        }
        let status = self.sigma.wait_exit(pid).await;
        self.lock().running.remove(&pid);
        status
    }

    /// Spawns; where the realm has no room, others of its procs may end meanwhile.
    async fn spawn(&self, spec: ProcSpec) -> sigmaos::Result<Pid> {
        let mut wait = FIRST_WAIT;
        for _ in 1..SPAWNS {
            match self.sigma.spawn(spec.clone()).await {
                Err(error) if matches!(error.code, Code::Quota | Code::Busy) && !self.lock().stopped => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                done => return done,
            }
        }
        self.sigma.spawn(spec).await
    }

    /// The memory limit for an input, looked up once. One that cannot be read gets the default: its worker will say why.
    async fn limit(&self, input: usize) -> u64 {
        let mut known = self.limits[input].lock().await;
        if let Some(limit) = *known {
            return limit;
        }
        let (size, header) = self.look(&self.job.inputs[input]).await.unwrap_or((0, None));
        *known.insert(memory::limit(size, header, self.job.width))
    }

    async fn look(&self, input: &Path) -> sigmaos::Result<(u64, Option<Header>)> {
        let size = self.sigma.stat(input.as_str()).await?.size;
        let head = self.sigma.open(input.as_str()).await?.read(memory::HEAD).await?;
        Ok((size, Header::of(&head)))
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
