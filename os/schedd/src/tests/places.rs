use super::*;

fn block(world: &mut World, number: u64) -> Vec<u64> {
    world.event(Event::Blocked { pid: pid(number) })
}

fn unblock(world: &mut World, number: u64) -> Vec<u64> {
    world.event(Event::Unblocked { pid: pid(number) })
}

#[test]
fn a_be_proc_that_waits_for_its_child_holds_no_place() {
    let mut world = World::new(2, GIB);
    let parents: Vec<u64> = (0..3).map(|_| world.be("a").0).collect();
    let (child, started) = world.be("a");
    assert_eq!(started, []);
    let (other, _) = world.be("a");
    assert_eq!(block(&mut world, parents[0]), [child]);
    assert_eq!(block(&mut world, parents[0]), [], "saying it twice gives no second place");
    let why = world.why(other);
    assert!(why.contains("3 BE procs run on 2 cores, 1 more wait for their children"), "{why}");
    // The parent goes on while the child still runs: one too many, until one ends.
    assert_eq!(unblock(&mut world, parents[0]), []);
    assert_eq!(world.end(parents[1]), []);
    assert_eq!(world.end(child), [other]);
}

#[test]
fn parents_and_children_go_on_where_no_core_is_ever_idle() {
    let mut world = World::new(2, GIB);
    let mut waiting: Vec<u64> = (0..100).map(|_| world.be("a").0).collect();
    let mut running: Vec<u64> = waiting.drain(..3).collect();
    let (mut children, mut ended) = (std::collections::BTreeMap::new(), 0);
    while let Some(number) = running.pop() {
        if let Some(parent) = children.remove(&number) {
            // A child ends, its parent goes on and ends.
            running.extend(world.end(number));
            running.extend(unblock(&mut world, parent));
            running.extend(world.end(parent));
            ended += 1;
        } else {
            let (child, started) = world.be("a");
            running.extend(started);
            children.insert(child, number);
            running.extend(block(&mut world, number));
        }
    }
    assert_eq!((ended, world.policy.load()), (100, crate::Load::default()));
}

#[test]
fn a_realm_of_waiting_parents_takes_turns_with_the_others() {
    let mut world = World::new(1, GIB);
    // Realm a fills the machine with parents that wait; realm b then gets its turn as if a ran nothing.
    let parents: Vec<u64> = (0..50).map(|_| world.be("a").0).collect();
    let (b, _) = world.be("b");
    block(&mut world, parents[0]);
    assert!(world.policy.why(pid(b)).is_none(), "a realm that holds nothing goes next");
}

#[test]
fn only_running_be_procs_block() {
    let mut world = World::new(1, GIB);
    let (lc, _) = world.lc("a", 500);
    world.be("a");
    world.be("a");
    let (queued, started) = world.be("a");
    assert_eq!(started, []);
    for number in [lc, queued, 99] {
        assert_eq!(block(&mut world, number), []);
        assert_eq!(unblock(&mut world, number), []);
    }
    assert_eq!(world.policy.load().be_blocked, 0);
}
