//! The edge of the scheduler: the pure policy, what it decides, and the measurements that it is given.

use crate::cgroup::{Cgroups, Slot};
use crate::homes::Homes;
use crate::kernel::{Kernel, SIGKILL};
use crate::machine::{Capacity, IdleMeter, used_us};
use crate::proc::{End, Proc};
use sigma_abi::{Cause, Pid, ProcSpec, Realm, Result, Status};
use sigma_schedd::{Action, Event, Load, Machine, Policy};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often idle CPU is measured while best-effort procs wait.
const MEASURE_IDLE_EVERY: Duration = Duration::from_millis(100);

/// How often the CPU is measured that latency-critical procs use.
const MEASURE_USE_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Mutex<Policy>,
    /// BE procs wait.
    waiting: Notify,
    /// LC procs run.
    serving: Notify,
    /// A realm has LC procs, or has none any more.
    pub(crate) lc_realms: Notify,
}

impl Scheduler {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let Capacity { cores, memory_bytes, procs, .. } = capacity;
        let policy = Mutex::new(Policy::new(Machine { cores, memory_bytes, procs }));
        Self { policy, waiting: Notify::new(), serving: Notify::new(), lc_realms: Notify::new() }
    }

    /// # Errors
    /// `TooLarge` for what can never run on this machine, `Quota` for what the realm may not have.
    pub(crate) fn check(&self, realm: &Realm, spec: &ProcSpec) -> Result<()> {
        self.lock().check(realm, spec.class, spec.memory_bytes)
    }

    fn handle(&self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut policy = self.lock();
        let with_lc = policy.realms_with_lc().len();
        policy.handle(event, &mut actions);
        // One event is of one realm at most: it changes the number where it changes the set.
        if policy.realms_with_lc().len() != with_lc {
            self.lc_realms.notify_one();
        }
        let load = policy.load();
        if load.be_queued > 0 {
            self.waiting.notify_one();
        }
        if load.lc_running > 0 {
            self.serving.notify_one();
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

    /// The realms that have LC procs here.
    pub(crate) fn realms_with_lc(&self) -> BTreeSet<Realm> {
        self.lock().realms_with_lc().clone()
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

/// Measures idle CPU while best-effort procs wait, so that those that only wait themselves do not keep others out.
pub(crate) async fn measure_idle(kernel: Arc<Kernel>) {
    loop {
        kernel.scheduler.waiting.notified().await;
        let mut meter = IdleMeter::default();
        let mut idle = 0;
        while kernel.scheduler.load().be_queued > 0 {
            // Parts of a core add up: on a machine that is never wholly idle, parents that wait for their children would
            // otherwise keep them out for good.
            idle = (idle + meter.read(kernel.capacity.cores)).min(kernel.capacity.cores * 1000);
            kernel.schedule(Event::Idle { mcpu: idle });
            idle %= 1000;
            tokio::time::sleep(MEASURE_IDLE_EVERY).await;
        }
    }
}

/// Measures what latency-critical procs use, where those that use too much can be moved.
pub(crate) async fn measure_use(kernel: Arc<Kernel>) {
    if !kernel.cgroups.on() {
        return;
    }
    loop {
        kernel.scheduler.serving.notified().await;
        let mut meter = UseMeter::new(kernel.capacity.cores);
        while kernel.scheduler.load().lc_running > 0 {
            tokio::time::sleep(MEASURE_USE_EVERY).await;
            let procs = running_lc(&kernel);
            let cgroups = Arc::clone(&kernel.cgroups);
            // Where BE procs are ordinary work they give way to nobody, and all are placed alike.
            let beside_be = kernel.sched_idle && kernel.scheduler.load().be_running > 0;
            // There may be thousands of files to read.
            let measured = tokio::task::spawn_blocking(move || {
                let event = meter.read(&cgroups, procs, beside_be);
                (meter, event)
            });
            let Ok((back, event)) = measured.await else { break };
            meter = back;
            kernel.schedule(event);
        }
    }
}

/// The control groups of LC procs.
fn running_lc(kernel: &Kernel) -> Vec<(Pid, Slot)> {
    let pids: Vec<Pid> = kernel.scheduler.lock().lc_procs().collect();
    let process = |pid| {
        let proc = kernel.procs.get(pid)?;
        let inner = proc.lock();
        Some((pid, inner.running.as_ref()?.slot.clone()?))
    };
    pids.into_iter().filter_map(process).collect()
}

/// Measures CPU between one call and the next.
struct UseMeter {
    cores: u32,
    idle: IdleMeter,
    at: Instant,
    used_us: HashMap<Pid, u64>,
    homes: Homes,
}

impl UseMeter {
    fn new(cores: u32) -> Self {
        let mut idle = IdleMeter::default();
        idle.read(cores);
        Self { cores, idle, at: Instant::now(), used_us: HashMap::new(), homes: Homes::default() }
    }

    fn read(&mut self, cgroups: &Cgroups, procs: Vec<(Pid, Slot)>, beside_be: bool) -> Event {
        let idle_mcpu = self.idle.read(self.cores);
        let span_us = self.at.elapsed().as_micros() as u64;
        self.at = Instant::now();
        let before = std::mem::take(&mut self.used_us);
        let (mut used, mut processes_used) = (Vec::new(), Vec::new());
        for (pid, slot) in procs {
            // Nothing is known of one that ends, or is just being moved.
            let processes = cgroups.processes(&slot);
            let used_us = processes.iter().map(|process| used_us(*process)).sum::<Option<u64>>();
            let Some(now_us) = used_us.filter(|_| !processes.is_empty()) else { continue };
            if let Some(before_us) = before.get(&pid) {
                let used_us = now_us.saturating_sub(*before_us);
                used.push((pid, used_us));
                processes_used.extend(processes.iter().map(|process| (*process, used_us)));
            }
            self.used_us.insert(pid, now_us);
        }
        self.homes.keep(span_us, &processes_used, beside_be);
        Event::Used { span_us, idle_mcpu, procs: used }
    }
}
