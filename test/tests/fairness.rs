//! One client that asks too much of named, and one that asks for little beside it. Alone in its program, since it measures time.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{story, within};
use sigmaos::Sigma;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Calls that the greedy client has in flight, and calls of the modest one beside it.
const GREED: usize = 1000;
const MODEST: usize = 1000;

/// Bytes of the file that the greedy client reads.
const LARGE: usize = 8 << 10;

/// How many times sooner the modest client is answered than the greedy one, at the median. Who queues behind all that another asks
/// for is answered no sooner than that one.
const FAIRNESS: u32 = 4;

/// The time that each of some calls took, sorted.
async fn times(sigma: Sigma, calls: usize, path: &str) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..calls {
        let begun = Instant::now();
        within("an answer", sigma.get_file(path)).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

#[test]
fn a_client_that_floods_named_does_not_keep_others_from_their_answers() {
    story(async |machine| {
        machine.realm("a").await.sigma.put_file("/large", vec![7; LARGE]).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let greedy = machine.client("a");
        let mut flood = JoinSet::new();
        for number in 0..GREED {
            let (sigma, stop) = (greedy.clone(), Arc::clone(&stop));
            flood.spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match number % 10 {
                        0 => drop(sigma.put_file(&format!("/flood-{number}"), "x").await.unwrap()),
                        _ => drop(sigma.get_file("/large").await.unwrap()),
                    }
                    times.push(begun.elapsed());
                }
                times
            });
        }
        // In a thread of its own, so that it does not wait for the turns of the flood on this side.
        let state = machine.state().to_owned();
        let modest = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let realm = sigmaos::Realm::parse("a").unwrap();
                let sigma = Sigma::connect(&state, Some(&realm)).unwrap();
                sigma.put_file("/small", "x").await.unwrap();
                times(sigma, MODEST, "/small").await
            })
        });
        let modest = tokio::task::spawn_blocking(move || modest.join().unwrap()).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let mut greedy = within("the flood", flood.join_all()).await.concat();
        greedy.sort();
        let at = |times: &[Duration], percent: usize| times[times.len() * percent / 100];
        let (median, p99) = (at(&modest, 50), at(&modest, 99));
        let flood = at(&greedy, 50);
        println!("beside the flood: median {median:?}, p99 {p99:?}; the flood's own median {flood:?}");
        assert!(median * FAIRNESS < flood, "median {median:?} beside a flood whose calls take {flood:?}");
        assert!(p99 < flood, "p99 {p99:?} beside a flood whose calls take {flood:?}");
    });
}
