//! A hostile tenant takes as much of everything as it gets, and its neighbour in another realm hardly feels it.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Neighbour, story};
use sigmaos::{Cause, Status};
use std::cell::Cell;
use std::time::Duration;

/// Calls and starts of the neighbour while each flood is on.
const CALLS: usize = 300;
const STARTS: usize = 20;

/// What the neighbour's calls and starts may take, 99 of 100 of them, while a flood is on, on a machine where tests run beside.
/// Alone they take a fraction of a millisecond and of two. A kernel process that a tenant keeps busy would cost it seconds.
const CALL_P99: Duration = Duration::from_millis(50);
const START_P99: Duration = Duration::from_millis(250);

/// Threads and other tasks of a proc, and its descriptors, as SPECIFICATION.md says.
const MAX_TASKS: usize = 512;
const MAX_DESCRIPTORS: usize = 1000;

/// What is kept of each stream: its first 64 KiB and its last 256.
const MAX_OUTPUT: usize = (64 + 256) << 10;

/// The neighbour goes about its work, and how long that takes is held.
async fn is_served(neighbour: &Neighbour, meanwhile: &str) {
    let (mut calls, mut starts) = (Vec::new(), Vec::new());
    for round in 0..CALLS {
        calls.push(neighbour.is_well().await);
        if round % (CALLS / STARTS) == 0 {
            starts.push(neighbour.starts().await);
        }
    }
    let (call, start) = (p99(calls), p99(starts));
    println!("{meanwhile}: p99 of a call {call:?}, of a start {start:?}");
    assert!(call <= CALL_P99, "{meanwhile}: the neighbour's calls take {call:?}");
    assert!(start <= START_P99, "{meanwhile}: the neighbour's starts take {start:?}");
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// How much a flood says that it got.
fn got(said: &str) -> usize {
    let got = said.lines().find_map(|line| line.strip_prefix("got ")).unwrap_or_else(|| panic!("{said:?}"));
    got.parse().unwrap()
}

/// Runs a flood that ends by itself, one after the other while the neighbour is served; checks what each said, and how it ended.
async fn flood(machine: &Machine, what: &str, check: impl Fn(&str, Status)) {
    let neighbour = Neighbour::moves_in(machine).await;
    let tenant = machine.realm("hostile").await;
    let served = Cell::new(false);
    let serve = async {
        is_served(&neighbour, what).await;
        served.set(true);
    };
    let again = async {
        while !served.get() {
            let pid = tenant.start(&format!("flood {what}")).await;
            let status = tenant.wait_exit(pid).await;
            check(&tenant.stdout(pid).await, status);
        }
    };
    tokio::join!(serve, again);
    neighbour.moves_out().await;
}

#[test]
fn a_fork_bomb_makes_no_process() {
    story(async |machine| {
        flood(machine, "forks", |said, status| assert_eq!((got(said), status), (0, Status::ok()))).await;
    });
}

#[test]
fn a_flood_of_threads_ends_at_the_limit() {
    story(async |machine| {
        let most = if machine.has_cgroups().await { MAX_TASKS } else { 4096 };
        flood(machine, "threads", |said, status| {
            assert_eq!(status, Status::ok());
            assert!((1..most).contains(&got(said)), "{said}");
        })
        .await;
    });
}

#[test]
fn who_takes_all_memory_dies_alone() {
    story(async |machine| {
        if !machine.has_cgroups().await {
            // Nobody limits memory then, which 'sigma status' says; this machine is not to be brought down.
            return;
        }
        flood(machine, "memory", |_, status| {
            assert!(matches!(status, Status::Crashed { cause: Cause::OutOfMemory { .. }, .. }), "{status}");
        })
        .await;
    });
}

#[test]
fn a_flood_of_descriptors_ends_at_the_limit() {
    story(async |machine| {
        flood(machine, "descriptors", |said, status| {
            assert_eq!(status, Status::ok());
            assert!((1..MAX_DESCRIPTORS / 2).contains(&got(said)), "{said}");
        })
        .await;
    });
}

#[test]
fn descriptors_cannot_be_smuggled_into_the_kernel() {
    story(async |machine| {
        let sigmad = machine.sigmad().await;
        let held = || std::fs::read_dir(format!("/proc/{sigmad}/fd")).unwrap().count();
        let before = held();
        // Where the system refuses them to nobody, they are bytes of no frame, and the door is closed for them.
        flood(machine, "smuggle", |said, status| {
            let ended = status.is_ok() || matches!(status, Status::Crashed { .. } | Status::Err { .. });
            assert!(ended, "{said} {status}");
        })
        .await;
        assert!(held() < before + MAX_DESCRIPTORS / 2, "{before} descriptors before, {} now", held());
    });
}

#[test]
fn a_flood_of_watches_is_refused_at_the_limit() {
    story(async |machine| {
        // With so many calls it may lose its own connections, and end by that.
        flood(machine, "watches", |said, status| assert!(said.contains("refused: "), "{said} {status}"))
            .await;
    });
}

#[test]
fn a_flood_of_spawns_queues_behind_nobody_else() {
    story(async |machine| {
        flood(machine, "spawns", |said, status| {
            assert!(status.is_ok() && got(said) > 0, "{said} {status}");
        })
        .await;
    });
}

#[test]
fn a_flood_of_output_is_kept_in_part_only() {
    story(async |machine| {
        let neighbour = Neighbour::moves_in(machine).await;
        let tenant = machine.realm("hostile").await;
        let pid = tenant.start("flood output").await;
        is_served(&neighbour, "output").await;
        tenant.kill(pid).await;
        assert!(!tenant.wait_exit(pid).await.is_ok());
        let kept = tenant.stdout(pid).await.len();
        assert!((1..=MAX_OUTPUT).contains(&kept), "{kept} bytes are kept");
        neighbour.moves_out().await;
    });
}
