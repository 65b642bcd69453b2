//! `sigma bench start --throughput`: how many procs a second are spawned, run and reaped.
//!
//! Beside two loops on the same cores: bare processes, and processes with every layer of the sandbox (`jail --bare`), both
//! without kernel, wire and records.

use super::{Bench, NOOP};
use crate::floor;
use crate::kernel_processes::{self, memory_bytes};
use crate::promise::{THROUGHPUT_BARE, THROUGHPUT_FLOOR};
use crate::report::Report;
use anyhow::{Context, Result, ensure};
use sigma_abi::limits::{LEAST_MCPU, LEAST_MEMORY};
use sigmaos::{ProcSpec, Realm, Sigma};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Spawners that work at a time, each waiting for its proc to end before it spawns the next.
const SPAWNERS: usize = 8;

/// Spawns of each side before those that count.
const WARM_UP: usize = 400;

/// Where control groups are mounted, by every convention.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A uid that no realm has: the kernel gives out later ones.
const BARE_UID: &str = "1879000000";

/// Procs that run while the memory of the kernel is looked at.
const RUNNING: u32 = 100;

/// # Errors
/// Where a proc does not start or end as it should.
pub async fn run(bench: &Bench<'_>, count: usize) -> Result<Report> {
    let mut report = Report::new("start --throughput");
    report.kernel(bench.kernel);
    report.environment("procs", count.to_string());
    report.environment("spawners", SPAWNERS.to_string());
    bench.sigma.put_file(NOOP, fs::read(&bench.noop)?).await?;
    spawn_all(bench, WARM_UP).await?;
    let ours = spawn_all(bench, count).await?;
    let with_layers = bare(bench, count)?;
    let tiny = floor::throughput(&bench.tiny, count, SPAWNERS)?;
    let same = floor::throughput(&bench.noop, count, SPAWNERS)?;
    report.row("procs spawned, run and reaped", ours, "1/s");
    report.row("bare loop with the same layers, same program", with_layers, "1/s");
    report.row("floor: vfork, exec, exit, wait", tiny, "1/s");
    report.row("the same of the proc's program", same, "1/s");
    report.row("procs / bare loop", 100.0 * ours / with_layers, "%");
    report.row("procs / floor", 100.0 * ours / tiny, "%");
    report.row("memory of the kernel for a running proc", memory(bench).await? / 1024.0, "KiB");
    report.promise(THROUGHPUT_FLOOR, tiny / ours);
    report.promise(THROUGHPUT_BARE, with_layers / ours);
    Ok(report)
}

/// Procs a second.
async fn spawn_all(bench: &Bench<'_>, count: usize) -> Result<f64> {
    let realm = Realm::parse(&bench.sigma.me().await?.realm)?;
    let mut spawners = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..SPAWNERS {
        let sigma = Sigma::connect(Path::new(&bench.kernel.state_dir), Some(&realm))?;
        spawners.spawn(async move {
            for _ in 0..count / SPAWNERS {
                let pid = sigma.spawn(ProcSpec::new(NOOP)?).await?;
                let status = sigma.wait_exit(pid).await?;
                ensure!(status.is_ok(), "{pid} ended with {status}");
            }
            Ok(())
        });
    }
    while let Some(done) = spawners.join_next().await {
        done.context("a spawner panicked")??;
    }
    Ok((count / SPAWNERS * SPAWNERS) as f64 / begun.elapsed().as_secs_f64())
}

/// The bare loop, with as many procs at a time and in control groups of its own.
fn bare(bench: &Bench<'_>, count: usize) -> Result<f64> {
    let groups = Groups::make(&bench.kernel.cgroups)?;
    let uid = if rustix::process::geteuid().is_root() { BARE_UID } else { "none" };
    let mut command = Command::new(&bench.jail);
    command.arg("--bare").arg(count.to_string()).arg(uid).arg(&bench.noop).args(&groups.places);
    let output = command.output().context("run the bare loop of the jail")?;
    ensure!(output.status.success(), "the bare loop: {}", String::from_utf8_lossy(&output.stderr));
    let nanoseconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("its time")?;
    Ok(count as f64 / (nanoseconds / 1e9))
}

/// Control groups for the bare loop, one a place. They are removed when this is dropped.
struct Groups {
    /// Those of each place.
    all: Vec<PathBuf>,
    /// The arguments that name them.
    places: Vec<String>,
}

impl Groups {
    /// Makes groups where the kernel has them.
    fn make(cgroups: &str) -> Result<Self> {
        let (hierarchies, file): (&[&str], _) = match cgroups {
            "v1" => (&["cpu", "memory", "pids"], "tasks"),
            "v2" => (&[""], "cgroup.procs"),
            _ => return Ok(Self { all: Vec::new(), places: vec!["-".to_owned(); SPAWNERS] }),
        };
        let mut groups = Self { all: Vec::new(), places: Vec::new() };
        for place in 0..SPAWNERS {
            let name = format!("sigmaos-bare-{}-{place}", std::process::id());
            let mut files = Vec::new();
            for hierarchy in hierarchies {
                let group = Path::new(CGROUPS).join(hierarchy).join(&name);
                fs::create_dir(&group).with_context(|| format!("make {}", group.display()))?;
                files.push(group.join(file).display().to_string());
                groups.all.push(group);
            }
            groups.places.push(files.join(","));
        }
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.all {
            if let Err(error) = fs::remove_dir(group) {
                eprintln!("cannot remove {}: {error}", group.display());
            }
        }
    }
}

/// Bytes that the kernel's processes take more for each proc that runs.
async fn memory(bench: &Bench<'_>) -> Result<f64> {
    let spec = ProcSpec::new(NOOP)?.args(["wait"]).latency_critical(LEAST_MCPU).memory_bytes(LEAST_MEMORY);
    let count = RUNNING.min(bench.kernel.cores * 1000 / LEAST_MCPU / 2);
    let before = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    let mut pids = Vec::new();
    for _ in 0..count {
        let pid = bench.sigma.spawn(spec.clone()).await?;
        bench.sigma.wait_start(pid).await?;
        pids.push(pid);
    }
    let after = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    for pid in &pids {
        bench.sigma.kill(*pid).await?;
    }
    for pid in pids {
        bench.sigma.wait_exit(pid).await?;
    }
    Ok(after.saturating_sub(before) as f64 / f64::from(count))
}
