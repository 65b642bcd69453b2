//! Keeping the pools of a jail as full as they should be.

use super::{Jail, Launcher, launch};
use crate::cgroup::Slot;
use crate::kernel::Kernel;
use crate::proc::End;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto::{Class, MakeLauncher};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// After a launch, how long until the pool is filled again: the launched proc goes first.
const REFILL_DELAY: Duration = Duration::from_millis(1);

/// A realm that started nothing for so long needs few launchers.
const QUIET: Duration = Duration::from_secs(10);

/// Launchers that may end one after the other before one is used, until what waits for them is told.
const MOST_STILLBORN: usize = 16;

const CLASSES: [Class; 2] = [Class::Be, Class::Lc];

/// Fills the pools after launches, and lets launchers go when there are none for a while.
pub(super) async fn keep(kernel: Arc<Kernel>, jail: Arc<Jail>) {
    loop {
        jail.taken.notified().await;
        while tokio::time::timeout(QUIET, refill_later(&kernel, &jail)).await.is_ok() {}
        jail.shrink(&kernel);
    }
}

/// Fills the pools a moment from now, and returns when a launcher has been taken after that.
async fn refill_later(kernel: &Arc<Kernel>, jail: &Arc<Jail>) {
    tokio::time::sleep(REFILL_DELAY).await;
    for class in CLASSES {
        jail.refill(kernel, class);
    }
    jail.taken.notified().await;
}

impl Jail {
    /// Asks for what the pool of a class lacks.
    pub(super) fn refill(self: &Arc<Self>, kernel: &Arc<Kernel>, class: Class) {
        let mut without_group = 0;
        let missing = {
            let mut state = self.lock();
            if state.control.is_none() {
                return;
            }
            let pool = &mut state.pools[class as usize];
            let missing = pool.demand.missing(pool.ready.len(), pool.asked, pool.due.len());
            pool.asked += missing;
            missing
        };
        for _ in 0..missing {
            match kernel.cgroups.reuse(&self.realm, class) {
                None if kernel.cgroups.on() => without_group += 1,
                slot => self.ask(kernel, class, slot),
            }
        }
        if without_group > 0 {
            tokio::spawn(Arc::clone(self).make_groups(Arc::clone(kernel), class, without_group));
        }
    }

    /// Makes control groups, and asks for a launcher in each.
    async fn make_groups(self: Arc<Self>, kernel: Arc<Kernel>, class: Class, count: usize) {
        for _ in 0..count {
            let make = {
                let (cgroups, realm) = (Arc::clone(&kernel.cgroups), self.realm.clone());
                move || cgroups.make(&realm, class)
            };
            let made = tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(error.into()));
            match made {
                Ok(slot) => self.ask(&kernel, class, Some(slot)),
                Err(error) => self.refused(&kernel, class, &error.to_string()),
            }
        }
    }

    /// Asks the jail for a launcher in this control group.
    fn ask(&self, kernel: &Arc<Kernel>, class: Class, slot: Option<Slot>) {
        let files = slot.as_ref().map_or_else(|| Ok(Vec::new()), |slot| kernel.cgroups.entrances(slot));
        let files: Vec<OwnedFd> = match files {
            Ok(files) => files.into_iter().map(OwnedFd::from).collect(),
            Err(error) => {
                slot.into_iter().for_each(|slot| kernel.remove_slot(slot));
                return self.refused(kernel, class, &error.to_string());
            }
        };
        let frame = Frame::new(Kind::Notice, 0, "Jail.Make", &MakeLauncher { class: class.into() });
        let mut state = self.lock();
        match state.control.clone() {
            Some(control) => {
                state.pools[class as usize].slots.push_back(slot);
                // A jail that has gone is seen by its supervisor.
                let _ = control.send(frame, files);
            }
            // The jail that it was for has ended.
            None => slot.into_iter().for_each(|slot| kernel.remove_slot(slot)),
        }
    }

    /// The control group of a launcher cannot be made.
    fn refused(&self, kernel: &Arc<Kernel>, class: Class, reason: &str) {
        {
            let mut state = self.lock();
            if state.control.is_none() {
                // What it was for has been told with the jail's end.
                return;
            }
            let pool = &mut state.pools[class as usize];
            pool.asked = pool.asked.saturating_sub(1);
        }
        tracing::error!(realm = %self.realm, reason, "the control group of a launcher cannot be made");
        self.refuse(kernel, class, &format!("the sandbox layer \"cgroup\" cannot be set up: {reason}"));
    }

    /// A launcher has ended before it was used. Another one is made, unless that happens to all of them.
    pub(super) fn stillborn(self: &Arc<Self>, kernel: &Arc<Kernel>, class: Class) {
        let many = {
            let mut state = self.lock();
            state.stillborn += 1;
            state.stillborn >= MOST_STILLBORN
        };
        match many {
            true => self.refuse(kernel, class, "the launchers of its jail end before they can be used"),
            false => self.refill(kernel, class),
        }
    }

    /// What waits for a launcher cannot run.
    fn refuse(&self, kernel: &Arc<Kernel>, class: Class, reason: &str) {
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

    /// The jail has made a launcher: the control group that it is in.
    pub(super) fn made(&self, class: Class) -> Option<Slot> {
        let mut state = self.lock();
        let pool = &mut state.pools[class as usize];
        pool.asked = pool.asked.saturating_sub(1);
        pool.slots.pop_front().flatten()
    }

    /// A launcher stands ready.
    pub(super) fn ready(&self, kernel: &Arc<Kernel>, class: Class, launcher: Launcher) {
        let due = {
            let mut state = self.lock();
            if state.control.is_none() {
                return launch::discard(kernel, launcher);
            }
            let pool = &mut state.pools[class as usize];
            let Some(proc) = pool.due.pop_front() else {
                pool.ready.push_back(launcher);
                return;
            };
            state.running.insert(launcher.process, Arc::clone(&proc));
            state.stillborn = 0;
            (proc, launcher)
        };
        launch::launch(kernel, &due.0, due.1);
    }

    /// Lets go of launchers that a realm does not need while it starts nothing.
    fn shrink(&self, kernel: &Arc<Kernel>) {
        let surplus: Vec<_> = {
            let mut state = self.lock();
            let shrunk = state.pools.iter_mut().flat_map(|pool| {
                pool.demand.quiet();
                let surplus = pool.demand.surplus(pool.ready.len());
                pool.ready.drain(..surplus).collect::<Vec<_>>()
            });
            shrunk.collect()
        };
        surplus.into_iter().for_each(|launcher| launch::discard(kernel, launcher));
        kernel.cgroups.shrink(&self.realm);
    }
}
