use super::*;
use sigma_abi::Code;

#[test]
fn what_can_never_fit_is_refused_with_a_reason() {
    let mut policy = Policy::new(machine(2, GIB));
    let mut check = |class, memory_bytes, expect: &str| {
        let mut actions = Vec::new();
        policy.handle(Event::Queued { pid: pid(1), realm: realm("a"), class, memory_bytes }, &mut actions);
        let [Action::Refuse { reason, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((reason.code, reason.message.as_str()), (Code::TooLarge, expect));
        assert_eq!(policy.machine().check(class, memory_bytes).as_ref(), Err(reason));
    };
    check(Class::Lc { mcpu: 9000 }, MIB, "asks for 9000 mcpu; this machine has 2000");
    let memory = "asks for 2048.0 MiB of memory; this machine has 1024.0 MiB for procs";
    check(Class::Be, 2 * GIB, memory);
    check(Class::Lc { mcpu: u32::MAX }, u64::MAX, "asks for 4294967295 mcpu; this machine has 2000");
    assert_eq!(machine(2, GIB).check(Class::Lc { mcpu: 2000 }, GIB), Ok(()));
    assert!(
        Machine { cores: 1, memory_bytes: MIB, procs: 1 }.check(Class::Be, 1).is_err(),
        "the reserve is kept"
    );
}

#[test]
fn lc_waits_where_the_machine_is_reserved_and_starts_when_it_is_not() {
    let mut world = World::new(2, GIB);
    let (first, started) = world.lc("a", 1500);
    assert_eq!(started, [first]);
    let (second, started) = world.lc("a", 600);
    assert_eq!(started, []);
    assert_eq!(world.why(second), "first LC proc of realm a: asks for 600 mcpu; 500 of 2000 are free");
    let (third, started) = world.lc("a", 100);
    assert_eq!(started, [], "a smaller one does not pass the large one of its realm");
    assert!(world.why(third).starts_with("waits behind m00000001-1-2, the first LC proc of realm a"));
    assert_eq!(world.end(first), [second, third]);
    assert_eq!(world.policy.load().reserved_mcpu, 700);
}

#[test]
fn be_runs_to_the_baseline_and_beyond_it_on_idle_cores() {
    let mut world = World::new(2, GIB);
    for _ in 0..3 {
        assert_eq!(world.be("a").1.len(), 1);
    }
    let (fourth, started) = world.be("a");
    assert_eq!(started, []);
    assert_eq!(
        world.why(fourth),
        "first BE proc of realm a: 3 BE procs run on 2 cores; it starts in its realm's turn, when one ends or a core is idle"
    );
    world.be("a");
    assert_eq!(world.idle(999), []);
    assert_eq!(world.idle(1999), [4]);
    assert_eq!(world.end(1), [], "three still run");
    assert_eq!(world.end(2), [5]);
}

#[test]
fn parents_that_wait_for_their_children_do_not_deadlock_the_machine() {
    let mut world = World::new(2, GIB);
    let parents: Vec<u64> = (0..100).map(|_| world.be("a").0).collect();
    // Every parent that starts queues a child and waits for it; children end at once.
    let mut running: Vec<u64> = parents[..3].to_vec();
    let (mut children, mut ended) = (std::collections::BTreeMap::new(), 0);
    while ended < parents.len() {
        let mut started = Vec::new();
        for parent in running.drain(..) {
            let (child, more) = world.be("a");
            children.insert(child, parent);
            started.extend(more);
        }
        started.extend(world.idle(2000));
        assert!(!started.is_empty(), "nothing moves with {ended} ended");
        while let Some(number) = started.pop() {
            if let Some(parent) = children.get(&number).copied() {
                started.extend(world.end(number));
                started.extend(world.end(parent));
                ended += 1;
            } else {
                running.push(number);
            }
        }
    }
    assert_eq!(world.policy.load(), crate::Load::default());
}

#[test]
fn lc_goes_before_be_and_memory_is_one_book() {
    let mut world = World::new(4, 100 * MIB);
    let (be, _) = world.queue("a", Class::Be, 60 * MIB);
    let (lc, started) = world.queue("b", Class::Lc { mcpu: 10 }, 60 * MIB);
    assert_eq!(started, []);
    assert_eq!(
        world.why(lc),
        "first LC proc of realm b: asks for 60.0 MiB of memory; 40.0 MiB of 100.0 MiB are free, and BE procs are killed to make room"
    );
    let (own, started) = world.queue("b", Class::Be, 10 * MIB);
    assert_eq!(started, []);
    assert!(world.why(own).ends_with("an LC proc of the same realm waits for memory and goes first"));
    let (other, started) = world.queue("a", Class::Be, 10 * MIB);
    assert_eq!(started, [], "realm a is past its even share");
    assert!(world.why(other).contains("its realm has its even share"));
    assert_eq!(world.end(be), [lc, own, other]);
}

#[test]
fn a_large_head_is_not_starved_by_a_realm_beyond_its_even_share() {
    let mut world = World::new(2, GIB);
    let mut running: Vec<u64> = (0..20).map(|_| world.lc("stream", 100).0).collect();
    let (large, _) = world.lc("large", 1000);
    let mut ends = 0;
    while world.policy.why(pid(large)).is_some() {
        world.lc("stream", 100);
        running.extend(world.end(running[ends]));
        ends += 1;
        assert!(ends <= 10, "the stream keeps more than 1000");
    }
}

#[test]
fn a_head_that_wants_everything_does_not_keep_others_from_their_even_share() {
    let mut world = World::new(2, GIB);
    world.lc("service", 100);
    let (all, _) = world.lc("greedy", 2000);
    let started: usize = (0..20).map(|_| world.lc("service", 100).1.len()).sum();
    assert_eq!(started, 9, "to an even share of 1000, no further");
    assert_eq!(world.lc("new", 700).1.len(), 1, "and a realm without anything gets its first");
    assert!(world.policy.why(pid(all)).is_some());
}

#[test]
fn realms_take_turns_where_they_are_equal() {
    let mut world = World::new(1, GIB);
    let (first, _) = world.be("a");
    let (second, _) = world.be("a");
    let queued: Vec<u64> = ["a", "a", "b", "b", "c", "c"].into_iter().map(|name| world.be(name).0).collect();
    let [a1, a2, b1, b2, c1, c2] = queued[..] else { panic!() };
    assert_eq!(world.end(first), [b1], "b and c hold nothing, b was first");
    assert_eq!(world.end(second), [a1], "a holds nothing now and waits longer than c");
    assert_eq!(world.end(b1), [c1]);
    assert_eq!(world.end(a1), [b2]);
    assert_eq!(world.end(c1), [a2]);
    assert_eq!(world.end(b2), [c2]);
}

#[test]
fn leaving_and_coming_again_wins_no_turns() {
    let mut world = World::new(1, GIB);
    let (one, _) = world.be("a");
    let (two, _) = world.be("a");
    let (b, _) = world.be("b");
    let (c, _) = world.be("c");
    assert_eq!(world.end(one), [b]);
    assert_eq!(world.end(b), [c]);
    let (b, _) = world.be("b");
    let (d, _) = world.be("d");
    assert_eq!(world.end(c), [b]);
    let (c, _) = world.be("c");
    assert_eq!(world.end(b), [d]);
    let (b, _) = world.be("b");
    assert_eq!(world.end(two), [c]);
    assert_eq!(world.end(c), [b]);
}

#[test]
fn unknown_and_repeated_pids_change_nothing() {
    let mut world = World::new(1, GIB);
    let (one, _) = world.be("a");
    let before = world.policy.load();
    let again = Event::Queued { pid: pid(one), realm: realm("b"), class: Class::Be, memory_bytes: GIB };
    assert_eq!(world.event(again), []);
    assert_eq!(world.end(99), []);
    assert_eq!(world.policy.load(), before);
    assert_eq!(world.policy.why(pid(one)), None);
    world.end(one);
    world.end(one);
    assert_eq!(world.policy.load(), crate::Load::default());
}

#[test]
fn a_realm_has_a_limit_of_what_it_queues() {
    let mut world = World::new(1, GIB);
    for _ in 0..crate::MAX_QUEUED_PER_REALM + 2 {
        world.be("a");
    }
    let error = world.policy.check(&realm("a"), Class::Be, MIB).unwrap_err();
    assert_eq!(error.message, "realm a has 100000 BE procs waiting here, the most it may");
    assert_eq!(error.code, Code::Quota);
    assert_eq!(world.policy.check(&realm("b"), Class::Be, MIB), Ok(()));
    assert_eq!(world.policy.check(&realm("a"), Class::Lc { mcpu: 10 }, MIB), Ok(()));
}

#[test]
fn while_the_machine_is_short_of_memory_no_be_proc_starts_and_lc_procs_do() {
    let mut world = World::new(2, GIB);
    assert_eq!(world.event(Event::MemoryShort { short: true }), []);
    let (be, started) = world.be("a");
    assert_eq!(started, []);
    assert!(
        world.why(be).ends_with("the machine is short of memory, and starts no BE procs until it is not")
    );
    assert_eq!(world.idle(2000), []);
    let (lc, started) = world.lc("a", 100);
    assert_eq!(started, [lc]);
    assert_eq!(world.event(Event::MemoryShort { short: false }), [be]);
}
