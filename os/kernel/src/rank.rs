//! As what the kernel processes of a realm, its named and proxies, are served: as BE work while the realm has BE procs and no others,
//! like what they do it for, and else as LC work. Otherwise a BE proc that keeps its proxy busy would slow the LC procs of other
//! realms by it. LC procs wait for them, and so do people and their tools, who are no BE work themselves.

use crate::cgroup::Cgroups;
use crate::kernel::Kernel;
use sigma_abi::{Realm, proto};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// How long they are served as LC work beside BE procs alone, and as BE work after the last of these, who come again where there were some:
/// moving them takes a lock of the whole system, so that it is not done for each of many short procs.
const KEEP: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(10);

/// Between looks at which realms have BE procs, which may change with each short one.
const LOOK: Duration = Duration::from_millis(200);

/// Counts kernel processes towards their realms.
#[derive(Debug)]
pub(crate) struct Ranks {
    cgroups: Arc<Cgroups>,
    /// Realms in which a kernel process has started since this was looked at last.
    fresh: Mutex<BTreeSet<Realm>>,
    started: Notify,
}

impl Ranks {
    pub(crate) fn new(cgroups: Arc<Cgroups>) -> Self {
        Self { cgroups, fresh: Mutex::default(), started: Notify::new() }
    }

    /// Counts a process that has just started towards its realm. Slow, as all that moves processes.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn take_in(&self, realm: &Realm, os_pid: u32) -> io::Result<()> {
        self.cgroups.take_in(realm, os_pid)?;
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(realm.clone());
        self.started.notify_one();
        Ok(())
    }
}

/// Moves the kernel processes of each realm to where they belong.
pub(crate) async fn keep(kernel: Arc<Kernel>) {
    let ranks = &kernel.ranks;
    if !ranks.cgroups.on() {
        return;
    }
    let mut state = State::default();
    loop {
        let fresh = std::mem::take(&mut *ranks.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        let [with_lc, with_be] = kernel.scheduler.realms_with();
        for (realm, class) in state.step(Instant::now(), &with_lc, &with_be, fresh) {
            let cgroups = Arc::clone(&ranks.cgroups);
            let moved = tokio::task::spawn_blocking(move || {
                if let Err(error) = cgroups.rank(&realm, class) {
                    tracing::warn!(%realm, ?class, %error, "kernel processes cannot be moved");
                }
            });
            // One after the other, so that the last word on a realm is the last one carried out. It tells of its own failure.
            let _ = moved.await;
        }
        let due = async {
            match state.next() {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let be_realms = async {
            kernel.scheduler.be_realms.notified().await;
            tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            () = kernel.scheduler.lc_realms.notified() => {}
            () = be_realms => {}
            () = ranks.started.notified() => {}
            () = due => {}
        }
    }
}

/// Which realms are served as what.
#[derive(Debug, Default)]
struct State {
    /// Those with BE procs alone; until when, where the last of these has ended.
    be_alone: BTreeMap<Realm, Option<Instant>>,
    /// Of those the ones that are served as BE work, and the ones that will be, and when.
    served: BTreeSet<Realm>,
    due: BTreeMap<Realm, Instant>,
}

impl State {
    /// What is to be moved now, given the realms that have procs of each class, and those in which a process has started.
    fn step(
        &mut self,
        now: Instant,
        with_lc: &BTreeSet<Realm>,
        with_be: &BTreeSet<Realm>,
        fresh: BTreeSet<Realm>,
    ) -> Vec<(Realm, proto::Class)> {
        self.be_alone.extend(with_be.iter().map(|realm| (realm.clone(), None)));
        self.be_alone.retain(|realm, until| {
            let has_any = with_be.contains(realm);
            !with_lc.contains(realm) && (has_any || *until.get_or_insert(now + LINGER) > now)
        });
        let be_alone = |realm: &Realm| self.be_alone.contains_key(realm);
        let mut moves = Vec::new();
        self.served.retain(|realm| {
            let stays = be_alone(realm);
            if !stays {
                moves.push((realm.clone(), proto::Class::Lc));
            }
            stays
        });
        self.due.retain(|realm, _| be_alone(realm));
        let new = self.be_alone.keys().filter(|realm| !self.served.contains(*realm)).cloned();
        for realm in new {
            self.due.entry(realm).or_insert(now + KEEP);
        }
        // A process begins as LC work.
        self.due.extend(fresh.into_iter().filter(be_alone).map(|realm| (realm, now + KEEP)));
        self.due.retain(|realm, at| {
            if *at > now {
                return true;
            }
            if !with_be.contains(realm) {
                // There were short ones: it is looked again whether more come.
                *at = now + LOOK;
                return true;
            }
            moves.push((realm.clone(), proto::Class::Be));
            self.served.insert(realm.clone());
            false
        });
        moves
    }

    /// When something is to be moved next, whatever else happens.
    fn next(&self) -> Option<Instant> {
        self.due.values().chain(self.be_alone.values().flatten()).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realms(names: &[&str]) -> BTreeSet<Realm> {
        names.iter().map(|name| Realm::parse(name).unwrap()).collect()
    }

    /// What is moved of the realm `a`, which has procs of these classes, at a time in tenths of a second.
    fn step(
        state: &mut State,
        begin: Instant,
        tenths: u32,
        lc: bool,
        be: bool,
        fresh: bool,
    ) -> Vec<proto::Class> {
        let [lc, be, fresh] = [lc, be, fresh].map(|has| realms(if has { &["a"] } else { &[] }));
        let moves = state.step(begin + Duration::from_millis(100) * tenths, &lc, &be, fresh);
        moves.into_iter().map(|(_, class)| class).collect()
    }

    #[test]
    fn a_realm_is_served_as_be_work_beside_be_procs_alone() {
        let (mut state, begin) = (State::default(), Instant::now());
        let mut at = |tenths, lc, be, fresh| step(&mut state, begin, tenths, lc, be, fresh);
        assert_eq!(at(0, false, false, true), [], "tools alone");
        assert_eq!(at(100, false, true, false), [], "not at once");
        assert_eq!(at(120, false, true, false), [proto::Class::Be]);
        assert_eq!(at(130, true, true, false), [proto::Class::Lc], "for an LC proc at once");
        assert_eq!(at(140, false, true, false), []);
        assert_eq!(at(160, false, true, false), [proto::Class::Be]);
        assert_eq!(at(170, false, false, false), []);
        assert_eq!(at(269, false, false, false), []);
        assert_eq!(at(270, false, false, false), [proto::Class::Lc]);
        assert_eq!(state.next(), None);
    }

    #[test]
    fn many_short_be_procs_are_be_work_and_move_nothing_but_once() {
        let (mut state, begin) = (State::default(), Instant::now());
        let moves: Vec<_> = (0..100)
            .flat_map(|tenths| step(&mut state, begin, tenths, false, tenths % 2 == 0, false))
            .collect();
        assert_eq!(moves, [proto::Class::Be]);
    }

    #[test]
    fn a_be_proc_that_ended_moves_nothing() {
        let (mut state, begin) = (State::default(), Instant::now());
        step(&mut state, begin, 0, false, true, false);
        for tenths in 1..200 {
            assert_eq!(step(&mut state, begin, tenths, false, false, false), [], "{tenths}");
        }
        assert_eq!(state.next(), None);
    }

    #[test]
    fn a_process_that_starts_beside_be_procs_joins_the_others() {
        let (mut state, begin) = (State::default(), Instant::now());
        let mut at = |tenths, fresh| step(&mut state, begin, tenths, false, true, fresh);
        at(0, true);
        assert_eq!(at(20, false), [proto::Class::Be]);
        assert_eq!(at(30, true), []);
        assert_eq!(at(50, false), [proto::Class::Be]);
        // Beside LC procs it is where it belongs.
        let (mut state, all) = (State::default(), realms(&["a"]));
        assert_eq!(state.step(begin, &all, &all, realms(&["a"])), []);
        assert_eq!(state.next(), None);
    }
}
