//! What the policy promises, counted apart from it.

use crate::{Action, Policy, RealmLimits};
use sigma_abi::{Class, Pid, Realm};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A promise that was not kept, by which trace and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seed: u64,
    pub event: u64,
    pub at_us: u64,
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, event, at_us, what } = self;
        write!(formatter, "seed {seed}, event {event}, after {at_us} us: {what}")
    }
}

impl std::error::Error for Broken {}

#[derive(Clone, Debug)]
struct Known {
    realm: Realm,
    class: Class,
    memory_bytes: u64,
}

/// What runs in a realm, in sums.
#[derive(Clone, Debug, Default)]
struct Sums {
    mcpu: u64,
    memory_bytes: u64,
    be_places: u64,
    running: u64,
    queued: u64,
}

/// A line of a realm and class.
type Lane = (bool, Realm);

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    known: BTreeMap<Pid, Known>,
    running: BTreeSet<Pid>,
    blocked: BTreeSet<Pid>,
    evicted: BTreeSet<Pid>,
    demoted: BTreeSet<Pid>,
    sums: BTreeMap<Realm, Sums>,
    total: Sums,
    lines: BTreeMap<Lane, VecDeque<Pid>>,
    limits: BTreeMap<Realm, RealmLimits>,
    /// The memory of each proc, where all procs of a class ask for the same: whoever fits, all fit, and nobody may pass a
    /// realm that has less.
    uniform: Option<u64>,
    /// For a line that formed in a realm that held nothing of its class: the starts of each other realm since.
    passed: BTreeMap<Lane, BTreeMap<Realm, u64>>,
}

impl Ledger {
    pub(super) fn new(uniform: Option<u64>) -> Self {
        Self { uniform, ..Self::default() }
    }

    pub(super) fn runs(&self, pid: Pid) -> bool {
        self.running.contains(&pid)
    }

    /// What waits.
    pub(super) fn waiting(&self) -> Vec<Pid> {
        self.lines.values().flatten().copied().collect()
    }

    pub(super) fn running_lc(&self) -> Vec<(Pid, u32)> {
        let mcpu = |pid: &Pid| Some((*pid, self.known.get(pid)?.class.mcpu()));
        self.running.iter().filter_map(mcpu).filter(|(_, mcpu)| *mcpu > 0).collect()
    }

    pub(super) fn limit(&mut self, realm: Realm, limits: RealmLimits) {
        self.limits.insert(realm, limits);
    }

    pub(super) fn queue(&mut self, pid: Pid, realm: Realm, class: Class, memory_bytes: u64) {
        let lane = (class.is_lc(), realm.clone());
        let line = self.lines.entry(lane.clone()).or_default();
        line.push_back(pid);
        let forms = line.len() == 1;
        let sums = self.sums.entry(realm.clone()).or_default();
        sums.queued += 1;
        let nothing = if class.is_lc() { sums.mcpu == 0 } else { sums.be_places == 0 };
        if forms && nothing {
            self.passed.insert(lane, BTreeMap::new());
        }
        self.known.insert(pid, Known { realm, class, memory_bytes });
    }

    /// A proc has ended, running or not.
    pub(super) fn end(&mut self, pid: Pid) {
        let Some(Known { realm, class, memory_bytes }) = self.known.remove(&pid) else { return };
        if self.running.remove(&pid) {
            let blocked = self.blocked.remove(&pid);
            let sums = self.sums.entry(realm).or_default();
            for sums in [sums, &mut self.total] {
                sums.mcpu -= u64::from(class.mcpu());
                sums.memory_bytes -= memory_bytes;
                sums.be_places -= u64::from(!class.is_lc() && !blocked);
                sums.running -= 1;
            }
        } else {
            self.unqueue(pid, &realm, class);
        }
        self.evicted.remove(&pid);
        self.demoted.remove(&pid);
    }

    fn unqueue(&mut self, pid: Pid, realm: &Realm, class: Class) {
        let lane = (class.is_lc(), realm.clone());
        if let Some(line) = self.lines.get_mut(&lane) {
            line.retain(|other| *other != pid);
            if line.is_empty() {
                self.lines.remove(&lane);
            }
        }
        self.passed.remove(&lane);
        if let Some(sums) = self.sums.get_mut(realm) {
            sums.queued -= 1;
        }
    }

    pub(super) fn block(&mut self, pid: Pid, blocked: bool) {
        let Some(known) = self.known.get(&pid) else { return };
        let changed = if blocked { self.blocked.insert(pid) } else { self.blocked.remove(&pid) };
        if !changed || known.class.is_lc() {
            return;
        }
        let sums = self.sums.entry(known.realm.clone()).or_default();
        for sums in [sums, &mut self.total] {
            sums.be_places = if blocked { sums.be_places - 1 } else { sums.be_places + 1 };
        }
    }

    /// Holds one action to what was promised, and counts it.
    pub(super) fn act(&mut self, policy: &Policy, action: &Action) -> Result<(), String> {
        match action {
            Action::Start { pid } => self.start(policy, *pid),
            Action::Refuse { pid, .. } => {
                let known = self.known.remove(pid).ok_or_else(|| format!("{pid} was never queued"))?;
                self.unqueue(*pid, &known.realm, known.class);
                Ok(())
            }
            Action::Evict { pid, for_pid } => {
                let lc = self.known.get(for_pid).is_some_and(|known| known.class.is_lc());
                ensure(lc && !self.runs(*for_pid), || {
                    format!("{pid} is evicted for {for_pid}, which does not wait")
                })?;
                let be = self.known.get(pid).is_some_and(|known| !known.class.is_lc());
                ensure(be && self.runs(*pid), || format!("{pid} is evicted and is no BE proc that runs"))?;
                ensure(self.evicted.insert(*pid), || format!("{pid} is evicted twice"))
            }
            Action::Demote { pid } => {
                let lc = self.known.get(pid).is_some_and(|known| known.class.is_lc());
                ensure(lc && self.runs(*pid) && self.demoted.insert(*pid), || {
                    format!("{pid} cannot be demoted")
                })
            }
            Action::Restore { pid } => ensure(self.demoted.remove(pid), || format!("{pid} was not demoted")),
        }
    }

    fn start(&mut self, policy: &Policy, pid: Pid) -> Result<(), String> {
        let Known { realm, class, memory_bytes } =
            self.known.get(&pid).cloned().ok_or_else(|| format!("{pid} starts and is not known"))?;
        let lane = (class.is_lc(), realm.clone());
        let line = self.lines.get_mut(&lane).ok_or_else(|| format!("{pid} starts and does not wait"))?;
        ensure(line.front() == Some(&pid), || format!("{pid} starts before the head of its line"))?;
        line.pop_front();
        if line.is_empty() {
            self.lines.remove(&lane);
        }
        self.turn(&lane)?;
        let limits = self.limits.get(&realm).copied().unwrap_or_default();
        let sums = self.sums.entry(realm.clone()).or_default();
        sums.queued -= 1;
        for sums in [&mut *sums, &mut self.total] {
            sums.mcpu += u64::from(class.mcpu());
            sums.memory_bytes += memory_bytes;
            sums.be_places += u64::from(!class.is_lc());
            sums.running += 1;
        }
        let within =
            |limit: Option<u64>, sum: u64, asked: bool| !asked || limit.is_none_or(|limit| sum <= limit);
        let holds = within(limits.mcpu, sums.mcpu, class.is_lc())
            && within(limits.memory_bytes, sums.memory_bytes, true);
        ensure(holds, || format!("{pid} takes realm {realm} past its limits"))?;
        self.running.insert(pid);
        let machine = policy.machine();
        let fits = self.total.mcpu <= machine.mcpu()
            && self.total.memory_bytes <= machine.proc_memory_bytes()
            && self.total.running <= machine.procs;
        ensure(fits, || format!("{pid} over-commits the machine"))
    }

    /// Nobody may pass a realm that has less, nor twice a realm that has nothing.
    fn turn(&mut self, lane: &Lane) -> Result<(), String> {
        self.passed.remove(lane);
        if self.uniform.is_none() {
            return Ok(());
        }
        let share = |realm: &Realm| {
            let sums = self.sums.get(realm);
            sums.map_or(0, |sums| if lane.0 { sums.mcpu } else { sums.be_places })
        };
        let own = share(&lane.1);
        for (_, other) in self.lines.keys().filter(|other| other.0 == lane.0 && **other != *lane) {
            ensure(share(other) >= own, || format!("realm {} passes realm {other}, which has less", lane.1))?;
        }
        for (waits, passed) in self.passed.iter_mut().filter(|(waits, _)| waits.0 == lane.0) {
            let starts = passed.entry(lane.1.clone()).or_default();
            *starts += 1;
            ensure(*starts <= 1, || {
                format!("realm {} passes realm {} twice, which has nothing", lane.1, waits.1)
            })?;
        }
        Ok(())
    }

    /// Holds the policy's own account to this one, after each event.
    pub(super) fn check(&self, policy: &Policy) -> Result<(), String> {
        let load = policy.load();
        let queued: u64 = self.lines.values().map(|line| line.len() as u64).sum();
        let same = load.reserved_mcpu == self.total.mcpu
            && load.memory_bytes == self.total.memory_bytes
            && load.be_running - load.be_blocked == self.total.be_places
            && load.lc_running + load.be_running == self.total.running
            && load.lc_demoted == self.demoted.len() as u64
            && (load.lc_queued + load.be_queued) as u64 == queued;
        ensure(same, || format!("the book says {load:?}, and {:?} run with {queued} queued", self.total))?;
        for head in self.lines.values().filter_map(VecDeque::front) {
            ensure(policy.why(*head).is_some(), || format!("{head} waits, and nobody knows for what"))?;
        }
        let Some(memory_bytes) = self.uniform.filter(|_| queued > 0 && load.lc_queued == 0) else {
            return Ok(());
        };
        // Only BE procs wait, and each of them fits if any does: then it is places, memory or procs that are lacking.
        let machine = policy.machine();
        let lacks = self.total.be_places >= machine.be_baseline()
            || self.total.memory_bytes + memory_bytes > machine.proc_memory_bytes()
            || self.total.running >= machine.procs;
        ensure(lacks, || format!("{queued} BE procs wait, and nothing is lacking"))
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
