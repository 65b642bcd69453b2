//! What the host sees of a machine: processes, control groups, mounts.

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where control groups are mounted, by every convention.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The time in which a process that was stopped stands still, however busy the machine is.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// Every process that has `file` open and that may be looked at.
pub fn holders(file: &Path) -> Vec<u32> {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let holds = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd"));
        open.into_iter().flatten().flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == file))
    };
    processes().filter(holds).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub fn children(parent: u32) -> Vec<u32> {
    processes().filter(|pid| status(*pid, "PPid:").is_some_and(|ppid| ppid == parent.to_string())).collect()
}

/// All processes below one, at any depth.
pub fn descendants(of: u32) -> Vec<u32> {
    let mut found = children(of);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// The process below `of` that was executed with this command line.
pub fn find(of: u32, command_line: &str) -> Option<u32> {
    descendants(of).into_iter().find(|pid| command(*pid) == command_line)
}

/// The processes below `of` of a program of this name.
pub fn find_all(of: u32, program: &str) -> Vec<u32> {
    descendants(of).into_iter().filter(|pid| name(*pid) == program).collect()
}

/// Kibibytes of memory that a process holds.
pub fn resident_kib(pid: u32) -> u64 {
    let field = status(pid, "VmRSS:").expect("a process that lives");
    field.trim_end_matches("kB").trim().parse().expect("a number")
}

/// A field of /proc/PID/status, proc_pid_status(5).
pub fn status(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

pub fn name(pid: u32) -> String {
    status(pid, "Name:").unwrap_or_default()
}

/// The command line of a process.
pub fn command(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

/// Whether the memory of a process holds these bytes, proc_pid_mem(5); none where this user may not look into it.
pub fn memory_holds(pid: u32, bytes: &[u8]) -> Option<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut looked = false;
    for line in maps.lines() {
        let (range, rights) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (number(from)?, number(to)?);
        let mut part = vec![0; usize::try_from(to - from).ok()?];
        // What the system keeps there for itself cannot be read; in what has no rights at all nothing can be.
        if !rights.starts_with("---") && memory.read_exact_at(&mut part, from).is_ok() {
            looked = true;
            if part.windows(bytes.len()).any(|here| here == bytes) {
                return Some(true);
            }
        }
    }
    looked.then_some(false)
}

/// The scheduling policy of each task of a process, sched(7): 0 is SCHED_OTHER, 5 is SCHED_IDLE.
pub fn policies(pid: u32) -> Vec<u32> {
    of_tasks(pid, 41).filter_map(|policy| policy.parse().ok()).collect()
}

/// What each task of a process does, in a letter.
fn states(pid: u32) -> impl Iterator<Item = char> {
    of_tasks(pid, 3).filter_map(|state| state.chars().next())
}

/// A field of each task of a process, proc_pid_stat(5), from the third on.
fn of_tasks(pid: u32, field: usize) -> impl Iterator<Item = String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(move |task| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // The name, in parentheses, may hold anything; what follows it begins with the third field.
        Some(stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.to_owned())
    })
}

/// The control group of a process in the hierarchy of a controller, as a directory.
pub fn cgroup(pid: u32, controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let root = Path::new(CGROUPS);
        // In v2 there is one line, without controllers.
        let v2 = controllers.is_empty() && root.join("cgroup.controllers").exists();
        let v1 = controllers.split(',').any(|name| name == controller);
        let hierarchy = if v2 { root.to_owned() } else { root.join(controller) };
        (v1 || v2).then(|| hierarchy.join(path.trim_start_matches('/')))
    })
}

/// Every control group of this name, in any hierarchy: at its top, or two levels below.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let tops = below(CGROUPS.into()).filter(|path| path.is_dir());
    let all = tops.flat_map(|top| below(top.clone()).chain([top]));
    all.filter(|path| path.file_name().is_some_and(|last| last == name)).collect()
}

/// Mounts at or below a directory.
pub fn mounts_below(directory: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(directory)).map(str::to_owned).collect()
}

/// Kills at once, as `kill -9` does.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Stops a process, which may have ended already, and returns when none of its threads runs any more: Linux is done with the signal later than
/// with the call that sends it, and a thread may do a whole call of ours meanwhile.
pub fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    let since = Instant::now();
    while states(pid).any(|state| !matches!(state, 'T' | 't' | 'Z' | 'X')) {
        assert!(
            since.elapsed() < STOPS_WITHIN,
            "process {pid} does not stop: {:?}",
            states(pid).collect::<String>()
        );
        std::thread::yield_now();
    }
}

/// Lets a process go on that was stopped.
pub fn go_on(pid: u32) {
    signal(pid, Signal::CONT);
}

/// Sends a signal to a process, which may have ended already.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(pid, signal);
}

/// Limits how large a process may make a file, setrlimit(2); none takes the limit away again.
pub fn limit_files(pid: u32, bytes: Option<u64>) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(pid, Resource::Fsize, limit).expect("a process of this user");
}

pub fn is_alive(pid: u32) -> bool {
    // A process that has ended and waits for its parent is not alive.
    status(pid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}
