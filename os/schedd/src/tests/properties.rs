use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Queue {
        realm: u8,
        class: Class,
        memory_mib: u64,
    },
    /// Ends the one of what is known that the number picks.
    End(usize),
    Idle(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just(Class::Be), (10u32..2500).prop_map(|mcpu| Class::Lc { mcpu })];
    prop_oneof![
        4 => (0u8..5, class, 4u64..300).prop_map(|(realm, class, memory_mib)| Step::Queue { realm, class, memory_mib }),
        3 => any::<usize>().prop_map(Step::End),
        1 => (0u32..3000).prop_map(Step::Idle),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    class: Class,
    memory_bytes: u64,
}

/// What the actions add up to, kept apart from the policy.
#[derive(Default)]
struct Ledger {
    waiting: BTreeMap<Pid, Known>,
    running: BTreeMap<Pid, Known>,
    refused: BTreeSet<Pid>,
    evicted: BTreeSet<Pid>,
}

impl Ledger {
    fn record(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Start { pid } => {
                    let known = self.waiting.remove(pid);
                    prop_assert!(known.is_some(), "{} started twice, or after its end", pid);
                    self.running.extend(known.map(|known| (*pid, known)));
                }
                Action::Refuse { pid, .. } => {
                    prop_assert!(self.waiting.remove(pid).is_some());
                    prop_assert!(self.refused.insert(*pid));
                }
                Action::Evict { pid, for_pid } => {
                    prop_assert!(self.running.get(pid).is_some_and(|known| !known.class.is_lc()));
                    prop_assert!(self.waiting.get(for_pid).is_some_and(|known| known.class.is_lc()));
                    prop_assert!(self.evicted.insert(*pid), "{} is killed twice", pid);
                }
                Action::Demote { .. } | Action::Restore { .. } => prop_assert!(false, "nobody measured"),
            }
        }
        Ok(())
    }

    fn check(&self, policy: &Policy) -> Result<(), TestCaseError> {
        let (load, machine) = (policy.load(), policy.machine());
        let mcpu: u64 = self.running.values().map(|known| u64::from(known.class.mcpu())).sum();
        let memory: u64 = self.running.values().map(|known| known.memory_bytes).sum();
        prop_assert_eq!((load.reserved_mcpu, load.memory_bytes), (mcpu, memory));
        prop_assert!(mcpu <= machine.mcpu() && memory <= machine.proc_memory_bytes());
        prop_assert_eq!(load.lc_queued + load.be_queued, self.waiting.len());
        prop_assert_eq!(load.lc_running + load.be_running, self.running.len() as u64);
        for pid in self.waiting.keys() {
            prop_assert!(policy.why(*pid).is_some());
        }
        Ok(())
    }
}

fn run(steps: &[Step], mut seen: impl FnMut(&[Action])) -> Result<(Policy, Ledger), TestCaseError> {
    let mut policy = Policy::new(machine(2, GIB / 2));
    let mut ledger = Ledger::default();
    for (number, step) in steps.iter().enumerate() {
        let event = match step {
            Step::Queue { realm: name, class, memory_mib } => {
                let known = Known { class: *class, memory_bytes: memory_mib * MIB };
                let pid = pid(number as u64);
                let (realm, memory_bytes) = (realm(&format!("r{name}")), known.memory_bytes);
                ledger.waiting.insert(pid, known);
                Event::Queued { pid, realm, class: *class, memory_bytes }
            }
            Step::End(pick) => {
                let known: Vec<Pid> = ledger.waiting.keys().chain(ledger.running.keys()).copied().collect();
                let Some(pid) = known.get(pick % known.len().max(1)).copied() else { continue };
                ledger.waiting.remove(&pid);
                ledger.running.remove(&pid);
                Event::Ended { pid }
            }
            Step::Idle(mcpu) => Event::Idle { mcpu: *mcpu },
        };
        let mut actions = Vec::new();
        policy.handle(event, &mut actions);
        seen(&actions);
        ledger.record(&actions)?;
        ledger.check(&policy)?;
    }
    Ok((policy, ledger))
}

proptest! {
    #[test]
    fn the_book_holds_and_every_proc_starts_in_the_end(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut policy, mut ledger) = run(&steps, |_| ())?;
        // Nothing comes any more and whatever runs ends: what waits must all start.
        while let Some(pid) = ledger.running.keys().next().copied() {
            ledger.running.remove(&pid);
            let mut actions = Vec::new();
            policy.handle(Event::Ended { pid }, &mut actions);
            ledger.record(&actions)?;
            ledger.check(&policy)?;
        }
        prop_assert!(ledger.waiting.is_empty(), "starved: {:?}", ledger.waiting);
        prop_assert_eq!(policy.load(), crate::Load::default());
    }

    #[test]
    fn the_same_events_give_the_same_actions(steps in proptest::collection::vec(step(), 0..80)) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        run(&steps, |actions| first.extend_from_slice(actions))?;
        run(&steps, |actions| second.extend_from_slice(actions))?;
        prop_assert_eq!(first, second);
    }

    /// Procs of one size: from the moment that a realm without anything running queues its proc, every other realm
    /// gets at most one start before it.
    #[test]
    fn a_newly_queued_realm_waits_for_one_start_of_each_other_realm(
        class in prop_oneof![Just(Class::Be), Just(Class::Lc { mcpu: 500 })],
        names in proptest::collection::vec(0u8..4, 1..40),
        ends in proptest::collection::vec(any::<usize>(), 1..60),
        comes_back in any::<bool>(),
    ) {
        let mut world = World::new(2, GIB);
        let (mut owners, mut running) = (BTreeMap::new(), Vec::new());
        for name in names {
            let (number, started) = world.queue(&format!("r{name}"), class, 4 * MIB);
            owners.insert(number, name);
            running.extend(started);
        }
        let (newcomer, started) = world.queue("new", class, 4 * MIB);
        let mut ahead: BTreeMap<u8, u32> = BTreeMap::new();
        let mut waits = started.is_empty();
        for pick in ends {
            if !waits || running.is_empty() {
                break;
            }
            let ended = running.swap_remove(pick % running.len());
            let mut started = world.end(ended);
            if comes_back {
                let name = owners[&ended];
                let (number, more) = world.queue(&format!("r{name}"), class, 4 * MIB);
                owners.insert(number, name);
                started.extend(more);
            }
            for number in started {
                waits &= number != newcomer;
                if waits {
                    *ahead.entry(owners[&number]).or_default() += 1;
                }
                running.push(number);
            }
        }
        prop_assert!(ahead.values().all(|starts| *starts <= 1), "{:?}", ahead);
    }

    /// Within a realm and class procs start in the order in which they were queued.
    #[test]
    fn a_line_is_first_in_first_out(steps in proptest::collection::vec(step(), 0..120)) {
        let mut order: Vec<Pid> = Vec::new();
        let started = |actions: &[Action]| order.extend(actions.iter().filter_map(|action| match action {
            Action::Start { pid } => Some(*pid),
            _ => None,
        }));
        run(&steps, started)?;
        let mut last: BTreeMap<(u8, bool), Pid> = BTreeMap::new();
        for pid in order {
            let Step::Queue { realm, class, .. } = &steps[pid.number as usize] else { panic!("{pid}") };
            let before = last.insert((*realm, class.is_lc()), pid);
            prop_assert!(before < Some(pid));
        }
    }
}
