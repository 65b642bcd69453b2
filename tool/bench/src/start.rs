//! `sigma bench start`: how long a warm start takes, with its steps, beside the floor (thesis, Figure 4.2).

use crate::floor;
use crate::promise::WARM_START;
use crate::report::{Report, histogram};
use crate::steps::Steps;
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use sigmaos::{ProcSpec, Sigma, proto};
use std::path::Path;
use std::time::Instant;

/// Starts that are not counted: they fill the pools and the caches.
const WARM_UP: usize = 50;

/// The program of the benchmark, in the namespace.
const NOOP: &str = "/bin/noop";

/// Spawns `noop`, a proc that calls `started` and ends, `count` times, each to its end.
///
/// # Errors
/// Where a proc does not start or end as it should.
pub async fn run(sigma: &Sigma, kernel: &proto::KernelInfo, noop: &Path, count: usize) -> Result<Report> {
    sigma.put_file(NOOP, std::fs::read(noop)?).await?;
    let mut times = Times::new()?;
    for round in 0..WARM_UP + count {
        once(sigma, (round >= WARM_UP).then_some(&mut times)).await?;
    }
    let floor = floor::start(noop, count)?;
    let mut report = Report::new("start");
    report.kernel(kernel);
    report.environment("prepared launchers", kernel.prepared_launchers.to_string());
    report.environment("starts", count.to_string());
    report.quantiles("floor: vfork, exec, exit, wait", &floor);
    report.quantiles("warm: spawn to wait_start", &times.start);
    times.steps.print(&mut report);
    report.quantiles("warm: spawn to wait_exit", &times.whole);
    report.row("thesis: SigmaOS warm start", 27.6, "ms");
    report.row("thesis: Kubernetes warm start", 247.8, "ms");
    let ratio = times.start.value_at_quantile(0.5) as f64 / floor.value_at_quantile(0.5) as f64;
    report.promise(WARM_START, ratio);
    Ok(report)
}

struct Times {
    start: Histogram<u64>,
    whole: Histogram<u64>,
    steps: Steps,
}

impl Times {
    fn new() -> Result<Self> {
        Ok(Self { start: histogram()?, whole: histogram()?, steps: Steps::new()? })
    }
}

async fn once(sigma: &Sigma, times: Option<&mut Times>) -> Result<()> {
    let spec = ProcSpec::new(NOOP)?;
    let begun = Instant::now();
    let pid = sigma.spawn(spec).await?;
    sigma.wait_start(pid).await?;
    let started = begun.elapsed();
    let status = sigma.wait_exit(pid).await?;
    let whole = begun.elapsed();
    ensure!(status.is_ok(), "{pid} ended with {status}");
    let Some(times) = times else { return Ok(()) };
    times.start.record(started.as_nanos() as u64)?;
    times.whole.record(whole.as_nanos() as u64)?;
    // Outside of what is measured.
    times.steps.record(&sigma.info(pid).await?.timing.unwrap_or_default())
}
