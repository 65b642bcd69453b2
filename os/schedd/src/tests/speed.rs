//! That the policy scales: decisions are counted, and timed with a bound wide enough for an unoptimized build.

use super::*;
use std::time::Instant;

const REALMS: u64 = 1_000;
const PROCS: u64 = 100_000;

/// Queues [`PROCS`] procs of [`REALMS`] realms, then ends what runs until nothing is left. The decisions a second.
fn decisions_per_second(class: fn(u64) -> Class) -> f64 {
    let mut policy = Policy::new(machine(16, 64 * GIB));
    let names: Vec<Realm> = (0..REALMS).map(|number| realm(&format!("realm-{number}"))).collect();
    let (mut actions, mut decisions, mut next) = (Vec::new(), 0, 0);
    let begin = Instant::now();
    for number in 0..PROCS {
        let realm = names[(number % REALMS) as usize].clone();
        let event = Event::Queued { pid: pid(number), realm, class: class(number), memory_bytes: 4 * MIB };
        policy.handle(event, &mut actions);
        decisions += 1;
    }
    while next < actions.len() {
        let Action::Start { pid } = actions[next] else { panic!("{:?}", actions[next]) };
        policy.handle(Event::Ended { pid }, &mut actions);
        (decisions, next) = (decisions + 1, next + 1);
    }
    assert_eq!((actions.len() as u64, policy.load()), (PROCS, crate::Load::default()));
    f64::from(decisions) / begin.elapsed().as_secs_f64()
}

#[test]
fn a_hundred_thousand_procs_of_a_thousand_realms_are_decided_quickly() {
    // A promise of the optimized build; an unoptimized one is held to a tenth, to catch what is not a logarithm.
    let least = if cfg!(debug_assertions) { 20_000.0 } else { 200_000.0 };
    let check = |what: &str, class: fn(u64) -> Class| {
        let rate = decisions_per_second(class);
        println!("{what}: {rate:.0} decisions/s");
        assert!(rate > least, "{what}: {rate:.0} decisions/s, {least} expected");
    };
    check("BE", |_| Class::Be);
    check("LC of one size", |_| Class::Lc { mcpu: 100 });
    check("LC of many sizes", |number| Class::Lc { mcpu: 10 + (number * 7919 % 4000) as u32 });
}
