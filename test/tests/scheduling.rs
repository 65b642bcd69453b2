//! Who runs, who waits and for what; LC before BE, on the host's own terms.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, host, story, story_with};
use sigmaos::{Pid, proto};
use std::fs;
use std::sync::{Mutex, PoisonError};

/// Stories that need idle cores of the host, and those that leave none, are told one after the other.
static IDLE_CORES: Mutex<()> = Mutex::new(());

/// Thousandths of a core that the machine has.
async fn all_mcpu(machine: &Machine) -> u32 {
    machine.status().await["cores"].as_u64().expect("cores") as u32 * 1000
}

async fn state(tenant: &Tenant, pid: Pid) -> proto::State {
    tenant.info(pid).await.state()
}

async fn end(tenant: &Tenant, pid: Pid) {
    tenant.kill(pid).await;
    assert!(tenant.wait_exit(pid).await.is_ok());
}

#[test]
fn an_lc_proc_waits_for_mcpu_says_so_and_starts_when_it_is_free() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = all_mcpu(machine).await;
        let first = tenant.spawn_lc(all - 100, "actor start wait-kill").await;
        tenant.wait_start(first).await.unwrap();
        let second = tenant.spawn_lc(200, "actor start wait-kill").await;
        let behind = tenant.spawn_lc(100, "actor start wait-kill").await;

        let info = tenant.info(second).await;
        assert_eq!(info.state(), proto::State::Queued);
        let why = format!("asks for 200 mcpu; 100 of {all} are free");
        assert!(info.waiting_for.contains(&why), "{:?} does not say {why:?}", info.waiting_for);
        // It would fit, but must not starve the one before it.
        let info = tenant.info(behind).await;
        assert!(info.waiting_for.contains(&format!("waits behind {second}")), "{:?}", info.waiting_for);
        let status = machine.status().await;
        assert_eq!((&status["lc_reserved_mcpu"], &status["queued"]), (&(all - 100).into(), &2.into()));

        end(&tenant, first).await;
        tenant.wait_start(second).await.unwrap();
        tenant.wait_start(behind).await.unwrap();
        assert_eq!(tenant.info(second).await.waiting_for, "");
        end(&tenant, second).await;
        end(&tenant, behind).await;
        assert_eq!(machine.status().await["lc_reserved_mcpu"], 0);
    });
}

#[test]
fn reservations_never_exceed_the_machine() {
    story(async |machine| {
        let (one, other) = (machine.realm("one").await, machine.realm("other").await);
        let all = all_mcpu(machine).await;
        let mut procs = Vec::new();
        for number in 0..12 {
            let tenant = if number % 2 == 0 { &one } else { &other };
            procs.push((tenant, tenant.spawn_lc(all / 4, "actor start wait-kill").await));
        }
        // Those that fit have room; each that ends makes room for one.
        while !procs.is_empty() {
            let fit = procs.len().min(4);
            let running = eventually("as many run as fit", async || {
                let status = machine.status().await;
                assert!(status["lc_reserved_mcpu"].as_u64() <= Some(all.into()), "{status}");
                let mut running = Vec::new();
                for (at, (tenant, pid)) in procs.iter().enumerate() {
                    if state(tenant, *pid).await == proto::State::Running {
                        running.push(at);
                    }
                }
                assert!(running.len() <= 4, "{} run where 4 fit", running.len());
                (running.len() == fit).then_some(running)
            })
            .await;
            let (tenant, pid) = procs.remove(running[0]);
            end(tenant, pid).await;
        }
    });
}

#[test]
fn the_realm_that_has_less_goes_next() {
    story(async |machine| {
        let (greedy, modest) = (machine.realm("greedy").await, machine.realm("modest").await);
        let all = all_mcpu(machine).await;
        let running = greedy.spawn_lc(all, "actor start wait-kill").await;
        greedy.wait_start(running).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(greedy.spawn_lc(all, "actor start wait-kill").await);
        }
        let other = modest.spawn_lc(all, "actor start wait-kill").await;
        // At most one start of another realm before it.
        end(&greedy, running).await;
        eventually("the modest realm's proc runs, after one of the other's at most", async || {
            if state(&modest, other).await == proto::State::Running {
                return Some(());
            }
            for pid in waiting.clone() {
                if state(&greedy, pid).await == proto::State::Running {
                    assert_eq!(waiting.len(), 5, "a second proc of the greedy realm goes first");
                    waiting.retain(|each| *each != pid);
                    end(&greedy, pid).await;
                }
            }
            None
        })
        .await;
        for pid in waiting {
            greedy.kill(pid).await;
        }
        end(&modest, other).await;
    });
}

/// The process of a proc, as the host sees it.
async fn process(machine: &Machine, line: &str) -> u32 {
    let sigmad = machine.sigmad().await;
    eventually(line, async || host::find(sigmad, line)).await
}

#[test]
fn a_be_proc_is_idle_to_the_host_and_an_lc_proc_is_not() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (be, lc) = ("actor start say:be wait-kill", "actor start say:lc wait-kill");
        let plain_line = "plain say:plain handle-term wait";
        let be_pid = tenant.start(be).await;
        let plain_pid = tenant.start(plain_line).await;
        let lc_pid = tenant.spawn_lc(500, lc).await;
        tenant.wait_start(lc_pid).await.unwrap();
        let idle = [process(machine, be).await, process(machine, plain_line).await];
        let served = process(machine, lc).await;
        // sched(7): 5 is SCHED_IDLE. Each thread counts.
        for idle in idle {
            assert!(
                !host::policies(idle).is_empty() && host::policies(idle).iter().all(|policy| *policy == 5)
            );
        }
        assert!(host::policies(served).iter().all(|policy| *policy == 0), "{:?}", host::policies(served));

        if machine.has_cgroups().await {
            let group = |pid| host::cgroup(pid, "cpu").expect("its control group");
            let id = machine.status().await["machine"].as_str().unwrap().to_owned();
            let (be_group, lc_group) = (group(idle[0]), group(served));
            assert!(be_group.to_string_lossy().contains(&format!("sigmaos-{id}-be/a/")), "{be_group:?}");
            assert!(lc_group.to_string_lossy().contains(&format!("sigmaos-{id}/lc/a/")), "{lc_group:?}");
            let idle_of = |group: &std::path::Path| {
                let class = group.ancestors().nth(2).expect("class, realm, slot");
                fs::read_to_string(class.join("cpu.idle")).expect("cpu.idle of the class").trim().to_owned()
            };
            assert_eq!((idle_of(&be_group), idle_of(&lc_group)), ("1".into(), "0".into()));
            let memory = host::cgroup(idle[0], "memory").expect("its memory group");
            let limit = ["memory.limit_in_bytes", "memory.max"];
            let limit = limit.iter().find_map(|file| fs::read_to_string(memory.join(file)).ok()).unwrap();
            assert_eq!(limit.trim(), sigmaos::limits::DEFAULT_MEMORY.to_string());
            assert_ne!(group(idle[0]), group(idle[1]), "each proc has a group of its own");
        }
        end(&tenant, be_pid).await;
        end(&tenant, lc_pid).await;
        tenant.kill(plain_pid).await;
        tenant.wait_exit(plain_pid).await;
    });
}

#[test]
fn without_cgroups_be_procs_are_idle_all_the_same_and_status_says_what_is_lost() {
    story_with(&["--insecure-without", "cgroup"], async |machine| {
        let tenant = machine.realm("a").await;
        let line = "actor start say:be wait-kill";
        let pid = tenant.start(line).await;
        let process = process(machine, line).await;
        assert_eq!(host::policies(process), [5]);
        let (on, note) = machine.layer("cgroup").await;
        assert!(!on && note.contains("--insecure-without=cgroup"), "{note}");
        let path = host::cgroup(process, "cpu");
        assert!(path.is_none_or(|path| !path.to_string_lossy().contains("sigmaos-")));
        end(&tenant, pid).await;
    });
}

#[test]
fn parents_that_wait_for_their_children_do_not_deadlock_the_machine() {
    let _cores = IDLE_CORES.lock().unwrap_or_else(PoisonError::into_inner);
    story(async |machine| {
        let tenant = machine.realm("a").await;
        // More than the machine has cores, each of which keeps its place while it waits.
        let parents = 2 * machine.status().await["cores"].as_u64().unwrap();
        let mut pids = Vec::new();
        for _ in 0..parents {
            pids.push(tenant.spawn("actor start spawn:/bin/actor,start,work:1000,ok:done wait-child").await);
        }
        for pid in pids {
            // Other work of the host delays BE procs, as it should: only the story itself bounds this.
            assert!(tenant.sigma.wait_exit(pid).await.unwrap().is_ok());
        }
        let statuses = tenant.sigma.procs(true).await.unwrap();
        assert_eq!(statuses.len() as u64, 2 * parents);
    });
}

/// Regression: parents held the places that their children waited for, and on a machine without an idle core nobody went on.
#[test]
fn parents_and_their_children_go_on_where_no_core_is_idle() {
    let _cores = IDLE_CORES.lock().unwrap_or_else(PoisonError::into_inner);
    story(async |machine| {
        let (busy, tenant) = (machine.realm("busy").await, machine.realm("a").await);
        let cores = machine.status().await["cores"].as_u64().unwrap();
        let mut spinners = Vec::new();
        for _ in 0..cores {
            let spec = busy.spec("actor start spin").await.grace(std::time::Duration::ZERO);
            spinners.push(busy.spawn_spec(spec).await);
        }
        busy.wait_start(spinners[0]).await.unwrap();
        // They take all places that the spinners leave, each of them, and their children need one each.
        let mut parents = Vec::new();
        for _ in 0..2 * cores {
            parents.push(tenant.spawn("actor start spawn:/bin/actor,start,ok:done wait-child").await);
        }
        for pid in parents {
            // Spinners delay BE procs, as they should: only the story itself bounds this.
            assert!(tenant.sigma.wait_exit(pid).await.unwrap().is_ok());
        }
        for pid in spinners {
            busy.kill(pid).await;
            busy.wait_exit(pid).await;
        }
    });
}

/// Each realm starts as many procs as any other, however many one of them has queued.
#[test]
fn realms_start_procs_in_turns() {
    story(async |machine| {
        let (greedy, modest) = (machine.realm("greedy").await, machine.realm("modest").await);
        let all = all_mcpu(machine).await;
        let running = greedy.spawn_lc(all, "actor start wait-kill").await;
        greedy.wait_start(running).await.unwrap();
        // One of them fills the machine, so that they start one after the other.
        let mut procs = Vec::new();
        for _ in 0..12 {
            procs.push((&greedy, greedy.spawn_lc(all, "actor ok:greedy").await));
        }
        for _ in 0..4 {
            procs.push((&modest, modest.spawn_lc(all, "actor ok:modest").await));
        }
        end(&greedy, running).await;
        let mut starts = Vec::new();
        for (tenant, pid) in procs {
            assert!(tenant.wait_exit(pid).await.is_ok());
            let timing = tenant.info(pid).await.timing.unwrap_or_default();
            starts.push((timing.spawned_ms * 1000 + timing.admitted_us, tenant.realm.clone()));
        }
        starts.sort();
        let last = starts.iter().rposition(|(_, realm)| *realm == modest.realm).expect("its procs started");
        let ahead = last + 1 - 4;
        assert!(ahead <= 4 + 1, "{ahead} starts of the greedy realm before the fourth of the modest one");
    });
}

#[test]
fn be_procs_beyond_the_cores_wait_their_turn() {
    let _cores = IDLE_CORES.lock().unwrap_or_else(PoisonError::into_inner);
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let cores = machine.status().await["cores"].as_u64().unwrap() as usize;
        let mut pids = Vec::new();
        for _ in 0..cores * 4 {
            let spec = tenant.spec("actor start spin").await.grace(std::time::Duration::ZERO);
            pids.push(tenant.spawn_spec(spec).await);
        }
        tenant.wait_start(pids[0]).await.unwrap();
        let last = *pids.last().unwrap();
        let info = tenant.info(last).await;
        assert_eq!(info.state(), proto::State::Queued, "busy procs leave no core idle");
        assert!(info.waiting_for.contains("BE procs run on"), "{:?}", info.waiting_for);
        // An LC proc does not wait for any of them.
        let lc = tenant.spawn_lc(1000, "actor start ok:served").await;
        assert_eq!(tenant.wait_exit(lc).await.to_string(), "Ok: served");
        for pid in pids {
            tenant.kill(pid).await;
            tenant.wait_exit(pid).await;
        }
    });
}
