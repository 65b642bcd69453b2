//! `sigma bench idle`: what the kernel takes while nothing runs.

use crate::kernel_processes::{self, Process, memory_bytes};
use crate::promise::{IDLE_CPU, IDLE_MEMORY};
use crate::report::Report;
use anyhow::{Result, ensure};
use sigmaos::proto;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looks at the kernel's processes for so long. Memory is that of the end, when it is settled.
///
/// # Errors
/// Where procs run or wait, since then it is not idle.
pub async fn run(kernel: &proto::KernelInfo, time: Duration) -> Result<Report> {
    ensure!(
        kernel.running + kernel.queued == 0,
        "{} procs run and {} wait: an idle kernel has none",
        kernel.running,
        kernel.queued
    );
    let before = kernel_processes::of(kernel.os_pid)?;
    let ran: u64 = before.iter().map(Process::ran_ns).sum();
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    let passed = begun.elapsed();
    let ran = before.iter().map(Process::ran_ns).sum::<u64>().saturating_sub(ran);
    let after = kernel_processes::of(kernel.os_pid)?;
    let mut report = Report::new("idle");
    report.kernel(kernel);
    report.environment("realms", kernel.realms.len().to_string());
    report.environment("seconds", time.as_secs().to_string());
    report.environment(
        "memory",
        "proportional set size: a page that several processes share counts once in all",
    );
    let mut programs = BTreeMap::<&str, (usize, u64)>::new();
    for process in &after {
        let (count, bytes) = programs.entry(&process.program).or_default();
        *count += 1;
        *bytes += process.memory_bytes();
    }
    for (program, (count, bytes)) in programs {
        report.row(format!("{program}: {count} processes"), megabytes(bytes), "MB");
    }
    let (memory, cpu) = (megabytes(memory_bytes(&after)), 100.0 * ran as f64 / passed.as_nanos() as f64);
    report.row("all of them: memory", memory, "MB");
    report.row("all of them: CPU", cpu, "% of a core");
    report.promise(IDLE_MEMORY, memory);
    report.promise(IDLE_CPU, cpu);
    Ok(report)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
