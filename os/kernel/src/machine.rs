//! What the machine has, and how much of its CPU is idle or used.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, test_kill_process};
use rustix::system::sysinfo;
use sigma_abi::MachineId;
use std::fs;

/// Descriptors of sigmad that a running proc costs: its door, and its standard input, output and error.
const DESCRIPTORS_PER_PROC: u64 = 4;

/// One of so many descriptors is for running procs; the others are for launchers, tools and kernel processes.
const SHARE_OF_DESCRIPTORS: u64 = 2;

/// What counts as a limit of descriptors where the system has none.
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// The unit of CPU times in /proc, in microseconds: USER_HZ is 100 for every program, proc(5).
const TICK_US: u64 = 10_000;

/// The flag of a process that was cloned and has executed nothing since: PF_FORKNOEXEC of Linux' sched.h.
const CLONED_ONLY: u64 = 0x40;

/// The capacity of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) id: MachineId,
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    /// Procs that may run at once.
    pub(crate) procs: u64,
}

impl Capacity {
    pub(crate) fn measure(id: MachineId) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let info = sysinfo();
        let memory_bytes = info.totalram as u64 * u64::from(info.mem_unit);
        let procs = descriptors() / SHARE_OF_DESCRIPTORS / DESCRIPTORS_PER_PROC;
        Self { id, cores, memory_bytes, procs: procs.max(1) }
    }
}

/// How many descriptors sigmad may have: it took all that there are when it booted.
fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS)
}

/// CPU time that a process has used, all its threads together, in microseconds; `None` for one that has ended.
pub(crate) fn used_us(os_pid: u32) -> Option<u64> {
    parse_used(&fs::read_to_string(format!("/proc/{os_pid}/stat")).ok()?)
}

/// CPU time that a thread has used, in microseconds, and the core on which it ran last; `None` for one that has ended.
pub(crate) fn thread_times(os_pid: u32, thread: u32) -> Option<(u64, usize)> {
    let stat = fs::read_to_string(format!("/proc/{os_pid}/task/{thread}/stat")).ok()?;
    Some((parse_used(&stat)?, field(&stat, 39)? as usize))
}

/// The time that a thread has run or waited for a core, from the first fields of schedstat; where the system does not tell, none.
pub(crate) fn thread_wanted_us(os_pid: u32, thread: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{os_pid}/task/{thread}/schedstat")).ok()?;
    let mut fields = stat.split_whitespace().map_while(|field| field.parse::<u64>().ok());
    Some((fields.next()? + fields.next()?) / 1000)
}

/// User and system time of /proc/PID/stat, fields 14 and 15 of proc_pid_stat(5).
fn parse_used(stat: &str) -> Option<u64> {
    Some((field(stat, 14)? + field(stat, 15)?) * TICK_US)
}

/// A number of /proc/PID/stat, by its place in proc_pid_stat(5).
fn field(stat: &str, place: usize) -> Option<u64> {
    // The name, in parentheses, may hold anything; what follows it begins with field 3.
    stat.rsplit_once(')')?.1.split_whitespace().nth(place - 3)?.parse().ok()
}

/// Whether a process has executed a program since it was cloned. A process that has ended, and that its parent has reaped, has not.
pub(crate) fn has_executed(os_pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{os_pid}/stat")) {
        Ok(stat) => parse_flags(&stat).is_none_or(|flags| flags & CLONED_ONLY == 0),
        // Where the system hides processes of other users there is no telling.
        Err(_) => is_there(os_pid),
    }
}

fn is_there(os_pid: u32) -> bool {
    let pid = i32::try_from(os_pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// The flags of /proc/PID/stat, field 9 of proc_pid_stat(5).
fn parse_flags(stat: &str) -> Option<u64> {
    field(stat, 9)
}

/// Measures idle CPU between one call and the next.
#[derive(Debug, Default)]
pub(crate) struct IdleMeter {
    idle: u64,
    total: u64,
}

impl IdleMeter {
    /// Thousandths of a core that were idle since the last call; 0 where the system does not say.
    pub(crate) fn read(&mut self, cores: u32) -> u32 {
        let Some((idle, total)) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse) else {
            return 0;
        };
        let (idle_before, total_before) = (self.idle, self.total);
        (self.idle, self.total) = (idle, total);
        let passed = total.saturating_sub(total_before);
        if total_before == 0 || passed == 0 {
            return 0;
        }
        let idle = idle.saturating_sub(idle_before).min(passed);
        (idle * u64::from(cores) * 1000 / passed) as u32
    }
}

/// Idle and all jiffies of the first line of /proc/stat, proc_stat(5).
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let jiffies: Vec<u64> = fields.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle = jiffies.get(3)? + jiffies.get(4)?;
    Some((idle, jiffies.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_time_is_that_of_the_user_and_of_the_system() {
        let stat = "7 (a) S) R 1 7 7 0 -1 4194560 10 0 0 0 123 45 6 7 20 0 1 0 99 100 1";
        assert_eq!(parse_used(stat), Some(1_680_000));
        assert_eq!(parse_used("7 (a) R 1"), None);
    }

    #[test]
    fn a_process_has_executed_something_or_was_only_cloned() {
        assert_eq!(parse_flags("7 (a) S) R 1 7 7 0 -1 4194560 10 0"), Some(4_194_560));
        assert_eq!(parse_flags("7 (a"), None);
        // This one was executed by cargo, init by Linux; and no process has the number 0.
        assert!(has_executed(std::process::id()) && has_executed(1));
        assert!(!has_executed(0));
    }

    #[test]
    fn idle_time_counts_waiting_for_disks() {
        assert_eq!(parse("cpu  10 0 20 60 10 0 0 0 5 5\ncpu0 1"), Some((70, 100)));
        assert_eq!(parse("intr 1"), None);
    }
}
