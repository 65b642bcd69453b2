//! For each layer: it is on, and the same question has another answer when that layer is taken away.

#![allow(unsafe_code, clippy::unwrap_used)]

mod driver;

use driver::{As, Jail, Launcher, UID_BASE, program, ways};
use std::fs;
use std::net::TcpListener;

/// A proc in a jail, and where to read about it.
struct Seen {
    _jail: Jail,
    lines: Vec<String>,
    status: String,
    folder: String,
    _launcher: Launcher,
}

fn look(way: As, without: &str, port: u16) -> Seen {
    let mut jail = Jail::start(way, without);
    let mut launcher = jail.make();
    launcher.launch(&program("probe"), &["probe", &port.to_string()], &[], true);
    let lines = launcher.lines_until("ready");
    let folder = format!("/proc/{}", launcher.host_pid());
    let status = fs::read_to_string(format!("{folder}/status")).unwrap();
    for layer in without.split(',').filter(|layer| !layer.is_empty()) {
        assert!(!jail.layers.iter().any(|on| on == layer), "{layer} is listed as on");
    }
    Seen { _jail: jail, lines, status, folder, _launcher: launcher }
}

impl Seen {
    fn status(&self, key: &str) -> Vec<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key}")).split_whitespace().collect()
    }

    fn line(&self, key: &str) -> &str {
        let line = self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {key} in {:?}", self.lines))
    }

    fn own_namespace(&self, kind: &str) -> bool {
        let link = |folder: &str| fs::read_link(format!("{folder}/ns/{kind}")).unwrap();
        link(&self.folder) != link("/proc/self")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("{}/{name}", self.folder)).unwrap()
    }
}

/// Asks the same of a jail that is whole and of one without `layer`.
fn check(layer: &str, question: impl Fn(&Seen) -> bool) {
    for way in ways() {
        assert!(question(&look(way, "", 9)), "{way:?}: {layer} is not on");
        // An ordinary user cannot do without the namespace that lets it make the others.
        if !matches!(way, As::User) || !matches!(layer, "user" | "pid") {
            assert!(
                !question(&look(way, layer, 9)),
                "{way:?}: this test would not see that {layer} is missing"
            );
        }
    }
}

#[test]
fn user() {
    check("user", |seen| seen.own_namespace("user"));
}

#[test]
fn pid() {
    check("pid", |seen| seen.own_namespace("pid") && seen.line("pid") == "2");
}

#[test]
fn mount() {
    let empty = |seen: &Seen| {
        let mounts = seen.file("mountinfo");
        seen.own_namespace("mnt")
            && mounts.lines().count() == 1
            && mounts.contains(" / / ro,nosuid,nodev,noexec")
    };
    check("mount", empty);
}

#[test]
fn net() {
    check("net", |seen| seen.own_namespace("net") && seen.file("net/dev").lines().count() == 3);
}

#[test]
fn ipc() {
    check("ipc", |seen| ["ipc", "uts", "cgroup"].into_iter().all(|kind| seen.own_namespace(kind)));
}

#[test]
fn capabilities() {
    let none = "0000000000000000";
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    check("capabilities", |seen| {
        sets.into_iter().all(|set| seen.status(set) == [none]) && seen.status("NoNewPrivs") == ["1"]
    });
}

#[test]
fn rlimits() {
    check("rlimits", |seen| {
        let limits = seen.file("limits");
        let limit =
            |name| limits.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(3);
        limit("Max open files") == Some("1000")
            && limit("Max locked memory") == Some("0")
            && seen.file("oom_score_adj").trim() == "500"
    });
}

#[test]
fn seccomp() {
    check("seccomp", |seen| {
        let filtered = seen.status("Seccomp") == ["2"] && seen.status("Seccomp_filters") == ["3"];
        filtered && seen.line("file") == "errno 1"
    });
}

/// What lies behind the list of system calls: the empty root, then Landlock, then the file.
#[test]
fn landlock() {
    for way in ways() {
        let file = |without| look(way, without, 9).line("file").to_owned();
        assert_eq!(
            file("seccomp,landlock"),
            format!("errno {}", libc::ENOENT),
            "{way:?}: the root is not empty"
        );
        assert_eq!(file("seccomp,mount"), format!("errno {}", libc::EACCES), "{way:?}: Landlock is not on");
        assert_eq!(file("seccomp,mount,landlock"), "open", "{way:?}");
    }
}

/// What lies behind it for the network: Landlock, then a namespace without a way out.
#[test]
fn network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for way in ways() {
        let net = |without| look(way, without, port).line("net").to_owned();
        assert_eq!(net("seccomp,landlock"), format!("errno {}", libc::ENETUNREACH), "{way:?}");
        assert_eq!(net("seccomp,net"), format!("errno {}", libc::EACCES), "{way:?}: Landlock is not on");
        assert_eq!(net("seccomp,net,landlock"), "open", "{way:?}");
    }
}

#[test]
fn a_proc_is_who_it_should_be() {
    for way in ways() {
        let uids = |without| look(way, without, 9).status("Uid").join(" ");
        // SAFETY: takes nothing.
        let me = unsafe { libc::geteuid() };
        let expected = match way {
            As::Range => UID_BASE + 1,
            As::User if me == 0 => driver::NOBODY,
            As::Root | As::User => me,
        };
        assert_eq!(
            uids(""),
            [expected.to_string(), expected.to_string(), expected.to_string(), expected.to_string()]
                .join(" ")
        );
    }
}

#[test]
fn an_idle_proc_runs_as_sched_idle() {
    let seen = look(ways()[0], "", 9);
    let stat = seen.file("stat");
    // Field 41 of proc_pid_stat(5), counted after the name, which ends with a parenthesis.
    let policy = stat.rsplit(')').next().unwrap().split_whitespace().nth(41 - 3).unwrap();
    assert_eq!(policy, libc::SCHED_IDLE.to_string());
}

/// Descriptors of a proc: its pipes and its door, and nothing of the jail's.
#[test]
fn a_proc_has_four_descriptors() {
    let seen = look(ways()[0], "", 9);
    let mut names: Vec<_> = fs::read_dir(format!("{}/fd", seen.folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["0", "1", "2", "3"]);
}
