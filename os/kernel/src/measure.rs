//! What is measured for the scheduler: idle CPU while BE procs wait, what LC procs use, and which threads are busy while both run.

use crate::cgroup::{Cgroups, Slot};
use crate::homes::{Homes, Used};
use crate::kernel::Kernel;
use crate::machine::{IdleMeter, used_us};
use futures_util::FutureExt;
use sigma_abi::Pid;
use sigma_schedd::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often idle CPU is measured while best-effort procs wait.
const MEASURE_IDLE_EVERY: Duration = Duration::from_millis(100);

/// How often the CPU is measured that latency-critical procs use.
const MEASURE_USE_EVERY: Duration = Duration::from_millis(500);

/// Measures idle CPU while best-effort procs wait, so that those that only wait themselves do not keep others out.
pub(crate) async fn idle(kernel: Arc<Kernel>) {
    loop {
        kernel.scheduler.waiting.notified().await;
        let mut meter = IdleMeter::default();
        let mut idle = 0;
        while kernel.scheduler.load().be_queued > 0 {
            // Parts of a core add up: on a machine that is never wholly idle, parents that wait for their children would
            // otherwise keep them out for good.
            idle = (idle + meter.read(kernel.capacity.cores)).min(kernel.capacity.cores * 1000);
            kernel.schedule(Event::Idle { mcpu: idle });
            idle %= 1000;
            tokio::time::sleep(MEASURE_IDLE_EVERY).await;
        }
    }
}

/// BE procs that are looked at for hungry threads, at most.
const MOST_BE_PROCS: usize = 128;

/// Measures what latency-critical procs use, where those that use too much can be moved, and keeps their busy threads on a core
/// each beside BE procs, and hungry threads of those on one each.
pub(crate) async fn used(kernel: Arc<Kernel>) {
    if !kernel.cgroups.on() {
        return;
    }
    'served: loop {
        kernel.scheduler.serving.notified().await;
        let mut meter = UseMeter::new(kernel.capacity.cores);
        let mut homes = Homes::default();
        let mut due = Instant::now() + MEASURE_USE_EVERY;
        let (mut beside_be, mut early) = (false, true);
        while kernel.scheduler.load().lc_running > 0 {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // The first BE procs that start need not wait for a measurement; of many short ones only the first.
                () = kernel.scheduler.filling.notified(), if early && !beside_be => {}
            }
            let procs = (due <= Instant::now()).then(|| {
                let lc = kernel.scheduler.lc_procs();
                let most = if homes.has_busy() && kernel.sched_idle { MOST_BE_PROCS } else { 0 };
                // What is served as BE is placed so, too.
                let be = lc.iter().filter(|(_, as_be)| *as_be).map(|(pid, _)| *pid);
                let be: BTreeSet<Pid> = be.chain(kernel.scheduler.be_procs(most)).collect();
                (running(&kernel, lc.into_iter().map(|(pid, _)| pid).chain(be.iter().copied())), be)
            });
            early = procs.is_some();
            // What was told of earlier ones is old.
            let _ = kernel.scheduler.filling.notified().now_or_never();
            beside_be = kernel.scheduler.load().be_running > 0;
            // Where BE procs are ordinary work they give way to nobody, and all are placed alike.
            let kept = beside_be && kernel.sched_idle;
            let cgroups = Arc::clone(&kernel.cgroups);
            // There may be thousands of files to read.
            let measured = tokio::task::spawn_blocking(move || {
                let event = procs.map(|(procs, be)| meter.read(&cgroups, procs, &be, &mut homes));
                homes.keep(kept);
                (meter, homes, event)
            });
            let Ok(measured) = measured.await else { continue 'served };
            let event;
            (meter, homes, event) = measured;
            if let Some(event) = event {
                due = Instant::now() + MEASURE_USE_EVERY;
                kernel.schedule(event);
            }
        }
        // All are let go.
        let _ = tokio::task::spawn_blocking(move || homes.keep(false)).await;
    }
}

/// The control groups of those of these procs that run.
fn running(kernel: &Kernel, pids: impl Iterator<Item = Pid>) -> BTreeMap<Pid, Slot> {
    let process = |pid| {
        let proc = kernel.procs.get(pid)?;
        let inner = proc.lock();
        Some((pid, inner.running.as_ref()?.slot.clone()?))
    };
    pids.filter_map(process).collect()
}

/// Measures CPU between one call and the next.
struct UseMeter {
    cores: u32,
    idle: IdleMeter,
    at: Instant,
    used_us: HashMap<Pid, u64>,
}

impl UseMeter {
    fn new(cores: u32) -> Self {
        let mut idle = IdleMeter::default();
        idle.read(cores);
        Self { cores, idle, at: Instant::now(), used_us: HashMap::new() }
    }

    /// Of these procs those of `be` are placed as BE; they may be LC procs all the same.
    fn read(
        &mut self,
        cgroups: &Cgroups,
        procs: BTreeMap<Pid, Slot>,
        be: &BTreeSet<Pid>,
        homes: &mut Homes,
    ) -> Event {
        let idle_mcpu = self.idle.read(self.cores);
        let span_us = self.at.elapsed().as_micros() as u64;
        self.at = Instant::now();
        let before = std::mem::take(&mut self.used_us);
        let (mut used, mut lc_processes, mut be_processes) = (Vec::new(), Vec::new(), Vec::new());
        for (pid, slot) in procs {
            // Nothing is known of one that ends, or is just being moved.
            let processes = cgroups.processes(&slot);
            let used_us = processes.iter().map(|process| used_us(*process)).sum::<Option<u64>>();
            let Some(now_us) = used_us.filter(|_| !processes.is_empty()) else { continue };
            if let Some(before_us) = before.get(&pid) {
                let used_us = now_us.saturating_sub(*before_us);
                // Of BE procs the policy measures nothing, and passes over them.
                used.push((pid, used_us));
                let placed: &mut Vec<Used> =
                    if be.contains(&pid) { &mut be_processes } else { &mut lc_processes };
                placed.extend(processes.iter().map(|process| (*process, used_us)));
            }
            self.used_us.insert(pid, now_us);
        }
        homes.measure(span_us, &lc_processes, &be_processes);
        Event::Used { span_us, idle_mcpu, procs: used }
    }
}
