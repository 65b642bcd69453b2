//! The edge of `sigma_schedd::homes` and `sigma_schedd::anchors`: measures the threads of busy procs, and tells Linux on which core each
//! is to run while LC and BE procs run beside each other.

use crate::machine::thread_times;
use rustix::process::Pid as OsPid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sigma_schedd::anchors::{HUNGRY_MCPU, bind};
use sigma_schedd::homes::{BUSY_MCPU, Core, Measured, Thread, assign, of_late};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

/// So many measurements BE threads stay where they are bound.
const ROUND: usize = 4;

/// A process, and the CPU time that it used since the measurement before, in microseconds.
pub(crate) type Used = (u32, u64);

/// Between one measurement and the next.
#[derive(Default)]
pub(crate) struct Homes {
    lc: Watch,
    be: Watch,
    measured: usize,
    /// Where each busy LC thread is to be beside BE procs.
    homes: BTreeMap<Thread, Core>,
    /// The same with the BE threads that are bound, and the processes that have such threads.
    places: BTreeMap<Thread, Core>,
    processes: BTreeSet<u32>,
    /// The processes whose threads are where they are to be: one that such a thread starts begins on its core.
    settled: BTreeSet<u32>,
}

impl Homes {
    /// Decides where the threads of these LC and BE processes are to be.
    pub(crate) fn measure(&mut self, span_us: u64, lc: &[Used], be: &[Used]) {
        let Some(all) = everywhere().filter(|_| span_us > 0) else { return };
        let cores: Vec<Core> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let mut owners = BTreeMap::new();
        let mut watch = |watch: &mut Watch, used: &[Used], least_mcpu: u32| {
            let busy = |used: &&Used| used.1 * 1000 / span_us >= u64::from(least_mcpu);
            let watched = used.iter().filter(|used| busy(used) || self.processes.contains(&used.0));
            watch.measure(span_us, watched.map(|used| used.0), &mut owners)
        };
        let (lc, be) = (watch(&mut self.lc, lc, BUSY_MCPU), watch(&mut self.be, be, HUNGRY_MCPU));
        self.homes = assign(&cores, &lc, &self.homes);
        self.measured += 1;
        self.places = bind(&cores, &be, self.measured / ROUND);
        self.places.extend(&self.homes);
        self.processes = self.places.keys().filter_map(|thread| owners.get(thread).copied()).collect();
    }

    /// Moves the threads to where they are to be. Unless LC procs run `beside` BE procs each goes where it likes.
    pub(crate) fn keep(&mut self, beside: bool) {
        let Some(all) = everywhere() else { return };
        let kept = if beside { self.processes.clone() } else { BTreeSet::new() };
        // Those that have just been started by one with a place, or have none any more, are let go, too.
        for thread in kept.union(&self.settled).flat_map(|process| threads(*process)) {
            let place = self.places.get(&thread).copied().filter(|_| beside);
            settle(thread, place, &all);
        }
        self.settled = kept;
    }
}

/// Of each thread that is measured: the time that it had run in all, and what it counts with.
#[derive(Default)]
struct Watch(HashMap<Thread, (u64, u32)>);

impl Watch {
    /// What each thread of these processes counts with, and whose it is.
    fn measure(
        &mut self,
        span_us: u64,
        processes: impl Iterator<Item = u32>,
        owners: &mut BTreeMap<Thread, u32>,
    ) -> Vec<Measured> {
        let (before, mut measured) = (std::mem::take(&mut self.0), Vec::new());
        for process in processes {
            for thread in threads(process) {
                let Some((now_us, core)) = thread_times(process, thread) else { continue };
                // Of one that is new nothing is known.
                let used_mcpu = before.get(&thread).map_or(0, |(before_us, before_mcpu)| {
                    let used_us = now_us.saturating_sub(*before_us);
                    of_late(*before_mcpu, (used_us * 1000 / span_us) as u32)
                });
                measured.push(Measured { thread, used_mcpu, core });
                self.0.insert(thread, (now_us, used_mcpu));
                owners.insert(thread, process);
            }
        }
        measured
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

/// Lets a thread run on its core alone, or anywhere. One that has ended needs none.
fn settle(thread: Thread, place: Option<Core>, all: &CpuSet) {
    let Some(pid) = i32::try_from(thread).ok().and_then(OsPid::from_raw) else { return };
    let wanted = place.map_or(*all, |core| {
        let mut only = CpuSet::new();
        only.set(core);
        only
    });
    if sched_getaffinity(Some(pid)).is_ok_and(|now| now != wanted) {
        let _ = sched_setaffinity(Some(pid), &wanted);
    }
}
