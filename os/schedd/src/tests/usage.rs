use super::*;

const SPAN_US: u64 = 500_000;

/// Measures once: `idle_mcpu` were idle, and one proc used so many thousandths of a core.
fn measure(world: &mut World, idle_mcpu: u32, number: u64, used_mcpu: u64) {
    let procs = vec![(pid(number), used_mcpu * SPAN_US / 1000)];
    world.event(Event::Used { span_us: SPAN_US, idle_mcpu, procs });
}

#[test]
fn an_lc_proc_over_its_reservation_runs_as_be_until_it_is_back() {
    let mut world = World::new(2, GIB);
    let (lc, _) = world.lc("a", 200);
    world.be("b");
    for _ in 0..3 {
        measure(&mut world, 0, lc, 900);
    }
    assert_eq!(world.demoted, [], "1.5 s are not yet 2");
    measure(&mut world, 0, lc, 900);
    assert_eq!((&world.demoted[..], world.policy.is_demoted(pid(lc))), (&[lc][..], true));
    let load = world.policy.load();
    assert_eq!((load.lc_demoted, load.reserved_mcpu), (1, 200), "it keeps what it reserved");
    measure(&mut world, 0, lc, 150);
    measure(&mut world, 0, lc, 201);
    measure(&mut world, 0, lc, 200);
    assert_eq!(world.demoted, [lc], "a second at or below it, at a stretch");
    measure(&mut world, 0, lc, 0);
    assert_eq!((&world.demoted[..], world.policy.load().lc_demoted), (&[][..], 0));
}

#[test]
fn nobody_minds_while_cores_are_idle_or_nobody_else_is_there() {
    let mut world = World::new(2, GIB);
    let (lc, _) = world.lc("a", 200);
    for _ in 0..20 {
        measure(&mut world, 0, lc, 2000);
    }
    assert_eq!(world.demoted, [], "it is alone");
    let (be, _) = world.be("b");
    for idle_mcpu in [0, 0, 0, crate::usage::CROWDED_MCPU, 0, 0, 0, 500] {
        measure(&mut world, idle_mcpu, lc, 1500);
    }
    assert_eq!(world.demoted, [], "a core was idle now and then");
    for _ in 0..20 {
        measure(&mut world, 0, be, 2000);
    }
    assert_eq!(world.demoted, [], "BE procs reserve nothing");
}

#[test]
fn a_measurement_is_believed_only_as_far_as_it_is_fine() {
    let mut world = World::new(2, GIB);
    let (lc, _) = world.lc("a", 10);
    world.be("a");
    for _ in 0..20 {
        measure(&mut world, 0, lc, 30);
    }
    assert_eq!(world.demoted, [], "one step more than its 5 ms");
    for _ in 0..4 {
        measure(&mut world, 0, lc, 31);
    }
    assert_eq!(world.demoted, [lc]);
}

#[test]
fn one_that_ends_is_forgotten() {
    let mut world = World::new(2, GIB);
    let (lc, _) = world.lc("a", 100);
    world.be("a");
    for _ in 0..4 {
        measure(&mut world, 0, lc, 1000);
    }
    world.end(lc);
    measure(&mut world, 0, lc, 1000);
    assert_eq!(world.policy.load().lc_demoted, 0);
    assert!(!world.policy.is_demoted(pid(lc)));
}
