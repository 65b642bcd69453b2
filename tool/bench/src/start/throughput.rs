//! `sigma bench start --throughput`: how many procs a second are spawned, run and reaped.
//!
//! Beside two loops on the same cores: bare processes, and processes with every layer of the sandbox, which run the same
//! program and have their calls answered with nothing (`jail --bare`).

use super::{Bench, NOOP};
use crate::floor;
use crate::kernel_processes::{self, memory_bytes};
use crate::promise::{THROUGHPUT_BARE, THROUGHPUT_FLOOR};
use crate::report::Report;
use anyhow::{Context, Result, ensure};
use sigma_abi::limits::{DEFAULT_MEMORY, LEAST_MCPU, LEAST_MEMORY};
use sigmaos::{Pid, ProcSpec, Realm, Sigma};
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

/// Tasks that each may have, as a proc.
const MAX_TASKS: u32 = 512;

/// A uid that no realm has: the kernel gives out later ones.
const BARE_UID: &str = "1879000000";

/// Procs that run, and that are queued, while the memory of the kernel is looked at.
const RUNNING: u32 = 100;
const QUEUED: u32 = 10_000;

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
    let with_layers = bare(bench, &bench.noop, count)?;
    let only_layers = bare(bench, &bench.tiny, count)?;
    let tiny = floor::throughput(&bench.tiny, count, SPAWNERS)?;
    let same = floor::throughput(&bench.noop, count, SPAWNERS)?;
    report.row("procs spawned, run and reaped", ours, "1/s");
    report.row("bare loop with the same layers, same program", with_layers, "1/s");
    report.row("the same of a program that just ends", only_layers, "1/s");
    report.row("floor: vfork, exec, exit, wait", tiny, "1/s");
    report.row("the same of the proc's program", same, "1/s");
    report.row("procs / bare loop", 100.0 * ours / with_layers, "%");
    report.row("procs / floor", 100.0 * ours / tiny, "%");
    report.row("memory of the kernel for a running proc", running(bench).await? / 1024.0, "KiB");
    report.row("memory of the kernel for a queued proc", queued(bench).await? / 1024.0, "KiB");
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
fn bare(bench: &Bench<'_>, program: &Path, count: usize) -> Result<f64> {
    let groups = Groups::make(&bench.kernel.cgroups)?;
    let uid = if rustix::process::geteuid().is_root() { BARE_UID } else { "none" };
    let mut command = Command::new(&bench.jail);
    command.arg("--bare").arg(count.to_string()).arg(uid).arg(program).args(&groups.places);
    let output = command.output().context("run the bare loop of the jail")?;
    ensure!(output.status.success(), "the bare loop: {}", String::from_utf8_lossy(&output.stderr));
    let nanoseconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("its time")?;
    Ok(count as f64 / (nanoseconds / 1e9))
}

/// A file of a control group, and what is written to it.
type Setting = (&'static str, String);

/// Where the controllers of a version are mounted, and what is set there: of the group above all places, and of each place.
type Hierarchy = (&'static str, Vec<Setting>, Vec<Setting>);

/// Control groups for the bare loop, one a place, with the limits of best-effort procs. They are removed when this is dropped.
struct Groups {
    /// In the order in which they were made: those above first.
    all: Vec<PathBuf>,
    /// The arguments that name them.
    places: Vec<String>,
}

impl Groups {
    /// Makes groups where the kernel has them.
    fn make(cgroups: &str) -> Result<Self> {
        let set = |file, value: &dyn ToString| (file, value.to_string());
        let (idle, tasks) = (set("cpu.idle", &1), set("pids.max", &MAX_TASKS));
        let (hierarchies, file): (Vec<Hierarchy>, _) = match cgroups {
            "v1" => {
                let memory = set("memory.limit_in_bytes", &DEFAULT_MEMORY);
                let cpu = ("cpu", vec![idle], vec![]);
                (vec![cpu, ("memory", vec![], vec![memory]), ("pids", vec![], vec![tasks])], "tasks")
            }
            "v2" => {
                let control = set("cgroup.subtree_control", &"+cpu +memory +pids");
                let memory = set("memory.max", &DEFAULT_MEMORY);
                (vec![("", vec![control, idle], vec![memory, tasks])], "cgroup.procs")
            }
            _ => return Ok(Self { all: Vec::new(), places: vec!["-".to_owned(); SPAWNERS] }),
        };
        let mut groups = Self { all: Vec::new(), places: Vec::new() };
        let mut entrances = vec![Vec::new(); SPAWNERS];
        for (hierarchy, above, of_each) in hierarchies {
            let top = Path::new(CGROUPS).join(hierarchy).join(format!("sigmaos-bare-{}", std::process::id()));
            groups.add(top.clone(), &above)?;
            for (place, entrances) in entrances.iter_mut().enumerate() {
                let group = top.join(place.to_string());
                groups.add(group.clone(), &of_each)?;
                entrances.push(group.join(file).display().to_string());
            }
        }
        groups.places = entrances.iter().map(|entrances| entrances.join(",")).collect();
        Ok(groups)
    }

    fn add(&mut self, group: PathBuf, settings: &[Setting]) -> Result<()> {
        fs::create_dir(&group).with_context(|| format!("make {}", group.display()))?;
        self.all.push(group.clone());
        for (file, value) in settings {
            let file = group.join(file);
            fs::write(&file, value).with_context(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in self.all.iter().rev() {
            if let Err(error) = fs::remove_dir(group) {
                eprintln!("cannot remove {}: {error}", group.display());
            }
        }
    }
}

/// Bytes that the kernel's processes take more for each proc that runs.
async fn running(bench: &Bench<'_>) -> Result<f64> {
    let count = RUNNING.min(bench.kernel.cores * 1000 / LEAST_MCPU / 2);
    let before = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    let mut pids = Vec::new();
    for _ in 0..count {
        let pid = bench.sigma.spawn(waiting(LEAST_MCPU)?).await?;
        bench.sigma.wait_start(pid).await?;
        pids.push(pid);
    }
    let after = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    end(bench, pids).await?;
    Ok(after.saturating_sub(before) as f64 / f64::from(count))
}

/// Bytes that the kernel's processes take more for each proc that is queued.
async fn queued(bench: &Bench<'_>) -> Result<f64> {
    let first = bench.sigma.spawn(waiting(LEAST_MCPU)?).await?;
    bench.sigma.wait_start(first).await?;
    let before = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    let mut pids = Vec::new();
    for _ in 0..QUEUED {
        // While the first one runs none of these can.
        pids.push(bench.sigma.spawn(waiting(bench.kernel.cores * 1000)?).await?);
    }
    let after = memory_bytes(&kernel_processes::of(bench.kernel.os_pid)?);
    pids.push(first);
    end(bench, pids).await?;
    Ok(after.saturating_sub(before) as f64 / f64::from(QUEUED))
}

/// A proc that waits until it is ended, and takes next to nothing.
fn waiting(mcpu: u32) -> Result<ProcSpec> {
    Ok(ProcSpec::new(NOOP)?.args(["wait"]).latency_critical(mcpu).memory_bytes(LEAST_MEMORY))
}

async fn end(bench: &Bench<'_>, pids: Vec<Pid>) -> Result<()> {
    for pid in &pids {
        bench.sigma.kill(*pid).await?;
    }
    for pid in pids {
        bench.sigma.wait_exit(pid).await?;
    }
    Ok(())
}
