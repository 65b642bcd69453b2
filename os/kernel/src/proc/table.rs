//! All procs of this machine, by pid; the ended ones for as long as their end is kept.

use super::Proc;
use sigma_abi::{Code, Error, Pid, Realm, Result};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ended procs that are kept for each realm; the oldest go first.
pub(crate) const MAX_ENDED: usize = 1000;

/// Procs of one realm that may be queued or running.
pub(crate) const MAX_LIVE: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Procs>);

#[derive(Debug, Default)]
struct Procs {
    all: BTreeMap<Pid, Arc<Proc>>,
    ended: HashMap<Realm, VecDeque<Pid>>,
    live: HashMap<Realm, usize>,
}

impl Table {
    /// # Errors
    /// `Quota` past [`MAX_LIVE`].
    pub(crate) fn insert(&self, proc: Arc<Proc>) -> Result<()> {
        let mut procs = self.lock();
        let live = procs.live.entry(proc.realm.clone()).or_default();
        if *live >= MAX_LIVE {
            let text = format!("realm {} has {MAX_LIVE} procs: wait for some to end", proc.realm);
            return Err(Error::new(Code::Quota, text));
        }
        *live += 1;
        procs.all.insert(proc.pid, proc);
        Ok(())
    }

    /// A proc of the realm.
    ///
    /// # Errors
    /// `NotFound`: also for a proc of another realm, of which a tenant learns nothing.
    pub(crate) fn find(&self, realm: &Realm, pid: Pid) -> Result<Arc<Proc>> {
        self.get(pid).filter(|proc| proc.realm == *realm).ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no proc {pid}, or its status is no longer kept"))
        })
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<Arc<Proc>> {
        self.lock().all.get(&pid).cloned()
    }

    /// The procs of a realm, in the order of their spawn.
    pub(crate) fn list(&self, realm: &Realm, ended: bool) -> Vec<Arc<Proc>> {
        let procs = self.lock();
        procs
            .all
            .values()
            .filter(|proc| proc.realm == *realm && (ended || !proc.has_exited()))
            .cloned()
            .collect()
    }

    /// Queued and running procs of a realm.
    pub(crate) fn live(&self, realm: &Realm) -> usize {
        self.lock().live.get(realm).copied().unwrap_or(0)
    }

    /// A proc has ended; its record is kept for a while.
    pub(crate) fn ended(&self, proc: &Proc) {
        let mut procs = self.lock();
        procs.leave(&proc.realm);
        let ended = procs.ended.entry(proc.realm.clone()).or_default();
        ended.push_back(proc.pid);
        if ended.len() > MAX_ENDED
            && let Some(oldest) = ended.pop_front()
        {
            procs.all.remove(&oldest);
        }
    }

    /// A realm is gone, and the records of its procs with it.
    pub(crate) fn forget_realm(&self, realm: &Realm) {
        let mut procs = self.lock();
        procs.all.retain(|_, proc| proc.realm != *realm);
        procs.ended.remove(realm);
        procs.live.remove(realm);
    }

    fn lock(&self) -> MutexGuard<'_, Procs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Procs {
    fn leave(&mut self, realm: &Realm) {
        if let Some(live) = self.live.get_mut(realm) {
            *live = live.saturating_sub(1);
        }
    }
}
