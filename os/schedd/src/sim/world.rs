//! The machine that a trace happens to.

use super::ledger::{Broken, Ledger};
use super::random::Random;
use super::trace::{Arrival, Trace};
use crate::{Action, Event, Policy, RealmLimits};
use sigma_abi::{MachineId, Pid, Realm};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Between two measurements of idle CPU, and of what LC procs use, as sigmad has it.
const IDLE_EVERY_US: u64 = 100_000;
const USE_EVERY_US: u64 = 500_000;

/// From the order to kill a proc to its end.
const KILL_US: u64 = 1_000;

/// How a trace went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub events: u64,
    pub started: u64,
    pub refused: u64,
    pub evicted: u64,
    pub demoted: u64,
    pub restored: u64,
    /// From spawn to start, of each proc that started, with its realm.
    pub waits_us: Vec<(Realm, u64)>,
    /// When the last proc ended.
    pub end_us: u64,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Arrive(usize),
    Limits(usize),
    /// A parent spawns its child, and waits.
    Parent(u64),
    End(u64),
    MeasureIdle,
    MeasureUse,
}

struct Life {
    pid: Pid,
    arrival: Arrival,
    spawned_us: u64,
    /// The parent that waits for it.
    parent: Option<u64>,
}

struct World<'a> {
    trace: &'a Trace,
    policy: Policy,
    ledger: Ledger,
    random: Random,
    agenda: BinaryHeap<Reverse<(u64, u64, Next)>>,
    noted: u64,
    now_us: u64,
    lives: BTreeMap<u64, Life>,
    numbers: u64,
    to_come: usize,
    outcome: Outcome,
}

/// Lets a trace happen to its machine, to the end of the last proc.
///
/// # Errors
/// The first promise that is not kept.
pub fn run(trace: &Trace) -> Result<Outcome, Broken> {
    let mut world = World {
        trace,
        policy: Policy::new(trace.machine),
        ledger: Ledger::new(trace.uniform_bytes()),
        random: Random::new(trace.seed ^ 1),
        agenda: BinaryHeap::new(),
        noted: 0,
        now_us: 0,
        lives: BTreeMap::new(),
        numbers: 0,
        to_come: trace.arrivals.len(),
        outcome: Outcome::default(),
    };
    let broken = |world: &World<'_>, what| Broken {
        seed: trace.seed,
        event: world.outcome.events,
        at_us: world.now_us,
        what,
    };
    match world.play() {
        Ok(()) => Ok(world.outcome),
        Err(what) => Err(broken(&world, what)),
    }
}

impl World<'_> {
    fn play(&mut self) -> Result<(), String> {
        for (index, arrival) in self.trace.arrivals.iter().enumerate() {
            self.note(arrival.at_us, Next::Arrive(index));
        }
        for (index, (at_us, ..)) in self.trace.limits.iter().enumerate() {
            self.note(*at_us, Next::Limits(index));
        }
        if self.trace.measured {
            self.note(IDLE_EVERY_US, Next::MeasureIdle);
            self.note(USE_EVERY_US, Next::MeasureUse);
        }
        while let Some(Reverse((at_us, _, next))) = self.agenda.pop() {
            self.now_us = at_us;
            self.happen(next)?;
        }
        match self.ledger.waiting().first() {
            Some(pid) => Err(format!("{pid} never starts: {}", self.policy.why(*pid).unwrap_or_default())),
            None => Ok(()),
        }
    }

    fn note(&mut self, at_us: u64, next: Next) {
        self.noted += 1;
        self.agenda.push(Reverse((at_us, self.noted, next)));
    }

    fn happen(&mut self, next: Next) -> Result<(), String> {
        match next {
            Next::Arrive(index) => {
                self.to_come -= 1;
                self.spawn(self.trace.arrivals[index].clone(), None)?;
                if self.to_come == 0 {
                    self.lift_limits()?;
                }
                Ok(())
            }
            Next::Limits(index) => {
                let (_, realm, limits) = self.trace.limits[index].clone();
                self.limit(realm, limits)
            }
            Next::Parent(number) => self.wait_for_child(number),
            Next::End(number) => self.end(number),
            Next::MeasureIdle => {
                let mcpu = self.random.below(u64::from(self.trace.machine.cores) * 1000) as u32;
                self.again(IDLE_EVERY_US, Next::MeasureIdle);
                self.tell(Event::Idle { mcpu })
            }
            Next::MeasureUse => {
                let procs: Vec<_> = self.ledger.running_lc();
                let most = |mcpu: u32| 2 * u64::from(mcpu) * USE_EVERY_US / 1000;
                let procs =
                    procs.into_iter().map(|(pid, mcpu)| (pid, self.random.below(most(mcpu)))).collect();
                let idle_mcpu = if self.random.percent(80) { 0 } else { 1000 };
                self.again(USE_EVERY_US, Next::MeasureUse);
                self.tell(Event::Used { span_us: USE_EVERY_US, idle_mcpu, procs })
            }
        }
    }

    /// Measures again as long as there is something to measure.
    fn again(&mut self, after_us: u64, next: Next) {
        if self.to_come > 0 || !self.lives.is_empty() {
            self.note(self.now_us + after_us, next);
        }
    }

    fn limit(&mut self, realm: Realm, limits: RealmLimits) -> Result<(), String> {
        self.ledger.limit(realm.clone(), limits);
        self.tell(Event::Limits { realm, limits })
    }

    fn lift_limits(&mut self) -> Result<(), String> {
        let realms: Vec<Realm> = self.trace.limits.iter().map(|(_, realm, _)| realm.clone()).collect();
        realms.into_iter().try_for_each(|realm| self.limit(realm, RealmLimits::default()))
    }

    fn spawn(&mut self, arrival: Arrival, parent: Option<u64>) -> Result<(), String> {
        self.numbers += 1;
        let pid = Pid { home: MachineId(1), epoch: 1, number: self.numbers };
        let Arrival { realm, class, memory_bytes, .. } = arrival.clone();
        self.ledger.queue(pid, realm.clone(), class, memory_bytes);
        self.lives.insert(self.numbers, Life { pid, arrival, spawned_us: self.now_us, parent });
        self.tell(Event::Queued { pid, realm, class, memory_bytes })
    }

    /// Half-way through its run a parent spawns a child like itself, and waits for it.
    fn wait_for_child(&mut self, number: u64) -> Result<(), String> {
        let Some(life) = self.lives.get(&number) else { return Ok(()) };
        let (pid, child) = (life.pid, Arrival { child: false, ..life.arrival.clone() });
        self.ledger.block(pid, true);
        self.tell(Event::Blocked { pid })?;
        self.spawn(child, Some(number))
    }

    fn end(&mut self, number: u64) -> Result<(), String> {
        let Some(life) = self.lives.remove(&number) else { return Ok(()) };
        self.outcome.end_us = self.now_us;
        self.ledger.end(life.pid);
        self.tell(Event::Ended { pid: life.pid })?;
        let Some(parent) = life.parent else { return Ok(()) };
        self.go_on(parent)
    }

    /// The child of a parent has ended.
    fn go_on(&mut self, number: u64) -> Result<(), String> {
        let Some(life) = self.lives.get(&number) else { return Ok(()) };
        let (pid, rest_us) = (life.pid, life.arrival.run_us / 2);
        self.note(self.now_us + rest_us, Next::End(number));
        self.ledger.block(pid, false);
        self.tell(Event::Unblocked { pid })
    }

    fn tell(&mut self, event: Event) -> Result<(), String> {
        self.outcome.events += 1;
        let mut actions = Vec::new();
        self.policy.handle(event, &mut actions);
        for action in &actions {
            self.ledger.act(&self.policy, action)?;
            self.act(action)?;
        }
        self.ledger.check(&self.policy)
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Start { pid } => {
                self.outcome.started += 1;
                let life = self.lives.get(&pid.number).ok_or("a stranger starts")?;
                let (run_us, parent) = (life.arrival.run_us, life.arrival.child);
                self.outcome.waits_us.push((life.arrival.realm.clone(), self.now_us - life.spawned_us));
                match parent {
                    true => self.note(self.now_us + run_us / 2, Next::Parent(pid.number)),
                    false => self.note(self.now_us + run_us, Next::End(pid.number)),
                }
            }
            Action::Refuse { pid, .. } => {
                self.outcome.refused += 1;
                let parent = self.lives.remove(&pid.number).and_then(|life| life.parent);
                if let Some(parent) = parent {
                    // It learns so at once; what it then does is an event of its own.
                    let rest_us = self.lives.get(&parent).map_or(0, |life| life.arrival.run_us / 2);
                    self.note(self.now_us + rest_us, Next::End(parent));
                }
            }
            Action::Evict { pid, .. } => {
                self.outcome.evicted += 1;
                self.note(self.now_us + KILL_US, Next::End(pid.number));
            }
            Action::Demote { .. } => self.outcome.demoted += 1,
            Action::Restore { .. } => self.outcome.restored += 1,
        }
        Ok(())
    }
}
