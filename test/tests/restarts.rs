//! Restart policies: who is started again, as whom, when not, and what it leaves behind.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, host, story};
use sigmaos::{Cause, Code, Pid, Restart, Status};

async fn spawn(tenant: &Tenant, line: &str, restart: Restart) -> Pid {
    let spec = tenant.spec(line).await.restart(restart);
    tenant.spawn_spec(spec).await
}

/// Kills the process of a proc, and waits until its next life has started.
async fn kill_9_until_it_lives_again(machine: &Machine, tenant: &Tenant, pid: Pid, line: &str) {
    let before = tenant.info(pid).await.restarts;
    let sigmad = machine.sigmad().await;
    let process = eventually("its process", async || host::find(sigmad, line)).await;
    host::kill(process);
    eventually("its next life", async || {
        let info = tenant.info(pid).await;
        (info.restarts > before && info.state() == sigmaos::proto::State::Running).then_some(())
    })
    .await;
}

#[test]
fn a_failure_is_tried_again_and_given_up_with_the_last_cause() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = spawn(&tenant, "plain say:tried exit:3", Restart::OnFailure { limit: 2 }).await;
        tenant.wait_start(pid).await.unwrap();
        let status = tenant.wait_exit(pid).await;
        let expect =
            Status::Crashed { cause: Cause::ExitCode(3), message: "given up after 2 restarts".into() };
        assert_eq!(status, expect);
        assert_eq!(tenant.info(pid).await.restarts, 2);
        assert_eq!(tenant.stdout(pid).await, "tried\ntried\ntried\n", "what each life wrote");
        let spawned = tenant.info(pid).await.timing.unwrap();
        assert!(spawned.started_us >= 300_000, "100 ms, then 200 ms: {spawned:?}");

        // What ends well is not started again, nor is what has no policy.
        let well = spawn(&tenant, "plain exit:0", Restart::ON_FAILURE).await;
        assert!(tenant.wait_exit(well).await.is_ok());
        let never = spawn(&tenant, "plain exit:3", Restart::Never).await;
        assert_eq!(tenant.wait_exit(never).await, Status::crashed(Cause::ExitCode(3)));
        assert_eq!((tenant.info(well).await.restarts, tenant.info(never).await.restarts), (0, 0));
    });
}

#[test]
fn always_means_however_it_ends_until_somebody_ends_it() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = spawn(&tenant, "plain exit:0", Restart::Always).await;
        eventually("three lives", async || (tenant.info(pid).await.restarts >= 2).then_some(())).await;
        let waits = eventually("it waits for its next life", async || {
            let info = tenant.info(pid).await;
            info.waiting_for.contains("its restart after").then_some(info)
        })
        .await;
        assert!(waits.waiting_for.contains("since it ended: Ok"), "{}", waits.waiting_for);
        tenant.kill(pid).await;
        let status = tenant.wait_exit(pid).await;
        assert!(matches!(status, Status::Killed { .. }), "{status}");

        // One that runs and is asked to end is not started again either.
        let runs = spawn(&tenant, "actor start wait-kill fail:on-request", Restart::Always).await;
        tenant.wait_start(runs).await.unwrap();
        tenant.kill(runs).await;
        assert_eq!(tenant.wait_exit(runs).await.to_string(), "Err: on-request");
        assert_eq!(tenant.info(runs).await.restarts, 0);
    });
}

/// Bug: word that a life had started, which came after its end, kept the next one from starting.
#[test]
fn a_proc_that_waits_for_its_next_life_is_killed_where_it_waits() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = spawn(&tenant, "plain exit:1", Restart::ON_FAILURE).await;
        // The pauses grow, so that it is seen in one of them.
        eventually("a pause", async || {
            let info = tenant.info(pid).await;
            (info.restarts >= 3 && info.waiting_for.contains("its restart after")).then_some(())
        })
        .await;
        tenant.kill(pid).await;
        assert_eq!(tenant.wait_exit(pid).await, Status::killed("while it waited to be started again"));
    });
}

#[test]
fn the_next_life_is_the_same_proc_and_what_the_one_before_held_is_gone() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let line = "actor hold:/held start wait-kill ok:done";
        let pid = spawn(&tenant, line, Restart::Always).await;
        tenant.wait_start(pid).await.unwrap();
        let first = tenant.sigma.stat("/held").await.unwrap();
        kill_9_until_it_lives_again(machine, &tenant, pid, line).await;
        let second = tenant.sigma.stat("/held").await.unwrap();
        assert_eq!((first.lease, second.lease), (pid.to_string(), pid.to_string()));
        assert_ne!(first.entry, second.entry, "it is another entry");
        tenant.wait_start(pid).await.expect("it has started");
        tenant.kill(pid).await;
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: done");
        eventually("its entry goes", async || {
            let gone = tenant.sigma.stat("/held").await.map(drop);
            (gone.map_err(|error| error.code) == Err(Code::NotFound)).then_some(())
        })
        .await;
    });
}

#[test]
fn a_server_serves_again_at_its_path() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = spawn(&tenant, "echo serve /echo", Restart::Always).await;
        tenant.wait_start(pid).await.unwrap();
        for _ in 0..2 {
            kill_9_until_it_lives_again(machine, &tenant, pid, "echo serve /echo").await;
            assert!(tenant.sigma.read_dir("/echo").await.unwrap().iter().any(|entry| entry.name == "rpc"));
        }
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
    });
}

#[test]
fn procs_live_again_when_their_jail_or_named_was_killed() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let line = "actor hold:/held start wait-kill ok:done";
        let pid = spawn(&tenant, line, Restart::Always).await;
        tenant.wait_start(pid).await.unwrap();
        machine.kill_9("jail").await;
        eventually("its next life", async || {
            let info = tenant.info(pid).await;
            (info.restarts == 1 && info.state() == sigmaos::proto::State::Running).then_some(())
        })
        .await;
        let sigmad = machine.sigmad().await;
        let process = eventually("its process", async || host::find(sigmad, line)).await;
        machine.kill_9("named").await;
        host::kill(process);
        eventually("its next life", async || {
            let info = tenant.info(pid).await;
            (info.restarts == 2 && info.state() == sigmaos::proto::State::Running).then_some(())
        })
        .await;
        assert_eq!(tenant.sigma.stat("/held").await.unwrap().lease, pid.to_string());
        tenant.kill(pid).await;
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: done");
    });
}

#[test]
fn a_removed_realm_starts_nothing_again() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let runs = spawn(&tenant, "actor start forever", Restart::Always).await;
        let waits = spawn(&tenant, "plain exit:1", Restart::Always).await;
        tenant.wait_start(runs).await.unwrap();
        eventually("a pause", async || (!tenant.info(waits).await.waiting_for.is_empty()).then_some(()))
            .await;
        machine.ok(&["realm", "rm", "a"]).await;
        let tenant = machine.realm("a").await;
        for pid in [runs, waits] {
            let unknown = tenant.sigma.info(pid).await.map(drop).map_err(|error| error.code);
            assert_eq!(unknown, Err(Code::NotFound));
        }
        assert!(tenant.run("actor start").await.is_ok());
        assert_eq!(tenant.sigma.procs(false).await.unwrap(), []);
    });
}

#[test]
fn sigma_run_restarts_as_it_is_told() {
    story(async |machine| {
        let said = machine.cli(&["run", "--restart", "on-failure:1", "plain", "say:tried", "exit:3"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (3, "tried\ntried\n"), "{}", said.stderr);
        assert!(said.stderr.contains("given up after 1 restart"), "{}", said.stderr);
        assert_eq!(machine.cli(&["run", "--restart", "always:2", "plain"]).await.code, 2);
        machine
            .fails(&["run", "--restart", "on-failure:5000", "plain"], 1, &["restart", "5000", "1 to 1000"])
            .await;
    });
}
