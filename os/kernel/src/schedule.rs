//! The edge of the scheduler: the pure policy, and what it decides.

use crate::kernel::Kernel;
use crate::machine::Capacity;
use crate::proc::life::SIGKILL;
use crate::proc::{End, Proc};
use sigma_abi::{Cause, Pid, ProcSpec, Realm, Result, Status};
use sigma_schedd::{Action, Event, Load, Machine, Policy};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Mutex<Policy>,
    /// BE procs wait.
    pub(crate) waiting: Notify,
    /// LC procs run.
    pub(crate) serving: Notify,
    /// BE procs run.
    pub(crate) filling: Notify,
    /// A realm has LC procs, or has none any more.
    pub(crate) lc_realms: Notify,
    /// The same of BE procs.
    pub(crate) be_realms: Notify,
}

impl Scheduler {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let Capacity { cores, memory_bytes, procs, .. } = capacity;
        let policy = Mutex::new(Policy::new(Machine { cores, memory_bytes, procs }));
        Self {
            policy,
            waiting: Notify::new(),
            serving: Notify::new(),
            filling: Notify::new(),
            lc_realms: Notify::new(),
            be_realms: Notify::new(),
        }
    }

    /// # Errors
    /// `TooLarge` for what can never run on this machine, `Quota` for what the realm may not have.
    pub(crate) fn check(&self, realm: &Realm, spec: &ProcSpec) -> Result<()> {
        self.lock().check(realm, spec.class, spec.memory_bytes)
    }

    fn handle(&self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut policy = self.lock();
        let (with_lc, with_be) = (policy.realms_with_lc().len(), policy.realms_with_be().len());
        policy.handle(event, &mut actions);
        // One event is of one realm at most: it changes the number where it changes the set.
        if policy.realms_with_lc().len() != with_lc {
            self.lc_realms.notify_one();
        }
        if policy.realms_with_be().len() != with_be {
            self.be_realms.notify_one();
        }
        let load = policy.load();
        if load.be_queued > 0 {
            self.waiting.notify_one();
        }
        if load.lc_running > 0 {
            self.serving.notify_one();
        }
        if load.be_running > 0 {
            self.filling.notify_one();
        }
        actions
    }

    pub(crate) fn load(&self) -> Load {
        self.lock().load()
    }

    /// What a queued proc waits for, and what is special about how a running one is served; empty where there is nothing.
    pub(crate) fn explain(&self, pid: Pid) -> (String, String) {
        let policy = self.lock();
        (policy.why(pid).unwrap_or_default(), policy.served(pid).unwrap_or_default())
    }

    /// The realms that have LC procs here, and those that have BE procs.
    pub(crate) fn realms_with(&self) -> [BTreeSet<Realm>; 2] {
        let policy = self.lock();
        [policy.realms_with_lc(), policy.realms_with_be()].map(BTreeSet::clone)
    }

    /// The LC procs that run, and whether each is served as BE.
    pub(crate) fn lc_procs(&self) -> Vec<(Pid, bool)> {
        let policy = self.lock();
        policy.lc_procs().map(|pid| (pid, policy.is_demoted(pid))).collect()
    }

    /// At most so many of the BE procs that run and do not wait for a child.
    pub(crate) fn be_procs(&self, most: usize) -> Vec<Pid> {
        self.lock().be_procs().take(most).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Tells the policy what happened, and does what it decides.
    pub(crate) fn schedule(self: &Arc<Self>, event: Event) {
        for action in self.scheduler.handle(event) {
            let (Action::Start { pid }
            | Action::Refuse { pid, .. }
            | Action::Evict { pid, .. }
            | Action::Demote { pid }
            | Action::Restore { pid }) = &action;
            let Some(proc) = self.procs.get(*pid) else { continue };
            match action {
                Action::Start { .. } => self.start(&proc),
                Action::Refuse { reason, .. } => {
                    self.conclude(&proc, Status::crashed(Cause::NotStarted(reason.message)));
                }
                Action::Evict { for_pid, .. } => self.evict(&proc, for_pid),
                Action::Demote { .. } | Action::Restore { .. } => self.serve(&proc),
            }
        }
    }

    /// Kills a BE proc, since an LC proc needs what it holds. A tenant does not learn of other realms' procs.
    fn evict(self: &Arc<Self>, proc: &Arc<Proc>, for_pid: Pid) {
        tracing::info!(pid = %proc.pid, realm = %proc.realm, %for_pid, "a proc is evicted");
        let for_pid = self.procs.find(&proc.realm, for_pid).is_ok().then_some(for_pid);
        let cause = Cause::Evicted { for_pid, memory_bytes: proc.spec.memory_bytes };
        let process = {
            let mut inner = proc.lock();
            inner.evicted = Some(cause);
            inner.running.as_ref().map(|running| running.process)
        };
        match process {
            Some(process) => self.signal(proc, process, SIGKILL),
            None => {
                // It is due for a launcher. One that was just taken tells its end itself.
                let realm = self.realms.reach(&proc.realm);
                if realm.is_some_and(|realm| realm.jail.give_up(proc.pid)) {
                    self.exited(proc, End::Signal(SIGKILL));
                }
            }
        }
    }

    /// Moves an LC proc to where BE procs are, or back, as the policy has it when that is done.
    fn serve(self: &Arc<Self>, proc: &Arc<Proc>) {
        let Some(slot) = proc.lock().running.as_ref().and_then(|running| running.slot.clone()) else {
            return;
        };
        let (kernel, pid) = (Arc::clone(self), proc.pid);
        // Moving a process may take milliseconds, in which others start.
        drop(tokio::task::spawn_blocking(move || {
            let demoted = || kernel.scheduler.lock().is_demoted(pid);
            if kernel.procs.get(pid).is_none_or(|proc| proc.has_exited()) {
                // Another proc may have its group by now.
                return;
            }
            match kernel.cgroups.serve(&slot, demoted) {
                Ok(()) => tracing::info!(%pid, demoted = demoted(), "an LC proc is served otherwise"),
                Err(error) => tracing::warn!(%pid, %error, "an LC proc cannot be moved"),
            }
        }));
    }
}
