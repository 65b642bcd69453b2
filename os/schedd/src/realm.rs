//! The realms that have procs here, and what each of them holds.

use crate::book::Need;
use crate::event::RealmLimits;
use crate::proc::Run;
use sigma_abi::{Class, Pid, Realm};
use std::collections::{BTreeMap, BTreeSet};

/// A realm by number; a number is given again only after its realm has no procs left.
pub(crate) type Slot = usize;

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) realm: Realm,
    /// What its running procs hold.
    pub(crate) held: Need,
    /// Places that its BE procs hold.
    pub(crate) be_places: u64,
    /// Its BE procs that could be killed for an LC proc, by the number of their start, and what they hold.
    pub(crate) victims: BTreeMap<u64, Pid>,
    pub(crate) evictable: Need,
    pub(crate) limits: RealmLimits,
    /// Queued and running procs.
    lc: usize,
    be: usize,
}

impl Account {
    fn new(realm: Realm, limits: RealmLimits) -> Self {
        let (held, evictable, victims) = (Need::default(), Need::default(), BTreeMap::new());
        Self { realm, held, be_places: 0, victims, evictable, limits, lc: 0, be: 0 }
    }

    /// What decides whose turn it is: reserved mcpu for LC, places for BE.
    pub(crate) fn share(&self, class: Class) -> u64 {
        if class.is_lc() { self.held.mcpu } else { self.be_places }
    }

    pub(crate) fn take(&mut self, class: Class, need: Need, number: u64, pid: Pid) {
        self.held.add(need);
        if !class.is_lc() {
            self.be_places += 1;
            self.victims.insert(number, pid);
            self.evictable.add(need);
        }
    }

    pub(crate) fn give_back(&mut self, class: Class, need: Need, run: &Run) {
        self.held.subtract(need);
        if !class.is_lc() {
            self.be_places -= u64::from(!run.blocked);
            self.not_evictable(run.number, need);
        }
    }

    /// A BE proc is being killed, or has ended.
    pub(crate) fn not_evictable(&mut self, number: u64, need: Need) {
        if self.victims.remove(&number).is_some() {
            self.evictable.subtract(need);
        }
    }

    fn count(&mut self, class: Class) -> &mut usize {
        if class.is_lc() { &mut self.lc } else { &mut self.be }
    }

    /// Queued and running procs.
    pub(crate) fn procs(&self) -> u64 {
        (self.lc + self.be) as u64
    }

    /// What its limits allow beyond what it holds.
    pub(crate) fn allowed(&self) -> Need {
        self.limits.most().left_of(self.held)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    slots: BTreeMap<Realm, Slot>,
    accounts: Vec<Option<Account>>,
    free: Vec<Slot>,
    /// Of realms that have some, also of those that have no procs here.
    limits: BTreeMap<Realm, RealmLimits>,
    with_lc: BTreeSet<Realm>,
    with_be: BTreeSet<Realm>,
}

impl Accounts {
    /// Realms that have procs here.
    pub(crate) fn present(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Realms that have LC procs here.
    pub(crate) fn with_lc(&self) -> &BTreeSet<Realm> {
        &self.with_lc
    }

    /// Realms that have BE procs here.
    pub(crate) fn with_be(&self) -> &BTreeSet<Realm> {
        &self.with_be
    }

    pub(crate) fn slot(&self, realm: &Realm) -> Option<Slot> {
        self.slots.get(realm).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> &Account {
        self.accounts[slot].as_ref().expect("a slot lives as long as a proc of its realm")
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Account {
        self.accounts[slot].as_mut().expect("a slot lives as long as a proc of its realm")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().flatten()
    }

    pub(crate) fn limits(&self, realm: &Realm) -> RealmLimits {
        self.limits.get(realm).copied().unwrap_or_default()
    }

    /// Keeps the limits of a realm; its slot, where it has procs here.
    pub(crate) fn limit(&mut self, realm: Realm, limits: RealmLimits) -> Option<Slot> {
        let slot = self.slot(&realm);
        if let Some(slot) = slot {
            self.get_mut(slot).limits = limits;
        }
        if limits == RealmLimits::default() {
            self.limits.remove(&realm);
        } else {
            self.limits.insert(realm, limits);
        }
        slot
    }

    /// Counts one more proc of the realm.
    pub(crate) fn enter(&mut self, realm: Realm, class: Class) -> Slot {
        let slot = self.slot(&realm).unwrap_or_else(|| self.open(realm));
        let account = self.get_mut(slot);
        let count = account.count(class);
        *count += 1;
        if *count == 1 {
            let realm = account.realm.clone();
            self.with(class).insert(realm);
        }
        slot
    }

    /// Counts one proc less, and forgets a realm without any.
    pub(crate) fn leave(&mut self, slot: Slot, class: Class) {
        let account = self.get_mut(slot);
        let count = account.count(class);
        *count -= 1;
        if *count == 0 {
            let realm = account.realm.clone();
            self.with(class).remove(&realm);
        }
        let account = self.get(slot);
        if account.lc + account.be == 0 {
            debug_assert_eq!(account.held, Need::default());
            self.slots.remove(&account.realm.clone());
            self.accounts[slot] = None;
            self.free.push(slot);
        }
    }

    fn with(&mut self, class: Class) -> &mut BTreeSet<Realm> {
        if class.is_lc() { &mut self.with_lc } else { &mut self.with_be }
    }

    fn open(&mut self, realm: Realm) -> Slot {
        let limits = self.limits(&realm);
        let account = Account::new(realm.clone(), limits);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.accounts[slot] = Some(account);
                slot
            }
            None => {
                self.accounts.push(Some(account));
                self.accounts.len() - 1
            }
        };
        self.slots.insert(realm, slot);
        slot
    }
}

impl RealmLimits {
    /// The most that the running procs of the realm may hold.
    pub(crate) fn most(self) -> Need {
        Need { mcpu: self.mcpu.unwrap_or(u64::MAX), memory_bytes: self.memory_bytes.unwrap_or(u64::MAX) }
    }
}
