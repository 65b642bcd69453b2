use super::*;

#[test]
fn be_procs_make_room_for_an_lc_proc_the_realm_that_uses_most_first_the_youngest_first() {
    let mut world = World::new(8, 100 * MIB);
    let (a1, _) = world.queue("a", Class::Be, 20 * MIB);
    let (b1, _) = world.queue("b", Class::Be, 30 * MIB);
    let (a2, _) = world.queue("a", Class::Be, 25 * MIB);
    let (a3, _) = world.queue("a", Class::Be, 15 * MIB);
    let (lc, started) = world.queue("c", Class::Lc { mcpu: 100 }, 60 * MIB);
    assert_eq!(started, [], "10 of 100 are free");
    // a uses 60, then 45, then b uses most with 30, and then there is enough.
    assert_eq!(world.evicted, [(a3, lc), (a2, lc), (b1, lc)]);
    assert_eq!(
        world.why(lc),
        "first LC proc of realm c: asks for 60.0 MiB of memory; 10.0 MiB of 100.0 MiB are free, and BE procs are killed to make room"
    );
    assert_eq!(world.end(a3), []);
    let (spare, started) = world.queue("d", Class::Be, 20 * MIB);
    assert_eq!(started, [spare], "80 will be free, and 60 are asked for");
    let (late, started) = world.queue("e", Class::Be, 5 * MIB);
    assert_eq!(started, [], "nobody takes what comes free for another");
    assert_eq!(world.end(b1), []);
    assert_eq!(world.end(a2), [lc]);
    assert_eq!(world.end(spare), [late]);
    assert_eq!(world.evicted.len(), 3, "no more than needed");
    assert!(world.policy.why(pid(a1)).is_none());
}

#[test]
fn nobody_is_killed_where_it_would_not_help() {
    let mut world = World::new(1, 100 * MIB);
    let (held, _) = world.queue("a", Class::Lc { mcpu: 600 }, 60 * MIB);
    world.queue("b", Class::Be, 30 * MIB);
    world.queue("c", Class::Lc { mcpu: 100 }, 50 * MIB);
    assert_eq!(world.evicted, [], "40 would be free without any BE proc");
    let (busy, _) = world.queue("d", Class::Lc { mcpu: 500 }, 20 * MIB);
    assert_eq!(world.evicted, [], "it lacks mcpu, too");
    world.end(held);
    assert!(world.evicted.is_empty() && world.policy.why(pid(busy)).is_none(), "there was room then");
}

#[test]
fn a_proc_is_killed_once_and_only_for_as_long_as_somebody_waits() {
    let mut world = World::new(4, 100 * MIB);
    let (first, _) = world.queue("a", Class::Be, 50 * MIB);
    let (second, _) = world.queue("a", Class::Be, 50 * MIB);
    let (lc, _) = world.queue("b", Class::Lc { mcpu: 100 }, 30 * MIB);
    assert_eq!(world.evicted, [(second, lc)]);
    world.event(Event::Idle { mcpu: 4000 });
    let (other, _) = world.queue("c", Class::Lc { mcpu: 100 }, 40 * MIB);
    assert_eq!(world.evicted, [(second, lc)], "one LC proc after the other");
    assert_eq!(world.end(second), [lc]);
    assert_eq!(world.evicted, [(second, lc), (first, other)]);
    assert_eq!(world.end(other), []);
    assert_eq!(world.queue("d", Class::Be, 20 * MIB).1.len(), 1, "nothing is kept for who has gone");
    assert_eq!(world.end(first), []);
}

#[test]
fn a_realm_past_its_own_limit_kills_nobody() {
    let mut world = World::new(4, 100 * MIB);
    let limits = crate::RealmLimits { memory_bytes: Some(50 * MIB), ..Default::default() };
    world.event(Event::Limits { realm: realm("a"), limits });
    world.queue("a", Class::Lc { mcpu: 100 }, 30 * MIB);
    world.queue("b", Class::Be, 60 * MIB);
    world.queue("a", Class::Lc { mcpu: 100 }, 30 * MIB);
    assert_eq!(world.evicted, []);
}

#[test]
fn the_last_of_the_procs_goes_to_lc() {
    let mut world = World::on(Machine { procs: 2, ..machine(4, GIB) });
    let (first, _) = world.be("a");
    let (second, _) = world.be("a");
    let (waits, started) = world.be("b");
    assert_eq!(started, []);
    let why = "first BE proc of realm b: 2 procs run here, as many as the descriptors of this machine allow";
    assert_eq!(world.why(waits), why);
    let (lc, started) = world.lc("c", 100);
    assert_eq!((started.len(), &world.evicted[..]), (0, &[(second, lc)][..]));
    assert_eq!(world.end(second), [lc]);
    assert_eq!(world.end(first), [waits]);
}
