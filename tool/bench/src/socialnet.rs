//! `sigma bench socialnet`: the social network under the load of the thesis' Figure 4.5, in a realm of its own with the embedded stores.
//!
//! First the staircase at one scale, with each answer checked: latency and CPU. Then shorter staircases at greater and
//! greater scales, up to the first one that fails or whose 99th percentile is past [`SLOW`]. In the end every post that was
//! acknowledged must be on its user's timeline.
//!
//! Or a part of the network is killed in the middle of the first staircase's greatest step, and how long that shows is measured.

mod cpu;
mod kill;
mod lost;
mod recovery;
mod search;
mod victims;

pub use kill::KILL_STEP;
pub use victims::Part;

use crate::load::{self, Load, Mix, Outcome, Plan, STAIRCASE, STEP_TIME, Server, Spacing};
use crate::procs::read_all;
use crate::promise::{SOCIALNET_LOST, SOCIALNET_UNSEEN, SOCIALNET_WRONG};
use crate::realm;
use crate::report::Report;
use anyhow::{Context, Result, ensure};
use cpu::Cores;
use sigmaos::stub::AdminClient;
use sigmaos::{ProcSpec, Realm, Sigma, proto};
use std::path::{Path, PathBuf};
use std::time::Duration;
use victims::Victims;

/// The realm, which is made and removed.
const REALM: &str = "bench-socialnet";

/// A scale at which requests at this quantile take so long is too great.
const SLOW: Duration = Duration::from_millis(50);
const QUANTILE: f64 = 0.99;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Job {
    /// The programs `socialnet` and `cache-shard`.
    pub programs: PathBuf,
    /// A free TCP port of this machine.
    pub port: u16,
    /// Of the first staircase.
    pub scale: f64,
    /// How long each of its steps takes, where that is neither [`STEP_TIME`] nor, with a kill, [`KILL_STEP`].
    pub step: Option<Duration>,
    /// Where latency, throughput and CPU by second go.
    pub csv: Option<PathBuf>,
    /// What is killed in the middle of its greatest step; then no other scale is tried.
    pub kill: Option<Part>,
    /// Whether greater and greater scales are tried after it.
    pub search: bool,
    /// Whether the network is left running, for people.
    pub keep: bool,
}

/// Runs it on the kernel that runs.
///
/// # Errors
/// Where a part fails, saying which. What the load finds is part of the report.
pub async fn run(kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    let state = Path::new(&kernel.state_dir);
    let admin = realm::operator(state)?;
    realm::remove(&admin, REALM).await?;
    admin.realm_create(realm::named(REALM)).await?;
    let measured = measure(state, &admin, kernel, job).await;
    match job.keep && measured.is_ok() {
        true => eprintln!("the social network stays at http://localhost:{}/, in realm {REALM}", job.port),
        false => realm::remove(&admin, REALM).await?,
    }
    measured
}

async fn measure(state: &Path, admin: &AdminClient, kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    let port = ("publish.ports".to_owned(), job.port.to_string());
    admin.realm_set(proto::RealmSetRequest { name: REALM.to_owned(), settings: [port].into() }).await?;
    let sigma = Sigma::connect(state, Some(&Realm::parse(REALM)?))?;
    start(&sigma, job).await?;
    let server = Server::find(&format!("http://127.0.0.1:{}", job.port)).await?;
    let mut report = Report::new("socialnet");
    report.kernel(kernel);

    let usual = if job.kill.is_some() { KILL_STEP } else { STEP_TIME };
    let full = described(&server, job.scale, job.step.unwrap_or(usual), 1);
    report.environment("staircase", load::plan(&full));
    let victims = match job.kill {
        Some(part) => Some(Victims::find(kernel, &sigma, part).await?),
        None => None,
    };
    let cores = Cores::follow(kernel.os_pid);
    let (outcome, killed) = match victims {
        Some(victims) => kill::run(&full, victims).await.map(|(outcome, killed)| (outcome, Some(killed)))?,
        None => (load::run(&full).await?, None),
    };
    let cores = cores.finish()?;
    if let Some(csv) = &job.csv {
        let text = outcome.tally.csv(&full.plan, &[("cores", &cores)]);
        std::fs::write(csv, text).with_context(|| format!("write {}", csv.display()))?;
    }
    figure_4_6(&mut report, &outcome, &cores);
    load::rows(&mut report, &outcome);
    let mut all = vec![outcome];
    match &killed {
        Some(killed) => killed.rows(&mut report),
        None if job.search => search::run(&mut report, &server, job.scale, &mut all).await?,
        None => {}
    }
    let wrong: u64 = all.iter().map(|outcome| outcome.tally.wrong_answers()).sum();
    report.promise(SOCIALNET_WRONG, wrong as f64);
    let acknowledged = || all.iter().flat_map(|outcome| &outcome.posts).filter(|post| post.acknowledged);
    report.row("posts that were acknowledged", acknowledged().count() as f64, "");
    report.promise(SOCIALNET_LOST, lost::count(&server, acknowledged()).await? as f64);
    if killed.is_some() {
        report.promise(SOCIALNET_UNSEEN, lost::unseen(&server, acknowledged()).await? as f64);
    }
    Ok(report)
}

/// Starts the network, and makes the users of the thesis who follow each other.
async fn start(sigma: &Sigma, job: &Job) -> Result<()> {
    for program in ["socialnet", "cache-shard"] {
        let path = job.programs.join(program);
        let contents = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        sigma.put_file(&format!("/bin/{program}"), contents).await?;
    }
    let port = job.port.to_string();
    // Hashing passwords is not what is measured.
    for words in [vec!["up", "--port", &port, "--password-cost", "cheap"], vec!["seed"]] {
        let spec = ProcSpec::new("/bin/socialnet")?.args(words.iter().map(|word| (*word).to_owned()));
        let request = proto::SpawnRequest { spec: Some(spec.into()), follow: true, input: false };
        let pid = sigma.spawn_with(request).await?;
        let said = read_all(sigma, pid, true).await?;
        let status = sigma.wait_exit(pid).await?;
        ensure!(status.is_ok(), "socialnet {} ended with {status}\n{said}", words.join(" "));
    }
    Ok(())
}

fn described(server: &Server, scale: f64, step: Duration, seed: u64) -> Load {
    Load {
        servers: vec![server.clone()],
        plan: Plan { steps: Plan::steps(&STAIRCASE, scale, step), spacing: Spacing::Poisson, seed },
        mix: Mix::SocialNetwork { users: load::DEFAULT_USERS },
        connections: load::DEFAULT_CONNECTIONS,
        timeout: load::DEFAULT_TIMEOUT,
        check: true,
    }
}

/// The columns of the thesis' Figure 4.6, beside its own.
fn figure_4_6(report: &mut Report, outcome: &Outcome, cores: &[f64]) {
    let latency = &outcome.tally.latency;
    report.row("mean latency (thesis: 4.36, Kubernetes 10.33)", latency.mean() / 1e6, "ms");
    let p99 = latency.value_at_quantile(QUANTILE) as f64 / 1e6;
    report.row("99 % tail latency (thesis: 40.84, Kubernetes 84.08)", p99, "ms");
    let peak = cores.iter().copied().fold(0.0, f64::max);
    report.row("peak CPU of kernel, procs and proxies (thesis: 8.36, Kubernetes 11.62)", peak, "cores");
    let used: f64 = cores.iter().sum();
    report.row("requests for each core and second", outcome.tally.answers() as f64 / used, "");
}
