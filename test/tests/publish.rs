//! Ports that procs publish: real connections over loopback, and what a tenant may not make of them.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Tenant, eventually, story, within};
use sigmaos::{Code, ProcSpec, Restart};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A port that nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// A realm that was granted a port.
async fn granted(machine: &Machine, name: &str, port: u16) -> Tenant {
    let tenant = machine.realm(name).await;
    machine.ok(&["realm", "set", name, &format!("publish.ports={port}")]).await;
    tenant
}

async fn connect(port: u16) -> TcpStream {
    within("a connection", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.unwrap()
}

/// What a server says until it closes; nothing where the connection was cut.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = within("the end of an answer", stream.read_to_end(&mut all)).await;
    String::from_utf8(all).unwrap()
}

/// Asks as a browser does.
async fn get(port: u16) -> (String, SocketAddr) {
    let mut stream = connect(port).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let me = stream.local_addr().unwrap();
    (read_all(&mut stream).await, me)
}

async fn publishing(tenant: &Tenant, port: u16, line: &str) -> ProcSpec {
    tenant.spec(line).await.publish(port)
}

#[test]
fn a_proc_answers_http_at_a_port_that_it_publishes() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let spec = publishing(&tenant, port, &format!("actor publish:{port},3")).await;
        let pid = tenant.spawn_spec(spec.clone()).await;
        for _ in 0..3 {
            let (answer, me) = get(port).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
            assert!(answer.ends_with(&format!("hello {me}\n")), "{answer:?} does not name {me}");
        }
        assert!(tenant.wait_exit(pid).await.is_ok());
        // With the proc the port is gone, and the next one has it again, also after connections that just ended.
        eventually("the port is free", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.err())
            .await;
        let again =
            tenant.spawn_spec(publishing(&tenant, port, &format!("actor publish:{port},1")).await).await;
        assert!(get(port).await.0.contains("hello"));
        assert!(tenant.wait_exit(again).await.is_ok());
    });
}

#[test]
fn who_may_not_publish_is_told_why_at_spawn() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let refused = async |tenant: &Tenant, spec: ProcSpec, code, words: [String; 2]| {
            let error = tenant.try_spawn(spec).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            for word in words {
                assert!(error.message.contains(&word), "{error} does not say {word:?}");
            }
        };
        let named = format!("publish {port}");
        let line = "actor start wait-kill";
        let spec = publishing(&tenant, port, line).await;

        let other = machine.realm("b").await;
        let theirs = publishing(&other, port, line).await;
        refused(&other, theirs, Code::Denied, [named.clone(), "sigma realm set b publish.ports=".into()])
            .await;

        let plain = publishing(&tenant, port, "plain exit:0").await;
        refused(&tenant, plain, Code::Unsupported, ["publish".into(), "plain program".into()]).await;

        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        refused(&tenant, spec.clone(), Code::Busy, [named.clone(), "another program".into()]).await;
        drop(taken);

        let pid = tenant.spawn_spec(spec.clone()).await;
        refused(&tenant, spec.clone(), Code::Busy, [named, pid.to_string()]).await;
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
        let next =
            eventually("the port is free again", async || tenant.try_spawn(spec.clone()).await.ok()).await;
        tenant.kill(next).await;
        tenant.wait_exit(next).await;
    });
}

#[test]
fn a_connection_that_was_handed_over_cannot_be_turned_into_another() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let pid = tenant.spawn_spec(publishing(&tenant, port, &format!("actor turn:{port}")).await).await;
        let mut stream = connect(port).await;
        assert_eq!(read_all(&mut stream).await, "allowed: []", "and it still carries bytes");
        assert!(tenant.wait_exit(pid).await.is_ok());
    });
}

/// Bug: what arrived between two lives was accepted and closed.
#[test]
fn a_proc_that_is_started_again_keeps_its_port_and_what_arrives_meanwhile_waits() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let spec = publishing(&tenant, port, &format!("actor publish:{port},1")).await;
        let pid = tenant.spawn_spec(spec.restart(Restart::Always)).await;
        for life in 0..3 {
            let (answer, me) = get(port).await;
            assert!(answer.ends_with(&format!("hello {me}\n")), "life {life}: {answer:?}");
            // Each life answers once, so the next request arrives in the pause before the next life.
            eventually("its pause", async || {
                tenant.info(pid).await.waiting_for.contains("its restart after").then_some(())
            })
            .await;
        }
        let other = tenant.try_spawn(publishing(&tenant, port, "actor start").await).await.unwrap_err();
        assert_eq!((other.code, other.message.contains(&pid.to_string())), (Code::Busy, true), "{other}");
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
        eventually("the port is free", async || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()).await;
    });
}

#[test]
fn a_port_that_is_no_longer_granted_is_withdrawn_from_a_proc_that_goes_on() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let spec = publishing(&tenant, port, &format!("actor publish:{port},2")).await;
        let pid = tenant.spawn_spec(spec.clone()).await;
        assert!(get(port).await.0.contains("hello"));
        let mut before = connect(port).await;
        // Another setting, and another realm's, change nothing.
        machine.ok(&["realm", "set", "a", "limit.procs=9"]).await;
        granted(machine, "b", port).await;
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err());

        machine.ok(&["realm", "set", "a", "publish.ports="]).await;
        eventually("the port is free", async || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()).await;
        let refused = tenant.try_spawn(spec).await.unwrap_err();
        assert_eq!(refused.code, Code::Denied, "{refused}");
        // The connection that it has is its own.
        before.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(read_all(&mut before).await.contains("hello"));
        assert!(tenant.wait_exit(pid).await.is_ok());
    });
}

#[test]
fn a_proc_that_takes_no_connections_costs_few_and_the_rest_are_closed() {
    story(async |machine| {
        let port = free_port();
        let tenant = granted(machine, "a", port).await;
        let pid = tenant.spawn_spec(publishing(&tenant, port, &format!("actor block:{port}")).await).await;
        tenant.wait_start(pid).await.unwrap();
        let mut kept = Vec::new();
        let closed = loop {
            let mut stream = connect(port).await;
            let mut byte = [0];
            // One that is kept says nothing; one that is closed ends at once, when the kernel has seen it.
            let short = std::time::Duration::from_millis(100);
            match tokio::time::timeout(short, stream.read(&mut byte)).await {
                Ok(_) => break kept.len(),
                Err(_) => kept.push(stream),
            }
        };
        assert!((64..300).contains(&closed), "{closed} connections were kept");
        tenant.kill(pid).await;
        tenant.wait_exit(pid).await;
        for mut stream in kept {
            assert_eq!(read_all(&mut stream).await, "", "what it kept ends with it");
        }
    });
}
