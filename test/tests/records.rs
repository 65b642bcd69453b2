//! What is known of procs outlives them, and the kernel: statuses, output, `/proc`.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use sigma_test::{Machine, Tenant, eventually, host, story, within};
use sigmaos::{Cause, Code, Error, Pid, Status, proto};
use std::os::unix::fs::FileExt;
use std::time::Duration;

async fn kill_9_and_boot_again(machine: &mut Machine) {
    machine.kill_9_sigmad().await;
    eventually("all its processes end", async || machine.processes().is_empty().then_some(())).await;
    machine.boot_again().await;
}

fn is_lost(status: &Status) -> bool {
    matches!(status, Status::Crashed { cause: Cause::MachineLost, .. })
}

async fn all_mcpu(machine: &Machine) -> u32 {
    machine.status().await["cores"].as_u64().unwrap() as u32 * 1000
}

#[test]
fn old_pids_answer_after_the_kernel_was_killed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = all_mcpu(machine).await;
        let told = tenant.spawn("actor start say:hello stderr:16 ok:all-done,data").await;
        let crashed = tenant.spawn("actor start exit:3").await;
        let (told_status, crashed_status) = (tenant.wait_exit(told).await, tenant.wait_exit(crashed).await);
        let running = tenant.spawn_lc(all, "actor say:so-far start forever").await;
        tenant.said(running, "so-far").await;
        let queued = tenant.spawn_lc(100, "actor start").await;

        kill_9_and_boot_again(machine).await;

        let tenant = machine.realm("a").await;
        let stranger = machine.realm("b").await;
        for _ in 0..2 {
            assert_eq!(tenant.wait_exit(told).await, told_status);
            assert_eq!(tenant.wait_exit(crashed).await, crashed_status);
            for lost in [running, queued] {
                let status = tenant.wait_exit(lost).await;
                assert!(is_lost(&status), "{status}");
                assert_eq!(tenant.wait_start(lost).await.map_err(|error| error.code), Err(Code::Ended));
            }
        }
        tenant.wait_start(told).await.expect("it did start");
        // Asking what has ended to end changes nothing.
        tenant.kill(told).await;
        let info = tenant.info(told).await;
        assert_eq!(info.spec.unwrap().args, ["start", "say:hello", "stderr:16", "ok:all-done,data"]);
        assert!(info.timing.unwrap().started_us > 0 && info.state == proto::State::Exited as i32);

        assert_eq!(tenant.stdout(told).await, "hello\n");
        assert_eq!(tenant.stderr(told).await, "0000000\n0000001\n");
        assert_eq!(tenant.stdout(running).await, "so-far\n");

        let not_found = Err(Code::NotFound);
        let code = |error: Error| error.code;
        assert_eq!(stranger.sigma.wait_exit(told).await.map_err(code), not_found);
        let never = Pid { number: told.number + 1000, ..told };
        assert_eq!(tenant.sigma.wait_exit(never).await.map_err(code), not_found);

        let next = tenant.start("actor start wait-kill").await;
        assert!(next.epoch > running.epoch, "{next} after {running}: pids never repeat");
        let listed: Vec<_> =
            tenant.sigma.procs(true).await.unwrap().into_iter().map(|proc| proc.pid).collect();
        assert_eq!(listed, [told, crashed, running, queued, next].map(|pid| pid.to_string()));
        tenant.kill(next).await;
        tenant.wait_exit(next).await;
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_kernel_is_killed_in_the_middle_of_work() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("noop").await;
        for _ in 0..3 {
            let sigmad = machine.sigmad().await;
            let work = (0..40).map(|_| {
                let (sigma, spec) = (machine.client("a"), spec.clone());
                tokio::spawn(async move {
                    let mut known = Vec::new();
                    while let Ok(pid) = sigma.spawn(spec.clone()).await {
                        known.push((pid, sigma.wait_exit(pid).await.ok()));
                    }
                    known
                })
            });
            let work: Vec<_> = work.collect();
            let tenant = machine.realm("a").await;
            let boot = machine.status().await["boot"].as_u64().unwrap();
            eventually("many have ended", async || {
                let procs = tenant.sigma.procs(true).await.unwrap();
                let ended = procs.iter().filter(|proc| {
                    proc.state() == proto::State::Exited && proc.pid.parse::<Pid>().unwrap().epoch == boot
                });
                (ended.count() > 50).then_some(())
            })
            .await;
            host::kill(sigmad);
            let mut known = Vec::new();
            for worker in work {
                known.extend(within("a worker", worker).await.unwrap());
            }
            eventually("all its processes end", async || machine.processes().is_empty().then_some(())).await;
            machine.boot_again().await;
            let tenant = machine.realm("a").await;
            for (pid, status) in &known {
                let now = tenant.wait_exit(*pid).await;
                match status {
                    Some(status) => assert_eq!(now, *status, "{pid}"),
                    // It may have ended, and nobody was told.
                    None => assert!(now.is_ok() || is_lost(&now), "{pid}: {now}"),
                }
            }
            assert!(known.iter().any(|(_, status)| status.is_some()), "some had ended");
        }
    });
}

#[test]
fn three_thousand_short_procs_in_bursts_all_answer() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("noop").await;
        let mut pids = Vec::new();
        for _ in 0..6 {
            let mut burst = Vec::new();
            for _ in 0..500 {
                burst.push(tenant.spawn_spec(spec.clone()).await);
            }
            for pid in &burst {
                assert!(tenant.wait_exit(*pid).await.is_ok());
            }
            pids.extend(burst);
        }
        for pid in &pids {
            assert!(tenant.wait_exit(*pid).await.is_ok(), "the first is known as the last");
        }
        let listed = within("a long list", tenant.sigma.procs(true)).await.unwrap();
        assert_eq!(listed.len(), 3000);
        assert!(listed.is_sorted_by_key(|proc| proc.pid.parse::<Pid>().unwrap()));
        let below = within("a long directory", tenant.sigma.read_dir("/proc")).await.unwrap();
        let names: Vec<_> = below.into_iter().map(|entry| entry.name).collect();
        assert!(
            names == pids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "each, in the order of its spawn"
        );
    });
}

#[test]
fn a_damaged_journal_harms_no_other_realm_and_is_told() {
    story(async |machine| {
        let (a, b) = (machine.realm("a").await, machine.realm("b").await);
        let (first, last) = (a.spawn("actor start ok:first").await, b.spawn("actor start ok:b").await);
        a.wait_exit(first).await;
        b.wait_exit(last).await;
        let second = a.spawn("actor start ok:second").await;
        a.wait_exit(second).await;
        machine.ok(&["down"]).await;
        let journal = machine.state().join("realm/a/proc/journal");
        let file = std::fs::File::options().write(true).open(&journal).unwrap();
        let length = file.metadata().unwrap().len();
        file.write_all_at(b"garbage", length - 20).unwrap();
        machine.boot_again().await;
        let (a, b) = (machine.realm("a").await, machine.realm("b").await);
        assert_eq!(b.wait_exit(last).await.to_string(), "Ok: b");
        assert_eq!(a.wait_exit(first).await.to_string(), "Ok: first", "what lies before the damage");
        assert!(is_lost(&a.wait_exit(second).await), "it was spawned, and its end is lost");
        assert!(a.run("actor start").await.is_ok(), "the realm works");
        let log = std::fs::read_to_string(machine.state().join("sigmad.log")).unwrap();
        assert!(
            log.contains("records of procs are damaged") && log.contains("realm/a/proc/journal"),
            "{log}"
        );
        assert!(journal.with_extension("damaged").exists());
    });
}

async fn cat(machine: &Machine, path: &str) -> Value {
    let text = machine.ok(&["--realm", "a", "cat", path]).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {text:?}: {error}"))
}

#[test]
fn proc_and_machine_are_read_like_files() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant
            .spec("actor start say:hello wait-kill ok:bye")
            .await
            .env("A", "b")
            .grace(Duration::from_secs(1));
        let pid = tenant.spawn_spec(spec).await;
        tenant.said(pid, "hello").await;
        let status = cat(machine, &format!("/proc/{pid}/status")).await;
        assert_eq!((&status["state"], &status["status"]), (&"running".into(), &Value::Null));
        let spec = cat(machine, &format!("/proc/{pid}/spec")).await;
        assert_eq!(
            (&spec["binary"], &spec["env"]["A"], &spec["grace_ms"]),
            (&"/bin/actor".into(), &"b".into(), &1000.into())
        );
        assert_eq!((&spec["class"], &spec["restart"]["when"]), (&"BE".into(), &"never".into()));
        assert_eq!(machine.ok(&["--realm", "a", "cat", &format!("/proc/{pid}/stdout")]).await, "hello\n");
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
        let status = cat(machine, &format!("/proc/{pid}/status")).await;
        assert_eq!((&status["status"], &status["why"]), (&"Ok".into(), &"Ok: bye".into()));
        assert!(cat(machine, &format!("/proc/{pid}/timing")).await["exited_us"].as_u64().unwrap() > 0);

        let names = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>().join(" ");
        let listed = names(machine.ok(&["--realm", "a", "ls", &format!("/proc/{pid}")]).await);
        for file in ["spec", "status", "stderr", "stdout", "timing"] {
            assert!(listed.contains(file), "{listed}");
        }
        let id = machine.status().await["machine"].as_str().unwrap().to_owned();
        let capacity = cat(machine, &format!("/machine/{id}/capacity")).await;
        assert_eq!(u64::from(all_mcpu(machine).await), capacity["cores"].as_u64().unwrap() * 1000);
        assert_eq!(cat(machine, "/machine/~local/load").await["lc_running"], 0);

        for (path, code) in [
            (format!("/proc/{pid}/nothing"), Code::NotFound),
            ("/proc/nobody/status".to_owned(), Code::NotFound),
            (format!("/proc/{pid}"), Code::IsDir),
        ] {
            assert_eq!(
                tenant.sigma.get_file(&path).await.map(drop).map_err(|error| error.code),
                Err(code),
                "{path}"
            );
        }
        let stranger = machine.realm("b").await;
        let other = stranger.sigma.get_file(&format!("/proc/{pid}/stdout")).await;
        assert_eq!(
            other.map(drop).map_err(|error| error.code),
            Err(Code::NotFound),
            "a realm sees its own procs"
        );
        let written = tenant.sigma.put_file(&format!("/proc/{pid}/status"), "x").await;
        assert!(written.is_err(), "it can only be read");
    });
}

#[test]
fn logs_kill_and_wait_are_commands() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let pid = tenant.start("actor start say:first wait-kill say:last stderr:8 err:no").await;
        tenant.said(pid, "first").await;
        let text = pid.to_string();
        assert_eq!(machine.ok(&["logs", &text]).await, "first\n");
        let follow = machine.sigma(&["logs", "--follow", &text]).spawn().unwrap();
        let killed = machine.cli(&["kill", "--wait", &text]).await;
        assert_eq!((killed.code, killed.stdout.as_str()), (1, "Err: no\n"));
        let followed = within("sigma logs --follow", follow.wait_with_output()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&followed.stdout), "first\nlast\n");
        assert_eq!(machine.ok(&["logs", "--stderr", &text]).await, "0000000\n");
        let waited = machine.cli(&["--json", "wait", &text]).await;
        let object: Value = serde_json::from_str(&waited.stdout).unwrap();
        assert_eq!((waited.code, &object["status"]), (1, &"Err: no".into()));
        for command in ["logs", "kill", "wait"] {
            let unknown = Pid { number: 9999, ..pid }.to_string();
            machine.fails(&[command, &unknown], 4, &[&unknown, "no longer kept"]).await;
            assert_eq!(machine.cli(&[command, "nonsense"]).await.code, 2);
        }
    });
}

#[test]
fn who_follows_late_holds_the_proc_back_from_then_on() {
    const MIB: usize = 1 << 20;
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.start(&format!("actor start say:begun wait-kill stdout:{MIB} ok:written")).await;
        tenant.said(pid, "begun").await;
        let mut all = Vec::new();
        let first = within("its output", tenant.sigma.follow(pid, false, 0)).await.unwrap();
        all.extend_from_slice(&first.bytes);
        tenant.kill(pid).await;
        loop {
            let output =
                within("its output", tenant.sigma.follow(pid, false, all.len() as u64)).await.unwrap();
            if output.end {
                break;
            }
            assert_eq!(output.offset, all.len() as u64, "a gap");
            all.extend_from_slice(&output.bytes);
        }
        assert_eq!(all.len(), MIB + "begun\n".len());
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: written");

        // A follower that goes away holds nobody back.
        let pid = tenant.start(&format!("actor start say:begun wait-kill stdout:{MIB} ok:written")).await;
        let follower = machine.client("a");
        within("its output", follower.follow(pid, false, 0)).await.unwrap();
        tenant.kill(pid).await;
        drop(follower);
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: written");
    });
}

#[test]
fn specs_of_a_realm_take_no_more_memory_than_they_may_and_others_take_no_harm() {
    story(async |machine| {
        let (tenant, other) = (machine.realm("a").await, machine.realm("b").await);
        let first = tenant.spawn_lc(all_mcpu(machine).await, "actor start wait-kill").await;
        tenant.wait_start(first).await.unwrap();
        // They wait, each with 240 KiB.
        let long = "x".repeat(120 << 10);
        let spec =
            tenant.spec("actor start").await.latency_critical(100).args([long.clone()]).env("LONG", long);
        let mut queued = 0;
        let refused = loop {
            match tenant.try_spawn(spec.clone()).await {
                Ok(_) => queued += 1,
                Err(error) => break error,
            }
            assert!(queued < 1000, "a realm makes the kernel keep {queued} specs of 240 KiB");
        };
        assert_eq!(refused.code, Code::Quota, "{refused}");
        assert!(queued > 100, "{queued}");
        assert!(other.run("actor start").await.is_ok(), "another realm goes on");
        machine.ok(&["realm", "rm", "a"]).await;
    });
}

async fn story_of_a_replaced_binary(tenant: &Tenant, all: u32, path: &str) -> Pid {
    let first = tenant.spawn_lc(all, "actor start wait-kill").await;
    tenant.wait_start(first).await.unwrap();
    let actor = tenant.sigma.get_file("/bin/actor").await.unwrap();
    tenant.sigma.put_file(path, actor).await.unwrap();
    let spec = sigmaos::ProcSpec::new(path).unwrap().latency_critical(100).args(["start", "ok:the-first"]);
    let queued = tenant.spawn_spec(spec).await;
    tenant.sigma.remove(path).await.unwrap();
    let plain = tenant.upload("plain").await;
    let plain = tenant.sigma.get_file(&plain).await.unwrap();
    tenant.sigma.put_file(path, plain).await.unwrap();
    tenant.kill(first).await;
    tenant.wait_exit(first).await;
    queued
}

#[test]
fn a_binary_that_is_replaced_between_spawn_and_start_runs_as_it_was() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = all_mcpu(machine).await;
        for path in ["/bin/changing", "/ux/~local/changing"] {
            let queued = story_of_a_replaced_binary(&tenant, all, path).await;
            assert_eq!(tenant.wait_exit(queued).await.to_string(), "Ok: the-first", "{path}");
        }
    });
}

#[test]
fn arguments_and_environment_go_up_to_their_limits_and_not_beyond() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let most = sigmaos::limits::MAX_ARGS;
        // Each argument and variable counts with its end, and a variable with its equals sign.
        let say = format!("say:{}", "x".repeat(most - "say:".len() - 1));
        let env = "y".repeat(most - "Y".len() - 2);
        let spec = tenant.spec("plain").await.args([say.clone()]).env("Y", env.clone());
        let pid = tenant.spawn_spec(spec.clone()).await;
        assert!(tenant.wait_exit(pid).await.is_ok());
        assert_eq!(tenant.stdout(pid).await.len(), most - 4);
        for spec in [spec.clone().args([format!("{say}x")]), spec.env("Y", format!("{env}y"))] {
            let refused = tenant.try_spawn(spec).await.unwrap_err();
            assert_eq!(refused.code, Code::TooLarge, "{refused}");
        }
    });
}

/// Bug: a launcher that died between being placed and being used left its proc in Starting for ever, and one that died
/// while it was placed failed every proc that waited for one.
#[test]
fn launchers_that_die_take_no_proc_along_that_they_have_not_become() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("plain exit:0").await;
        let sigmad = machine.sigmad().await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        // Launchers are the children of a jail's pid 1 that have not executed anything yet.
        let killer = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut killed = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let is_jail = |pid: &u32| host::name(*pid) == "jail";
                    let jails = host::children(sigmad).into_iter().filter(is_jail);
                    let launchers = jails.flat_map(host::children).flat_map(host::children).filter(is_jail);
                    for launcher in launchers.take(2) {
                        host::kill(launcher);
                        killed += 1;
                    }
                    // All that are there are not to be killed at once: some must be left to become procs.
                    std::thread::sleep(Duration::from_millis(20));
                }
                killed
            }
        });
        for _ in 0..300 {
            let pid = tenant.spawn_spec(spec.clone()).await;
            // One that was killed as it was launched has ended, and says so; none stays as it is.
            let status = tenant.wait_exit(pid).await;
            let told = matches!(
                &status,
                Status::Ok { .. } | Status::Crashed { cause: Cause::Signal(9) | Cause::NotStarted(_), .. }
            );
            assert!(told, "{status}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(killer.join().unwrap() > 10, "launchers were killed");
        assert!(tenant.run("plain exit:0").await.is_ok());
    });
}
