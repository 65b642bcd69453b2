//! What dies in the middle of much work: it goes on, and what anybody was told of it holds after a boot.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{eventually, story, within};
use sigmaos::{Pid, ProcSpec, Sigma, Status};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What one worker has been told.
struct Told {
    ended: Vec<(Pid, Status)>,
    /// Its files, and the last round in which each was acknowledged.
    files: [(String, u64); 2],
}

/// Puts its files and runs a proc, round after round; whatever fails meanwhile is tried again in the next.
async fn work(
    sigma: Sigma,
    spec: ProcSpec,
    number: usize,
    ended: watch::Sender<usize>,
    stop: Arc<AtomicBool>,
) -> Told {
    let files = [format!("/ux/~local/w{number}"), format!("/w{number}")].map(|path| (path, 0));
    let mut told = Told { ended: Vec::new(), files };
    for round in 1.. {
        for (path, kept) in &mut told.files {
            if sigma.put_file(path, round.to_string()).await.is_ok() {
                *kept = round;
            }
        }
        if let Ok(pid) = sigma.spawn(spec.clone()).await
            && let Ok(status) = sigma.wait_exit(pid).await
        {
            told.ended.push((pid, status));
            ended.send_modify(|ended| *ended += 1);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    told
}

#[test]
fn whatever_dies_in_the_middle_of_work_it_goes_on_and_after_a_boot_all_that_was_told_is_so() {
    const WORKERS: usize = 20;
    story(async |machine| {
        let mut pids = BTreeSet::new();
        for victim in ["jail", "named", "ux"] {
            let tenant = machine.realm("a").await;
            // Whatever else the machine does, they go on.
            let spec = tenant.spec("noop").await.latency_critical(10);
            tenant.sigma.put_file("/ux/~local/first", "starts its proxy").await.unwrap();
            let (ended, mut count) = watch::channel(0);
            let stop = Arc::new(AtomicBool::new(false));
            let workers: Vec<_> = (0..WORKERS)
                .map(|number| {
                    let (sigma, stop) = (machine.client("a"), Arc::clone(&stop));
                    tokio::spawn(work(sigma, spec.clone(), number, ended.clone(), stop))
                })
                .collect();
            within("work", count.wait_for(|ended| *ended > 50)).await.unwrap();
            machine.kill_9(victim).await;
            let now = *count.borrow();
            within("work that goes on", count.wait_for(|ended| *ended > now + 100)).await.unwrap();
            stop.store(true, Ordering::Relaxed);
            let mut told = Vec::new();
            for worker in workers {
                told.push(within("a worker", worker).await.unwrap());
            }
            machine.kill_9_sigmad().await;
            eventually("all its processes end", async || machine.processes().is_empty().then_some(())).await;
            machine.boot_again().await;
            let tenant = machine.realm("a").await;
            for Told { ended, files } in told {
                for (pid, status) in ended {
                    assert!(pids.insert(pid), "{pid} was given twice");
                    assert_eq!(tenant.wait_exit(pid).await, status, "{victim}: {pid}");
                }
                for (path, kept) in files {
                    let contents = within(&path, tenant.sigma.get_file(&path)).await.unwrap();
                    let there: u64 = str::from_utf8(&contents).unwrap().parse().unwrap();
                    assert!(
                        there >= kept,
                        "{victim}: {path} is of round {there}, and {kept} was acknowledged"
                    );
                }
            }
        }
    });
}
