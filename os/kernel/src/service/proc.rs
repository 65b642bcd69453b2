//! The proc API, for whoever is at a door.

use crate::kernel::Kernel;
use crate::proc::{Phase, Proc as Record};
use crate::session::Client;
use prost::Message;
use sigma_abi::limits::MAX_HEAD;
use sigma_abi::{Code, Error, Result, Status, proto};
use sigma_schedd::Event;
use sigmaos::rpc::{Request, Response};
use sigmaos::stub::Proc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;

/// Bytes of a list of procs.
const MAX_LISTED: usize = MAX_HEAD / 2;

pub(crate) struct Procs {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) client: Client,
}

impl Procs {
    fn find(&self, pid: &str) -> Result<Arc<Record>> {
        self.kernel.find(self.client.realm()?, pid)
    }
}

impl Proc for Procs {
    async fn spawn(&self, request: Request<proto::SpawnRequest>) -> Result<Response<proto::SpawnReply>> {
        let pid =
            self.kernel.spawn(&self.client, request.message).await.map_err(|error| error.context("spawn"))?;
        Ok(proto::SpawnReply { pid: pid.to_string() }.into())
    }

    async fn wait_start(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::Empty>> {
        let proc = self.find(&request.message.pid)?;
        let mut phase = proc.phase.subscribe();
        let started = |phase: &Phase| matches!(phase, Phase::Running | Phase::Exited(_));
        let _wait = Wait::begin(self, &proc, started);
        let reached = phase.wait_for(started).await;
        match reached.as_deref() {
            // One that had started before it ended did start.
            Ok(Phase::Exited(status)) if proc.lock().timing.started.is_none() => {
                Err(Error::new(Code::Ended, format!("{} ended before it started: {status}", proc.pid)))
            }
            _ => Ok(proto::Empty {}.into()),
        }
    }

    async fn wait_exit(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::Status>> {
        let proc = self.find(&request.message.pid)?;
        let mut phase = proc.phase.subscribe();
        let ended = |phase: &Phase| matches!(phase, Phase::Exited(_));
        let _wait = Wait::begin(self, &proc, ended);
        let reached = phase.wait_for(ended).await;
        match reached.as_deref() {
            Ok(Phase::Exited(status)) => Ok(proto::Status::from(status.clone()).into()),
            _ => Err(Error::new(Code::Internal, format!("the record of {} has gone", proc.pid))),
        }
    }

    async fn wait_kill(&self, _: Request<proto::Empty>) -> Result<Response<proto::Empty>> {
        let mut kill = self.client.proc()?.kill.subscribe();
        // The record lives as long as its door, so the wait can only end with the request to end.
        let _ = kill.wait_for(|kill| *kill).await;
        Ok(proto::Empty {}.into())
    }

    async fn started(&self, _: Request<proto::Empty>) -> Result<Response<proto::Empty>> {
        self.client.proc()?.started();
        Ok(proto::Empty {}.into())
    }

    async fn exited(&self, request: Request<proto::Status>) -> Result<Response<proto::Empty>> {
        self.kernel.said(self.client.proc()?, Status::try_from(request.message)?);
        Ok(proto::Empty {}.into())
    }

    async fn kill(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::Empty>> {
        let proc = self.find(&request.message.pid)?;
        self.kernel.kill(&proc);
        Ok(proto::Empty {}.into())
    }

    async fn info(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::ProcInfo>> {
        let proc = self.find(&request.message.pid)?;
        Ok(self.kernel.info(&proc).into())
    }

    async fn list(&self, request: Request<proto::ListRequest>) -> Result<Response<proto::ProcList>> {
        let procs = self.kernel.procs.list(self.client.realm()?, request.message.all);
        let mut room = MAX_LISTED;
        // The newest are kept where not all fit.
        let fitting = procs.iter().rev().map(|proc| self.kernel.info(proc)).take_while(|info| {
            let length = info.encoded_len();
            room = room.saturating_sub(length);
            room > 0
        });
        let mut listed: Vec<_> = fitting.collect();
        listed.reverse();
        let more = listed.len() < procs.len();
        Ok(proto::ProcList { procs: listed, more }.into())
    }

    async fn output(&self, request: Request<proto::OutputRequest>) -> Result<Response<proto::OutputReply>> {
        let proto::OutputRequest { pid, stderr, offset } = request.message;
        let proc = self.find(&pid)?;
        let stream = if stderr { &proc.stderr } else { &proc.stdout };
        let (offset, bytes, end) = stream.read(offset).await;
        Ok(Response::new(proto::OutputReply { offset, end }).payload(bytes))
    }

    async fn input(&self, request: Request<proto::InputRequest>) -> Result<Response<proto::Empty>> {
        let proc = self.find(&request.message.pid)?;
        if !proc.wants_input {
            return Err(Error::new(Code::Invalid, format!("{} was spawned without input", proc.pid)));
        }
        let mut phase = proc.phase.subscribe();
        // Its pipe is there when it is launched: it may want to read before it says that it has started.
        let launched = |phase: &Phase| matches!(phase, Phase::Exited(_)) || proc.lock().running.is_some();
        let _ = phase.wait_for(launched).await;
        let stdin = proc.lock().running.as_ref().and_then(|running| running.stdin.clone());
        let closed = || Error::new(Code::Closed, format!("{} reads no more input", proc.pid));
        let stdin = stdin.ok_or_else(closed)?;
        let mut pipe = stdin.lock().await;
        pipe.as_mut().ok_or_else(closed)?.write_all(&request.payload).await.map_err(|_| closed())?;
        if request.message.end {
            pipe.take();
        }
        Ok(proto::Empty {}.into())
    }
}

/// A BE proc waits for a child of its own: the scheduler knows until this is dropped.
struct Wait<'a> {
    kernel: &'a Arc<Kernel>,
    waiter: &'a Arc<Record>,
}

impl<'a> Wait<'a> {
    /// `None` where it need not know: the caller holds no place for BE procs, or there is nothing to wait for.
    fn begin(procs: &'a Procs, child: &Record, over: impl Fn(&Phase) -> bool) -> Option<Self> {
        let waiter = procs.client.proc.as_ref().filter(|proc| !proc.spec.class.is_lc())?;
        if child.parent != Some(waiter.pid) || over(&child.phase.borrow()) {
            return None;
        }
        if waiter.waits.fetch_add(1, Ordering::Relaxed) == 0 {
            procs.kernel.schedule(Event::Blocked { pid: waiter.pid });
        }
        Some(Self { kernel: &procs.kernel, waiter })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.waiter.waits.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.kernel.schedule(Event::Unblocked { pid: self.waiter.pid });
        }
    }
}
