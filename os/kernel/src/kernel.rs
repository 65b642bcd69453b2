//! Everything that the parts of the kernel share.

use crate::binary::Blobs;
use crate::cgroup::Cgroups;
use crate::machine::Capacity;
use crate::pressure::Pressure;
use crate::proc::Proc;
use crate::proc::table::Table;
use crate::publish::Ports;
use crate::rank::Ranks;
use crate::realm::Realms;
use crate::schedule::Scheduler;
use crate::state::State;
use crate::supervise::Program;
use crate::tools::Tools;
use sigma_abi::layer::Layer;
use sigma_abi::{Pid, Realm, Result, proto};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often it is looked for records that need not be kept any longer.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The kernel of this machine.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) state: State,
    pub(crate) capacity: Capacity,
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) without: Vec<Layer>,
    /// BE procs run only where nobody else wants the CPU: as SCHED_IDLE, and in idle control groups.
    pub(crate) sched_idle: bool,
    /// Where the programs of the kernel are: beside sigmad.
    pub(crate) programs: PathBuf,
    pub(crate) log: File,
    pub(crate) booted: Instant,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) realms: Realms,
    pub(crate) procs: Table,
    pub(crate) ports: Ports,
    pub(crate) tools: Tools,
    pub(crate) pressure: Pressure,
    pub(crate) scheduler: Scheduler,
    pub(crate) ranks: Arc<Ranks>,
    pub(crate) shutdown: Notify,
    numbers: AtomicU64,
}

/// What a kernel is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) capacity: Capacity,
    pub(crate) cgroups: Cgroups,
    pub(crate) without: Vec<Layer>,
    pub(crate) sched_idle: bool,
    pub(crate) programs: PathBuf,
    pub(crate) log: File,
}

impl Kernel {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { state, capacity, cgroups, without, sched_idle, programs, log } = parts;
        let cgroups = Arc::new(cgroups);
        Arc::new(Self {
            ranks: Arc::new(Ranks::new(Arc::clone(&cgroups))),
            scheduler: Scheduler::new(capacity),
            blobs: Arc::new(Blobs::new(state.blobs())),
            realms: Realms::default(),
            procs: Table::default(),
            ports: Ports::default(),
            tools: Tools::default(),
            pressure: Pressure::default(),
            state,
            capacity,
            cgroups,
            without,
            sched_idle,
            programs,
            log,
            booted: Instant::now(),
            shutdown: Notify::new(),
            numbers: AtomicU64::new(1),
        })
    }

    /// The kernel as a server of its own: number 0 of each boot.
    pub(crate) fn own_pid(&self) -> Pid {
        Pid { home: self.state.machine, epoch: self.state.epoch, number: 0 }
    }

    pub(crate) fn next_pid(&self) -> Pid {
        Pid { number: self.numbers.fetch_add(1, Ordering::Relaxed), ..self.own_pid() }
    }

    /// A kernel program, ready to be executed.
    pub(crate) fn program(&self, name: &str, file: &str, args: Vec<String>) -> std::io::Result<Program> {
        Ok(Program {
            name: name.to_owned(),
            path: self.programs.join(file),
            args,
            lock: self.state.lock.try_clone()?,
            log: self.log.try_clone()?,
            serves: None,
            desk: None,
            passed: None,
        })
    }

    /// A kernel program that serves a realm, and counts towards it.
    pub(crate) fn program_of(
        &self,
        realm: &Realm,
        file: &str,
        args: Vec<String>,
    ) -> std::io::Result<Program> {
        let program = self.program(&format!("{file} of {realm}"), file, args)?;
        Ok(Program { serves: Some((realm.clone(), Arc::clone(&self.ranks))), ..program })
    }

    /// What is known of a proc of a realm.
    ///
    /// # Errors
    /// `NotFound`: also for a proc of another realm, of which a tenant learns nothing.
    pub(crate) fn find(&self, realm: &Realm, pid: Pid) -> Result<Known> {
        if let Ok(proc) = self.procs.find(realm, pid) {
            return Ok(Known::Live(proc));
        }
        match self.realms.find(realm)?.records.find(pid)? {
            Some(info) => Ok(Known::Ended(Box::new(info))),
            None => Err(crate::proc::table::unknown(pid)),
        }
    }

    /// The spec and state of a proc.
    ///
    /// # Errors
    /// As [`Kernel::find`].
    pub(crate) fn info(&self, realm: &Realm, pid: Pid) -> Result<proto::ProcInfo> {
        Ok(match self.find(realm, pid)? {
            Known::Live(proc) => {
                let (waiting_for, served) = self.scheduler.explain(pid);
                proto::ProcInfo { served, ..proc.info(waiting_for) }
            }
            Known::Ended(info) => *info,
        })
    }
}

/// What is known of a proc.
#[derive(Debug)]
pub(crate) enum Known {
    /// It lives, or its last output is still on its way.
    Live(Arc<Proc>),
    /// Its record.
    Ended(Box<proto::ProcInfo>),
}

/// Drops records that need not be kept any longer, and output for which there is no room left, from time to time.
pub(crate) async fn sweep(kernel: Arc<Kernel>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        for realm in kernel.realms.list() {
            realm.records.sweep();
            // The namespace grows and shrinks by itself.
            realm.disk.leave_the_rest();
        }
    }
}
