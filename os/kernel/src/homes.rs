//! The edge of `sigma_schedd::homes`: measures the threads of busy LC procs, and tells Linux on which core each is to run.

use crate::machine::thread_times;
use rustix::process::Pid as OsPid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sigma_schedd::homes::{BUSY_MCPU, Core, Measured, Thread, assign, of_late};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

/// Between one measurement and the next.
#[derive(Default)]
pub(crate) struct Homes {
    /// Of each thread that is measured: the time that it had run in all, and what it counts with.
    threads: HashMap<Thread, (u64, u32)>,
    /// Where each busy thread is to be beside BE procs, and the processes that have such threads.
    homes: BTreeMap<Thread, Core>,
    processes: BTreeSet<u32>,
    /// The processes whose threads are where they are to be: one that such a thread starts begins on its core.
    settled: BTreeSet<u32>,
}

impl Homes {
    /// Decides where the threads of these LC processes are to be, which used so much of a core over a span of time.
    pub(crate) fn measure(&mut self, span_us: u64, processes: &[(u32, u64)]) {
        if span_us == 0 {
            return;
        }
        let busy = |process: &(u32, u64)| process.1 * 1000 / span_us >= u64::from(BUSY_MCPU);
        let watched = processes.iter().filter(|process| busy(process) || self.processes.contains(&process.0));
        let before = std::mem::take(&mut self.threads);
        let (mut measured, mut owners) = (Vec::new(), BTreeMap::new());
        for &(process, _) in watched {
            for thread in threads(process) {
                let Some((now_us, core)) = thread_times(process, thread) else { continue };
                // Of one that is new nothing is known.
                let used_mcpu = before.get(&thread).map_or(0, |(before_us, before_mcpu)| {
                    let used_us = now_us.saturating_sub(*before_us);
                    of_late(*before_mcpu, (used_us * 1000 / span_us) as u32)
                });
                measured.push(Measured { thread, used_mcpu, core });
                self.threads.insert(thread, (now_us, used_mcpu));
                owners.insert(thread, process);
            }
        }
        let Some(all) = everywhere() else { return };
        let cores: Vec<Core> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        self.homes = assign(&cores, &measured, &self.homes);
        self.processes = self.homes.keys().filter_map(|thread| owners.get(thread).copied()).collect();
    }

    /// Moves the threads to where they are to be. Without BE procs beside them each goes where it likes.
    pub(crate) fn keep(&mut self, beside_be: bool) {
        let Some(all) = everywhere() else { return };
        let kept = if beside_be { self.processes.clone() } else { BTreeSet::new() };
        // Those that have just been started by one with a home, or have none any more, are let go, too.
        for thread in kept.union(&self.settled).flat_map(|process| threads(*process)) {
            let home = self.homes.get(&thread).copied().filter(|_| beside_be);
            settle(thread, home, &all);
        }
        self.settled = kept;
    }
}

/// The cores that sigmad may use itself: nobody is kept from one of them.
fn everywhere() -> Option<CpuSet> {
    sched_getaffinity(None).ok()
}

fn threads(process: u32) -> impl Iterator<Item = Thread> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
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
