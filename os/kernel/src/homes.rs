//! The edge of `sigma_schedd::homes`: measures the threads of busy LC procs, and tells Linux on which core each is to run.

use crate::machine::thread_times;
use rustix::process::Pid as OsPid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sigma_schedd::homes::{BUSY_MCPU, Core, Measured, Thread, assign};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

/// Between one measurement and the next.
#[derive(Default)]
pub(crate) struct Homes {
    used_us: HashMap<Thread, u64>,
    homes: BTreeMap<Thread, Core>,
    /// The processes that have threads with a home: one that such a thread starts begins on its core.
    settled: BTreeSet<u32>,
}

impl Homes {
    /// Moves the threads of these LC processes, which used so much of a core over a span of time. Without BE procs beside
    /// them each goes where it likes.
    pub(crate) fn keep(&mut self, span_us: u64, processes: &[(u32, u64)], beside_be: bool) {
        if span_us == 0 || (!beside_be && self.settled.is_empty()) {
            self.used_us.clear();
            return;
        }
        // Nobody is kept from a core that sigmad may use itself.
        let Ok(all) = sched_getaffinity(None) else { return };
        let cores: Vec<Core> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let busy = |process: &(u32, u64)| process.1 * 1000 / span_us >= u64::from(BUSY_MCPU);
        let watched: BTreeSet<u32> = processes
            .iter()
            .filter(|process| busy(process) || self.settled.contains(&process.0))
            .map(|process| process.0)
            .collect();
        let threads: Vec<_> = watched.iter().map(|process| (*process, threads(*process))).collect();
        let measured = self.measure(span_us, threads.iter().flat_map(|(_, threads)| threads));
        let homes = if beside_be { assign(&cores, &measured, &self.homes) } else { BTreeMap::new() };
        let mut settled = BTreeSet::new();
        for (process, threads) in &threads {
            let settles = threads.iter().any(|(thread, ..)| homes.contains_key(thread));
            if settles {
                settled.insert(*process);
            }
            // Those that have just been started by one with a home, or have none any more, are let go, too.
            if settles || self.settled.contains(process) {
                threads.iter().for_each(|(thread, ..)| settle(*thread, homes.get(thread).copied(), &all));
            }
        }
        (self.homes, self.settled) = (homes, settled);
    }

    /// What each thread used since it was measured last; of one that is new that is not known.
    fn measure<'a>(
        &mut self,
        span_us: u64,
        threads: impl Iterator<Item = &'a (Thread, u64, Core)>,
    ) -> Vec<Measured> {
        let before = std::mem::take(&mut self.used_us);
        let mut measured = Vec::new();
        for &(thread, now_us, core) in threads {
            if let Some(before_us) = before.get(&thread) {
                let used_mcpu = (now_us.saturating_sub(*before_us) * 1000 / span_us) as u32;
                measured.push(Measured { thread, used_mcpu, core });
            }
            self.used_us.insert(thread, now_us);
        }
        measured
    }
}

/// The threads of a process, the time that each has run, in microseconds, and where it did so last.
fn threads(process: u32) -> Vec<(Thread, u64, Core)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let thread = |task: fs::DirEntry| {
        let thread = task.file_name().to_str()?.parse().ok()?;
        let (used_us, core) = thread_times(process, thread)?;
        Some((thread, used_us, core))
    };
    tasks.filter_map(thread).collect()
}

/// Lets a thread run on its home alone, or anywhere. One that has ended needs no core.
fn settle(thread: Thread, home: Option<Core>, all: &CpuSet) {
    let Some(pid) = i32::try_from(thread).ok().and_then(OsPid::from_raw) else { return };
    let wanted = home.map_or(*all, |core| {
        let mut only = CpuSet::new();
        only.set(core);
        only
    });
    if sched_getaffinity(Some(pid)).is_ok_and(|now| now != wanted) {
        let _ = sched_setaffinity(Some(pid), &wanted);
    }
}
