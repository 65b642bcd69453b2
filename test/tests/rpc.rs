//! Calls between procs: in flight by the thousand, bounded in time and number, and honest about what became of them.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::echo::{Count, EchoClient, Text};
use sigma_test::{Tenant, eventually, host, story, within};
use sigmaos::limits::{MAX_IN_FLIGHT, MAX_PAYLOAD};
use sigmaos::proto::DialRequest;
use sigmaos::rpc::Bytes;
use sigmaos::stub::LinkClient;
use sigmaos::{Code, Error, Pid};
use std::time::Duration;
use tokio::task::JoinSet;

async fn serve(tenant: &Tenant, line: &str) -> (Pid, EchoClient) {
    let pid = tenant.start(&format!("echo serve {line}")).await;
    let path = line.split(' ').next().unwrap();
    let echo = within("the device", tenant.sigma.client(&format!("{path}/rpc"))).await.unwrap();
    (pid, echo)
}

async fn end(tenant: &Tenant, server: Pid) {
    tenant.kill(server).await;
    assert!(tenant.wait_exit(server).await.is_ok());
}

fn text(text: &str) -> Text {
    Text { text: text.into() }
}

/// Waits until the server works on so many calls.
async fn working(echo: &EchoClient, count: u32) {
    within(&format!("{count} calls are worked on"), echo.working(Count { count })).await.unwrap();
}

/// A call that hangs until it is dropped.
fn hang(echo: &EchoClient, calls: &mut JoinSet<Error>) {
    let echo = echo.clone();
    calls.spawn(async move { echo.hang(text("")).await.unwrap_err() });
}

#[test]
fn many_calls_are_in_flight_on_one_handle() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let calls: Vec<_> = (0..500)
            .map(|number| {
                let echo = echo.clone();
                tokio::spawn(async move {
                    let payload = Bytes::from(vec![number as u8; number * 16]);
                    let reply = echo.say_with(text(&number.to_string()), payload.clone()).await.unwrap();
                    assert_eq!((reply.message.text, reply.payload), (number.to_string(), payload));
                })
            })
            .collect();
        // One that is never answered keeps no other from its answer, and is cancelled by dropping it.
        let hanging = echo.hang(text("x"));
        tokio::select! {
            answer = hanging => panic!("{answer:?}"),
            () = async { for call in calls { within("an answer", call).await.unwrap() } } => {}
        }
        assert_eq!(echo.say(text("still there")).await.unwrap().text, "still there");
        // A payload at the limit of a frame goes through; one past it is refused before it is sent.
        let most = Bytes::from(vec![7; MAX_PAYLOAD]);
        assert_eq!(echo.say_with(text(""), most.clone()).await.unwrap().payload.len(), most.len());
        let more = Bytes::from(vec![7; most.len() + 1]);
        assert_eq!(echo.say_with(text(""), more).await.unwrap_err().code, Code::TooLarge);
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}

#[test]
fn a_killed_server_is_an_error_at_once_and_its_mount_is_gone() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let hanging = tokio::spawn({
            let echo = echo.clone();
            async move { echo.hang(text("x")).await }
        });
        echo.say(text("the call before has arrived")).await.unwrap();
        let process = host::find(machine.sigmad().await, "echo serve /echo").expect("its process");
        host::kill(process);
        let error = within("the end of the call", hanging).await.unwrap().unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Unreachable, true), "{error}");
        let error = within("a call to a dead server", echo.say(text("x"))).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Unreachable, false), "{error}");
        assert_eq!(tenant.wait_exit(server).await.to_string(), "Crashed: signal 9 (SIGKILL)");
        // Named is told when the proc has ended, and nobody can wait for that.
        eventually("the mount is gone", async || {
            let found = tenant.sigma.stat("/echo").await;
            found.is_err_and(|error| error.code == Code::NotFound).then_some(())
        })
        .await;
        // The name is free for the next one.
        let (server, echo) = serve(&tenant, "/echo").await;
        assert_eq!(echo.say(text("again")).await.unwrap().text, "again");
        tenant.kill(server).await;
        tenant.wait_exit(server).await;
    });
}

#[test]
fn answers_come_in_any_order() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let mut calls = JoinSet::new();
        for name in ["first", "second", "third"] {
            let echo = echo.clone();
            calls.spawn(async move { echo.wait(text(name)).await.unwrap().text });
        }
        working(&echo, 3).await;
        for name in ["third", "first", "second"] {
            echo.release(text(name)).await.unwrap();
            assert_eq!(within(name, calls.join_next()).await.unwrap().unwrap(), name);
        }
        end(&tenant, server).await;
    });
}

#[test]
fn a_deadline_ends_the_work_at_the_server() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let short = EchoClient(echo.0.deadline(Some(Duration::from_millis(50))));
        let error = within("the deadline", short.hang(text(""))).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Deadline, true), "{error}");
        assert!(error.message.contains("Echo.Hang: no reply within 50 ms"), "{error}");
        working(&echo, 0).await;
        // A server that stands still is the same to its caller.
        let process = host::find(machine.sigmad().await, "echo serve /echo").expect("its process");
        host::stop(process);
        let error = within("the deadline", short.say(text(""))).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Deadline, true), "{error}");
        host::go_on(process);
        assert_eq!(echo.say(text("on")).await.unwrap().text, "on");
        end(&tenant, server).await;
    });
}

#[test]
fn who_no_longer_waits_is_no_longer_worked_for() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let mut calls = JoinSet::new();
        (0..3).for_each(|_| hang(&echo, &mut calls));
        working(&echo, 3).await;
        // A future that is dropped.
        calls.abort_all();
        working(&echo, 0).await;
        // A client that is dropped, with its connection.
        let other = machine.client("a");
        let theirs: EchoClient = within("the device", other.client("/echo/rpc")).await.unwrap();
        drop(other);
        let mut calls = JoinSet::new();
        hang(&theirs, &mut calls);
        drop(theirs);
        working(&echo, 1).await;
        drop(calls);
        working(&echo, 0).await;
        // A proc that is killed.
        let caller = tenant.spawn("echo hang /echo").await;
        working(&echo, 1).await;
        host::kill(host::find(machine.sigmad().await, "echo hang /echo").expect("its process"));
        working(&echo, 0).await;
        tenant.wait_exit(caller).await;
        end(&tenant, server).await;
    });
}

#[test]
fn a_connection_has_so_many_calls_in_flight_and_no_more() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let other: EchoClient = machine.client("a").client("/echo/rpc").await.unwrap();
        let mut calls = JoinSet::new();
        (0..=MAX_IN_FLIGHT).for_each(|_| hang(&echo, &mut calls));
        let error = within("one is refused", calls.join_next()).await.unwrap().unwrap();
        assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
        // It is the connection that is full, and not the server.
        working(&other, MAX_IN_FLIGHT as u32).await;
        assert_eq!(echo.say(text("x")).await.unwrap_err().code, Code::Busy);
        calls.abort_all();
        working(&other, 0).await;
        assert_eq!(echo.say(text("free again")).await.unwrap().text, "free again");
        end(&tenant, server).await;
    });
}

#[test]
fn a_service_says_how_many_calls_it_works_on_for_all_its_callers() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo 4").await;
        let other: EchoClient = machine.client("a").client("/echo/rpc").await.unwrap();
        let mut calls = JoinSet::new();
        (0..2).for_each(|_| hang(&echo, &mut calls));
        working(&echo, 2).await;
        (0..2).for_each(|_| hang(&other, &mut calls));
        // The call that asks counts, too: it is refused where the others have come before it.
        eventually("the server is full", async || {
            let error = echo.say(text("")).await.err()?;
            assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
            assert!(error.message.contains("4 calls of this server"), "{error}");
            Some(())
        })
        .await;
        calls.abort_all();
        eventually("there is room again", async || echo.say(text("")).await.ok()).await;
        end(&tenant, server).await;
    });
}

#[test]
fn a_server_takes_so_many_connections_and_goes_on() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let (server, echo) = serve(&tenant, "/echo").await;
        let link = LinkClient(tenant.sigma.kernel().clone());
        let mut held = Vec::new();
        // Two of five descriptors, of which a proc has 1,000; one connection is there already.
        for _ in 0..399 {
            let request = DialRequest { path: "/echo".into() };
            // A server that is given connections faster than it takes them is left alone for a moment.
            let dial = async || match link.dial_with(request.clone(), Bytes::new()).await {
                Err(error) if error.code == Code::Busy => None,
                dialled => Some(dialled.unwrap()),
            };
            held.extend(eventually("a connection", dial).await.fds);
        }
        let late = machine.client("a");
        let error = within("a refusal", late.client::<EchoClient>("/echo/rpc")).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
        assert!(error.message.contains("/echo holds 400 connections"), "{error}");
        assert_eq!(echo.say(text("still served")).await.unwrap().text, "still served");
        held.clear();
        let echo =
            eventually("there is room again", async || late.client::<EchoClient>("/echo/rpc").await.ok());
        assert_eq!(echo.await.say(text("served, too")).await.unwrap().text, "served, too");
        end(&tenant, server).await;
    });
}
