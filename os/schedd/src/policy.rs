//! What starts when. The rules are in the crate's own words, in lib.rs; this is how they are carried out.

use crate::book::{Book, Machine, Need, Short};
use crate::event::{Action, Event, Load};
use crate::lane::{Lane, Standing};
use crate::order::Room;
use crate::proc::{Phase, Proc, Run};
use crate::realm::{Accounts, Slot};
use sigma_abi::{Class, Pid, Realm};
use std::collections::{BTreeMap, BTreeSet};

/// Procs of one realm and class that may wait on one machine.
pub const MAX_QUEUED_PER_REALM: usize = 100_000;

/// The scheduler of one machine.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) book: Book,
    pub(crate) accounts: Accounts,
    pub(crate) lc: Lane,
    be: Lane,
    pub(crate) procs: BTreeMap<Pid, Proc>,
    /// LC procs that run.
    pub(crate) lc_procs: BTreeSet<Pid>,
    starts: u64,
    /// The machine itself is short of memory.
    pub(crate) memory_short: bool,
}

impl Policy {
    pub fn new(machine: Machine) -> Self {
        Self {
            book: Book::new(machine),
            accounts: Accounts::default(),
            lc: Lane::default(),
            be: Lane::default(),
            procs: BTreeMap::new(),
            lc_procs: BTreeSet::new(),
            starts: 0,
            memory_short: false,
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
            Event::Blocked { pid } => self.block(pid, true),
            Event::Unblocked { pid } => self.block(pid, false),
            Event::Limits { realm, limits } => {
                if let Some(slot) = self.accounts.limit(realm, limits) {
                    self.stand(slot);
                }
            }
            Event::MemoryShort { short } => self.memory_short = short,
            Event::Idle { mcpu } => idle_cores = u64::from(mcpu / 1000),
            Event::Used { span_us, idle_mcpu, procs } => {
                return self.used(span_us, idle_mcpu, procs, actions);
            }
        }
        self.start_lc(actions);
        let reserved = self.make_room(actions);
        self.start_be(idle_cores, reserved, actions);
    }

    pub fn machine(&self) -> Machine {
        self.book.machine
    }

    pub fn load(&self) -> Load {
        Load {
            lc_queued: self.lc.queued(),
            be_queued: self.be.queued(),
            lc_running: self.book.lc_running,
            lc_demoted: self.book.lc_demoted,
            be_running: self.book.be_running,
            be_blocked: self.book.be_blocked,
            reserved_mcpu: self.book.held.mcpu,
            memory_bytes: self.book.held.memory_bytes,
        }
    }

    /// The realms that have LC procs here, queued or running: what the kernel does for these is LC work.
    pub fn realms_with_lc(&self) -> &BTreeSet<Realm> {
        self.accounts.with_lc()
    }

    /// The realms that have BE procs here, queued or running: what the kernel does for those that have no other is BE work.
    pub fn realms_with_be(&self) -> &BTreeSet<Realm> {
        self.accounts.with_be()
    }

    fn enqueue(&mut self, pid: Pid, realm: Realm, class: Class, memory_bytes: u64) {
        let need = Need::of(class, memory_bytes);
        let slot = self.accounts.enter(realm, class);
        let standing = self.standing(slot, class);
        let ticket = self.lane_mut(class).push(slot, standing, pid, need);
        self.procs.insert(pid, Proc { slot, class, need, phase: Phase::Waits(ticket) });
    }

    fn forget(&mut self, pid: Pid) {
        let Some(Proc { slot, class, need, phase }) = self.procs.remove(&pid) else { return };
        match phase {
            Phase::Waits(ticket) => self.lane_mut(class).remove(slot, ticket),
            Phase::Runs(run) => {
                self.lc_procs.remove(&pid);
                self.book.give_back(class, need, &run);
                self.accounts.get_mut(slot).give_back(class, need, &run);
                self.stand(slot);
            }
        }
        self.accounts.leave(slot, class);
    }

    /// A BE proc that waits for a child of its own holds no place, or the child might never get one.
    fn block(&mut self, pid: Pid, blocked: bool) {
        let Some(proc) = self.procs.get_mut(&pid).filter(|proc| !proc.class.is_lc()) else { return };
        let Phase::Runs(run) = &mut proc.phase else { return };
        if run.blocked == blocked {
            return;
        }
        run.blocked = blocked;
        let slot = proc.slot;
        let (places, all) = (&mut self.accounts.get_mut(slot).be_places, &mut self.book.be_blocked);
        if blocked {
            (*places, *all) = (*places - 1, *all + 1);
        } else {
            (*places, *all) = (*places + 1, *all - 1);
        }
        self.stand(slot);
    }

    fn start_lc(&mut self, actions: &mut Vec<Action>) {
        let mut short = Short::default();
        while self.book.has_place()
            && let Some(key) = self.lc.next(None, &self.room(), &mut short)
        {
            self.start_head(Class::Lc { mcpu: 0 }, key.2, actions);
        }
    }

    /// Starts BE procs in the places that there are; none takes what is `reserved` for an LC proc.
    fn start_be(&mut self, idle_cores: u64, reserved: Option<Need>, actions: &mut Vec<Action>) {
        if self.be.queued() == 0 || self.memory_short {
            return;
        }
        let taken = self.book.be_places();
        let most = taken.max(self.book.machine.be_baseline()) + idle_cores;
        let mut cursor = None;
        let mut short = Short { mcpu: false, memory: self.book.short_for(self.lc.most()).memory };
        while self.book.be_places() < most && self.book.has_places(1 + u64::from(reserved.is_some())) {
            let Some(key) = self.be.next(cursor, &self.be_room(reserved), &mut short) else { return };
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
        self.starts += 1;
        let number = self.starts;
        let proc = self.procs.get_mut(&pid).expect("what is queued is known");
        proc.phase = Phase::Runs(Run::new(number));
        let class = proc.class;
        if class.is_lc() {
            self.lc_procs.insert(pid);
        }
        self.book.take(class, need);
        self.accounts.get_mut(slot).take(class, need, number, pid);
        self.lane_mut(class).pop(slot);
        self.stand(slot);
        actions.push(Action::Start { pid });
    }

    pub(crate) fn room(&self) -> Room {
        let Need { mcpu, memory_bytes } = self.book.total();
        let even = Need {
            mcpu: mcpu / (self.accounts.with_lc().len() as u64).max(1),
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
