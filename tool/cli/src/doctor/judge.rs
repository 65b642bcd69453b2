//! What the facts mean: purely, so that machines that nobody has at hand can be judged in tests.

use super::facts::Facts;
use crate::report;
use serde_json::{Value, json};
use sigma_abi::layer::Layer;

/// Descriptors that one proc takes of the kernel: its door, its three pipes, and as many again in connections.
const DESCRIPTORS_A_PROC: u64 = 8;

/// Fewer descriptors than a kernel with a realm or two wants.
const FEW_DESCRIPTORS: u64 = 4096;

/// Less disk than a kernel with some programs wants.
const LITTLE_DISK: u64 = 1 << 30;

/// 2025, in seconds since 1970: a clock that shows less is wrong.
const EARLIEST_NOW: u64 = 1_735_689_600;

/// Clocks that need no system call to be read.
const FAST_CLOCKS: [&str; 5] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", ""];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Fine,
    /// Procs run, but something is lost.
    Limited,
    /// No proc runs, unless the operator takes it away.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    /// What is lost, where it is not fine.
    pub(super) lost: String,
    pub(super) remedy: String,
}

impl Finding {
    fn fine(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Fine, found: found.into(), lost: String::new(), remedy: String::new() }
    }

    fn but(self, state: State, lost: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state, lost: lost.into(), remedy: remedy.into(), ..self }
    }

    pub(super) fn json(&self) -> Value {
        let state = match self.state {
            State::Fine => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        json!({ "name": self.name, "state": state, "found": self.found, "lost": self.lost, "remedy": self.remedy })
    }
}

/// What each fact means for procs.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let layers =
        Layer::ALL.into_iter().filter(|layer| *layer != Layer::Cgroup).map(|layer| sandbox(facts, layer));
    let rest = [
        landlock_version(facts),
        passed_descriptors(facts),
        uids(facts),
        cgroups(facts),
        cpu_idle(facts),
        descriptors(facts),
        pressure(facts),
        clock(facts),
        disk(facts),
    ];
    layers.chain(rest.into_iter().flatten()).collect()
}

fn sandbox(facts: &Facts, layer: Layer) -> Finding {
    let Some(why) = facts.broken.get(&layer) else { return Finding::fine(layer.name(), "can be set up") };
    let remedy = match layer {
        Layer::User if !facts.userns.is_empty() => {
            let settings: Vec<_> =
                facts.userns.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!("change as root: sysctl {}; or run the kernel as root", settings.join(", "))
        }
        Layer::User => {
            "a container needs the right to make user namespaces; or run the kernel as root".to_owned()
        }
        Layer::Landlock => "Linux 5.13 or later, booted with landlock in lsm=".to_owned(),
        Layer::Seccomp => "a Linux with CONFIG_SECCOMP_FILTER".to_owned(),
        _ => "see why; a container may forbid it".to_owned(),
    };
    let lost =
        format!("no proc runs; 'sigma up --insecure-without={layer}' runs procs without this protection");
    Finding::fine(layer.name(), why.clone()).but(State::Missing, lost, remedy)
}

/// What each version of Landlock added.
fn landlock_version(facts: &Facts) -> Option<Finding> {
    if facts.broken.contains_key(&Layer::Landlock) {
        return None;
    }
    let finding = Finding::fine("landlock version", facts.landlock.to_string());
    let lost = match facts.landlock {
        ..4 => "it does not restrict the network, where other layers do",
        4..6 => "it does not restrict signals and abstract sockets, where other layers do",
        _ => return Some(finding),
    };
    Some(finding.but(State::Limited, lost, "Linux 6.12 or later"))
}

fn passed_descriptors(facts: &Facts) -> Option<Finding> {
    let finding = Finding::fine("SO_PASSRIGHTS", format!("Linux {}.{}", facts.linux.0, facts.linux.1));
    if facts.linux >= (6, 16) {
        return Some(finding);
    }
    let lost = "descriptors that a proc sends are dropped on arrival, rather than refused at the proc";
    Some(finding.but(State::Limited, lost, "Linux 6.16 or later"))
}

fn uids(facts: &Facts) -> Option<Finding> {
    if facts.root {
        return Some(Finding::fine("uids", "each realm has two of its own"));
    }
    let finding = Finding::fine("uids", "all realms share yours");
    let lost = "one barrier fewer between realms: namespaces and seccomp alone keep their procs apart";
    Some(finding.but(State::Limited, lost, "run the kernel as root"))
}

fn cgroups(facts: &Facts) -> Option<Finding> {
    let groups = &facts.cgroups;
    let lost = "no memory limit and no limit of tasks is enforced, and CPU is not weighted";
    let Some(version) = groups.version else {
        let remedy = "mount them on /sys/fs/cgroup, or give the container its own";
        return Some(Finding::fine("cgroup", "none are mounted").but(State::Limited, lost, remedy));
    };
    let finding = |found: String| Finding::fine("cgroup", format!("v{version}: {found}"));
    if !groups.missing.is_empty() {
        let found = format!("without {}", groups.missing.join(", "));
        return Some(finding(found).but(State::Limited, lost, "boot a Linux that has these controllers"));
    }
    if let Some(why) = &groups.refused {
        let remedy = "run the kernel as root, or have a group delegated to you";
        return Some(finding(why.clone()).but(State::Limited, lost, remedy));
    }
    Some(finding("cpu, memory and pids can be limited".to_owned()))
}

fn cpu_idle(facts: &Facts) -> Option<Finding> {
    let groups = &facts.cgroups;
    if groups.version.is_none() || groups.refused.is_some() || groups.missing.contains(&"cpu") {
        return None;
    }
    let finding =
        Finding::fine("cpu.idle", if groups.idle { "groups can be idle" } else { "groups cannot be idle" });
    if groups.idle {
        return Some(finding);
    }
    let lost = "BE work has the least weight beside LC work, which is more than none";
    Some(finding.but(State::Limited, lost, "Linux 5.15 or later"))
}

fn descriptors(facts: &Facts) -> Option<Finding> {
    let most = facts.descriptors;
    let procs = most / DESCRIPTORS_A_PROC;
    let finding = Finding::fine("RLIMIT_NOFILE", format!("{most} at most, enough for about {procs} procs"));
    if most >= FEW_DESCRIPTORS {
        return Some(finding);
    }
    Some(finding.but(State::Limited, "few procs run at a time", "ulimit -Hn, or LimitNOFILE= of its service"))
}

fn pressure(facts: &Facts) -> Option<Finding> {
    if facts.pressure {
        return Some(Finding::fine("pressure", "/proc/pressure says when memory is short"));
    }
    let finding = Finding::fine("pressure", "there is no /proc/pressure");
    let lost = "the kernel sees that memory is short only when little is left";
    Some(finding.but(State::Limited, lost, "a Linux with CONFIG_PSI, booted with psi=1"))
}

fn clock(facts: &Facts) -> Option<Finding> {
    if facts.now < EARLIEST_NOW {
        let finding = Finding::fine("clock", format!("it shows {} s since 1970", facts.now));
        return Some(finding.but(
            State::Limited,
            "times in statuses and files are wrong",
            "set it, as by NTP",
        ));
    }
    let finding = Finding::fine("clock", format!("source {}", facts.clock));
    if FAST_CLOCKS.contains(&facts.clock.as_str()) {
        return Some(finding);
    }
    let lost = "each look at the time is a system call, which costs starts and calls microseconds";
    Some(finding.but(State::Limited, lost, "clocksource=tsc, where the machine's is stable"))
}

fn disk(facts: &Facts) -> Option<Finding> {
    let disk = &facts.disk;
    let found = format!("{} free at {}", report::bytes(disk.free_bytes), disk.folder.display());
    let finding = Finding::fine("disk", found);
    if let Some(why) = &disk.refused {
        let finding = Finding::fine("disk", format!("{}: {why}", disk.folder.display()));
        return Some(finding.but(
            State::Missing,
            "the kernel cannot keep its state",
            "--state DIR, or SIGMA_STATE",
        ));
    }
    if disk.free_bytes < LITTLE_DISK {
        return Some(finding.but(State::Limited, "uploads and files soon fail", "free some, or --state DIR"));
    }
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Cgroups, Disk};
    use super::*;

    fn good() -> Facts {
        Facts {
            root: true,
            linux: (6, 18),
            broken: [].into(),
            landlock: 7,
            userns: Vec::new(),
            cgroups: Cgroups { version: Some(2), missing: Vec::new(), refused: None, idle: true },
            descriptors: 20_000,
            pressure: true,
            now: EARLIEST_NOW,
            clock: "tsc".to_owned(),
            disk: Disk { folder: "/var".into(), free_bytes: LITTLE_DISK, refused: None },
        }
    }

    /// What is not fine after one fact of a good machine was changed: by name, with the words that must be said.
    fn check(change: impl FnOnce(&mut Facts), expected: &[(&str, State, &str)]) {
        let mut facts = good();
        change(&mut facts);
        let findings = judge(&facts);
        let worse: Vec<_> = findings.iter().filter(|finding| finding.state != State::Fine).collect();
        assert_eq!(worse.len(), expected.len(), "{worse:#?}");
        for (finding, (name, state, words)) in worse.iter().zip(expected) {
            assert_eq!((finding.name, finding.state), (*name, *state));
            let said = format!("{} {} {}", finding.found, finding.lost, finding.remedy);
            assert!(said.contains(words), "{said:?} does not say {words:?}");
            assert!(!finding.lost.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn a_good_machine_lacks_nothing() {
        check(|_| {}, &[]);
        assert!(judge(&good()).len() > 15);
    }

    #[test]
    fn a_layer_that_cannot_be_set_up_keeps_procs_from_running() {
        for layer in Layer::ALL.into_iter().filter(|layer| *layer != Layer::Cgroup) {
            let without = format!("--insecure-without={layer}");
            check(
                |facts| drop(facts.broken.insert(layer, "no".to_owned())),
                &[(layer.name(), State::Missing, &without)],
            );
        }
    }

    #[test]
    fn the_setting_that_shuts_user_namespaces_is_named() {
        let shut = |facts: &mut Facts| {
            facts.broken.insert(Layer::User, "EPERM".to_owned());
            facts.userns.push(("kernel.unprivileged_userns_clone", "0".to_owned()));
        };
        check(shut, &[("user", State::Missing, "kernel.unprivileged_userns_clone = 0")]);
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let old = |facts: &mut Facts| {
            facts.linux = (5, 10);
            facts.landlock = 0;
            facts.broken.insert(Layer::Landlock, "ENOSYS".to_owned());
            facts.cgroups.idle = false;
            facts.pressure = false;
        };
        let expected = [
            ("landlock", State::Missing, "Linux 5.13"),
            ("SO_PASSRIGHTS", State::Limited, "6.16"),
            ("cpu.idle", State::Limited, "5.15"),
            ("pressure", State::Limited, "PSI"),
        ];
        check(old, &expected);
        check(|facts| facts.landlock = 3, &[("landlock version", State::Limited, "network")]);
        check(|facts| facts.landlock = 5, &[("landlock version", State::Limited, "signals")]);
    }

    #[test]
    fn limits_that_are_missing_do_not_keep_procs_from_running() {
        check(|facts| facts.cgroups = Cgroups::default(), &[("cgroup", State::Limited, "none are mounted")]);
        check(|facts| facts.cgroups.missing = vec!["pids"], &[("cgroup", State::Limited, "without pids")]);
        let refused = |facts: &mut Facts| facts.cgroups.refused = Some("EACCES".to_owned());
        check(refused, &[("cgroup", State::Limited, "EACCES")]);
        check(|facts| facts.root = false, &[("uids", State::Limited, "share yours")]);
        check(|facts| facts.descriptors = 1024, &[("RLIMIT_NOFILE", State::Limited, "128 procs")]);
        check(|facts| facts.now = 0, &[("clock", State::Limited, "since 1970")]);
        check(|facts| facts.clock = "hpet".to_owned(), &[("clock", State::Limited, "hpet")]);
        check(|facts| facts.disk.free_bytes = 0, &[("disk", State::Limited, "0 B free")]);
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_missing() {
        let refused = |facts: &mut Facts| facts.disk.refused = Some("read-only".to_owned());
        check(refused, &[("disk", State::Missing, "read-only")]);
    }
}
