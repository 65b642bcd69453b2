//! One story that root and an ordinary user both live through: boot, run, look around, keep files, end.
//!
//! `cargo xtask test` also runs this executable as uid 65534, which may make no control groups and owns no range of uids.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use sigma_test::{host, story};
use sigmaos::{Code, Status};
use std::path::Path;
use std::process::Command;

#[test]
fn whoever_boots_a_machine_has_a_sandbox_and_a_namespace() {
    story(async |machine| {
        let root = rustix::process::geteuid().is_root();
        let said = machine.cli(&["run", "hello"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stdout.contains("hello from "), "{}", said.stdout);

        // Every layer but control groups is on for everybody.
        for layer in ["user", "pid", "mount", "net", "ipc", "capabilities", "rlimits", "landlock", "seccomp"]
        {
            assert_eq!(machine.layer(layer).await, (true, String::new()), "{layer}");
        }
        let (on, note) = machine.layer("cgroup").await;
        if !root {
            assert!(!on, "an ordinary user here cannot make control groups");
        }
        assert!(on || note.starts_with("none: "), "what is missing is said: {note}");

        let tenant = machine.realm("default").await;
        let hostile = tenant.spawn("hostile").await;
        let status = tenant.wait_exit(hostile).await;
        let tried = tenant.stdout(hostile).await;
        let allowed: Vec<_> = tried.lines().filter(|line| !line.contains(": refused ")).collect();
        assert_eq!((allowed, status), (vec![], Status::ok()));
        let probe = tenant.spawn_followed("probe 9").await;
        let seen = tenant.said(probe, "ready: yes").await;
        for line in ["threads: work", "file: errno 1", "net: errno 1"] {
            assert!(seen.contains(line), "{seen}");
        }
        tenant.feed(probe, "").await.unwrap();
        tenant.wait_exit(probe).await;

        // BE procs leave the cores to others, with control groups or without.
        let be = tenant.start("actor start say:be wait-kill").await;
        let process =
            host::find(machine.sigmad().await, "actor start say:be wait-kill").expect("its process");
        assert_eq!(host::policies(process), [5]);
        tenant.kill(be).await;
        tenant.wait_exit(be).await;

        // Files on the realm's disk.
        let put = machine.cli_with(&["put", "-", "/ux/~local/note"], b"kept").await;
        assert_eq!(put.code, 0, "{}", put.stderr);
        let copy = machine.state().join("copy");
        machine.ok(&["get", "/ux/~local/note", copy.to_str().unwrap()]).await;
        assert_eq!(std::fs::read_to_string(copy).unwrap(), "kept");
        assert!(machine.ok(&["ls", "/ux/~local"]).await.contains("note"));
        machine.ok(&["rm", "/ux/~local/note"]).await;

        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        machine.ok(&["run", "hello"]).await;
    });
}

/// The first port that everybody may listen on, ip(7).
fn first_free_port() -> u16 {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    start.ok().and_then(|start| start.trim().parse().ok()).unwrap_or(1024)
}

#[test]
fn a_port_that_needs_privilege_is_published_by_who_has_it_and_others_are_told_what_to_do() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let port = 1019;
        machine.ok(&["realm", "set", "a", &format!("publish.ports={port}")]).await;
        let spec = tenant.spec(&format!("actor publish:{port},1")).await.publish(port);
        let spawned = tenant.try_spawn(spec).await;
        if rustix::process::geteuid().is_root() || first_free_port() <= port {
            tenant.kill(spawned.unwrap()).await;
            return;
        }
        let error = spawned.unwrap_err();
        assert_eq!(error.code, Code::Denied, "{error}");
        for word in ["publish 1019", "choose a greater port", "net.ipv4.ip_unprivileged_port_start"] {
            assert!(error.message.contains(word), "{error}");
        }
        assert_eq!(tenant.sigma.procs(true).await.unwrap(), [], "nothing was spawned");
    });
}

/// `sigma doctor` on a state directory, without any kernel: its exit code, and what it found.
fn doctor(state: &Path) -> (Option<i32>, Value) {
    let dist = std::env::var_os("SIGMA_DIST").expect("SIGMA_DIST names an installation");
    let mut sigma = Command::new(Path::new(&dist).join("bin/sigma"));
    let output = sigma.args(["doctor", "--json"]).env("SIGMA_STATE", state).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {output:?}")))
}

#[test]
fn whoever_asks_is_told_what_the_machine_can_have_without_any_kernel() {
    let root = rustix::process::geteuid().is_root();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (code, said) = doctor(&state);
    assert_eq!((code, &said["fit"]), (Some(0), &Value::Bool(true)), "{said}");
    assert!(!state.exists(), "it only looks");
    let found = |name: &str| {
        let findings = said["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["name"] == name);
        finding.unwrap_or_else(|| panic!("nothing is said of {name}: {said}"))["state"].clone()
    };
    for layer in
        ["user", "pid", "mount", "net", "ipc", "capabilities", "rlimits", "landlock", "seccomp", "disk"]
    {
        assert_eq!(found(layer), "ok", "{layer}");
    }
    assert_eq!(found("uids"), if root { "ok" } else { "limited" });
    if !root {
        assert_eq!(found("cgroup"), "limited");
    }

    let (code, said) = doctor(Path::new("/proc/nowhere/state"));
    assert_eq!((code, &said["fit"]), (Some(1), &Value::Bool(false)), "{said}");
}
