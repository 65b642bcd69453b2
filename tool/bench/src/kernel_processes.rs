//! The processes of the kernel: what memory and CPU they take.
//!
//! Memory is the proportional set size of `/proc/PID/smaps_rollup`: a page that several processes share counts once in all.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The programs that are the kernel. Launchers are processes of `jail`; a proc's process is of a program of its own.
const PROGRAMS: [&str; 7] = ["sigmad", "named", "jail", "ux", "s3", "db", "mongo"];

/// A process of a kernel, or of a proc of it.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    /// The name of its program.
    pub program: String,
}

/// sigmad, which is the process `sigmad`, and all kernel processes below it.
///
/// # Errors
/// Where /proc cannot be read.
pub fn of(sigmad: u32) -> Result<Vec<Process>> {
    let mut all = family(sigmad)?;
    all.retain(|process| PROGRAMS.contains(&process.program.as_str()));
    Ok(all)
}

/// The processes of procs that were executed as `name`, below sigmad.
///
/// # Errors
/// As [`of`].
pub fn procs(sigmad: u32, name: &str) -> Result<Vec<Process>> {
    let mut all = family(sigmad)?;
    all.retain(|process| process.is_called(name));
    Ok(all)
}

/// sigmad and all processes below it.
///
/// # Errors
/// As [`of`].
pub(crate) fn family(sigmad: u32) -> Result<Vec<Process>> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![sigmad];
    let mut next = 0;
    while let Some(process) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(pid, _)| *pid));
        next += 1;
    }
    let processes = family.into_iter().filter_map(|pid| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let program = program.file_name()?.to_str()?.trim_end_matches(" (deleted)").to_owned();
        Some(Process { pid, program })
    });
    Ok(processes.collect())
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it was executed as `name`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.words().first().is_some_and(|word| word == name)
    }

    /// The words that it was executed with; none where it has ended.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        // Each ends with a zero.
        words.pop();
        words.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
    }

    /// Its share of memory, in bytes; 0 where it has ended.
    pub fn memory_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap_or_default();
        let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) << 10
    }

    /// The time that its threads have run, in nanoseconds; of those that are alive.
    pub fn ran_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        tasks.filter_map(|task| ran_ns(&task.path())).sum()
    }
}

/// The first field of schedstat: time on a core, in nanoseconds.
fn ran_ns(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

/// Field 4 of stat, proc_pid_stat(5), counted after the name, which ends with a parenthesis.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// Of several: their share of memory together.
pub fn memory_bytes(processes: &[Process]) -> u64 {
    processes.iter().map(Process::memory_bytes).sum()
}
