//! The floor of starting: vfork, exec, exit and wait of a static program, without any sandbox.

use crate::report::histogram;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts `program` one process after the other, each to its end.
///
/// # Errors
/// Where it cannot be run, or does not end with code 0.
pub fn start(program: &Path, count: usize) -> Result<Histogram<u64>> {
    let mut times = histogram()?;
    // The standard library uses posix_spawn, which is vfork and exec, where nothing else is asked of it.
    let mut command = Command::new(program);
    command.arg("floor").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..count {
        let begun = Instant::now();
        let status = command.status().with_context(|| format!("run {}", program.display()))?;
        times.record(begun.elapsed().as_nanos() as u64)?;
        ensure!(status.success(), "{} ended with {status}", program.display());
    }
    Ok(times)
}
