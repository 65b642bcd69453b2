//! The proc API, for whoever is at a door.

use crate::kernel::{Kernel, Known};
use crate::output;
use crate::output::shelf::Which;
use crate::proc::{Phase, Proc as Record};
use crate::session::Client;
use prost::Message;
use sigma_abi::limits::MAX_HEAD;
use sigma_abi::{Cause, Code, Error, Pid, Result, Status, proto};
use sigma_schedd::Event;
use sigmaos::rpc::{Bytes, Request, Response};
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
    fn find(&self, pid: &str) -> Result<Known> {
        self.kernel.find(self.client.realm()?, pid.parse()?)
    }

    /// The caller knows now how a proc ended.
    fn has_read(&self, pid: Pid) {
        if let (Some(reader), Ok(realm)) = (&self.client.proc, self.client.realm())
            && let Ok(realm) = self.kernel.realms.find(realm)
        {
            realm.records.read_by(pid, reader.pid);
        }
    }

    /// What this client may know of a proc: how the machine numbers its process is no proc's business.
    fn told(&self, info: proto::ProcInfo) -> proto::ProcInfo {
        let os_pid = if self.client.proc.is_none() { info.os_pid } else { 0 };
        proto::ProcInfo { os_pid, ..info }
    }
}

impl Proc for Procs {
    async fn spawn(&self, request: Request<proto::SpawnRequest>) -> Result<Response<proto::SpawnReply>> {
        let pid =
            self.kernel.spawn(&self.client, request.message).await.map_err(|error| error.context("spawn"))?;
        Ok(proto::SpawnReply { pid: pid.to_string() }.into())
    }

    async fn wait_start(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::Empty>> {
        let pid = &request.message.pid;
        let before =
            |status: &Status| Error::new(Code::Ended, format!("{pid} ended before it started: {status}"));
        match self.find(pid)? {
            Known::Live(proc) => {
                let mut phase = proc.phase.subscribe();
                // One that had started before it ended, or in an earlier life, did start.
                let started = || proc.lock().has_started;
                let over = |phase: &Phase| started() || matches!(phase, Phase::Exited(_));
                let _wait = Wait::begin(self, &proc, over);
                let _ = phase.wait_for(over).await;
                match &*phase.borrow() {
                    Phase::Exited(status) if !started() => Err(before(status)),
                    _ => Ok(proto::Empty {}.into()),
                }
            }
            Known::Ended(info) => match Status::try_from(info.status.unwrap_or_default())? {
                status @ Status::Crashed { cause: Cause::MachineLost, .. } => Err(Error::new(
                    Code::Ended,
                    format!("{pid} ended, whether or not it had started: {status}"),
                )),
                status if !info.has_started => Err(before(&status)),
                _ => Ok(proto::Empty {}.into()),
            },
        }
    }

    async fn wait_exit(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::Status>> {
        let pid = &request.message.pid;
        let status = match self.find(pid)? {
            Known::Live(proc) => {
                let mut phase = proc.phase.subscribe();
                let ended = |phase: &Phase| matches!(phase, Phase::Exited(_));
                let _wait = Wait::begin(self, &proc, ended);
                match phase.wait_for(ended).await.as_deref() {
                    Ok(Phase::Exited(status)) => status.clone().into(),
                    _ => return Err(Error::new(Code::Internal, format!("the record of {pid} has gone"))),
                }
            }
            Known::Ended(info) => info.status.unwrap_or_default(),
        };
        self.has_read(pid.parse()?);
        Ok(Response::from(status))
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
        if let Known::Live(proc) = self.find(&request.message.pid)? {
            self.kernel.kill(&proc);
        }
        Ok(proto::Empty {}.into())
    }

    async fn info(&self, request: Request<proto::PidRequest>) -> Result<Response<proto::ProcInfo>> {
        let info = self.kernel.info(self.client.realm()?, request.message.pid.parse()?)?;
        Ok(self.told(info).into())
    }

    async fn list(&self, request: Request<proto::ListRequest>) -> Result<Response<proto::ProcList>> {
        let proto::ListRequest { all, before } = request.message;
        let before: Option<Pid> = if before.is_empty() { None } else { Some(before.parse()?) };
        let realm = self.client.realm()?;
        let live = self.kernel.procs.list(realm).into_iter().map(|proc| proc.pid);
        let mut pids: Vec<_> = live.filter(|pid| before.is_none_or(|before| *pid < before)).collect();
        if all {
            pids.extend(self.kernel.realms.find(realm)?.records.ended_before(before));
        }
        pids.sort_unstable();
        pids.dedup();
        // The newest are told where not all fit.
        let mut procs = Vec::new();
        let mut room = MAX_LISTED;
        let mut more = false;
        for pid in pids.into_iter().rev() {
            // One that is no longer kept goes at any time.
            let Ok(info) = self.kernel.info(realm, pid) else { continue };
            if !procs.is_empty() && info.encoded_len() > room {
                more = true;
                break;
            }
            room = room.saturating_sub(info.encoded_len());
            procs.push(self.told(info));
        }
        procs.reverse();
        Ok(proto::ProcList { procs, more }.into())
    }

    async fn output(&self, request: Request<proto::OutputRequest>) -> Result<Response<proto::OutputReply>> {
        let proto::OutputRequest { pid, stderr, offset, follow } = request.message;
        let which = if stderr { Which::Stderr } else { Which::Stdout };
        let (offset, bytes, end) = match self.find(&pid)? {
            Known::Live(proc) => {
                let stream = Arc::clone(proc.stream(which));
                let followed = &self.client.followed;
                if follow {
                    stream.follow(followed.id(), offset);
                    followed.add(proc);
                }
                stream.read(followed.id(), offset).await?
            }
            Known::Ended(_) => {
                let realm = self.kernel.realms.find(self.client.realm()?)?;
                let kept = output::kept(&realm.records.shelf, pid.parse()?, which, offset)?;
                let (offset, bytes) = kept.unwrap_or((offset, Bytes::new()));
                let end = bytes.is_empty();
                (offset, bytes, end)
            }
        };
        Ok(Response::new(proto::OutputReply { offset, end }).payload(bytes))
    }

    async fn input(&self, request: Request<proto::InputRequest>) -> Result<Response<proto::Empty>> {
        let closed = || Error::new(Code::Closed, format!("{} reads no more input", request.message.pid));
        let Known::Live(proc) = self.find(&request.message.pid)? else { return Err(closed()) };
        if !proc.wants_input {
            return Err(Error::new(Code::Invalid, format!("{} was spawned without input", proc.pid)));
        }
        let mut phase = proc.phase.subscribe();
        // Its pipe is there when it is launched: it may want to read before it says that it has started.
        let launched = |phase: &Phase| matches!(phase, Phase::Exited(_)) || proc.lock().running.is_some();
        let _ = phase.wait_for(launched).await;
        let stdin = proc.lock().running.as_ref().and_then(|running| running.stdin.clone());
        let stdin = stdin.ok_or_else(closed)?;
        let mut pipe = stdin.lock().await;
        pipe.as_mut().ok_or_else(closed)?.write_all(&request.payload).await.map_err(|_| closed())?;
        if request.message.end {
            proc.lock().input_ended = true;
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
