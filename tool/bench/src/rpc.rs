//! `sigma bench rpc`: light calls between two procs (thesis, Figure 4.8, on one machine), beside a bare socket and tonic.

use crate::measured::Measured;
use crate::peer::{Load, Peer};
use crate::pin::{Placement, placements};
use crate::promise::{RPC_PING_PONG, RPC_TONIC, RPC_TONIC_ACROSS};
use crate::report::Report;
use crate::{procs, report};
use anyhow::{Context, Result};
use sigmaos::{Pid, Sigma, proto};
use std::path::PathBuf;
use std::time::Duration;

/// Bytes beside the message of a light call, and of the ping-pong.
const LIGHT: usize = 64;

/// Bytes of a heavy call, each way.
const HEAVY: usize = 1 << 20;

/// Calls at a time, where their rate is measured.
const IN_FLIGHT: usize = 64;

/// How long client and server look on after each frame where they poll: longer than a call takes, which follows at once.
const BUSY: Duration = Duration::from_micros(50);

/// Where the server is in the namespace.
const SERVER: &str = "/bench-rpc";

/// The programs that take part, and how much they do.
#[derive(Clone, Debug)]
pub struct Job {
    /// `peer`.
    pub peer: PathBuf,
    /// The procs `echo` and `caller`.
    pub echo: PathBuf,
    pub caller: PathBuf,
    /// Light calls, one after the other.
    pub count: usize,
}

impl Job {
    fn light(&self) -> Load {
        Load { count: self.count, warm_up: self.count / 10, in_flight: 1, bytes: LIGHT }
    }

    fn many(&self) -> Load {
        Load { count: self.count * 20, in_flight: IN_FLIGHT, ..self.light() }
    }

    fn heavy(&self) -> Load {
        let count = self.count.div_ceil(10);
        Load { count, warm_up: count / 10, in_flight: 1, bytes: HEAVY }
    }
}

/// Measures on one core and across cores.
///
/// # Errors
/// Where a part fails, saying which.
pub async fn run(sigma: &Sigma, kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    for (name, program) in [("echo", &job.echo), ("caller", &job.caller)] {
        let contents = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
        sigma.put_file(&format!("/bin/{name}"), contents).await?;
        procs::end_left(sigma, &format!("/bin/{name}"), SERVER).await?;
    }
    let mut report = Report::new("rpc");
    report.kernel(kernel);
    report.environment("calls", format!("{} of {LIGHT} bytes, one after the other", job.count));
    let placements = placements()?;
    for placement in &placements {
        light(sigma, job, *placement, &mut report).await?;
    }
    let last = *placements.last().context("a machine has a core")?;
    throughput(sigma, job, last, &mut report).await?;
    for (name, [mean, sd, p50, p99]) in
        [("SigmaOS", [168.0, 29.0, 165.0, 222.0]), ("Kubernetes", [220.0, 27.0, 221.0, 286.0])]
    {
        let row = |what: &str| format!("thesis, one machine: {name} {what}");
        for (what, value) in [("p50", p50), ("p99", p99), ("mean", mean), ("sd", sd)] {
            report.row(row(what), value, "us");
        }
    }
    Ok(report)
}

async fn light(sigma: &Sigma, job: &Job, placement: Placement, report: &mut Report) -> Result<()> {
    let load = job.light();
    let ping = beside(job, placement, ["pong", "ping"], &load)?;
    let tonic = beside(job, placement, ["tonic-serve", "tonic-call"], &load)?;
    let call = served(sigma, placement, &load, Duration::ZERO).await?;
    for (what, measured) in
        [("ping-pong of 64 bytes", &ping), ("call between procs", &call), ("tonic unary call", &tonic)]
    {
        report.micros(&format!("{}: {what}", placement.name), &measured.times);
    }
    if placement.server == placement.client {
        report.promise(RPC_PING_PONG, call.p50() / ping.p50());
        report.promise(RPC_TONIC, call.p50() / tonic.p50());
    } else {
        report.ratio("across cores: call p50 / ping-pong p50", call.p50() / ping.p50());
        // The cores wake each other once a way, whoever calls: that is most of each. Only who polls can be much quicker.
        report.ratio("across cores: call p50 / tonic p50", call.p50() / tonic.p50());
        let polled = served(sigma, placement, &load, BUSY).await?;
        report.micros("across cores: call between procs that poll", &polled.times);
        report.promise(RPC_TONIC_ACROSS, polled.p50() / tonic.p50());
    }
    Ok(())
}

/// Measures calls to a server of their own.
async fn served(sigma: &Sigma, placement: Placement, load: &Load, busy: Duration) -> Result<Measured> {
    let server = serve(sigma, placement, busy).await?;
    let measured = call(sigma, placement, load, busy).await?;
    procs::end(sigma, server).await?;
    Ok(measured)
}

/// How many calls, and how many bytes, go through in a second.
async fn throughput(sigma: &Sigma, job: &Job, placement: Placement, report: &mut Report) -> Result<()> {
    let (many, heavy) = (job.many(), job.heavy());
    let calls = served(sigma, placement, &many, Duration::ZERO).await?;
    let bytes = served(sigma, placement, &heavy, Duration::ZERO).await?;
    let tonic = ["tonic-serve", "tonic-call"];
    let row = |what: &str| format!("{}: {what}", placement.name);
    report.row(row("calls, 64 in flight"), calls.rate(many.count), "/s");
    report.row(
        row("tonic calls, 64 in flight"),
        beside(job, placement, tonic, &many)?.rate(many.count),
        "/s",
    );
    for (what, measured) in [
        ("1 MiB there and back", bytes),
        ("tonic, 1 MiB there and back", beside(job, placement, tonic, &heavy)?),
        ("ping-pong, 1 MiB there and back", beside(job, placement, ["pong", "ping"], &heavy)?),
    ] {
        report.row(row(what), report::mib(measured.rate(heavy.count) * HEAVY as f64), "MiB/s");
    }
    Ok(())
}

/// Measures two peers.
fn beside(job: &Job, placement: Placement, modes: [&str; 2], load: &Load) -> Result<Measured> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let socket = folder.path().join("socket");
    let server = Peer::serve(&job.peer, modes[0], &socket)?;
    server.pin(placement.server)?;
    let client = Peer::measure(&job.peer, modes[1], &socket, load)?;
    client.pin(placement.client)?;
    client.finish()
}

async fn serve(sigma: &Sigma, placement: Placement, busy: Duration) -> Result<Pid> {
    let args = ["poll".into(), SERVER.into(), busy.as_micros().to_string()];
    procs::start(sigma, "/bin/echo", &args, placement.server).await
}

async fn call(sigma: &Sigma, placement: Placement, load: &Load, busy: Duration) -> Result<Measured> {
    let Load { count, warm_up, in_flight, bytes } = load;
    let numbers = [count, warm_up, in_flight, bytes, &(busy.as_micros() as usize)].map(ToString::to_string);
    let args = [vec![SERVER.to_owned()], numbers.to_vec()].concat();
    let caller = procs::start(sigma, "/bin/caller", &args, placement.client).await?;
    procs::finish(sigma, caller).await
}
