//! The jail of a realm, seen from the kernel: launchers prepared ahead, procs launched from them, their ends told.
//!
//! ```text
//!   jail ──Launcher──▶ placed in its control group ──▶ pool ──a proc is due──▶ launched ──Exited──▶ gone
//! ```

mod control;
mod launch;

use crate::cgroup::Slot;
use crate::kernel::Kernel;
use crate::proc::{End, Proc};
use crate::session::Owner;
use crate::supervise::Program;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::{Pid, Realm, proto};
use sigmaos::wire::Connection;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// Launchers of each class that stand ready in a realm.
pub(crate) const PREPARED_BE: usize = 8;
/// See [`PREPARED_BE`].
pub(crate) const PREPARED_LC: usize = 4;

/// After a launch, how long until the pool is filled again: the launched proc goes first.
const REFILL_DELAY: Duration = Duration::from_millis(1);

/// Launchers that may end one after the other before one is used, until what waits for them is told.
const MOST_STILLBORN: usize = 16;

/// Launchers that are asked for at once for a backlog.
const MOST_ASKED: usize = 32;

/// A process that waits to become a proc.
#[derive(Debug)]
pub(crate) struct Launcher {
    process: i32,
    owner: Arc<Owner>,
    slot: Option<Slot>,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// Drives the door.
    driver: JoinHandle<()>,
}

/// The jail of one realm on this machine.
#[derive(Debug)]
pub(crate) struct Jail {
    realm: Realm,
    state: Mutex<State>,
    /// What the jail says of itself: the layers that are on, or why it does not stand.
    standing: watch::Sender<Option<Result<Vec<String>, String>>>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct State {
    control: Option<Connection>,
    /// Counts the lives of the jail: processes are numbered anew in each.
    life: u64,
    pools: [Pool; 2],
    /// Launchers that are being placed; true once one of them has ended.
    placing: HashMap<i32, bool>,
    /// Launchers that ended before they could be used, one after the other.
    stillborn: usize,
    /// Procs by their process in the jail.
    running: HashMap<i32, Arc<Proc>>,
}

/// Why a launcher was not placed.
#[derive(Debug)]
enum Unplaced {
    /// It ended.
    Ended,
    Failed(String),
}

#[derive(Debug, Default)]
struct Pool {
    ready: VecDeque<Launcher>,
    /// Launchers that the jail was asked for.
    asked: usize,
    /// Procs that wait for one.
    due: VecDeque<Arc<Proc>>,
}

impl Pool {
    /// How many to ask for so that `target` stand ready beyond those that are due.
    fn missing(&self, target: usize) -> usize {
        let wanted = (target + self.due.len()).saturating_sub(self.ready.len() + self.asked);
        wanted.min(MOST_ASKED)
    }
}

impl Jail {
    /// Executes the jail of a realm, and again when it dies.
    pub(crate) fn start(kernel: &Arc<Kernel>, realm: &Realm, program: Program) -> Arc<Self> {
        let jail = Arc::new(Self {
            realm: realm.clone(),
            state: Mutex::default(),
            standing: watch::Sender::new(None),
            task: Mutex::default(),
        });
        let task = tokio::spawn(control::supervise(Arc::clone(kernel), Arc::clone(&jail), program));
        *jail.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        jail
    }

    /// Ends the jail, and every proc in it.
    pub(crate) fn stop(&self, kernel: &Arc<Kernel>) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.died(kernel, "the realm's jail was stopped");
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
            None => return self.refill(class),
        }
        let jail = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_DELAY).await;
            jail.refill(class);
        });
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
        self.tell(Frame::new(Kind::Notice, 0, "Jail.Kill", &message));
    }

    /// Asks for what the pool of a class lacks.
    fn refill(&self, class: proto::Class) {
        let target = if class == proto::Class::Lc { PREPARED_LC } else { PREPARED_BE };
        let count = {
            let mut state = self.lock();
            if state.control.is_none() {
                return;
            }
            let pool = &mut state.pools[class as usize];
            // Half a pool is enough not to wait; fewer, larger requests disturb what runs less.
            let low = pool.ready.len() + pool.asked <= target / 2 || !pool.due.is_empty();
            let count = if low { pool.missing(target) } else { 0 };
            pool.asked += count;
            count
        };
        if count > 0 {
            let message = proto::MakeLaunchers { class: class.into(), count: count as u32 };
            self.tell(Frame::new(Kind::Notice, 0, "Jail.Make", &message));
        }
    }

    fn tell(&self, frame: Frame) {
        let control = self.lock().control.clone();
        if let Some(control) = control {
            // A jail that has gone is seen by its supervisor, who tells what it takes with it.
            let _ = control.send(frame, Vec::new());
        }
    }

    /// A launcher begins to be placed: in which life of the jail.
    fn placing(&self, process: i32) -> u64 {
        let mut state = self.lock();
        state.placing.insert(process, false);
        state.life
    }

    /// A launcher was placed, and stands ready unless it, or its jail, has ended meanwhile.
    fn ready(self: &Arc<Self>, kernel: &Arc<Kernel>, life: u64, class: proto::Class, launcher: Launcher) {
        let due = {
            let mut state = self.lock();
            if state.control.is_none() || state.life != life {
                launch::discard(kernel, launcher);
                return;
            }
            let ended = state.placing.remove(&launcher.process) == Some(true);
            let pool = &mut state.pools[class as usize];
            pool.asked = pool.asked.saturating_sub(1);
            match ended {
                true => Err(launcher),
                false => match pool.due.pop_front() {
                    Some(proc) => {
                        state.running.insert(launcher.process, Arc::clone(&proc));
                        state.stillborn = 0;
                        Ok((proc, launcher))
                    }
                    None => {
                        pool.ready.push_back(launcher);
                        return;
                    }
                },
            }
        };
        match due {
            Ok((proc, launcher)) => launch::launch(kernel, &proc, launcher),
            Err(launcher) => {
                launch::discard(kernel, launcher);
                self.stillborn(kernel, class);
            }
        }
    }

    /// A launcher was not placed.
    fn unplaced(
        self: &Arc<Self>,
        kernel: &Arc<Kernel>,
        life: u64,
        class: proto::Class,
        process: i32,
        why: Unplaced,
    ) {
        {
            let mut state = self.lock();
            // What an earlier life was asked for has been told with its end.
            if state.control.is_none() || state.life != life {
                return;
            }
            state.placing.remove(&process);
            let pool = &mut state.pools[class as usize];
            pool.asked = pool.asked.saturating_sub(1);
        }
        match why {
            Unplaced::Ended => self.stillborn(kernel, class),
            Unplaced::Failed(reason) => {
                tracing::error!(realm = %self.realm, reason, "a launcher cannot be used");
                self.refuse(kernel, class, &reason);
            }
        }
    }

    /// A launcher has ended before it was used. Another one is made, unless that happens to all of them.
    fn stillborn(self: &Arc<Self>, kernel: &Arc<Kernel>, class: proto::Class) {
        let many = {
            let mut state = self.lock();
            state.stillborn += 1;
            state.stillborn >= MOST_STILLBORN
        };
        match many {
            true => self.refuse(kernel, class, "the launchers of its jail end before they can be used"),
            false => self.refill(class),
        }
    }

    /// What waits for a launcher cannot run.
    fn refuse(&self, kernel: &Arc<Kernel>, class: proto::Class, reason: &str) {
        let due: Vec<_> = {
            let mut state = self.lock();
            state.stillborn = 0;
            state.pools[class as usize].due.drain(..).collect()
        };
        for proc in due {
            proc.lock().not_started = Some(reason.to_owned());
            kernel.exited(&proc, End::Signal(9));
        }
    }

    /// The jail has ended, and with it all that it held.
    fn died(&self, kernel: &Arc<Kernel>, reason: &str) {
        let (running, due) = {
            let mut state = self.lock();
            state.control = None;
            let next = State { life: state.life + 1, ..State::default() };
            let old = std::mem::replace(&mut *state, next);
            let slots = old.pools.into_iter().flat_map(|pool| {
                pool.ready.into_iter().for_each(|launcher| launch::discard(kernel, launcher));
                pool.due
            });
            let due: Vec<_> = slots.collect();
            (old.running, due)
        };
        for proc in running.into_values() {
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
