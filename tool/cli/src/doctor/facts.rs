//! What can be found out about this machine.

use super::layers;
use anyhow::{Context, Result};
use rustix::process::{Resource, geteuid, getrlimit};
use sigma_abi::layer::Layer;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where control groups are mounted, by every convention.
const CGROUPS: &str = "/sys/fs/cgroup";

/// All that [`judge`](super::judge::judge) looks at.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) root: bool,
    /// Linux, as major and minor version.
    pub(super) linux: (u32, u32),
    /// Layers that a jail cannot set up, and why.
    pub(super) broken: BTreeMap<Layer, String>,
    /// The version of Landlock's interface; 0 where there is none.
    pub(super) landlock: u32,
    /// Settings that keep an ordinary user from user namespaces, with their values.
    pub(super) userns: Vec<(&'static str, String)>,
    pub(super) cgroups: Cgroups,
    /// Descriptors that a process may have, at most.
    pub(super) descriptors: u64,
    pub(super) pressure: bool,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) clock: String,
    pub(super) disk: Disk,
}

/// What there is of control groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Cgroups {
    /// 1 or 2; `None` where none are mounted.
    pub(super) version: Option<u32>,
    /// Of cpu, memory and pids: those that are missing.
    pub(super) missing: Vec<&'static str>,
    /// Why a group cannot be made.
    pub(super) refused: Option<String>,
    /// Whether a group can be idle.
    pub(super) idle: bool,
}

/// The disk of the state directory.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The state directory, or the nearest one above it that exists.
    pub(super) folder: PathBuf,
    pub(super) free_bytes: u64,
    /// Why it cannot be written.
    pub(super) refused: Option<String>,
}

impl Facts {
    pub(super) fn gather(state: &Path) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find the folder of sigma")?;
        let jail = own.with_file_name("jail");
        let root = geteuid().is_root();
        let system = rustix::system::uname();
        Ok(Self {
            root,
            linux: version(&system.release().to_string_lossy()).context("the version of Linux")?,
            broken: layers::broken(&jail, root)?,
            landlock: landlock(&jail)?,
            userns: userns(),
            cgroups: cgroups(Path::new(CGROUPS)),
            descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            pressure: fs::read("/proc/pressure/memory").is_ok(),
            now: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
            clock: text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .unwrap_or_default(),
            disk: disk(state),
        })
    }
}

/// "6.18.44-x" is 6 and 18.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn landlock(jail: &Path) -> Result<u32> {
    let output = std::process::Command::new(jail).arg("--landlock").output().context("execute the jail")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("the version of Landlock")
}

/// Settings of Linux and of distributions that shut user namespaces, where they do.
fn userns() -> Vec<(&'static str, String)> {
    let shut = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0"),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "0"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
        ),
    ];
    let set = shut.into_iter().filter_map(|(name, file, value)| Some((name, text(file)?, value)));
    set.filter(|(_, found, value)| found == value).map(|(name, found, _)| (name, found)).collect()
}

fn cgroups(root: &Path) -> Cgroups {
    let name = format!("sigma-doctor-{}", std::process::id());
    let wanted = ["cpu", "memory", "pids"];
    let (version, offered): (_, Vec<_>) = match fs::read_to_string(root.join("cgroup.controllers")) {
        Ok(all) => {
            let all: Vec<_> = all.split_whitespace().map(str::to_owned).collect();
            (2, wanted.into_iter().filter(|wanted| all.iter().any(|one| one == wanted)).collect())
        }
        Err(_) => {
            (1, wanted.into_iter().filter(|one| root.join(one).join("cgroup.procs").exists()).collect())
        }
    };
    if version == 1 && offered.is_empty() {
        return Cgroups::default();
    }
    let missing = wanted.into_iter().filter(|one| !offered.contains(one)).collect();
    let mut found = Cgroups { version: Some(version), missing, refused: None, idle: false };
    let hierarchies =
        if version == 2 { vec![root.to_owned()] } else { offered.iter().map(|one| root.join(one)).collect() };
    for hierarchy in hierarchies {
        let group = hierarchy.join(&name);
        match fs::create_dir(&group) {
            Ok(()) => {
                found.idle |= group.join("cpu.idle").exists();
                // It is empty, and ours.
                let _ = fs::remove_dir(&group);
            }
            Err(error) => found.refused = Some(format!("{}: {error}", hierarchy.display())),
        }
    }
    found
}

fn disk(state: &Path) -> Disk {
    let existing = state.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let free_bytes = rustix::fs::statvfs(existing).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let draft = existing.join(format!(".sigma-doctor-{}", std::process::id()));
    let refused = fs::write(&draft, b"sigma").and_then(|()| fs::remove_file(&draft)).err();
    Disk { folder: existing.to_owned(), free_bytes, refused: refused.map(|error| error.to_string()) }
}

fn text(file: &str) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_linux_are_read() {
        for (text, expected) in
            [("6.18.44-fc", Some((6, 18))), ("5.4.0", Some((5, 4))), ("4.9-x", Some((4, 9))), ("x", None)]
        {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn control_groups_are_told_apart() {
        let root = std::env::temp_dir().join(format!("sigma-doctor-test-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        assert_eq!(cgroups(&root).version, None);
        fs::create_dir_all(root.join("memory")).unwrap();
        fs::write(root.join("memory/cgroup.procs"), "").unwrap();
        let one = cgroups(&root);
        assert_eq!((one.version, one.missing), (Some(1), vec!["cpu", "pids"]));
        fs::write(root.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let two = cgroups(&root);
        assert_eq!((two.version, two.missing, two.refused, two.idle), (Some(2), vec![], None, false));
        fs::remove_dir_all(&root).unwrap();
    }
}
