use super::*;
use crate::RealmLimits;
use sigma_abi::Code;

fn limit(world: &mut World, name: &str, limits: RealmLimits) -> Vec<u64> {
    world.event(Event::Limits { realm: realm(name), limits })
}

fn mcpu(mcpu: u64) -> RealmLimits {
    RealmLimits { mcpu: Some(mcpu), ..RealmLimits::default() }
}

#[test]
fn what_alone_exceeds_a_limit_is_refused_and_what_only_adds_up_waits() {
    let mut world = World::new(4, GIB);
    limit(&mut world, "a", RealmLimits { memory_bytes: Some(100 * MIB), ..mcpu(1000) });
    let refused = |world: &World, class, memory_bytes, text: &str| {
        let error = world.policy.check(&realm("a"), class, memory_bytes).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::Quota, text));
    };
    refused(&world, Class::Lc { mcpu: 1001 }, MIB, "asks for 1001 mcpu; realm a may have 1000");
    refused(&world, Class::Be, 101 * MIB, "asks for 101.0 MiB of memory; realm a may have 100.0 MiB");
    let (first, started) = world.lc("a", 600);
    assert_eq!(started, [first]);
    let (second, started) = world.lc("a", 600);
    assert_eq!(started, []);
    let why = "first LC proc of realm a: asks for 600 mcpu; realm a holds 600 of the 1000 that it may have";
    assert_eq!(world.why(second), why);
    assert_eq!(world.lc("b", 3000).1.len(), 1, "another realm is not held up by it");
    let (large, started) = world.queue("a", Class::Be, 97 * MIB);
    assert_eq!(started, []);
    let why = "first BE proc of realm a: asks for 97.0 MiB of memory; realm a holds 4.0 MiB of the 100.0 MiB that it may have";
    assert_eq!(world.why(large), why);
    assert_eq!(world.end(first), [second]);
    assert_eq!(world.end(second), [large]);
}

#[test]
fn one_proc_more_than_its_realm_may_have_is_refused() {
    let mut world = World::new(1, GIB);
    limit(&mut world, "a", RealmLimits { procs: Some(3), ..RealmLimits::default() });
    let (first, _) = world.be("a");
    world.be("a");
    world.be("a");
    let error = world.policy.check(&realm("a"), Class::Be, MIB).unwrap_err();
    assert_eq!(error.code, Code::Quota);
    assert_eq!(error.message, "realm a has 3 procs, queued and running, the most it may");
    assert_eq!(world.policy.check(&realm("b"), Class::Be, MIB), Ok(()));
    world.end(first);
    assert_eq!(world.policy.check(&realm("a"), Class::Be, MIB), Ok(()));
}

#[test]
fn limits_below_what_runs_kill_nothing_and_lifted_ones_let_the_queue_go_on() {
    let mut world = World::new(4, GIB);
    let (first, _) = world.lc("a", 1000);
    let (second, _) = world.lc("a", 1000);
    assert_eq!(limit(&mut world, "a", mcpu(500)), []);
    assert_eq!(world.policy.load().lc_running, 2);
    let (small, started) = world.lc("a", 10);
    assert_eq!(started, []);
    world.end(first);
    assert!(world.policy.why(pid(small)).is_some(), "1000 still run");
    assert_eq!(world.end(second), [small]);

    let (waits, _) = world.lc("a", 500);
    limit(&mut world, "a", mcpu(100));
    let why = "first LC proc of realm a: asks for 500 mcpu; realm a holds 10 of the 100 that it may have";
    assert_eq!(world.why(waits), why, "what could start before the limits were lowered is not refused later");
    assert_eq!(limit(&mut world, "a", RealmLimits::default()), [waits]);
}

#[test]
fn an_lc_proc_that_waits_for_memory_of_its_realm_goes_before_its_be_procs() {
    let mut world = World::new(8, GIB);
    limit(&mut world, "a", RealmLimits { memory_bytes: Some(100 * MIB), ..RealmLimits::default() });
    let (be, _) = world.queue("a", Class::Be, 60 * MIB);
    let (lc, started) = world.queue("a", Class::Lc { mcpu: 10 }, 60 * MIB);
    assert_eq!(started, []);
    let (next, started) = world.queue("a", Class::Be, 10 * MIB);
    assert_eq!(started, [], "it would take what the LC proc waits for");
    assert!(world.why(next).ends_with("an LC proc of the same realm waits for memory and goes first"));
    assert_eq!(world.queue("b", Class::Be, 10 * MIB).1.len(), 1);
    assert_eq!(world.end(be), [lc, next]);
}

#[test]
fn limits_outlive_the_procs_of_a_realm() {
    let mut world = World::new(2, GIB);
    let (only, _) = world.lc("a", 100);
    limit(&mut world, "a", mcpu(100));
    world.end(only);
    let (first, started) = world.lc("a", 100);
    assert_eq!(started, [first]);
    assert_eq!(world.lc("a", 100).1, []);
}
