//! The policy on a simulated machine, over traces from seeds. A failure says its seed.

use super::*;
use crate::sim::{self, Arrival, Outcome, Shape, Trace};

const SECOND_US: u64 = 1_000_000;

fn shape() -> Shape {
    Shape {
        machine: machine(4, 2 * GIB),
        procs: 500,
        realms: 6,
        gap_us: 20_000,
        run_us: 100_000,
        lc_percent: 40,
        parent_percent: 20,
        uniform: false,
        limits: 0,
    }
}

fn run(seed: u64, shape: &Shape) -> Outcome {
    sim::run(&Trace::random(seed, shape)).unwrap_or_else(|broken| panic!("{broken}"))
}

/// Runs so many seeds, and adds up what happened, so that a test can see that it tried what it means to.
fn run_all(seeds: std::ops::Range<u64>, shape: &Shape) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        let outcome = run(seed, shape);
        sum.started += outcome.started;
        sum.refused += outcome.refused;
        sum.evicted += outcome.evicted;
        sum.demoted += outcome.demoted;
        sum.restored += outcome.restored;
    }
    sum
}

#[test]
fn a_busy_machine_keeps_its_promises() {
    let sum = run_all(0..20, &Shape { gap_us: 100_000, run_us: 3_000_000, ..shape() });
    assert!(sum.evicted > 50 && sum.demoted > 5 && sum.restored > 5, "{sum:?}");
    assert_eq!(sum.refused, 0);
}

#[test]
fn limits_hold_while_they_are_set_and_set_again() {
    let sum = run_all(100..115, &Shape { limits: 40, parent_percent: 0, ..shape() });
    assert!(sum.refused > 100 && sum.started > 1_000, "{sum:?}");
}

#[test]
fn equal_procs_start_in_turns_of_realms() {
    for lc_percent in [0, 100, 50] {
        let sum = run_all(200..205, &Shape { uniform: true, lc_percent, gap_us: 5_000, ..shape() });
        assert!(sum.started >= 5 * 500, "{sum:?}");
    }
}

#[test]
fn few_procs_that_may_run_at_once_are_shared_too() {
    let machine = Machine { procs: 3, ..machine(8, 2 * GIB) };
    run_all(300..305, &Shape { machine, parent_percent: 0, ..shape() });
    run_all(305..310, &Shape { machine, uniform: true, parent_percent: 0, ..shape() });
}

#[test]
fn a_trace_goes_the_same_way_each_time() {
    let shape = Shape { limits: 10, ..shape() };
    assert_eq!(run(7, &shape), run(7, &shape));
    assert_ne!(run(7, &shape), run(8, &shape));
}

#[test]
fn a_realm_waits_for_one_slot_however_many_procs_another_queues() {
    let realms = [realm("greedy"), realm("fair")];
    let arrival = |realm: &Realm, at_us| Arrival {
        at_us,
        realm: realm.clone(),
        class: Class::Be,
        memory_bytes: 4 * MIB,
        run_us: 10_000,
        child: false,
    };
    let mut arrivals: Vec<_> = (0..20_000).map(|_| arrival(&realms[0], 0)).collect();
    arrivals.extend((0..40).map(|number| arrival(&realms[1], SECOND_US / 20 * (number + 1))));
    let trace = Trace { seed: 0, machine: machine(4, GIB), arrivals, limits: Vec::new(), measured: false };
    let outcome = sim::run(&trace).unwrap_or_else(|broken| panic!("{broken}"));
    let longest =
        outcome.waits_us.iter().filter(|(realm, _)| *realm == realms[1]).map(|(_, wait)| *wait).max();
    assert!(longest <= Some(10_000), "{longest:?}");
}
