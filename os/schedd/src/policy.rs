//! What starts when. The rules are in the crate's own words, in lib.rs; this is how they are carried out.

use crate::book::{Book, Machine, Mib, Need, Short};
use crate::event::{Action, Event, Load};
use crate::lane::{Lane, Standing, Ticket};
use crate::order::Room;
use crate::realm::{Accounts, Slot};
use sigma_abi::{Class, Code, Error, Pid, Realm, Result};
use std::collections::BTreeMap;

/// Procs of one realm and class that may wait on one machine.
pub const MAX_QUEUED_PER_REALM: usize = 100_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Proc {
    pub(crate) slot: Slot,
    pub(crate) class: Class,
    need: Need,
    /// `None`: it runs.
    pub(crate) waits: Option<Ticket>,
}

/// The scheduler of one machine.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) book: Book,
    pub(crate) accounts: Accounts,
    lc: Lane,
    be: Lane,
    pub(crate) procs: BTreeMap<Pid, Proc>,
}

impl Policy {
    pub fn new(machine: Machine) -> Self {
        Self {
            book: Book::new(machine),
            accounts: Accounts::default(),
            lc: Lane::default(),
            be: Lane::default(),
            procs: BTreeMap::new(),
        }
    }

    /// Appends what is to be done about an event to `actions`.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        let mut idle_cores = 0;
        match event {
            Event::Queued { pid, realm, class, memory_bytes } => {
                if self.procs.contains_key(&pid) {
                    return;
                }
                if let Err(reason) = self.check(&realm, class, memory_bytes) {
                    actions.push(Action::Refuse { pid, reason });
                    return;
                }
                self.enqueue(pid, realm, class, memory_bytes);
            }
            Event::Ended { pid } => self.forget(pid),
            Event::Limits { realm, limits } => {
                if let Some(slot) = self.accounts.limit(realm, limits) {
                    self.stand(slot);
                }
            }
            Event::Idle { mcpu } => idle_cores = u64::from(mcpu / 1000),
        }
        self.start_lc(actions);
        self.start_be(idle_cores, actions);
    }

    /// Whether a proc would be queued. The kernel asks at spawn, so that the spawner gets the error.
    ///
    /// # Errors
    /// As [`Machine::check`]; `Quota` for what the limits of its realm never allow, and at [`MAX_QUEUED_PER_REALM`].
    pub fn check(&self, realm: &Realm, class: Class, memory_bytes: u64) -> Result<()> {
        self.book.machine.check(class, memory_bytes)?;
        self.check_limits(realm, class, memory_bytes)?;
        let queued = self.accounts.slot(realm).map_or(0, |slot| self.lane(class).queued_of(slot));
        if queued < MAX_QUEUED_PER_REALM {
            return Ok(());
        }
        let text = format!("realm {realm} has {queued} {} procs waiting here, the most it may", word(class));
        Err(Error::new(Code::Quota, text))
    }

    fn check_limits(&self, realm: &Realm, class: Class, memory_bytes: u64) -> Result<()> {
        let refuse = |text| Err(Error::new(Code::Quota, text));
        let limits = self.accounts.limits(realm);
        let most = limits.most();
        if u64::from(class.mcpu()) > most.mcpu {
            return refuse(format!("asks for {} mcpu; realm {realm} may have {}", class.mcpu(), most.mcpu));
        }
        if memory_bytes > most.memory_bytes {
            let (asks, most) = (Mib(memory_bytes), Mib(most.memory_bytes));
            return refuse(format!("asks for {asks} of memory; realm {realm} may have {most}"));
        }
        let procs = self.accounts.slot(realm).map_or(0, |slot| self.accounts.get(slot).procs());
        if limits.procs.is_some_and(|most| procs >= most) {
            return refuse(format!("realm {realm} has {procs} procs, queued and running, the most it may"));
        }
        Ok(())
    }

    pub fn machine(&self) -> Machine {
        self.book.machine
    }

    pub fn load(&self) -> Load {
        Load {
            lc_queued: self.lc.queued(),
            be_queued: self.be.queued(),
            lc_running: self.book.lc_running,
            be_running: self.book.be_running,
            reserved_mcpu: self.book.held.mcpu,
            memory_bytes: self.book.held.memory_bytes,
        }
    }

    fn enqueue(&mut self, pid: Pid, realm: Realm, class: Class, memory_bytes: u64) {
        let need = Need::of(class, memory_bytes);
        let slot = self.accounts.enter(realm, class);
        let standing = self.standing(slot, class);
        let ticket = self.lane_mut(class).push(slot, standing, pid, need);
        self.procs.insert(pid, Proc { slot, class, need, waits: Some(ticket) });
    }

    fn forget(&mut self, pid: Pid) {
        let Some(Proc { slot, class, need, waits }) = self.procs.remove(&pid) else { return };
        if let Some(ticket) = waits {
            self.lane_mut(class).remove(slot, ticket);
        } else {
            self.book.give_back(class, need);
            let account = self.accounts.get_mut(slot);
            account.held.subtract(need);
            account.be_running -= u64::from(!class.is_lc());
            self.stand(slot);
        }
        self.accounts.leave(slot, class);
    }

    fn start_lc(&mut self, actions: &mut Vec<Action>) {
        let mut short = Short::default();
        while let Some(key) = self.lc.next(None, &self.room(), &mut short) {
            self.start_head(Class::Lc { mcpu: 0 }, key.2, actions);
        }
    }

    fn start_be(&mut self, idle_cores: u64, actions: &mut Vec<Action>) {
        let baseline = self.book.machine.be_baseline().saturating_sub(self.book.be_running);
        let most = self.book.be_running + baseline + idle_cores;
        if self.be.queued() == 0 {
            return;
        }
        let mut cursor = None;
        let mut short = Short { mcpu: false, memory: self.book.short_for(self.lc.most()).memory };
        while self.book.be_running < most {
            let Some(key) = self.be.next(cursor, &self.room(), &mut short) else { return };
            if self.lc_head_lacks_memory(key.2) {
                cursor = Some(key);
            } else {
                self.start_head(Class::Be, key.2, actions);
            }
        }
    }

    fn start_head(&mut self, lane: Class, slot: Slot, actions: &mut Vec<Action>) {
        let head = self.lane(lane).head(slot);
        let (pid, need) = head.expect("a realm is in the order while it has a head");
        let proc = self.procs.get_mut(&pid).expect("what is queued is known");
        proc.waits = None;
        let class = proc.class;
        self.book.take(class, need);
        let account = self.accounts.get_mut(slot);
        account.held.add(need);
        account.be_running += u64::from(!class.is_lc());
        self.lane_mut(class).pop(slot);
        self.stand(slot);
        actions.push(Action::Start { pid });
    }

    fn room(&self) -> Room {
        let Need { mcpu, memory_bytes } = self.book.total();
        let even = Need {
            mcpu: mcpu / self.accounts.with_lc().max(1),
            memory_bytes: memory_bytes / self.accounts.present().max(1),
        };
        Room { free: self.book.free(), even }
    }

    fn standing(&self, slot: Slot, class: Class) -> Standing {
        let account = self.accounts.get(slot);
        Standing { share: account.share(class), held: account.held, allowed: account.allowed() }
    }

    /// Tells both lanes what a realm holds now.
    fn stand(&mut self, slot: Slot) {
        let (lc, be) = (self.standing(slot, Class::Lc { mcpu: 0 }), self.standing(slot, Class::Be));
        self.lc.stand(slot, lc);
        self.be.stand(slot, be);
    }

    /// Whether the first LC proc of a realm waits for memory, the machine's or what its limits allow, and may yet get it.
    pub(crate) fn lc_head_lacks_memory(&self, slot: Slot) -> bool {
        let account = self.accounts.get(slot);
        let lacks = |(_, need): (Pid, Need)| {
            let ever = !need.short_in(account.limits.most()).any();
            ever && (self.book.short_for(need).memory || need.short_in(account.allowed()).memory)
        };
        self.lc.head(slot).is_some_and(lacks)
    }

    pub(crate) fn lane(&self, class: Class) -> &Lane {
        if class.is_lc() { &self.lc } else { &self.be }
    }

    fn lane_mut(&mut self, class: Class) -> &mut Lane {
        if class.is_lc() { &mut self.lc } else { &mut self.be }
    }
}

pub(crate) fn word(class: Class) -> &'static str {
    if class.is_lc() { "LC" } else { "BE" }
}
