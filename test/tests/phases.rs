//! A proc is ended in each phase of its life while others wait for it: all hear the same, at once, and whoever asks later hears it, too.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, host, story};
use sigmaos::{Cause, Code, Error, Pid, ProcSpec, Restart, Result, Sigma, Status, proto};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Launchers that may stand ready, or be on their way, when a jail stops.
const MOST_PREPARED: usize = 8;

/// One who waits for a proc from now on.
struct Waiter(JoinHandle<(Result<()>, Result<Status>)>);

impl Waiter {
    /// Returns when the kernel has both questions.
    async fn begins(sigma: Sigma, pid: Pid) -> Self {
        let (asks, asked) = (sigma.clone(), sigma.clone());
        let waits = tokio::spawn(async move { tokio::join!(asks.wait_start(pid), asks.wait_exit(pid)) });
        // Of one connection the kernel takes calls in their order, so what it answers to came after both.
        tokio::task::yield_now().await;
        sigma_test::within("an answer", asked.info(pid)).await.unwrap();
        assert!(!waits.is_finished(), "{pid} has not ended");
        Self(waits)
    }

    /// The error of `wait_start`, where there was one, and the status of `wait_exit`.
    async fn hears(self) -> (Option<Error>, Status) {
        let (start, exit) = sigma_test::within("what was waited for", self.0).await.unwrap();
        (start.err(), exit.unwrap())
    }
}

/// What who waited for a start is told where there was none.
fn tells_why(start: Option<Error>, status: &Status) {
    let error = start.expect("it has not started");
    assert_eq!(error.code, Code::Ended, "{error}");
    assert!(error.message.contains(&status.to_string()), "it carries the status: {error}");
}

/// Lets others wait, brings a proc to its end by `end`, and checks that they hear `status`, as those do who ask afterwards.
async fn ends(machine: &Machine, pid: Pid, started: bool, status: &Status, end: impl AsyncFnOnce(&Tenant)) {
    let tenant = machine.realm("a").await;
    let waiters =
        [Waiter::begins(tenant.sigma.clone(), pid).await, Waiter::begins(machine.client("a"), pid).await];
    end(&tenant).await;
    let late = Waiter(tokio::spawn({
        let sigma = machine.client("a");
        async move { tokio::join!(sigma.wait_start(pid), sigma.wait_exit(pid)) }
    }));
    for waiter in waiters.into_iter().chain([late]) {
        let (start, exit) = waiter.hears().await;
        assert_eq!(exit, *status);
        match started {
            true => assert_eq!(start, None, "{pid} had started"),
            false => tells_why(start, status),
        }
    }
    // To end what has ended changes nothing.
    tenant.kill(pid).await;
    assert_eq!(tenant.wait_exit(pid).await, *status);
}

async fn killed(machine: &Machine, pid: Pid, started: bool, status: Status) {
    ends(machine, pid, started, &status, async |tenant| tenant.kill(pid).await).await;
}

/// The process that makes the launchers of a realm, where there is one realm.
async fn jail(machine: &Machine) -> u32 {
    let sigmad = machine.sigmad().await;
    eventually("pid 1 of the jail", async || {
        let outer = host::children(sigmad).into_iter().find(|child| host::name(*child) == "jail")?;
        host::children(outer).into_iter().next()
    })
    .await
}

/// Queues procs until two wait for a launcher; gives those that do not, and those two. Without its jail a realm has no others.
async fn until_two_are_due(tenant: &Tenant, spec: &ProcSpec) -> (Vec<Pid>, [Pid; 2]) {
    let mut launched = Vec::new();
    let mut due = Vec::new();
    while due.len() < 2 {
        assert!(launched.len() <= MOST_PREPARED, "so many launchers were not there");
        let pid = tenant.spawn_spec(spec.clone()).await;
        let info = eventually("it is admitted", async || {
            let info = tenant.info(pid).await;
            (info.state() != proto::State::Queued).then_some(info)
        })
        .await;
        let is_due = info.timing.unwrap().jail_us == 0;
        if is_due { due.push(pid) } else { launched.push(pid) }
    }
    (launched, [due[0], due[1]])
}

#[test]
fn one_that_is_queued() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = machine.status().await["cores"].as_u64().unwrap() as u32 * 1000;
        let first = tenant.spawn_lc(all, "actor start wait-kill").await;
        tenant.wait_start(first).await.unwrap();
        let queued = tenant.spawn_lc(100, "actor start").await;
        killed(machine, queued, false, Status::killed("while it was queued")).await;
        killed(machine, first, true, Status::ok()).await;
    });
}

#[test]
fn one_that_is_due_for_a_launcher() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        // One that waits for its turn after it is next in line, and gets what the other would have had.
        for class in ["BE", "LC"] {
            let spec = tenant.spec("actor start wait-kill ok:asked").await;
            let spec = if class == "LC" { spec.latency_critical(50) } else { spec };
            let jail = jail(machine).await;
            host::stop(jail);
            let (mut launched, [next, due]) = until_two_are_due(&tenant, &spec).await;
            let reserved = machine.status().await["memory_reserved_bytes"].as_u64().unwrap();
            killed(machine, due, false, Status::killed("while it was starting")).await;
            let now = machine.status().await["memory_reserved_bytes"].as_u64().unwrap();
            assert_eq!(
                reserved - now,
                spec.memory_bytes,
                "what it held is free, while the jail still stands"
            );
            host::go_on(jail);
            launched.push(next);
            for pid in launched {
                tenant.wait_start(pid).await.unwrap();
                killed(machine, pid, true, Status::Ok { message: "asked".into(), data: "".into() }).await;
            }
            assert_eq!(machine.status().await["memory_reserved_bytes"], 0);
        }
    });
}

/// As above, but nobody asked it to end: an LC proc needs what it holds.
#[test]
fn one_that_is_due_for_a_launcher_and_gives_way() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let all = machine.status().await["memory_bytes"].as_u64().unwrap() - (256 << 20);
        let spec = tenant.spec("actor start wait-kill").await;
        let jail = jail(machine).await;
        host::stop(jail);
        // Of 100 parts each holds 25. The youngest is the one that gives way.
        let quarter = spec.clone().memory_bytes(all / 4);
        let (launched, [next, due]) = until_two_are_due(&tenant, &quarter).await;
        let waiter = Waiter::begins(tenant.sigma.clone(), due).await;
        let lc = tenant.spawn_spec(spec.memory_bytes(all / 100 * 45).latency_critical(100)).await;
        let (start, exit) = waiter.hears().await;
        tells_why(start, &exit);
        assert_eq!(exit, Status::crashed(Cause::Evicted { for_pid: Some(lc), memory_bytes: all / 4 }));
        host::go_on(jail);
        for pid in launched.into_iter().chain([next, lc]) {
            tenant.wait_start(pid).await.unwrap();
            killed(machine, pid, true, Status::ok()).await;
        }
        assert_eq!(machine.status().await["memory_reserved_bytes"], 0);
    });
}

#[test]
fn one_that_is_due_for_a_launcher_of_a_jail_that_ends() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let jail = jail(machine).await;
        host::stop(jail);
        let spec = tenant.spec("actor start wait-kill").await.grace(Duration::ZERO);
        let (launched, [next, due]) = until_two_are_due(&tenant, &spec).await;
        let waiter = Waiter::begins(tenant.sigma.clone(), due).await;
        host::kill(jail);
        let (start, exit) = waiter.hears().await;
        tells_why(start, &exit);
        let Status::Crashed { cause: Cause::NotStarted(why), .. } = &exit else { panic!("{exit}") };
        assert!(why.contains("jail"), "{why}");
        for pid in launched.into_iter().chain([next]) {
            assert!(!tenant.wait_exit(pid).await.is_ok());
        }
        assert!(tenant.run("actor start").await.is_ok(), "the next jail works");
    });
}

#[test]
fn one_that_was_launched_and_has_not_said_that_it_started() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("actor say:early forever").await.grace(Duration::ZERO);
        let pid = tenant.spawn_spec(spec).await;
        tenant.said(pid, "early").await;
        killed(machine, pid, false, Status::killed("on request, by signal 9")).await;
    });
}

/// Bug: a launcher that was killed before it became the program counted as that program, which had started then.
#[test]
fn a_plain_one_whose_launcher_is_killed_before_it_becomes_the_program() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let spec = tenant.spec("plain wait").await;
        let jail = jail(machine).await;
        let mut met = 0;
        while met < 5 {
            // One that is stopped is launched like any other, and does not read what it shall become.
            let launchers = host::children(jail);
            launchers.iter().copied().for_each(host::stop);
            let pid = tenant.spawn_spec(spec.clone()).await;
            let process = eventually("it is launched", async || {
                let info = tenant.info(pid).await;
                (info.timing.unwrap().launched_us > 0).then_some(info.os_pid)
            })
            .await;
            if launchers.contains(&process) {
                let status = Status::crashed(Cause::Signal(9));
                ends(machine, pid, false, &status, async |_| host::kill(process)).await;
                met += 1;
            } else {
                // Its launcher was made since, and is the program by now.
                tenant.wait_start(pid).await.unwrap();
                tenant.kill(pid).await;
                tenant.wait_exit(pid).await;
            }
            launchers.iter().copied().for_each(host::go_on);
        }
    });
}

#[test]
fn one_that_waits_for_its_next_life() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.spawn_spec(tenant.spec("plain exit:1").await.restart(Restart::ON_FAILURE)).await;
        // The pauses grow, so that the last of these is long.
        eventually("a pause", async || {
            let info = tenant.info(pid).await;
            (info.restarts >= 4 && info.waiting_for.contains("its restart after")).then_some(())
        })
        .await;
        // It has started, in a life before, so who waits for that is answered at once.
        tenant.wait_start(pid).await.unwrap();
        let sigma = machine.client("a");
        let waits = tokio::spawn(async move { sigma.wait_exit(pid).await });
        tenant.kill(pid).await;
        let status = Status::killed("while it waited to be started again");
        assert_eq!(waits.await.unwrap().unwrap(), status);
        assert_eq!(tenant.wait_exit(pid).await, status);
        tenant.wait_start(pid).await.unwrap();
    });
}

#[test]
fn one_that_asks_only_after_it_was_asked_to_end() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.spawn_followed("actor start copy-input wait-kill ok:asked").await;
        tenant.wait_start(pid).await.unwrap();
        tenant.kill(pid).await;
        // It hears of it when it asks, however late.
        tenant.feed(pid, "go on").await.unwrap();
        assert_eq!(tenant.wait_exit(pid).await.to_string(), "Ok: asked");
        assert_eq!(tenant.stdout(pid).await, "go on");
    });
}
