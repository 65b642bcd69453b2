//! The jail of a realm, seen from the kernel: launchers prepared ahead, procs launched from them, their ends told.
//!
//! ```text
//!   control group ──asked for──▶ jail ──Launcher──▶ pool ──a proc is due──▶ launched ──Exited──▶ gone
//! ```

mod control;
mod demand;
mod launch;
mod refill;

use crate::cgroup::Slot;
use crate::kernel::Kernel;
use crate::proc::{End, Proc};
use crate::session::Owner;
use crate::supervise::Program;
use demand::Demand;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::{Pid, Realm, proto};
use sigmaos::wire::Connection;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// A process that waits to become a proc.
#[derive(Debug)]
pub(crate) struct Launcher {
    process: i32,
    /// The same process, as the machine numbers it.
    os_pid: u32,
    owner: Arc<Owner>,
    slot: Option<Slot>,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// Drives the door.
    driver: JoinHandle<()>,
    /// Closes when all is heard that was said on it.
    heard: watch::Receiver<()>,
}

/// The jail of one realm on this machine.
#[derive(Debug)]
pub(crate) struct Jail {
    realm: Realm,
    state: Mutex<State>,
    /// What the jail says of itself: the layers that are on, or why it does not stand.
    standing: watch::Sender<Option<Result<Vec<String>, String>>>,
    /// A launcher was taken from its pool.
    taken: Notify,
    /// Keeps the pools filled.
    keeper: Mutex<Option<AbortHandle>>,
    /// It shall end for good; its supervisor listens until it is gone.
    ending: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    control: Option<Connection>,
    pools: [Pool; 2],
    /// Launchers that ended before they could be used, one after the other.
    stillborn: usize,
    /// Procs by their process in the jail.
    running: HashMap<i32, Arc<Proc>>,
}

#[derive(Debug, Default)]
struct Pool {
    demand: Demand,
    ready: VecDeque<Launcher>,
    /// Launchers that were asked for, or whose control groups are being made.
    asked: usize,
    /// The control groups of those that the jail was asked for; it makes them in this order.
    slots: VecDeque<Option<Slot>>,
    /// Procs that wait for one.
    due: VecDeque<Arc<Proc>>,
}

impl Jail {
    /// Executes the jail of a realm, and again when it dies.
    pub(crate) fn start(kernel: &Arc<Kernel>, realm: &Realm, program: Program) -> Arc<Self> {
        let jail = Arc::new(Self {
            realm: realm.clone(),
            state: Mutex::default(),
            standing: watch::Sender::new(None),
            taken: Notify::new(),
            keeper: Mutex::default(),
            ending: watch::Sender::new(false),
        });
        let end = jail.ending.subscribe();
        // It ends when it is told to, as it is when its realm or the kernel ends.
        tokio::spawn(control::supervise(Arc::clone(kernel), Arc::clone(&jail), program, end));
        let keeper = tokio::spawn(refill::keep(Arc::clone(kernel), Arc::clone(&jail))).abort_handle();
        *jail.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        jail
    }

    /// Ends the jail, and every proc in it.
    pub(crate) fn stop(&self, kernel: &Arc<Kernel>) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
        self.ending.send_replace(true);
        self.died(kernel, "the realm's jail was stopped");
    }

    /// Waits until a jail that was stopped is gone, with every process in it.
    pub(crate) async fn gone(&self) {
        self.ending.closed().await;
    }

    /// The layers that are on, or why the jail does not stand; waits for its first word.
    pub(crate) async fn layers(&self) -> Result<Vec<String>, String> {
        let mut standing = self.standing.subscribe();
        let word = standing.wait_for(Option::is_some).await;
        word.ok().and_then(|word| word.clone()).unwrap_or_else(|| Err("the jail has gone".to_owned()))
    }

    /// As [`Jail::layers`], without waiting.
    pub(crate) fn layers_now(&self) -> Option<Result<Vec<String>, String>> {
        self.standing.borrow().clone()
    }

    /// Launchers that stand ready.
    pub(crate) fn prepared(&self) -> usize {
        self.lock().pools.iter().map(|pool| pool.ready.len()).sum()
    }

    /// Launches a proc as soon as a launcher is there, which is at once where the pool was filled.
    pub(crate) fn launch(self: &Arc<Self>, kernel: &Arc<Kernel>, proc: Arc<Proc>) {
        let class = proc.spec.class.to_proto();
        let launcher = {
            let mut state = self.lock();
            let pool = &mut state.pools[class as usize];
            pool.demand.due(pool.ready.len());
            let launcher = pool.ready.pop_front();
            match &launcher {
                Some(launcher) => {
                    state.stillborn = 0;
                    state.running.insert(launcher.process, Arc::clone(&proc));
                }
                None => pool.due.push_back(Arc::clone(&proc)),
            }
            launcher
        };
        match launcher {
            Some(launcher) => launch::launch(kernel, &proc, launcher),
            // One that is due is asked for at once.
            None => self.refill(kernel, class),
        }
        self.taken.notify_one();
    }

    /// Takes a proc off the line for a launcher; false where it is not in it.
    pub(crate) fn give_up(&self, pid: Pid) -> bool {
        let mut state = self.lock();
        let before: usize = state.pools.iter().map(|pool| pool.due.len()).sum();
        state.pools.iter_mut().for_each(|pool| pool.due.retain(|proc| proc.pid != pid));
        state.pools.iter().map(|pool| pool.due.len()).sum::<usize>() < before
    }

    /// Sends a signal to a proc of this jail.
    pub(crate) fn signal(&self, process: i32, signal: i32) {
        let message = proto::KillLauncher { process, signal };
        if let Some(control) = &self.lock().control {
            // A jail that has gone is seen by its supervisor, who tells what it takes with it.
            let _ = control.send(Frame::new(Kind::Notice, 0, "Jail.Kill", &message), Vec::new());
        }
    }

    /// The jail has ended, and with it all that it held.
    fn died(&self, kernel: &Arc<Kernel>, reason: &str) {
        let old = std::mem::take(&mut *self.lock());
        let mut due = Vec::new();
        for pool in old.pools {
            pool.ready.into_iter().for_each(|launcher| launch::discard(kernel, launcher));
            pool.slots.into_iter().flatten().for_each(|slot| kernel.remove_slot(slot));
            due.extend(pool.due);
        }
        for proc in old.running.into_values() {
            kernel.exited(&proc, End::Lost(reason.to_owned()));
        }
        for proc in due {
            proc.lock().not_started = Some(reason.to_owned());
            kernel.exited(&proc, End::Signal(9));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
