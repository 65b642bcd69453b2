//! What the cores of this machine did, from proc_stat(5), and what this process took of them.

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::iter::Sum;
use std::time::Duration;

/// A unit of /proc/stat: USER_HZ, a hundredth of a second on every architecture that matters.
const TICK: Duration = Duration::from_millis(10);

/// Since the machine began, all cores together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// They had nothing to do, or waited for a disk.
    pub(crate) idle: Duration,
    pub(crate) busy: Duration,
}

/// The time that this process has run, on all its threads.
pub(crate) fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often a thread was given a core, and how long it waited for one in all, from /proc/PID/schedstat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    waited: Duration,
    times: u64,
}

impl Waits {
    /// Of the first thread of a process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let file = format!("/proc/{pid}/schedstat");
        let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        Self::parse(&stat).with_context(|| format!("{file} does not say how long the thread waited"))
    }

    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.split_whitespace().skip(1).map_while(|field| field.parse().ok());
        Some(Self { waited: Duration::from_nanos(fields.next()?), times: fields.next()? })
    }

    /// Nanoseconds of a wait, on average.
    pub(crate) fn mean_since(self, before: Self) -> f64 {
        let times = self.times.saturating_sub(before.times).max(1);
        self.waited.saturating_sub(before.waited).as_nanos() as f64 / times as f64
    }
}

impl Sum for Waits {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self { waited: Duration::ZERO, times: 0 }, |one, other| Self {
            waited: one.waited + other.waited,
            times: one.times + other.times,
        })
    }
}

impl Cpu {
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&stat).context("/proc/stat does not say what the cores do")
    }

    fn parse(stat: &str) -> Option<Self> {
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        // The last two, of guests, are counted in the first two as well.
        let ticks: Vec<u32> = ticks.take(8).map_while(|tick| tick.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self { idle: TICK * idle, busy: TICK * (ticks.iter().sum::<u32>() - idle) })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { idle: self.idle.saturating_sub(before.idle), busy: self.busy.saturating_sub(before.busy) }
    }

    /// The part of the time that they were busy, of 1.
    pub(crate) fn load(self) -> f64 {
        self.busy.as_secs_f64() / (self.idle + self.busy).max(TICK).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_of_the_time_in_between() {
        let before = Waits::parse("5000 700 3\n").unwrap();
        assert_eq!(Waits::parse("9000 1700 7\n").unwrap().mean_since(before), 250.0);
        assert_eq!(before.mean_since(before), 0.0);
        assert_eq!(Waits::parse("5000"), None);
    }

    #[test]
    fn waiting_for_a_disk_is_idle() {
        let before = Cpu::parse("cpu  10 0 5 100 20 0 1 4 7 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(before, Cpu { idle: TICK * 120, busy: TICK * 20 });
        let after = Cpu::parse("cpu  70 0 5 130 30 0 1 4 9 0\n").unwrap();
        assert_eq!(after.since(before).load(), 0.6);
        assert_eq!(Cpu::parse("intr 5"), None);
        assert_eq!(Cpu::parse("cpu  1 2"), None);
    }
}
