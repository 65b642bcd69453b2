use super::Outcome::{Done, Exists, Found, NotFound, Unknown};
use super::*;

fn create(key: &str, value: u64) -> Action {
    Action::Create { key: key.into(), value }
}

fn put(key: &str, value: u64) -> Action {
    Action::Put { key: key.into(), value }
}

fn get(key: &str) -> Action {
    Action::Get { key: key.into() }
}

fn rename(from: &str, to: &str) -> Action {
    Action::Rename { from: from.into(), to: to.into() }
}

fn remove(key: &str) -> Action {
    Action::Remove { key: key.into() }
}

fn history(operations: &[(u64, u64, Action, Outcome)]) -> Vec<Operation> {
    let operations = operations.iter().cloned();
    operations
        .map(|(called, answered, action, outcome)| Operation { action, outcome, called, answered })
        .collect()
}

fn holds(operations: &[(u64, u64, Action, Outcome)]) {
    linearizable(&history(operations)).unwrap();
}

fn fails(operations: &[(u64, u64, Action, Outcome)]) {
    let error = linearizable(&history(operations)).expect_err("this history is none of a namespace");
    assert!(error.starts_with("no order"), "{error}");
}

#[test]
fn one_after_the_other_is_what_a_map_does() {
    holds(&[
        (0, 1, get("a"), NotFound),
        (2, 3, create("a", 1), Done),
        (4, 5, create("a", 2), Exists),
        (6, 7, rename("a", "b"), Done),
        (8, 9, get("b"), Found(1)),
        (10, 11, remove("a"), NotFound),
        (12, 13, put("b", 3), Done),
        (14, 15, remove("b"), Done),
    ]);
}

#[test]
fn what_overlaps_may_have_any_order() {
    holds(&[(0, 9, put("a", 1), Done), (1, 8, put("a", 2), Done), (10, 11, get("a"), Found(1))]);
    holds(&[(0, 9, put("a", 1), Done), (1, 8, put("a", 2), Done), (10, 11, get("a"), Found(2))]);
    holds(&[(0, 9, put("a", 1), Done), (1, 2, get("a"), NotFound), (3, 4, get("a"), Found(1))]);
}

#[test]
fn an_answer_that_never_came_may_be_of_a_change_or_of_none() {
    let lost = (2, 3, put("a", 2), Unknown);
    holds(&[(0, 1, put("a", 1), Done), lost.clone(), (4, 5, get("a"), Found(1))]);
    holds(&[(0, 1, put("a", 1), Done), lost.clone(), (4, 5, get("a"), Found(1)), (6, 7, get("a"), Found(2))]);
    // Once it was seen it stays.
    fails(&[(0, 1, put("a", 1), Done), lost, (4, 5, get("a"), Found(2)), (6, 7, get("a"), Found(1))]);
}

#[test]
fn planted_faults_are_found() {
    // A lost update, a stale read, a read of what nobody wrote.
    fails(&[(0, 1, put("a", 1), Done), (2, 3, get("a"), NotFound)]);
    fails(&[(0, 1, put("a", 1), Done), (2, 3, put("a", 2), Done), (4, 5, get("a"), Found(1))]);
    fails(&[(0, 1, get("a"), Found(7))]);
    // Two who both made it, and two who both took it.
    fails(&[(0, 5, create("a", 1), Done), (1, 4, create("a", 2), Done)]);
    fails(&[(0, 1, create("a", 1), Done), (2, 6, rename("a", "b"), Done), (3, 7, rename("a", "c"), Done)]);
    // A change that was carried out twice: its second time undid what came between.
    fails(&[(0, 1, put("a", 1), Done), (2, 3, remove("a"), Done), (4, 5, get("a"), Found(1))]);
    // A rename that is seen half: the file is in neither place.
    fails(&[
        (0, 1, create("a", 1), Done),
        (2, 9, rename("a", "b"), Done),
        (3, 4, get("b"), Found(1)),
        (5, 6, get("a"), Found(1)),
    ]);
    // Two readers who saw two writes in two orders.
    fails(&[
        (0, 20, put("a", 1), Done),
        (0, 20, put("a", 2), Done),
        (1, 2, get("a"), Found(1)),
        (3, 4, get("a"), Found(2)),
        (5, 6, get("a"), Found(1)),
    ]);
}

#[test]
fn a_fault_far_behind_much_that_overlaps_is_found() {
    let mut operations = Vec::new();
    for round in 0..50u64 {
        let at = round * 10;
        for client in 0..4 {
            operations.push((at + client, at + 9, put("a", round * 4 + client), Done));
        }
    }
    let last = 49 * 4;
    operations.push((600, 601, get("a"), Found(last)));
    holds(&operations);
    operations.push((602, 603, get("a"), Found(last - 1)));
    fails(&operations);
}

#[test]
fn keys_that_nothing_connects_are_looked_at_alone() {
    let mut operations: Vec<_> = (0..64).map(|key| (0, 99, put(&format!("k{key}"), key), Done)).collect();
    operations.push((100, 101, get("k7"), Found(7)));
    holds(&operations);
    let of = |operations: &[_]| parts(&history(operations)).len();
    assert_eq!(of(&operations), 64);
    operations.push((102, 103, rename("k1", "k2"), Done));
    operations.push((104, 105, rename("k3", "k2"), Done));
    assert_eq!(of(&operations), 62);
}
