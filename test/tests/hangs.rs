//! A named that hangs without ending: its realm waits until the kernel has replaced it, and nobody else notices.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, host, story};
use std::time::{Duration, Instant};

/// A process is asked every 5 s, and killed when it has not answered for 20 s; a call waits 30 s for its answer.
const HUNG_AFTER: Duration = Duration::from_secs(20);
const REPLACED: Duration = Duration::from_secs(30);

/// What the neighbour does in the meantime, and how long each may take: far less than the other realm waits.
const NEIGHBOURS_CALLS: usize = 200;
const NEIGHBOUR_WAITS: Duration = Duration::from_secs(5);

fn named_of(machine: &Machine, sigmad: u32, realm: &str) -> u32 {
    let path = machine.state().join("realm").join(realm);
    let named = host::find_all(sigmad, "named").into_iter();
    let mut named = named.filter(|pid| host::command(*pid).contains(path.to_str().unwrap()));
    named.next().expect("the named of the realm")
}

/// Bug: the kernel gave a process that hangs more time than a call has, so that all who had called it were told of a deadline, though the next
/// one was about to start.
#[test]
fn a_named_that_hangs_is_replaced_and_only_its_realm_waits_for_it() {
    story(async |machine| {
        let (hung, neighbour) = (machine.realm("hung").await, machine.realm("neighbour").await);
        hung.sigma.put_file("/kept", "kept").await.unwrap();
        let running = hung.start("actor start wait-kill get:/kept ok:it-lives").await;
        hung.upload("noop").await;
        neighbour.upload("noop").await;
        let sigmad = machine.sigmad().await;
        let named = named_of(machine, sigmad, "hung");

        host::stop(named);
        let stopped = Instant::now();
        let (reader, writer) = (machine.client("hung"), hung.sigma.clone());
        let read = tokio::spawn(async move { reader.get_file("/kept").await });
        let write = tokio::spawn(async move { writer.put_file("/written", "while it hung").await });

        // What needs no name goes on in its own realm, too.
        assert!(hung.run("noop").await.is_ok());
        for round in 0..NEIGHBOURS_CALLS {
            let one = async {
                neighbour.sigma.put_file("/file", round.to_string()).await.unwrap();
                assert_eq!(neighbour.sigma.get_file("/file").await.unwrap(), round.to_string());
                assert!(neighbour.run("noop").await.is_ok());
            };
            tokio::time::timeout(NEIGHBOUR_WAITS, one).await.expect("the neighbour notices nothing");
        }
        assert!(host::is_alive(named), "all of that was while it hung");
        assert!(!read.is_finished() && !write.is_finished());

        // Who waited is answered by the next one, and what it was asked to change is changed.
        let answers = async { (read.await.unwrap(), write.await.unwrap()) };
        let (read, write) = tokio::time::timeout(REPLACED, answers).await.expect("it is replaced in time");
        assert!(stopped.elapsed() >= HUNG_AFTER, "not before its time: {:?}", stopped.elapsed());
        assert_eq!(read.unwrap(), "kept");
        write.unwrap();
        assert!(!host::is_alive(named), "it was killed");
        assert_eq!(hung.sigma.get_file("/written").await.unwrap(), "while it hung");
        assert!(machine.log_tail().contains("hangs: it has not answered for 20s"), "{}", machine.log_tail());
        // Procs that were there all the time go on with it.
        hung.kill(running).await;
        assert_eq!(hung.wait_exit(running).await.to_string(), "Ok: it-lives");
        assert_eq!(hung.stdout(running).await, "kept\n");
    });
}
