//! The floor of starting: vfork, exec, exit and wait of a static program, without any sandbox.

use crate::report::histogram;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starts `program` one process after the other, each to its end.
///
/// # Errors
/// Where it cannot be run, or does not end with code 0.
pub fn start(program: &Path, count: usize) -> Result<Histogram<u64>> {
    let mut times = histogram()?;
    each(program, count, |time| Ok(times.record(time.as_nanos() as u64)?))?;
    Ok(times)
}

/// Starts `program` from so many threads at a time; how many a second start, run and are reaped.
///
/// # Errors
/// As [`start`].
pub fn throughput(program: &Path, count: usize, at_once: usize) -> Result<f64> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let spawners: Vec<_> =
            (0..at_once).map(|_| scope.spawn(|| each(program, count / at_once, |_| Ok(())))).collect();
        spawners.into_iter().try_for_each(|spawner| {
            spawner.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a spawner of the floor panicked")))
        })
    })?;
    Ok((count / at_once * at_once) as f64 / begun.elapsed().as_secs_f64())
}

fn each(program: &Path, count: usize, mut took: impl FnMut(Duration) -> Result<()>) -> Result<()> {
    // The standard library uses posix_spawn, which is vfork and exec, where nothing else is asked of it.
    let mut command = Command::new(program);
    command.arg("floor").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..count {
        let begun = Instant::now();
        let status = command.status().with_context(|| format!("run {}", program.display()))?;
        took(begun.elapsed())?;
        ensure!(status.success(), "{} ended with {status}", program.display());
    }
    Ok(())
}
