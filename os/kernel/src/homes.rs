//! The edge of `sigma_schedd::homes` and `sigma_schedd::anchors`: measures the threads of busy procs, and tells Linux on which core each
//! is to run while LC and BE procs run beside each other.

use crate::machine::{thread_times, thread_wanted_us};
use rustix::process::Pid as OsPid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sigma_schedd::anchors::{Wanted, bind};
use sigma_schedd::homes::{BUSY_MCPU, Core, Measured, Thread, assign, of_late};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

/// So many measurements BE threads stay where they are bound, if they stay hungry.
const ROUND: usize = 4;

/// Threads of each class that are measured, at most: what there is beyond goes where it likes.
const MOST_THREADS: usize = 1024;

/// The threads of a BE process are looked at that used so much of a core in all.
const LOOKED_AT_MCPU: u32 = 20;

/// How often the threads of a process are listed to find those that were started meanwhile.
const LOOKS: usize = 4;

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
    /// Where each BE thread is to be that is bound.
    bound: BTreeMap<Thread, Core>,
    /// The processes that have threads of either kind.
    processes: BTreeSet<u32>,
    /// The processes whose threads are where they are to be: one that such a thread starts begins on its core.
    settled: BTreeSet<u32>,
}

impl Homes {
    /// Decides where the threads of these LC and BE processes are to be.
    pub(crate) fn measure(&mut self, span_us: u64, lc: &[Used], be: &[Used]) {
        let Some(all) = everywhere().filter(|_| span_us > 0) else { return };
        let cores: Vec<Core> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let busy = |used: &&Used, least_mcpu: u32| used.1 * 1000 / span_us >= u64::from(least_mcpu);
        let lc = lc.iter().filter(|used| busy(used, BUSY_MCPU) || self.processes.contains(&used.0));
        let lc: Vec<Measured> = threads_of(lc)
            .filter_map(|(process, thread)| {
                let (now_us, core) = thread_times(process, thread)?;
                let used_mcpu = self.lc.since(span_us, process, thread, now_us, of_late);
                Some(Measured { thread, used_mcpu, core })
            })
            .collect();
        let be = be.iter().filter(|used| busy(used, LOOKED_AT_MCPU));
        let be: Vec<Wanted> = threads_of(be)
            .filter_map(|(process, thread)| {
                let now_us = thread_wanted_us(process, thread)?;
                let mcpu = self.be.since(span_us, process, thread, now_us, |_, mcpu| mcpu);
                Some(Wanted { thread, mcpu })
            })
            .collect();
        self.lc.next();
        self.be.next();
        self.homes = assign(&cores, &lc, &self.homes);
        self.measured += 1;
        self.bound = if self.homes.is_empty() {
            BTreeMap::new()
        } else {
            bind(&cores, &be, &self.bound, self.measured.is_multiple_of(ROUND))
        };
        let placed = self.homes.keys().chain(self.bound.keys());
        self.processes =
            placed.filter_map(|thread| self.lc.owner(*thread).or(self.be.owner(*thread))).collect();
    }

    /// Whether an LC thread is busy, beside which BE threads are bound.
    pub(crate) fn has_busy(&self) -> bool {
        !self.homes.is_empty()
    }

    /// Moves the threads to where they are to be. Unless LC procs run `beside` BE procs each goes where it likes.
    pub(crate) fn keep(&mut self, beside: bool) {
        let Some(all) = everywhere() else { return };
        let kept = if beside { self.processes.clone() } else { BTreeSet::new() };
        for process in kept.union(&self.settled) {
            // Those that have just been started by one with a place, or have none any more, are let go, too.
            let mut seen = BTreeSet::new();
            for _ in 0..LOOKS {
                let started: Vec<Thread> = threads(*process).filter(|thread| seen.insert(*thread)).collect();
                for thread in &started {
                    let place = self.homes.get(thread).or_else(|| self.bound.get(thread)).copied();
                    settle(*thread, place.filter(|_| beside), &all);
                }
                if started.is_empty() {
                    break;
                }
            }
        }
        self.settled = kept;
    }
}

/// The threads of these processes, as far as they are looked at.
fn threads_of<'a>(processes: impl Iterator<Item = &'a Used>) -> impl Iterator<Item = (u32, Thread)> {
    processes
        .flat_map(|(process, _)| threads(*process).map(move |thread| (*process, thread)))
        .take(MOST_THREADS)
}

/// What is known of each thread from one measurement to the next.
#[derive(Default)]
struct Watch {
    before: HashMap<Thread, Seen>,
    now: HashMap<Thread, Seen>,
}

/// One thread: its process, its time in all, and what it counted with.
struct Seen {
    process: u32,
    all_us: u64,
    mcpu: u32,
}

impl Watch {
    /// What a thread counts with, by what it counted with before and the time since; nothing where it is new.
    fn since(
        &mut self,
        span_us: u64,
        process: u32,
        thread: Thread,
        all_us: u64,
        count: impl Fn(u32, u32) -> u32,
    ) -> u32 {
        let mcpu = self.before.get(&thread).map_or(0, |before| {
            let since_us = all_us.saturating_sub(before.all_us);
            count(before.mcpu, (since_us * 1000 / span_us) as u32)
        });
        self.now.insert(thread, Seen { process, all_us, mcpu });
        mcpu
    }

    /// The measurement is over.
    fn next(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// The process of a thread that was measured last.
    fn owner(&self, thread: Thread) -> Option<u32> {
        self.before.get(&thread).map(|seen| seen.process)
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
