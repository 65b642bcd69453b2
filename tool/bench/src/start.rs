//! `sigma bench start`: how long a start takes, with its steps, beside the floor (thesis, Figure 4.2).
//!
//! Three starts are told apart: **warm**, of a program that ran in this realm before; **cold**, of a program that this machine
//! has never seen, from the realm's files; and the **first** in a realm that was just made.

mod cold;
mod first;
mod throughput;

use crate::floor;
use crate::promise::WARM_START;
use crate::report::{Report, histogram};
use crate::steps::Steps;
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use sigmaos::{Pid, ProcSpec, Sigma, proto};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use throughput::run as throughput;

/// Starts that are not counted: they fill the pools and the caches.
const WARM_UP: usize = 50;

/// The program of the benchmark, in the namespace.
const NOOP: &str = "/bin/noop";

/// What is measured.
#[derive(Debug)]
pub struct Bench<'a> {
    pub sigma: &'a Sigma,
    pub kernel: &'a proto::KernelInfo,
    /// A proc that calls `started` and ends; outside SigmaOS it just ends.
    pub noop: PathBuf,
    /// A program that just ends, and links no SDK.
    pub tiny: PathBuf,
    /// The program of the jail.
    pub jail: PathBuf,
}

/// Starts procs one after the other, each to its end.
///
/// # Errors
/// Where a proc does not start or end as it should.
pub async fn run(bench: &Bench<'_>, count: usize) -> Result<Report> {
    let noop = std::fs::read(&bench.noop)?;
    bench.sigma.put_file(NOOP, noop.clone()).await?;
    let mut warm = Times::new()?;
    for round in 0..WARM_UP + count {
        let start = once(bench.sigma, NOOP).await?;
        if round >= WARM_UP {
            warm.record(bench.sigma, &start).await?;
        }
    }
    let tiny = floor::start(&bench.tiny, count)?;
    let same = floor::start(&bench.noop, count)?;
    let mut report = Report::new("start");
    report.kernel(bench.kernel);
    report.environment("starts", count.to_string());
    report.quantiles("floor: vfork, exec, exit, wait", &tiny);
    report.quantiles("the same of the proc's program", &same);
    warm.print("warm", &mut report);
    cold::run(bench, &noop, &mut report).await?;
    first::run(bench, &noop, &mut report).await?;
    report.row("thesis: SigmaOS warm start", 27.6, "ms");
    report.row("thesis: SigmaOS cold start", 2374.9, "ms");
    report.row("thesis: Kubernetes warm start", 247.8, "ms");
    report.row("thesis: Kubernetes cold start", 3160.1, "ms");
    report.promise(WARM_START, warm.median() / tiny.value_at_quantile(0.5) as f64);
    Ok(report)
}

/// One start, and how long it took.
struct Start {
    pid: Pid,
    /// From the call of `spawn` to the return of `wait_start`.
    started: Duration,
    /// To the return of `wait_exit`.
    whole: Duration,
}

async fn once(sigma: &Sigma, program: &str) -> Result<Start> {
    let spec = ProcSpec::new(program)?;
    let begun = Instant::now();
    let pid = sigma.spawn(spec).await?;
    sigma.wait_start(pid).await?;
    let started = begun.elapsed();
    let status = sigma.wait_exit(pid).await?;
    let whole = begun.elapsed();
    ensure!(status.is_ok(), "{pid} ended with {status}");
    Ok(Start { pid, started, whole })
}

/// The times of many starts of a kind.
struct Times {
    start: Histogram<u64>,
    whole: Histogram<u64>,
    steps: Steps,
}

impl Times {
    fn new() -> Result<Self> {
        Ok(Self { start: histogram()?, whole: histogram()?, steps: Steps::new()? })
    }

    /// Adds a start, with its steps, which are asked for outside of what is measured.
    async fn record(&mut self, sigma: &Sigma, start: &Start) -> Result<()> {
        self.start.record(start.started.as_nanos() as u64)?;
        self.whole.record(start.whole.as_nanos() as u64)?;
        self.steps.record(&sigma.info(start.pid).await?.timing.unwrap_or_default())
    }

    /// The median from spawn to `wait_start`, in nanoseconds.
    fn median(&self) -> f64 {
        self.start.value_at_quantile(0.5) as f64
    }

    fn print(&self, kind: &str, report: &mut Report) {
        report.quantiles(&format!("{kind}: spawn to wait_start"), &self.start);
        self.steps.print(report);
        report.quantiles(&format!("{kind}: spawn to wait_exit"), &self.whole);
    }
}

/// A program like `noop` that no machine has seen: what follows the end of an ELF file is nobody's.
fn unseen(noop: &[u8], round: usize) -> Vec<u8> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
    [noop, &now.to_le_bytes(), &round.to_le_bytes()].concat()
}
