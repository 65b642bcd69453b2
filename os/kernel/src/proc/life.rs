//! The life of a proc as the kernel acts it out: queued, started, asked to end, ended, told of, and started again.

use super::restart::Verdict;
use super::{Birth, End, Phase, Proc, Timing};
use crate::cgroup::Slot;
use crate::kernel::Kernel;
use crate::publish;
use crate::realm::Tenant;
use crate::session::Client;
use sigma_abi::{Code, Error, Pid, Principal, ProcSpec, Result, Status, proto};
use sigma_schedd::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// From a proc's word that it ends until the kernel ends it.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// From one attempt to tell named of an end to the next.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// Exit code of a launcher that could not become a proc.
const CANNOT_LAUNCH: i32 = 126;

/// The signals that end a proc, signal(7).
pub(crate) const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Kernel {
    /// Queues a proc.
    ///
    /// # Errors
    /// As `spawn` promises.
    pub(crate) async fn spawn(
        self: &Arc<Self>,
        client: &Client,
        request: proto::SpawnRequest,
    ) -> Result<Pid> {
        let timing = Timing::default();
        let spec = request.spec.ok_or_else(|| Error::new(Code::Invalid, "spec is missing"))?;
        let spec = ProcSpec::try_from(spec)?;
        let realm = self.realms.find(client.realm()?)?;
        self.scheduler.check(&realm.name, &spec)?;
        self.procs.check(&realm.name)?;
        let binary = realm.binary(self, &spec.binary).await?;
        let principal = principal(client, &realm, &spec)?;
        let pid = self.next_pid();
        let ports = self.ports.claim(&realm, &spec, binary.program.sdk, pid)?;
        let birth = Birth {
            pid,
            realm: realm.name.clone(),
            parent: client.proc.as_ref().map(|parent| parent.pid),
            spec,
            principal,
            binary,
            follower: request.follow.then(|| client.followed.id()),
            input: request.input,
            shelf: Arc::clone(&realm.records.shelf),
            timing,
        };
        // The realm may be on its way out since it was found; from here on nobody waits.
        self.realms.find(&realm.name)?;
        let proc = Arc::new(Proc::new(birth));
        realm.records.spawned(proc.pid, proc.parent, &proc.info(String::new()))?;
        self.procs.insert(Arc::clone(&proc));
        if !ports.is_empty() {
            // It ends with the proc.
            tokio::spawn(publish::serve(Arc::clone(self), Arc::clone(&proc), ports));
        }
        if request.follow {
            client.followed.add(Arc::clone(&proc));
        }
        self.enqueue(&proc);
        Ok(proc.pid)
    }

    fn enqueue(self: &Arc<Self>, proc: &Proc) {
        self.schedule(Event::Queued {
            pid: proc.pid,
            realm: proc.realm.clone(),
            class: proc.spec.class,
            memory_bytes: proc.spec.memory_bytes,
        });
    }

    /// The policy has admitted a proc.
    pub(crate) fn start(self: &Arc<Self>, proc: &Arc<Proc>) {
        if !proc.advance(Phase::Starting) {
            return;
        }
        let now = Instant::now();
        {
            let mut inner = proc.lock();
            inner.timing.admitted = Some(now);
            // The binary was there at spawn, and is held open since.
            inner.timing.binary = Some(now);
        }
        match self.realms.reach(&proc.realm) {
            Some(realm) => realm.jail.launch(self, Arc::clone(proc)),
            None => {
                proc.lock().not_started = Some("its realm is gone".to_owned());
                self.exited(proc, End::Signal(SIGKILL));
            }
        }
    }

    /// Asks a proc to end, and sees to it that it does.
    pub(crate) fn kill(self: &Arc<Self>, proc: &Arc<Proc>) {
        if proc.has_exited() || proc.kill.send_replace(true) {
            return;
        }
        let phase = proc.phase.borrow().clone();
        let running = proc.lock().running.as_ref().map(|running| running.process);
        match (phase, running) {
            (Phase::Queued, _) => {
                let pause = proc.lock().pause.is_some();
                let when = if pause { "while it waited to be started again" } else { "while it was queued" };
                proc.lock().said = Some(Status::killed(when));
                self.exited(proc, End::Signal(SIGKILL));
            }
            (_, None) => {
                // It is due for a launcher. One that was just taken tells its end itself.
                let realm = self.realms.reach(&proc.realm);
                if realm.is_some_and(|realm| realm.jail.give_up(proc.pid)) {
                    proc.lock().said = Some(Status::killed("while it was starting"));
                    self.exited(proc, End::Signal(SIGKILL));
                }
            }
            (_, Some(process)) => {
                if !proc.program.sdk {
                    self.signal(proc, process, SIGTERM);
                }
                self.end_after(proc, proc.spec.grace);
            }
        }
    }

    /// A proc says how it ends. It should then end; one that does not is ended.
    pub(crate) fn said(self: &Arc<Self>, proc: &Arc<Proc>, status: Status) {
        let first = proc.lock().said.is_none();
        if first && !proc.has_exited() {
            proc.lock().said = Some(status);
            self.end_after(proc, EXIT_GRACE);
        }
    }

    /// Ends the process of a proc when `grace` is over.
    fn end_after(self: &Arc<Self>, proc: &Arc<Proc>, grace: Duration) {
        let killer = tokio::spawn({
            let (kernel, proc) = (Arc::clone(self), Arc::clone(proc));
            async move {
                tokio::time::sleep(grace).await;
                let process = proc.lock().running.as_ref().map(|running| running.process);
                if let Some(process) = process {
                    kernel.signal(&proc, process, SIGKILL);
                }
            }
        });
        if let Some(before) = proc.lock().killer.replace(killer.abort_handle()) {
            before.abort();
        }
    }

    pub(crate) fn signal(&self, proc: &Proc, process: i32, signal: i32) {
        if let Some(realm) = self.realms.reach(&proc.realm) {
            realm.jail.signal(process, signal);
        }
    }

    /// The process of a proc has ended, or there will be none.
    pub(crate) fn exited(self: &Arc<Self>, proc: &Arc<Proc>, end: End) {
        if !proc.has_exited() {
            self.life_ended(proc, end);
        }
        self.schedule(Event::Ended { pid: proc.pid });
    }

    fn life_ended(self: &Arc<Self>, proc: &Arc<Proc>, end: End) {
        let slot = proc.lock().running.take().and_then(|running| running.slot);
        // What the memory limit kills ends by this signal: nobody else's group need be looked at.
        let killed = end == End::Signal(SIGKILL);
        let end = killed.then(|| self.out_of_memory(proc, slot.as_ref())).flatten().unwrap_or(end);
        if let Some(slot) = slot {
            self.recycle_slot(slot, &end);
        }
        if !proc.program.sdk && shows_execution(&end) {
            proc.started();
        }
        let status = proc.verdict(end);
        match proc.judge(status.clone()) {
            Verdict::End(status) => self.conclude(proc, status),
            Verdict::Again { pause, row } => {
                let text = format!("its restart after {pause:?}, since it ended: {status}");
                proc.lay_down(row, text);
                let drained = Arc::clone(&proc.draining).try_lock_owned();
                tokio::spawn(Arc::clone(self).start_again(Arc::clone(proc), pause, drained.ok()));
            }
        }
    }

    /// A proc has ended for good.
    pub(crate) fn conclude(self: &Arc<Self>, proc: &Arc<Proc>, status: Status) {
        let tasks = {
            let mut inner = proc.lock();
            inner.timing.exited = Some(Instant::now());
            inner.pause = None;
            inner.binary = None;
            if let Some(killer) = inner.killer.take() {
                killer.abort();
            }
            std::mem::take(&mut inner.tasks)
        };
        let realm = self.realms.find(&proc.realm).ok();
        // What others learn is written down before.
        if let Some(realm) = &realm {
            realm.records.ended(proc.pid, proc.end_info(&status));
        }
        proc.advance(Phase::Exited(status));
        self.procs.ended(proc);
        tokio::spawn(Arc::clone(self).drain(Arc::clone(proc), tasks));
        if proc.known_to_named.load(Ordering::Relaxed)
            && let Some(realm) = realm
        {
            let pid = proc.pid;
            tokio::spawn(async move { realm.ended(pid).await });
        }
    }

    /// Gives a proc its next life, once nothing is left of the one before.
    async fn start_again(
        self: Arc<Self>,
        proc: Arc<Proc>,
        pause: Duration,
        drained: Option<OwnedMutexGuard<()>>,
    ) {
        let mut tasks = {
            let mut inner = proc.lock();
            if let Some(killer) = inner.killer.take() {
                killer.abort();
            }
            std::mem::take(&mut inner.tasks)
        };
        let tidied = async {
            while tasks.join_next().await.is_some() {}
            drop(drained);
            // What it held in the namespace is not the next life's: that begins when named has let go of it.
            while proc.known_to_named.load(Ordering::Relaxed) && !proc.has_exited() {
                let Ok(realm) = self.realms.find(&proc.realm) else { return };
                if realm.ended(proc.pid).await {
                    proc.known_to_named.store(false, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(TELL_AGAIN).await;
                }
            }
        };
        tokio::join!(tidied, tokio::time::sleep(pause));
        if proc.rise() {
            self.enqueue(&proc);
        }
    }

    /// Lets the last output of a proc arrive, then ends its streams.
    async fn drain(self: Arc<Self>, proc: Arc<Proc>, mut tasks: tokio::task::JoinSet<()>) {
        // A follower may take its time to read, so nobody bounds this: the pipes end with the process, which has ended.
        while tasks.join_next().await.is_some() {}
        // And that of the life before, where it was killed in the pause after it.
        drop(proc.draining.lock().await);
        proc.streams().into_iter().for_each(|stream| stream.end());
        proc.shelf.ended(proc.pid);
        self.procs.remove(&proc);
    }

    /// Whether the memory limit ended a proc.
    fn out_of_memory(&self, proc: &Proc, slot: Option<&Slot>) -> Option<End> {
        let memory = self.cgroups.memory(slot?)?;
        let limit_bytes = proc.spec.memory_bytes;
        memory.killed.then_some(End::OutOfMemory { limit_bytes, peak_bytes: memory.peak_bytes })
    }

    /// Lets the next proc have the control group of one that has ended.
    fn recycle_slot(&self, slot: Slot, end: &End) {
        // The processes of a jail that has died may still be on their way out, and what a group says of kills is for good.
        let last = matches!(end, End::Lost(_) | End::OutOfMemory { .. });
        let slot = if last { Some(slot) } else { self.cgroups.recycle(slot) };
        if let Some(slot) = slot {
            self.remove_slot(slot);
        }
    }

    pub(crate) fn remove_slot(&self, slot: Slot) {
        let cgroups = Arc::clone(&self.cgroups);
        // It may take a moment until the last task is out of the group. Nobody waits for this.
        drop(tokio::task::spawn_blocking(move || cgroups.remove(&slot)));
    }
}

/// Whether an end tells that a plain program was executed, which may not have been seen: launchers take no memory, and end by
/// [`CANNOT_LAUNCH`] or are killed.
fn shows_execution(end: &End) -> bool {
    match end {
        End::ExitCode(code) => *code != CANNOT_LAUNCH,
        End::Signal(signal) => *signal != SIGKILL,
        End::OutOfMemory { .. } => true,
        End::Lost(_) => false,
    }
}

/// Whom a proc shall act as: as its spawner unless the spec names another. A proc may name those that the operator allows to
/// the realm, the operator any.
fn principal(client: &Client, realm: &Tenant, spec: &ProcSpec) -> Result<Principal> {
    let Some(parent) = &client.proc else {
        return Ok(spec.principal.clone().unwrap_or_default());
    };
    match &spec.principal {
        Some(named) if *named != parent.principal && !realm.settings().allows_principal(named) => {
            let (own, realm) = (&parent.principal, &realm.name);
            let text = format!(
                "principal {named}: this proc acts as {own}, and may spawn as {own} alone; the operator allows others by 'sigma \
                 realm set {realm} spawn.principals={named}'"
            );
            Err(Error::new(Code::Denied, text))
        }
        Some(named) => Ok(named.clone()),
        None => Ok(parent.principal.clone()),
    }
}
