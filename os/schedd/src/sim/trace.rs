//! What happens to a machine: procs that are spawned, and limits that are set.

use super::random::Random;
use crate::{Machine, RealmLimits};
use sigma_abi::{Class, Realm};

/// Memory of a parent, which keeps it while it waits: all parents together must leave room for their children.
const PARENT_BYTES: u64 = 4 << 20;

/// One proc to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    pub at_us: u64,
    pub realm: Realm,
    pub class: Class,
    pub memory_bytes: u64,
    /// From its start to its end.
    pub run_us: u64,
    /// It spawns a child like itself half-way, and waits for it.
    pub child: bool,
}

/// All that happens to one machine.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What a random trace was made from; 0 for one that was written.
    pub seed: u64,
    pub machine: Machine,
    /// In the order of their time.
    pub arrivals: Vec<Arrival>,
    /// Limits from a time on. All are lifted when the last proc has been spawned, so that everything can end.
    pub limits: Vec<(u64, Realm, RealmLimits)>,
    /// Whether CPU is measured: idle cores, and LC procs that use up to twice what they reserved.
    pub measured: bool,
}

/// What a random trace is like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub machine: Machine,
    pub procs: u64,
    pub realms: u64,
    /// On average, from one spawn to the next, and from start to end.
    pub gap_us: u64,
    pub run_us: u64,
    /// Of a hundred procs; of the others, those that wait for a child.
    pub lc_percent: u64,
    pub parent_percent: u64,
    /// All procs of a class ask for the same, so that whoever fits, all fit.
    pub uniform: bool,
    /// Limits that are set, and set again, in the course of it.
    pub limits: u64,
}

impl Trace {
    pub fn random(seed: u64, shape: &Shape) -> Self {
        let mut random = Random::new(seed);
        let mut at_us = 0;
        let mut arrival = |_| {
            at_us += random.below(2 * shape.gap_us);
            let lc = random.percent(shape.lc_percent);
            let child = !lc && random.percent(shape.parent_percent);
            let (mcpu, memory_bytes) = match shape.uniform {
                true => (500, PARENT_BYTES),
                false => (
                    random.between(10, u64::from(shape.machine.cores) * 600),
                    size(&mut random, shape, child),
                ),
            };
            Arrival {
                at_us,
                realm: realm(random.below(shape.realms)),
                class: if lc { Class::Lc { mcpu: mcpu as u32 } } else { Class::Be },
                memory_bytes,
                run_us: 1 + random.below(2 * shape.run_us),
                child,
            }
        };
        let arrivals: Vec<Arrival> = (0..shape.procs).map(&mut arrival).collect();
        let end_us = at_us;
        let mut limits: Vec<_> = (0..shape.limits)
            .map(|_| (random.below(end_us), realm(random.below(shape.realms)), limit(&mut random, shape)))
            .collect();
        limits.sort_by_key(|(at_us, ..)| *at_us);
        Self { seed, machine: shape.machine, arrivals, limits, measured: true }
    }
}

impl Trace {
    /// The memory of each proc, where all procs of a class ask for the same and nobody is limited.
    pub(super) fn uniform_bytes(&self) -> Option<u64> {
        let memory_bytes = self.arrivals.first()?.memory_bytes;
        let mut mcpus = self.arrivals.iter().map(|arrival| arrival.class.mcpu()).filter(|mcpu| *mcpu > 0);
        let mcpu = mcpus.next();
        let same = mcpus.all(|other| Some(other) == mcpu)
            && self.arrivals.iter().all(|arrival| arrival.memory_bytes == memory_bytes);
        (same && self.limits.is_empty()).then_some(memory_bytes)
    }
}

/// Mostly small, at times nearly all of the machine.
fn size(random: &mut Random, shape: &Shape, child: bool) -> u64 {
    let most = shape.machine.proc_memory_bytes();
    match random.below(20) {
        _ if child => PARENT_BYTES,
        0 => random.between(most / 4, most / 10 * 9),
        _ => random.between(PARENT_BYTES, most / 20),
    }
}

fn limit(random: &mut Random, shape: &Shape) -> RealmLimits {
    let mut some = |most: u64| random.percent(60).then(|| random.between(most / 10, most));
    RealmLimits {
        procs: some(shape.procs / shape.realms),
        mcpu: some(shape.machine.mcpu()),
        memory_bytes: some(shape.machine.proc_memory_bytes()),
    }
}

fn realm(number: u64) -> Realm {
    Realm::parse(&format!("r{number}")).expect("a letter and a number are a name")
}
