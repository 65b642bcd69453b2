//! The procs of this machine that live, by pid, and those whose last output is still on its way. Records of others are on
//! disk.

use super::Proc;
use sigma_abi::{Code, Error, Pid, Realm, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Procs of one realm that may be queued or running, or have output that was not yet read by who follows it.
pub(crate) const MAX_LIVE: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Procs>);

#[derive(Debug, Default)]
struct Procs {
    all: BTreeMap<Pid, Arc<Proc>>,
    counts: HashMap<Realm, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    known: usize,
    live: usize,
}

impl Table {
    /// # Errors
    /// `Quota` past [`MAX_LIVE`].
    pub(crate) fn check(&self, realm: &Realm) -> Result<()> {
        if self.lock().counts.get(realm).is_some_and(|counts| counts.known >= MAX_LIVE) {
            let text = format!("realm {realm} has {MAX_LIVE} procs: wait for some to end");
            return Err(Error::new(Code::Quota, text));
        }
        Ok(())
    }

    pub(crate) fn insert(&self, proc: Arc<Proc>) {
        let mut procs = self.lock();
        let counts = procs.counts.entry(proc.realm.clone()).or_default();
        counts.known += 1;
        counts.live += 1;
        procs.all.insert(proc.pid, proc);
    }

    /// A proc of the realm.
    ///
    /// # Errors
    /// `NotFound`: also for a proc of another realm, of which a tenant learns nothing.
    pub(crate) fn find(&self, realm: &Realm, pid: Pid) -> Result<Arc<Proc>> {
        self.get(pid).filter(|proc| proc.realm == *realm).ok_or_else(|| unknown(pid))
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<Arc<Proc>> {
        self.lock().all.get(&pid).cloned()
    }

    /// The procs of a realm that have not exited, in the order of their spawn.
    pub(crate) fn list(&self, realm: &Realm) -> Vec<Arc<Proc>> {
        let procs = self.lock();
        procs.all.values().filter(|proc| proc.realm == *realm && !proc.has_exited()).cloned().collect()
    }

    /// Queued and running procs of a realm.
    pub(crate) fn live(&self, realm: &Realm) -> usize {
        self.lock().counts.get(realm).map_or(0, |counts| counts.live)
    }

    /// A proc has ended.
    pub(crate) fn ended(&self, proc: &Proc) {
        let mut procs = self.lock();
        // One of a realm that is gone counts for no realm of the same name.
        if procs.all.contains_key(&proc.pid)
            && let Some(counts) = procs.counts.get_mut(&proc.realm)
        {
            counts.live = counts.live.saturating_sub(1);
        }
    }

    /// The last output of a proc that has ended has arrived: from now on its record is what is known of it.
    pub(crate) fn remove(&self, proc: &Proc) {
        let mut procs = self.lock();
        if procs.all.remove(&proc.pid).is_some()
            && let Some(counts) = procs.counts.get_mut(&proc.realm)
        {
            counts.known = counts.known.saturating_sub(1);
        }
    }

    /// A realm is gone, and the records of its procs with it.
    pub(crate) fn forget_realm(&self, realm: &Realm) {
        let mut procs = self.lock();
        procs.all.retain(|_, proc| proc.realm != *realm);
        procs.counts.remove(realm);
    }

    fn lock(&self) -> MutexGuard<'_, Procs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer for a pid of which nothing is known.
pub(crate) fn unknown(pid: Pid) -> Error {
    Error::new(Code::NotFound, format!("there is no proc {pid}, or its status is no longer kept"))
}
