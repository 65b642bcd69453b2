//! What people get wrong: one clear sentence each, that names the thing and the next step, and the documented code.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, Said, compiled, story, story_with, within};
use sigmaos::{Code, ProcSpec, proto};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The place of `e_machine` in an ELF header, elf(5), and the number of aarch64.
const E_MACHINE: std::ops::Range<usize> = 18..20;
const AARCH64: [u8; 2] = [183, 0];

/// Runs a program that must be refused, and shows that the machine took no harm.
async fn refused(machine: &Machine, program: &Path, words: &[&str]) {
    let program = program.to_str().expect("a path");
    machine.fails(&["run", program], 1, words).await;
    machine.ok(&["run", "hello"]).await;
}

fn write(machine: &Machine, name: &str, contents: &[u8]) -> PathBuf {
    let path = machine.state().join(name);
    fs::write(&path, contents).expect("a file can be written");
    path
}

#[test]
fn a_program_that_cannot_run_is_refused_with_what_to_do() {
    story(async |machine| {
        let hello = fs::read(machine.program("hello")).unwrap();
        let dynamic = std::env::current_exe().unwrap();
        refused(machine, &dynamic, &["dynamic program", "link it statically"]).await;
        let truncated = write(machine, "truncated", &hello[..hello.len() / 2]);
        refused(machine, &truncated, &["truncated", "upload it again"]).await;
        let mut foreign = hello.clone();
        foreign[E_MACHINE].copy_from_slice(&AARCH64);
        let foreign = write(machine, "foreign", &foreign);
        refused(machine, &foreign, &["aarch64", "this machine is x86_64", "build it"]).await;
        let script = write(machine, "script", b"#!/bin/sh\necho hello\n");
        refused(machine, &script, &["not an ELF program", "static binary"]).await;
        let empty = write(machine, "empty", b"");
        refused(machine, &empty, &["not an ELF program"]).await;
        // Nothing of it is in /bin.
        assert_eq!(machine.ok(&["ls", "/bin"]).await.lines().count(), 2, "a heading, and hello");
        // The same goes for a program that is not uploaded but found.
        let put = machine.cli(&["put", script.to_str().unwrap(), "/ux/~local/script"]).await;
        assert_eq!(put.code, 0, "{}", put.stderr);
        machine.fails(&["run", "/ux/~local/script"], 1, &["/ux/~local/script", "not an ELF program"]).await;
    });
}

#[test]
fn a_missing_path_is_named() {
    story(async |machine| {
        machine.fails(&["run", "nothing"], 4, &["\"nothing\"", "/bin", "sigma run FILE"]).await;
        machine.fails(&["run", "/bin/nothing"], 4, &["\"nothing\"", "/bin"]).await;
        machine.fails(&["run", "./no/such/file"], 4, &["./no/such/file", "not a file here"]).await;
        machine.fails(&["run", "/ux/~local/nothing"], 4, &["/ux/~local/nothing"]).await;
        for command in ["cat", "ls", "rm", "get"] {
            machine.fails(&[command, "/no/such"], 4, &["/no/such"]).await;
        }
        machine.fails(&["put", "/no/such/file", "/x"], 1, &["/no/such/file", "No such file"]).await;
        let file = write(machine, "file", b"x");
        machine.ok(&["put", file.to_str().unwrap(), "/file"]).await;
        machine.fails(&["put", file.to_str().unwrap(), "/file/below"], 1, &["/file"]).await;
        machine.fails(&["cat", "relative"], 1, &["relative", "begin with '/'"]).await;
        machine.fails(&["cat", "/"], 1, &["/"]).await;
    });
}

#[test]
fn a_wrong_spec_is_an_error_at_spawn_that_names_the_field() {
    story(async |machine| {
        let tenant = machine.realm("default").await;
        let path = tenant.upload("actor").await;
        let spec = || proto::ProcSpec::from(ProcSpec::new(&path).unwrap());
        let cores = machine.status().await["cores"].as_u64().unwrap();
        let all = cores as u32 * 1000;
        let lc = proto::Class::Lc.into();
        let more = machine.status().await["memory_bytes"].as_u64().unwrap() + 1;
        let cases = [
            (proto::ProcSpec { class: lc, ..spec() }, Code::Invalid, "mcpu is missing"),
            (proto::ProcSpec { mcpu: 100, ..spec() }, Code::Invalid, "a BE proc reserves no CPU"),
            (proto::ProcSpec { class: lc, mcpu: 1, ..spec() }, Code::Invalid, "at least"),
            (proto::ProcSpec { class: lc, mcpu: all + 1, ..spec() }, Code::TooLarge, "mcpu"),
            (proto::ProcSpec { class: lc, mcpu: u32::MAX, ..spec() }, Code::TooLarge, "mcpu"),
            (
                proto::ProcSpec { class: lc, mcpu: 10, memory_bytes: u64::MAX, ..spec() },
                Code::TooLarge,
                "memory",
            ),
            (
                proto::ProcSpec { class: lc, mcpu: 10, memory_bytes: 1, ..spec() },
                Code::Invalid,
                "memory_bytes 1",
            ),
            (proto::ProcSpec { class: 9, ..spec() }, Code::Invalid, "class 9"),
            (proto::ProcSpec { memory_bytes: more, ..spec() }, Code::TooLarge, "memory"),
            (proto::ProcSpec { memory_bytes: 1, ..spec() }, Code::Invalid, "memory_bytes 1"),
            (proto::ProcSpec { grace_ms: Some(u32::MAX), ..spec() }, Code::Invalid, "grace"),
            (proto::ProcSpec { binary: "actor".into(), ..spec() }, Code::Invalid, "binary"),
            (proto::ProcSpec { binary: "/bin/../bin/actor".into(), ..spec() }, Code::Invalid, ".."),
            (proto::ProcSpec { binary: "/bin/nothing".into(), ..spec() }, Code::NotFound, "/bin/nothing"),
            (proto::ProcSpec { args: vec!["x".repeat(200 << 10)], ..spec() }, Code::TooLarge, "args"),
            (proto::ProcSpec { principal: "No One".into(), ..spec() }, Code::Invalid, "principal"),
        ];
        for (spec, code, word) in cases {
            let request = proto::SpawnRequest { spec: Some(spec), ..Default::default() };
            let error = within("an answer, not a hang", tenant.sigma.spawn_with(request)).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(word), "{:?} does not say {word:?}", error.message);
        }
        let request = proto::SpawnRequest::default();
        let error = tenant.sigma.spawn_with(request).await.unwrap_err();
        assert_eq!((error.code, error.message.contains("spec is missing")), (Code::Invalid, true), "{error}");
        assert_eq!(tenant.sigma.procs(true).await.unwrap(), [], "none of them became a proc");

        let has = format!("{all}");
        machine.fails(&["run", "--lc", "99999", "actor"], 1, &["99999 mcpu", &has]).await;
        machine.fails(&["run", "--memory", "99999G", "actor"], 1, &["memory"]).await;
        machine.fails(&["run", "--lc", "0", "actor"], 1, &["mcpu is missing"]).await;
        machine.ok(&["run", "hello"]).await;
    });
}

#[test]
fn a_wrong_command_line_is_code_2() {
    story(async |machine| {
        let wrong: [&[&str]; 6] = [
            &["fly"],
            &["run"],
            &["run", "--memory", "much", "hello"],
            &["run", "--lc", "-1", "hello"],
            &["--realm"],
            &["cat"],
        ];
        for args in wrong {
            let said = machine.cli(args).await;
            assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
            assert!(said.stderr.contains("--help") || said.stderr.contains("Usage"), "{}", said.stderr);
        }
    });
}

#[test]
fn nothing_outside_of_ux_can_be_reached_by_dots_or_links() {
    story(async |machine| {
        let files = machine.state().join("realm/default/ux");
        machine.realm("default").await;
        machine.realm("other").await;
        let secret = write(machine, "secret", b"of the host");
        // They are made at first use.
        fs::create_dir_all(&files).unwrap();
        fs::create_dir_all(machine.state().join("realm/other/ux")).unwrap();
        fs::write(machine.state().join("realm/other/ux/secret"), "of another realm").unwrap();
        for path in ["/ux/~local/../../secret", "/ux/~local/..", "/ux/../ux/~local/x"] {
            machine.fails(&["cat", path], 1, &[path, ".."]).await;
        }
        // Links that only the host can have put there.
        let link = |name: &str, target: &Path| std::os::unix::fs::symlink(target, files.join(name)).unwrap();
        link("absolute", &secret);
        link("relative", Path::new("../../../secret"));
        link("other", Path::new("../../other/ux/secret"));
        link("root", Path::new("/"));
        link("proc", Path::new("/proc/self/root"));
        for name in ["absolute", "relative", "other", "root/etc/passwd", "proc/etc/passwd"] {
            let path = format!("/ux/~local/{name}");
            let said = machine.cli(&["cat", &path]).await;
            assert_ne!(said.code, 0, "{path}");
            assert!(said.stdout.is_empty(), "{path} gives {:?}", said.stdout);
            assert!(said.stderr.contains(&path), "{}", said.stderr);
            let put = machine.cli_with(&["put", "-", &path], b"written").await;
            let _ = put;
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host");
        let other = fs::read_to_string(machine.state().join("realm/other/ux/secret")).unwrap();
        assert_eq!(other, "of another realm");
        assert_eq!(machine.cli_with(&["put", "-", "/ux/~local/mine"], b"kept").await.code, 0);
        assert_eq!(machine.ok(&["cat", "/ux/~local/mine"]).await, "kept");
    });
}

#[test]
fn an_unknown_layer_is_named_beside_those_that_there_are() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        let said = machine.cli(&["up", "--insecure-without", "everything"]).await;
        assert_ne!(said.code, 0);
        for word in ["everything", "not a layer", "seccomp", "landlock"] {
            assert!(said.stderr.contains(word), "{:?} does not say {word:?}", said.stderr);
        }
        machine.boot_again().await;
    });
}

#[test]
fn a_damaged_state_is_named() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        let file = machine.state().join("machine.toml");
        let good = fs::read(&file).unwrap();
        fs::write(&file, "nonsense").unwrap();
        machine.fails(&["up"], 1, &["machine.toml", "damaged"]).await;
        fs::write(&file, good).unwrap();
        let taken = write(machine, "a-file", b"");
        let path = taken.to_str().unwrap();
        machine.fails(&["--state", path, "up"], 1, &[path, "state directory"]).await;
        machine.boot_again().await;
    });
}

#[test]
fn where_control_groups_cannot_be_had_procs_run_and_status_says_what_is_lost() {
    story_with(&["--insecure-without", "cgroup"], async |machine| {
        machine.ok(&["run", "hello"]).await;
        assert!(machine.ok(&["status"]).await.contains("WITHOUT"));
        assert!(!machine.has_cgroups().await);
    });
}

/// Runs `sigma` where no further user namespace may be made, as an operator's sysctl forbids it.
async fn without_namespaces(machine: &Machine, args: &[&str]) -> Said {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    by(&["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"], machine, args).await
}

/// Runs `sigma` by a program that executes it.
async fn by(runner: &[&str], machine: &Machine, args: &[&str]) -> Said {
    let sigma = machine.sigma(args);
    let mut command = tokio::process::Command::new(runner[0]);
    command.args(&runner[1..]).arg(sigma.as_std().get_program());
    command.args(args).env("SIGMA_STATE", machine.state()).stdin(Stdio::null());
    let output = within("sigma", command.output()).await.expect("the runner can be executed");
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn where_no_control_groups_are_mounted_procs_run_and_status_says_so() {
    story(async |machine| {
        if !rustix::process::geteuid().is_root() {
            // Nobody else may hide what is mounted; without cgroups they run the story above.
            return;
        }
        machine.ok(&["down"]).await;
        let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
        let said = by(&["unshare", "--mount", "sh", "-c", hide, "sh"], machine, &["up"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        machine.ok(&["run", "hello"]).await;
        let (on, note) = machine.layer("cgroup").await;
        assert!(!on && !note.is_empty(), "{note}");
        assert!(machine.ok(&["status"]).await.contains("cgroups      none: "));
        machine.ok(&["down"]).await;
        machine.boot_again().await;
    });
}

/// Landlock's first system call on x86-64, and that by which nothing is passed on to another program.
const LANDLOCK_CREATE_RULESET: &str = "444";
const CLOSE_RANGE: &str = "436";

#[test]
fn on_a_linux_that_lacks_what_is_needed_no_proc_runs_and_the_reason_is_told() {
    story(async |machine| {
        let refusing = write(machine, "refusing", &compiled("refusing.c"));
        fs::set_permissions(&refusing, fs::Permissions::from_mode(0o755)).unwrap();
        let lacking = |number| [refusing.to_str().unwrap(), number];
        machine.ok(&["down"]).await;
        let said = by(&lacking(CLOSE_RANGE), machine, &["up"]).await;
        assert!(said.code == 1 && said.stderr.contains("Linux 5.11 or later"), "{}", said.stderr);
        let said = by(&lacking(LANDLOCK_CREATE_RULESET), machine, &["up"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        // It fails closed: the proc does not run.
        let said = machine.cli(&["run", "hello"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (125, ""), "{}", said.stderr);
        for words in ["not started", "\"landlock\" cannot be set up", "--insecure-without=landlock"] {
            assert!(said.stderr.contains(words), "{:?} does not say {words:?}", said.stderr);
        }
        machine.ok(&["down"]).await;
        let without = ["up", "--insecure-without", "landlock"];
        let said = by(&lacking(LANDLOCK_CREATE_RULESET), machine, &without).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        machine.ok(&["run", "hello"]).await;
        assert!(!machine.layer("landlock").await.0);
        machine.ok(&["down"]).await;
        machine.boot_again().await;
        machine.ok(&["run", "hello"]).await;
    });
}

#[test]
fn without_user_namespaces_no_proc_runs_and_the_reason_is_told() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        assert_eq!(without_namespaces(machine, &["up"]).await.code, 0);
        // It fails closed: the proc does not run.
        let said = machine.cli(&["run", "hello"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (125, ""), "{}", said.stderr);
        for word in
            ["not started", "\"user\" cannot be set up", "max_user_namespaces", "--insecure-without=user"]
        {
            assert!(said.stderr.contains(word), "{:?} does not say {word:?}", said.stderr);
        }
        assert!(!machine.layer("user").await.0);
        machine.ok(&["down"]).await;
        machine.boot_again().await;
        machine.ok(&["run", "hello"]).await;
    });
}
