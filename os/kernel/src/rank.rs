//! As what the kernel processes of a realm, its named and proxies, are served: as LC work while the realm has LC procs, which wait
//! for them, and else as BE work, like what they do it for. Otherwise a BE proc that keeps its proxy busy would slow the LC
//! procs of other realms by it.

use crate::cgroup::Cgroups;
use crate::kernel::Kernel;
use sigma_abi::{Realm, proto};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// How long they are served as LC work after the last LC proc, and after they have started: moving them takes a lock of the
/// whole system, so that it is not done for each of many short procs.
const KEEP: Duration = Duration::from_secs(2);

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
        for (realm, class) in state.step(Instant::now(), &kernel.scheduler.realms_with_lc(), fresh) {
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
        tokio::select! {
            () = kernel.scheduler.lc_realms.notified() => {}
            () = ranks.started.notified() => {}
            () = due => {}
        }
    }
}

/// Which realms are served as what.
#[derive(Debug, Default)]
struct State {
    /// Those with LC procs.
    lc: BTreeSet<Realm>,
    /// Those without any that are still served as LC work, and until when.
    kept: BTreeMap<Realm, Instant>,
}

impl State {
    /// What is to be moved now, given the realms that have LC procs, and those in which a process has started.
    fn step(
        &mut self,
        now: Instant,
        with_lc: &BTreeSet<Realm>,
        fresh: BTreeSet<Realm>,
    ) -> Vec<(Realm, proto::Class)> {
        let mut moves = Vec::new();
        for realm in with_lc.difference(&self.lc) {
            if self.kept.remove(realm).is_none() {
                moves.push((realm.clone(), proto::Class::Lc));
            }
        }
        let without = self.lc.difference(with_lc).cloned();
        let fresh = fresh.into_iter().filter(|realm| !with_lc.contains(realm));
        self.kept.extend(without.chain(fresh).map(|realm| (realm, now + KEEP)));
        self.lc.clone_from(with_lc);
        self.kept.retain(|realm, until| {
            let due = *until <= now;
            if due {
                moves.push((realm.clone(), proto::Class::Be));
            }
            !due
        });
        moves
    }

    /// When something is to be moved next, whatever else happens.
    fn next(&self) -> Option<Instant> {
        self.kept.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realms(names: &[&str]) -> BTreeSet<Realm> {
        names.iter().map(|name| Realm::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_realm_is_served_as_lc_work_from_its_first_lc_proc_until_a_while_after_its_last() {
        let mut state = State::default();
        let (begin, none) = (Instant::now(), realms(&[]));
        let a = Realm::parse("a").unwrap();
        assert_eq!(state.step(begin, &none, realms(&["a"])), [], "it starts as LC work");
        assert_eq!(state.next(), Some(begin + KEEP));
        assert_eq!(state.step(begin + KEEP, &none, realms(&[])), [(a.clone(), proto::Class::Be)]);
        assert_eq!(state.next(), None);
        let with = realms(&["a"]);
        assert_eq!(state.step(begin + KEEP, &with, realms(&[])), [(a.clone(), proto::Class::Lc)]);
        // Many short procs move nothing.
        for tenths in 0..30 {
            let now = begin + KEEP * 2 + Duration::from_millis(100) * tenths;
            let with_lc = if tenths % 2 == 0 { &none } else { &with };
            assert_eq!(state.step(now, with_lc, realms(&[])), []);
        }
        let now = begin + KEEP * 10;
        assert_eq!(state.step(now, &none, realms(&[])), []);
        assert_eq!(state.step(now + KEEP, &none, realms(&[])), [(a, proto::Class::Be)]);
    }

    #[test]
    fn a_process_that_starts_in_a_realm_with_lc_procs_stays_where_it_is() {
        let (mut state, begin, with) = (State::default(), Instant::now(), realms(&["a"]));
        state.step(begin, &with, realms(&["a"]));
        assert_eq!(state.step(begin + KEEP * 2, &with, realms(&["a"])), []);
        assert_eq!(state.next(), None);
    }
}
