//! Who gives way to whom: BE procs to LC procs that need their memory, LC procs that use more than they reserved.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, host, story, story_with};
use sigmaos::{Cause, Pid, Status, proto};
use std::collections::BTreeSet;
use std::time::Duration;

/// Memory that procs of the machine may hold, in bytes.
async fn proc_memory(machine: &Machine) -> u64 {
    machine.status().await["memory_bytes"].as_u64().expect("memory") - (256 << 20)
}

/// Starts a proc that holds so many hundredths of what procs may hold, and takes next to nothing of it.
async fn hold(tenant: &Tenant, hundredths: u64, all: u64, mcpu: Option<u32>) -> Pid {
    let spec = tenant.spec("actor start wait-kill").await.memory_bytes(all / 100 * hundredths);
    let spec = mcpu.map_or(spec.clone(), |mcpu| spec.latency_critical(mcpu));
    let pid = tenant.spawn_spec(spec).await;
    tenant.wait_start(pid).await.unwrap();
    pid
}

async fn end(tenant: &Tenant, pid: Pid) {
    tenant.kill(pid).await;
    assert!(tenant.wait_exit(pid).await.is_ok());
}

async fn is_running(tenant: &Tenant, pid: Pid) -> bool {
    tenant.info(pid).await.state() == proto::State::Running
}

#[test]
fn be_procs_give_way_to_an_lc_procs_memory_and_their_status_says_for_whom() {
    story(async |machine| {
        let (most, less, lc) =
            (machine.realm("most").await, machine.realm("less").await, machine.realm("lc").await);
        let all = proc_memory(machine).await;
        let kept = hold(&most, 30, all, None).await;
        let evicted = hold(&most, 20, all, None).await;
        let spared = hold(&less, 40, all, None).await;

        // 10 are free. The realm that holds most gives way first, and of its procs the youngest.
        let first = hold(&lc, 25, all, Some(100)).await;
        let cause = Cause::Evicted { for_pid: None, memory_bytes: all / 100 * 20 };
        let status = most.wait_exit(evicted).await;
        assert_eq!(status, Status::crashed(cause));
        assert!(status.to_string().ends_with("make room for an LC proc of another realm"), "{status}");
        assert!(is_running(&most, kept).await && is_running(&less, spared).await);

        // Within a realm the status names the proc.
        let own = hold(&less, 20, all, Some(100)).await;
        let status = less.wait_exit(spared).await;
        let cause = Cause::Evicted { for_pid: Some(own), memory_bytes: all / 100 * 40 };
        assert_eq!(status, Status::crashed(cause));
        let line = machine.ok(&["--realm", "less", "why", &spared.to_string()]).await;
        assert!(line.contains("exited: Crashed: evicted") && line.contains(&own.to_string()), "{line}");

        end(&lc, first).await;
        end(&less, own).await;
        end(&most, kept).await;
        assert_eq!(machine.status().await["memory_reserved_bytes"], 0);
    });
}

#[test]
fn lc_procs_are_never_killed_for_each_other_and_be_procs_not_in_vain() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = proc_memory(machine).await;
        let served = hold(&tenant, 60, all, Some(100)).await;
        let filler = hold(&tenant, 20, all, None).await;
        let spec = tenant.spec("actor start wait-kill").await.memory_bytes(all / 2).latency_critical(100);
        let waits = tenant.spawn_spec(spec).await;
        let info = tenant.info(waits).await;
        assert_eq!(info.state(), proto::State::Queued, "40 would be free without any BE proc");
        assert!(is_running(&tenant, served).await && is_running(&tenant, filler).await);
        end(&tenant, served).await;
        tenant.wait_start(waits).await.unwrap();
        assert!(is_running(&tenant, filler).await);
        end(&tenant, waits).await;
        end(&tenant, filler).await;
    });
}

/// The class below which the control group of a process is, and whether the host runs that class only when idle.
fn class_of(process: u32) -> (String, String) {
    let group = host::cgroup(process, "cpu").expect("its control group");
    let class = group.ancestors().nth(2).expect("class, realm, slot");
    let idle = std::fs::read_to_string(class.join("cpu.idle")).unwrap_or_default();
    // Best-effort work has a top of its own, `sigmaos-<machine>-be`.
    let name = class.file_name().unwrap().to_string_lossy().into_owned();
    (name.rsplit('-').next().unwrap().to_owned(), idle.trim().to_owned())
}

#[test]
fn an_lc_proc_that_uses_more_than_it_reserved_runs_as_be_until_it_is_back() {
    story(async |machine| {
        if !machine.has_cgroups().await {
            // Nothing can be moved, so nothing is measured: 'sigma status' says what is lost.
            return;
        }
        let (greedy, be) = (machine.realm("greedy").await, machine.realm("be").await);
        let line = "actor start spin-until-fed wait-kill";
        let spec = greedy.spec(line).await.latency_critical(50);
        let request = proto::SpawnRequest { spec: Some(spec.into()), follow: false, input: true };
        let lc = greedy.sigma.spawn_with(request).await.unwrap();
        greedy.wait_start(lc).await.unwrap();
        let mut spinners = Vec::new();
        for _ in 0..machine.status().await["cores"].as_u64().unwrap() {
            let spec = be.spec("actor start spin").await.grace(Duration::ZERO);
            spinners.push(be.spawn_spec(spec).await);
        }
        let sigmad = machine.sigmad().await;
        let process = eventually(line, async || host::find(sigmad, line)).await;
        eventually("it is served as BE", async || {
            (class_of(process) == ("be".into(), "1".into())).then_some(())
        })
        .await;
        let info = greedy.info(lc).await;
        assert_eq!(
            info.served,
            "runs as BE: it uses more than the 50 mcpu that it reserved, and others wait for a core"
        );
        assert_eq!(machine.status().await["demoted"], 1);
        let why = machine.ok(&["--realm", "greedy", "why", &lc.to_string()]).await;
        assert!(why.contains("running: runs as BE"), "{why}");
        assert_eq!(machine.status().await["lc_reserved_mcpu"], 50, "it keeps its reservation");

        greedy.feed(lc, "").await.unwrap();
        eventually("it is served as LC again", async || {
            (class_of(process) == ("lc".into(), "0".into()) && greedy.info(lc).await.served.is_empty())
                .then_some(())
        })
        .await;
        end(&greedy, lc).await;
        for pid in spinners {
            be.kill(pid).await;
            be.wait_exit(pid).await;
        }
    });
}

#[test]
fn what_the_kernel_does_for_a_realm_counts_towards_that_realm() {
    story(async |machine| {
        if !machine.has_cgroups().await {
            return;
        }
        let tenant = machine.realm("shop").await;
        // The first use of /ux starts its proxy.
        tenant.sigma.put_file("/ux/~local/file", "text").await.unwrap();
        let sigmad = machine.sigmad().await;
        let served_as = async |class: &str| {
            for program in ["named", "ux"] {
                eventually(program, async || {
                    let children = host::children(sigmad);
                    let process = children.into_iter().find(|pid| host::name(*pid) == program)?;
                    let group = host::cgroup(process, "cpu")?;
                    (group.ends_with("shop/kernel") && class_of(process).0 == class).then_some(())
                })
                .await;
            }
        };
        // A tool is no BE work.
        served_as("lc").await;
        // Where BE procs alone wait for it, it gives way to the LC procs of others.
        let be = tenant.start("actor start wait-kill").await;
        served_as("be").await;
        let lc = tenant.spawn_lc(100, "actor start wait-kill").await;
        served_as("lc").await;
        end(&tenant, lc).await;
        served_as("be").await;
        end(&tenant, be).await;
    });
}

#[test]
fn busy_lc_procs_are_kept_on_a_core_each_while_be_procs_run_and_let_go_after() {
    story(async |machine| {
        let cores = machine.status().await["cores"].as_u64().unwrap();
        if !machine.has_cgroups().await || cores < 2 {
            return;
        }
        let (lc, be) = (machine.realm("lc").await, machine.realm("be").await);
        let lines = ["actor start spin", "actor start spin again"];
        let mut busy = Vec::new();
        for line in lines {
            let spec = lc.spec(line).await.latency_critical(1000).grace(Duration::ZERO);
            busy.push(lc.spawn_spec(spec).await);
        }
        let sigmad = machine.sigmad().await;
        let anywhere = host::status(sigmad, "Cpus_allowed_list").unwrap();
        let where_they_are = async || {
            let mut cores = Vec::new();
            for line in lines {
                let process = eventually(line, async || host::find(sigmad, line)).await;
                cores.push(host::status(process, "Cpus_allowed_list").unwrap());
            }
            cores
        };
        let spec = be.spec("actor start spin").await.grace(Duration::ZERO);
        let spinner = be.spawn_spec(spec).await;
        eventually("each has a core", async || {
            let cores = where_they_are().await;
            (cores[0] != cores[1] && !cores.contains(&anywhere)).then_some(())
        })
        .await;
        be.kill(spinner).await;
        be.wait_exit(spinner).await;
        eventually("they go where they like", async || {
            (where_they_are().await == [anywhere.clone(), anywhere.clone()]).then_some(())
        })
        .await;
        for pid in busy {
            lc.kill(pid).await;
            lc.wait_exit(pid).await;
        }
    });
}

#[test]
fn busy_be_procs_are_bound_to_all_cores_in_turn_beside_a_busy_lc_proc_and_let_go_after() {
    story(async |machine| {
        if !machine.has_cgroups().await {
            return;
        }
        let cores = machine.status().await["cores"].as_u64().unwrap() as usize;
        let (lc, be) = (machine.realm("lc").await, machine.realm("be").await);
        let spec = lc.spec("actor start spin-half").await.latency_critical(800).grace(Duration::ZERO);
        let served = lc.spawn_spec(spec).await;
        let mut busy = Vec::new();
        for _ in 0..cores {
            let spec = be.spec("actor start spin").await.grace(Duration::ZERO);
            busy.push(be.spawn_spec(spec).await);
        }
        let sigmad = machine.sigmad().await;
        let anywhere = host::status(sigmad, "Cpus_allowed_list").unwrap();
        let where_they_are = || {
            let processes = host::descendants(sigmad).into_iter();
            let spinners = processes.filter(|process| host::command(*process) == "actor start spin");
            spinners.filter_map(|process| host::status(process, "Cpus_allowed_list")).collect::<Vec<_>>()
        };
        let bound = async || {
            eventually("each core has one", async || {
                let places = where_they_are();
                let different: BTreeSet<_> =
                    places.iter().filter(|place| **place != anywhere || cores == 1).collect();
                (different.len() == cores && places.len() == cores).then_some(places)
            })
            .await
        };
        let first = bound().await;
        if cores > 1 {
            eventually("they change places", async || (bound().await != first).then_some(())).await;
        }
        lc.kill(served).await;
        lc.wait_exit(served).await;
        eventually("they go where they like", async || {
            (where_they_are() == vec![anywhere.clone(); cores]).then_some(())
        })
        .await;
        for pid in busy {
            be.kill(pid).await;
            be.wait_exit(pid).await;
        }
    });
}

#[test]
fn be_procs_are_ordinary_work_where_the_operator_wants_it_and_status_says_so() {
    story_with(&["--sched-idle", "off"], async |machine| {
        let tenant = machine.realm("a").await;
        let line = "actor start say:be wait-kill";
        let pid = tenant.start(line).await;
        let sigmad = machine.sigmad().await;
        let process = eventually(line, async || host::find(sigmad, line)).await;
        assert_eq!(host::policies(process), [0], "SCHED_OTHER");
        if machine.has_cgroups().await {
            assert_eq!(class_of(process), ("be".into(), "0".into()));
        }
        assert_eq!(machine.status().await["sched_idle"], false);
        let status = machine.ok(&["status"]).await;
        assert!(status.contains("sched idle   off: BE procs compete"), "{status}");
        end(&tenant, pid).await;
    });
}
