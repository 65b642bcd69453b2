//! Many clients at one namespace, and many entries in it.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, host, story, within};
use sigmaos::proto::OpenRequest;
use sigmaos::{Create, Sigma};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients that come and go, and how many are there at a time.
const CROWD: usize = 10_000;
const AT_A_TIME: usize = 100;

/// Clients after which memory is taken as what it always is.
const FIRST: usize = 1000;

/// Memory that a kernel process may have more of after the crowd than after its first part.
const MOST_GROWTH_KIB: u64 = 8 << 10;

/// Comes, asks, and vanishes in one of several ways.
async fn visit(sigma: Sigma, number: usize) {
    let patience = Duration::from_millis(1);
    match number % 8 {
        0 => drop(sigma.put_file(&format!("/visitor-{}", number % 50), "was here").await.unwrap()),
        // With a file open, a watch, and an entry of its own.
        1 => drop(sigma.open("/file").await.unwrap()),
        2 => drop(sigma.watch_dir("/dir").await.unwrap()),
        3 => drop(sigma.create(&format!("/dir/{number}"), Create::file().ephemeral()).await.unwrap()),
        // In the middle of a call that is not answered.
        4 => drop(tokio::time::timeout(patience, sigma.wait_for("/never")).await),
        5 => {
            let how = OpenRequest { write: true, ..Default::default() };
            drop(tokio::time::timeout(patience, sigma.open_with("/pipe", how)).await);
        }
        _ => drop(sigma.get_file("/file").await.unwrap()),
    }
}

async fn visits(machine: &Machine, numbers: std::ops::Range<usize>) {
    let mut visitors = JoinSet::new();
    for number in numbers {
        if visitors.len() >= AT_A_TIME {
            within("a visitor", visitors.join_next()).await.unwrap().unwrap();
        }
        visitors.spawn(visit(machine.client("a"), number));
    }
    within("the last visitors", visitors.join_all()).await;
}

#[test]
fn ten_thousand_clients_come_and_go_and_leave_nothing() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/file", "x").await.unwrap();
        tenant.sigma.create_dir("/dir").await.unwrap();
        tenant.sigma.create("/pipe", Create::pipe()).await.unwrap();
        let sigmad = machine.sigmad().await;
        let named = host::find_all(sigmad, "named").into_iter();
        let mut named = named.filter(|pid| host::command(*pid).contains("/realm/a/"));
        let named = named.next().unwrap();
        let memory = || [sigmad, named].map(host::resident_kib);
        visits(machine, 0..FIRST).await;
        let before = memory();
        visits(machine, FIRST..CROWD).await;
        // What they held is gone when they are.
        sigma_test::eventually("the entries of the visitors are gone", async || {
            tenant.sigma.read_dir("/dir").await.unwrap().is_empty().then_some(())
        })
        .await;
        let after = memory();
        println!("sigmad and named hold {before:?} KiB after {FIRST} clients, {after:?} KiB after {CROWD}");
        for (before, after) in before.into_iter().zip(after) {
            assert!(after < before + MOST_GROWTH_KIB, "{before} KiB became {after} KiB");
        }
        for process in [sigmad, named] {
            let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
            assert!(open < 2 * AT_A_TIME, "process {process} holds {open} descriptors");
        }
    });
}

/// The listing of a directory with this many entries, page by page.
#[test]
fn a_directory_of_a_hundred_thousand_entries_is_listed_page_by_page() {
    const ENTRIES: usize = 100_000;
    const MAKERS: usize = 256;
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir("/many").await.unwrap();
        let mut makers = JoinSet::new();
        for maker in 0..MAKERS {
            let sigma = tenant.sigma.clone();
            makers.spawn(async move {
                for number in (maker..ENTRIES).step_by(MAKERS) {
                    sigma.put_file(&format!("/many/{number:06}"), "").await.unwrap();
                }
            });
        }
        let begun = Instant::now();
        while let Some(made) = within("the makers", makers.join_next()).await {
            made.unwrap();
        }
        println!("{ENTRIES} entries made in {:?}", begun.elapsed());
        assert_eq!(tenant.sigma.stat("/many").await.unwrap().size, ENTRIES as u64);
        let begun = Instant::now();
        let entries = within("the listing", tenant.sigma.read_dir("/many")).await.unwrap();
        println!("listed in {:?}", begun.elapsed());
        let names = entries.iter().map(|entry| entry.name.parse::<usize>().unwrap());
        assert!(names.eq(0..ENTRIES), "each once, in order");
        // A page far behind is found as fast as the first one: it says what follows, and whether more does.
        let page = tenant.sigma.read_dir_page("/many", "099997", 0).await.unwrap();
        let names: Vec<_> = page.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!((names, page.more), (vec!["099998", "099999"], false));
    });
}
