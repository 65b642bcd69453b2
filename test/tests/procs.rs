//! How procs begin and end: every cause, every way to wait for it, and what they leave behind.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, eventually, host, story};
use sigmaos::{Cause, Code, Pid, Status, proto};
use std::time::Duration;

fn crashed(cause: Cause) -> Status {
    Status::crashed(cause)
}

#[test]
fn every_exit_says_why() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let told = |message: &str, data: &'static str| (message.to_owned(), data.into());
        let (message, data) = told("all resized", "48");
        assert_eq!(tenant.run("actor start ok:all_resized,48").await.to_string(), "Ok: all_resized");
        assert_eq!(tenant.run("actor ok:x,48").await, Status::Ok { message: "x".into(), data });
        let _ = message;
        let (message, data) = told("no-such-picture", "7");
        assert_eq!(tenant.run("actor start err:no-such-picture,7").await, Status::Err { message, data });
        assert_eq!(tenant.run("actor start fail:broken").await, Status::err("broken"));
        // What it said first counts.
        assert_eq!(tenant.run("actor start ok:first err:second").await.to_string(), "Ok: first");
        assert_eq!(tenant.run("actor ok:said exit:3").await.to_string(), "Ok: said");

        assert_eq!(tenant.run("actor start exit:3").await, crashed(Cause::ExitCode(3)));
        // An SDK proc that ends without a word has crashed, whatever its exit code.
        assert_eq!(tenant.run("actor start exit:0").await, crashed(Cause::ExitCode(0)));
        assert_eq!(tenant.run("actor start abort").await, crashed(Cause::Signal(6)));
        assert_eq!(tenant.run("actor start segv").await, crashed(Cause::Signal(11)));
        let signalled = tenant.run("actor start segv").await;
        assert_eq!(signalled.to_string(), "Crashed: signal 11 (SIGSEGV)");
    });
}

#[test]
fn out_of_memory_is_told_with_limit_and_peak() {
    story(async |machine| {
        if !machine.has_cgroups().await {
            let (_, note) = machine.layer("cgroup").await;
            assert!(!note.is_empty(), "where there are no limits, status says why");
            return;
        }
        let tenant = machine.realm("a").await;
        let limit = 32 << 20;
        for line in ["actor start eat-mib:256", "actor eat-mib:256"] {
            let spec = tenant.spec(line).await.memory_bytes(limit);
            let pid = tenant.spawn_spec(spec).await;
            let status = tenant.wait_exit(pid).await;
            let Status::Crashed { cause: Cause::OutOfMemory { limit_bytes, peak_bytes }, .. } = status else {
                panic!("{line}: {status}");
            };
            assert_eq!(limit_bytes, limit);
            assert!((limit / 2..=limit).contains(&peak_bytes), "a peak of {peak_bytes}");
        }
        let spec = tenant.spec("actor start eat-mib:16 ok").await.memory_bytes(limit);
        let pid = tenant.spawn_spec(spec).await;
        assert!(tenant.wait_exit(pid).await.is_ok(), "below its limit it lives");
    });
}

#[test]
fn a_proc_that_is_asked_to_end_ends_by_itself_or_is_ended_after_its_grace() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let willing = tenant.start("actor start wait-kill ok:tidied-up").await;
        tenant.kill(willing).await;
        assert_eq!(tenant.wait_exit(willing).await.to_string(), "Ok: tidied-up");
        // Asking one that has ended changes nothing.
        tenant.kill(willing).await;
        assert_eq!(tenant.wait_exit(willing).await.to_string(), "Ok: tidied-up");

        for line in ["actor start forever", "actor start spin"] {
            let grace = Duration::from_millis(100);
            let spec = tenant.spec(line).await.grace(grace);
            let pid = tenant.spawn_spec(spec).await;
            tenant.wait_start(pid).await.unwrap();
            let asked = std::time::Instant::now();
            tenant.kill(pid).await;
            tenant.kill(pid).await;
            let status = tenant.wait_exit(pid).await;
            assert!(matches!(status, Status::Killed { .. }), "{line}: {status}");
            assert!(asked.elapsed() >= grace, "{line}: not before its grace period is over");
        }
        // One that has not yet said that it started can be ended, too.
        let spec = tenant.spec("actor say:early forever").await.grace(Duration::ZERO);
        let early = tenant.spawn_spec(spec).await;
        tenant.said(early, "early").await;
        tenant.kill(early).await;
        assert!(matches!(tenant.wait_exit(early).await, Status::Killed { .. }));
        assert_eq!(tenant.wait_start(early).await.map_err(|error| error.code), Err(Code::Ended));
    });
}

#[test]
fn a_queued_proc_is_killed_where_it_waits() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = machine.status().await["cores"].as_u64().unwrap() as u32 * 1000;
        let first = tenant.spawn_lc(all, "actor start wait-kill").await;
        tenant.wait_start(first).await.unwrap();
        let second = tenant.spawn_lc(100, "actor start").await;
        tenant.kill(second).await;
        assert_eq!(tenant.wait_exit(second).await, Status::killed("while it was queued"));
        let started = tenant.wait_start(second).await.unwrap_err();
        assert_eq!(started.code, Code::Ended);
        assert!(started.message.contains("while it was queued"), "{started}");
        tenant.kill(first).await;
        assert!(tenant.wait_exit(first).await.is_ok());
    });
}

#[test]
fn waiting_works_before_during_and_after_and_more_than_once() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.spawn_followed("actor copy-input start wait-kill ok:end").await;
        // Nobody has started; both wait.
        let (sigma, other) = (tenant.sigma.clone(), machine.realm("a").await);
        let starts = tokio::spawn(async move { tokio::join!(sigma.wait_start(pid), sigma.wait_exit(pid)) });
        tenant.feed(pid, "go").await.unwrap();
        tenant.wait_start(pid).await.unwrap();
        tenant.wait_start(pid).await.unwrap();
        tenant.kill(pid).await;
        for _ in 0..2 {
            assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: end");
            assert_eq!(other.wait_exit(pid).await.to_string(), "Ok: end");
            tenant.wait_start(pid).await.expect("it did start before it ended");
        }
        let (start, exit) = starts.await.unwrap();
        assert_eq!((start, exit.unwrap().to_string()), (Ok(()), "Ok: end".into()));

        let early = tenant.spawn("actor fail:at-once").await;
        tenant.wait_exit(early).await;
        let error = tenant.wait_start(early).await.unwrap_err();
        assert_eq!(error.code, Code::Ended);
        assert!(error.message.contains("at-once"), "it carries the status: {error}");
    });
}

#[test]
fn an_unknown_pid_is_not_found_at_once() {
    story(async |machine| {
        let (tenant, stranger) = (machine.realm("a").await, machine.realm("b").await);
        let pid = tenant.start("actor start wait-kill").await;
        let unknown = Pid { number: pid.number + 1000, ..pid };
        for (tenant, pid) in [(&tenant, unknown), (&tenant, Pid { epoch: 77, ..pid }), (&stranger, pid)] {
            let code = |error: sigmaos::Error| error.code;
            assert_eq!(tenant.sigma.wait_exit(pid).await.map_err(code), Err(Code::NotFound));
            assert_eq!(tenant.sigma.wait_start(pid).await.map_err(code), Err(Code::NotFound));
            assert_eq!(tenant.sigma.kill(pid).await.map_err(code), Err(Code::NotFound));
            assert_eq!(tenant.sigma.info(pid).await.map(drop).map_err(code), Err(Code::NotFound));
            assert_eq!(tenant.sigma.output(pid, false, 0).await.map(drop).map_err(code), Err(Code::NotFound));
            assert_eq!(tenant.sigma.input(pid, "x".into(), true).await.map_err(code), Err(Code::NotFound));
        }
        assert_eq!(stranger.sigma.procs(true).await.unwrap(), [], "a realm does not see another's procs");
        tenant.kill(pid).await;
        assert!(tenant.wait_exit(pid).await.is_ok());
    });
}

#[test]
fn children_outlive_their_parent() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        for (end, status) in [("", Status::ok()), (" segv", crashed(Cause::Signal(11)))] {
            let line = format!("actor start spawn:/bin/actor,start,wait-kill,ok:orphan{end}");
            let parent = tenant.start(&line).await;
            assert_eq!(tenant.wait_exit(parent).await, status);
            let child: Pid = tenant.stdout(parent).await.trim().parse().unwrap();
            tenant.wait_start(child).await.unwrap();
            let info = tenant.info(child).await;
            assert_eq!((info.parent, info.state), (parent.to_string(), proto::State::Running.into()));
            tenant.kill(child).await;
            assert_eq!(tenant.wait_exit(child).await.to_string(), "Ok: orphan");
        }
    });
}

#[test]
fn a_plain_binary_runs_too() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        assert_eq!(tenant.run("plain exit:0").await, Status::ok());
        assert_eq!(tenant.run("plain exit:3").await, crashed(Cause::ExitCode(3)));
        // It has started when it was executed.
        let pid = tenant.start("plain say:waiting wait").await;
        tenant.said(pid, "waiting").await;
        tenant.kill(pid).await;
        let status = tenant.wait_exit(pid).await;
        assert!(matches!(&status, Status::Killed { message } if message.contains("signal 15")), "{status}");

        let handles = tenant.start("plain handle-term say:ready wait").await;
        tenant.said(handles, "ready").await;
        tenant.kill(handles).await;
        let status = tenant.wait_exit(handles).await;
        assert!(matches!(&status, Status::Killed { message } if message.contains("exit code 7")), "{status}");

        let spec = tenant.spec("plain ignore-term say:ready wait").await.grace(Duration::from_millis(100));
        let ignores = tenant.spawn_spec(spec).await;
        tenant.said(ignores, "ready").await;
        tenant.kill(ignores).await;
        let status = tenant.wait_exit(ignores).await;
        assert!(matches!(&status, Status::Killed { message } if message.contains("signal 9")), "{status}");
    });
}

#[test]
fn output_outlives_the_proc_head_and_tail() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let small = tenant.spawn("actor start say:hello stderr:16").await;
        tenant.wait_exit(small).await;
        assert_eq!(tenant.stdout(small).await, "hello\n");
        assert_eq!(tenant.stderr(small).await, "0000000\n0000001\n");

        // Nobody follows it, so it never waits for a reader.
        const MIB: usize = 1 << 20;
        let large = tenant.spawn(&format!("actor start stdout:{MIB}")).await;
        assert!(tenant.wait_exit(large).await.is_ok());
        let kept = tenant.stdout(large).await;
        assert!(kept.len() < MIB / 2, "{} bytes are kept of what nobody followed", kept.len());
        assert!(kept.starts_with("0000000\n0000001\n"), "its head");
        assert!(kept.ends_with(&format!("{:07}\n", MIB / 8 - 1)), "its tail");
        let lines: Vec<usize> = kept.lines().map(|line| line.parse().expect("a whole line")).collect();
        assert_eq!(
            lines.windows(2).filter(|pair| pair[1] != pair[0] + 1).count(),
            1,
            "one gap, in the middle"
        );
    });
}

/// Waits until `sigma run` has said that its proc has begun.
async fn running(machine: &Machine, line: &str) -> u32 {
    let sigmad = machine.sigmad().await;
    eventually(line, async || host::find(sigmad, line)).await
}

#[test]
fn sigma_run_is_like_a_command_of_the_shell() {
    story(async |machine| {
        let input: String = (0..1 << 17).map(|line| format!("{line:07}\n")).collect();
        for line in [["actor", "start", "copy-input"].as_slice(), &["plain", "copy-input"]] {
            let args: Vec<_> = ["run", "--quiet"].iter().chain(line).copied().collect();
            let said = machine.cli_with(&args, input.as_bytes()).await;
            assert_eq!((said.code, said.stderr.as_str()), (0, ""));
            assert!(said.stdout == input, "1 MiB goes in and comes out whole: {} bytes", said.stdout.len());
        }
        let both = machine.cli(&["run", "-q", "actor", "start", "stdout:1048576", "stderr:1048576"]).await;
        assert_eq!((both.stdout.len(), both.stderr.len()), (1 << 20, 1 << 20));

        let codes = [
            ("ok:fine", 0),
            ("err:no", 1),
            ("fail:no", 1),
            ("exit:42", 42),
            // An exit code 0 without a word is a crash all the same.
            ("exit:0", 1),
            ("abort", 128 + 6),
            ("segv", 128 + 11),
        ];
        for (step, code) in codes {
            let said = machine.cli(&["run", "actor", "start", step]).await;
            assert_eq!(said.code, code, "{step}: {}", said.stderr);
        }
        let said = machine.cli(&["run", "--env", "PROBE=seen", "probe", "9"]).await;
        assert!(
            said.stdout.contains("args: probe 9") && said.stdout.contains("env: seen"),
            "{}",
            said.stdout
        );
    });
}

#[test]
fn an_interrupt_of_sigma_run_ends_its_proc() {
    story(async |machine| {
        for (line, code) in [("actor start wait-kill ok:interrupted", 0), ("plain say:there wait", 137)] {
            let args: Vec<_> = ["run"].into_iter().chain(line.split(' ')).collect();
            let run = machine.sigma(&args).spawn().unwrap();
            let process = running(machine, line).await;
            // As a terminal does it at Ctrl-C. Before it handles signals it ends at once, so the proc comes first.
            host::signal(run.id().unwrap(), rustix::process::Signal::INT);
            let output = sigma_test::within("sigma run", run.wait_with_output()).await.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
            assert!(stderr.contains("ending "), "{stderr}");
            eventually("the process of the proc ends", async || (!host::is_alive(process)).then_some(()))
                .await;
        }
    });
}
