//! Image resizing on request: jobs by number.

use crate::job::Job;
use crate::proto::{
    Failure, ImgResize, ImgResizeServer, ProgressReply, ProgressRequest, ResizeReply, ResizeRequest,
};
use crate::run::{MAX_SPAWNED, Progress, Run};
use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Path, Result, Sigma};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Jobs that run at a time.
pub const MAX_RUNNING: usize = 16;

/// Jobs that have ended and can still be asked about; the oldest are forgotten.
pub const MAX_ENDED: usize = 1000;

/// How long a question about progress waits for some.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The service, with its jobs.
#[derive(Debug)]
pub struct Service {
    sigma: Sigma,
    slots: Arc<Semaphore>,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    last: u64,
    running: BTreeMap<u64, (Arc<Run>, JoinHandle<()>)>,
    all: BTreeMap<u64, watch::Receiver<Ended>>,
}

/// A job as its askers see it.
#[derive(Clone, Debug)]
struct Ended {
    progress: Progress,
    /// Why it could not begin.
    broken: Option<Error>,
}

/// Serves at `path` until somebody asks this proc to end; then no worker is left.
///
/// # Errors
/// As [`Sigma::serve`].
pub async fn serve(sigma: &Sigma, path: &Path) -> Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_SPAWNED));
    let service = Arc::new(Service { sigma: sigma.clone(), slots, jobs: Mutex::default() });
    sigma.serve_rpc(path.as_str(), ImgResizeServer(Arc::clone(&service))).await?;
    sigma.started().await?;
    sigma.wait_kill().await?;
    service.stop().await;
    sigma.exited(sigmaos::Status::killed("asked to end; no job runs any more")).await
}

impl Service {
    async fn stop(&self) {
        let running = std::mem::take(&mut self.lock().running);
        for (run, _) in running.values() {
            run.stop().await;
        }
        for (_, task) in running.into_values() {
            // It was neither cancelled nor does it panic.
            let _ = task.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImgResize for Service {
    async fn resize(&self, request: Request<ResizeRequest>) -> Result<Response<ResizeReply>> {
        let ResizeRequest { inputs, output, width, resizes, tasks } = request.message;
        let tasks = (tasks > 0).then_some(tasks);
        let job = Job::new(&inputs, &output, width, resizes.max(1), tasks)
            .map_err(|error| Error::new(Code::Invalid, error.to_string()))?;
        let mut jobs = self.lock();
        jobs.running.retain(|_, (_, task)| !task.is_finished());
        if jobs.running.len() >= MAX_RUNNING {
            let text = format!("{MAX_RUNNING} jobs run already: ask again when one has ended");
            return Err(Error::new(Code::Busy, text));
        }
        let run = Run::new(self.sigma.clone(), job, Arc::clone(&self.slots));
        let begun = run.progress().borrow().clone();
        let total = begun.total;
        let (seen, told) = watch::channel(Ended { progress: begun, broken: None });
        let task = tokio::spawn({
            let run = Arc::clone(&run);
            async move {
                let ended = run.run(|progress| seen.send_modify(|job| job.progress = progress.clone())).await;
                if let Err(error) = ended {
                    seen.send_modify(|job| job.broken = Some(error));
                }
            }
        });
        jobs.last += 1;
        let job = jobs.last;
        jobs.running.insert(job, (run, task));
        jobs.all.insert(job, told);
        while jobs.all.len() > MAX_ENDED + MAX_RUNNING {
            jobs.all.pop_first();
        }
        Ok(ResizeReply { job, total }.into())
    }

    async fn progress(&self, request: Request<ProgressRequest>) -> Result<Response<ProgressReply>> {
        let ProgressRequest { job, seen } = request.message;
        let told = self.lock().all.get(&job).cloned();
        let mut told = told.ok_or_else(|| Error::new(Code::NotFound, format!("there is no job {job}")))?;
        if let Some(seen) = seen {
            let news = told
                .wait_for(|job| job.progress.done > seen || job.progress.finished() || job.broken.is_some());
            // After the wait, and where the job has ended, it is told what there is.
            let _ = tokio::time::timeout(LONGEST_WAIT, news).await;
        }
        let Ended { progress, broken } = told.borrow().clone();
        match broken {
            Some(error) => Err(error.context(format!("job {job}"))),
            None => Ok(reply(progress).into()),
        }
    }
}

fn reply(progress: Progress) -> ProgressReply {
    let Progress { done, total, failed, failures } = progress;
    let failures =
        failures.into_iter().map(|(input, why)| Failure { input: input.to_string(), why }).collect();
    ProgressReply { done, total, failed, failures }
}
