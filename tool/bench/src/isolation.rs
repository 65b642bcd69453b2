//! `sigma bench isolation`: what best-effort work of another realm costs a latency-critical service (thesis, Figures 4.10 to 4.14).
//!
//! It boots kernels of its own, so that one can be without `cpu.idle` and SCHED_IDLE. In each a realm has a service a core, each
//! busy for 300 µs a call, under an open-loop load that keeps the cores [`LOAD`] busy, and a service that answers an empty call.
//! Each service has a client, a latency-critical proc of the same realm: its CPU, and that of the wire, is part of the load. Calls are
//! measured alone, and beside spinners, memory hogs and disk writers of another realm, in turn.

mod load;
mod noise;

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::promise::{
    BE_SHARE, ISOLATION_EMPTY_MEAN, ISOLATION_EMPTY_P99, ISOLATION_MEAN, ISOLATION_OFF, ISOLATION_P99,
};
use crate::report::{Report, ms};
use anyhow::Result;
use load::{Load, Measured, Run};
use noise::{Noise, Share};
use std::path::PathBuf;
use std::time::Duration;

/// The part of the cores that is busy while the service is alone.
const LOAD: f64 = 0.6;

/// How long a look at the load takes, from which the rate of calls is corrected.
const CALIBRATION: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Debug)]
pub struct Bench {
    /// The command line, which boots the kernels.
    pub sigma: PathBuf,
    /// The service.
    pub burner: PathBuf,
    /// The client.
    pub pacer: PathBuf,
    /// The noise.
    pub flood: PathBuf,
    /// Which: `spin`, `hog`, `disk`, or `all` of them.
    pub noise: String,
    /// How long each run takes.
    pub time: Duration,
    /// Alternating runs, alone and beside noise.
    pub runs: usize,
}

/// # Errors
/// Where a kernel does not boot, or a proc does not do what it should.
pub async fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("isolation");
    report.environment(
        "runs",
        format!("{} of {} s each, alone and beside noise: {}", bench.runs, bench.time.as_secs(), bench.noise),
    );
    let on = measure(bench, &[], &mut report).await?;
    let off = measure(bench, &["--sched-idle=off"], &mut report).await?;
    for (name, outcome) in [("", &on), ("sched-idle=off: ", &off)] {
        for (what, alone, beside) in
            [("burn", &outcome.burn.0, &outcome.burn.1), ("empty", &outcome.empty.0, &outcome.empty.1)]
        {
            for (when, measured) in [("alone", alone), ("beside BE", beside)] {
                report.row(format!("{name}{what} {when}: mean"), ms(measured.mean), "ms");
                report.row(format!("{name}{what} {when}: p99"), ms(measured.p99), "ms");
            }
        }
        for (when, wait) in [("alone", outcome.caller_wait.0), ("beside BE", outcome.caller_wait.1)] {
            report.row(format!("{name}wait of a client for a core {when}"), wait / 1e3, "us");
        }
        report.row(format!("{name}burning calls"), outcome.rate, "/s");
        report.row(format!("{name}cores busy alone"), 100.0 * outcome.busy, "%");
        report.row(format!("{name}BE procs"), outcome.procs, "");
        report.row(format!("{name}BE of what LC leaves"), 100.0 * outcome.share, "%");
    }
    report.promise(ISOLATION_MEAN, on.burn.1.mean / on.burn.0.mean);
    report.promise(ISOLATION_P99, on.burn.1.p99 / on.burn.0.p99);
    report.promise(ISOLATION_EMPTY_MEAN, on.empty.1.mean / on.empty.0.mean);
    report.promise(ISOLATION_EMPTY_P99, on.empty.1.p99 / on.empty.0.p99);
    report.promise(ISOLATION_OFF, off.burn.1.p99 / off.burn.0.p99);
    report.promise(BE_SHARE, on.share);
    Ok(report)
}

/// The medians of the runs on one kernel: alone, and beside noise.
struct Outcome {
    burn: (Measured, Measured),
    empty: (Measured, Measured),
    /// See [`Run::caller_wait`].
    caller_wait: (f64, f64),
    /// Burning calls a second, of all services.
    rate: f64,
    /// The part of the cores that was busy while LC was alone.
    busy: f64,
    /// BE procs that ran, and what they got of what LC left.
    procs: f64,
    share: f64,
}

async fn measure(bench: &Bench, options: &[&str], report: &mut Report) -> Result<Outcome> {
    let machine = Machine::boot(&bench.sigma, options)?;
    let kernel = machine.kernel().await?;
    if options.is_empty() {
        report.kernel(&kernel);
    }
    let mut load = Load::prepare(&machine.realm("lc").await?, bench, kernel.os_pid, kernel.cores).await?;
    let noise = Noise::prepare(machine.realm("be").await?, bench, &kernel).await?;
    // Meanwhile the caches fill, and what is made at first use is made.
    load.calibrate(LOAD, bench.time.min(CALIBRATION)).await?;
    let (mut alone, mut beside, mut busy, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let before = Cpu::now()?;
        alone.push(load.run(bench.time).await?);
        busy.push(Cpu::now()?.since(before).load());
        let procs = noise.begin().await?;
        let meter = noise.meter()?;
        beside.push(load.run(bench.time).await?);
        shares.push(meter.share()?);
        noise.end(procs).await?;
    }
    let median = |runs: &[Run], pick: fn(&Run) -> Measured| Measured {
        mean: middle(runs.iter().map(|run| pick(run).mean)),
        p99: middle(runs.iter().map(|run| pick(run).p99)),
    };
    let both = |pick: fn(&Run) -> Measured| (median(&alone, pick), median(&beside, pick));
    let waits = |runs: &[Run]| middle(runs.iter().map(|run| run.caller_wait));
    Ok(Outcome {
        burn: both(|run| run.burn),
        empty: both(|run| run.empty),
        caller_wait: (waits(&alone), waits(&beside)),
        rate: load.rate * f64::from(kernel.cores),
        busy: middle(busy.into_iter()),
        procs: middle(shares.iter().map(|share: &Share| share.procs as f64)),
        share: middle(shares.iter().map(|share| share.part)),
    })
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
