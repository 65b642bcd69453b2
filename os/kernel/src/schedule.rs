//! The edge of the scheduler: the pure policy, and the measurements that it is given.

use crate::kernel::Kernel;
use crate::machine::{Capacity, IdleMeter};
use sigma_abi::{Pid, ProcSpec, Realm, Result};
use sigma_schedd::{Action, Event, Load, Machine, Policy};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often idle CPU is measured while best-effort procs wait.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Mutex<Policy>,
    waiting: Notify,
}

impl Scheduler {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let machine = Machine { cores: capacity.cores, memory_bytes: capacity.memory_bytes };
        Self { policy: Mutex::new(Policy::new(machine)), waiting: Notify::new() }
    }

    /// # Errors
    /// `TooLarge` for what can never run on this machine, `Quota` where too many of the realm wait.
    pub(crate) fn check(&self, realm: &Realm, spec: &ProcSpec) -> Result<()> {
        self.lock().check(realm, spec.class, spec.memory_bytes)
    }

    pub(crate) fn handle(&self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut policy = self.lock();
        policy.handle(event, &mut actions);
        if policy.load().be_queued > 0 {
            self.waiting.notify_one();
        }
        actions
    }

    pub(crate) fn load(&self) -> Load {
        self.lock().load()
    }

    /// What a queued proc waits for; empty for one that does not wait.
    pub(crate) fn why(&self, pid: Pid) -> String {
        self.lock().why(pid).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures idle CPU while best-effort procs wait, so that those that only wait themselves do not keep others out.
pub(crate) async fn measure(kernel: Arc<Kernel>) {
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
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }
}
