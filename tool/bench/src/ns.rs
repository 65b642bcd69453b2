//! `sigma bench ns`: what the operations of a namespace take, on memory and on disk, beside a bare socket, the disk and the
//! store themselves.

mod host;
mod operations;
mod scale;
pub(crate) mod scratch;

pub use scale::Scale;

use crate::measured::Measured;
use crate::peer::{Load, Peer};
use crate::pin::{Pinned, Placement, placements};
use crate::procs;
use crate::promise::{NS_GET, NS_GET_ACROSS, NS_PUT_FDATASYNC, NS_PUT_REDB};
use crate::report::{Report, histogram};
use anyhow::{Context, Result};
use host::{Host, Store, on_disk};
use operations::{IN_FLIGHT, Operation, Worker};
use scratch::Scratch;
use sigmaos::stub::LinkClient;
use sigmaos::{Code, Sigma, proto};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of a file, of a block of the disk that is written beside, and of the ping-pong.
const BYTES: usize = 64;

/// Where the server that is dialled is in the namespace.
const SERVER: &str = "/bench-ns";

/// How long a server that is given connections faster than it takes them is left alone.
const SERVER_PAUSE: Duration = Duration::from_millis(1);

/// The programs that take part, and how much they do.
#[derive(Clone, Debug)]
pub struct Job {
    /// `named`.
    pub named: PathBuf,
    /// `peer`.
    pub peer: PathBuf,
    /// The proc `echo`.
    pub echo: PathBuf,
    /// Operations of each kind, one after the other.
    pub count: usize,
}

/// Measures each operation by one client and with 64 in flight.
///
/// # Errors
/// Where a part fails, saying which; where the state directory is in memory.
pub async fn run(sigma: &Sigma, kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    on_disk(Path::new(&kernel.state_dir))?;
    let scratch = Scratch::take(Path::new(&kernel.state_dir))?;
    let folder = scratch.path();
    let mut report = Report::new("ns");
    report.kernel(kernel);
    report.environment("operations", format!("{} of each kind, one after the other", job.count));
    report.environment("folder", folder.display().to_string());
    let placements = placements()?;
    for placement in &placements {
        let ping = ping_pong(job, *placement)?;
        report.micros(&format!("{}: ping-pong of 64 bytes", placement.name), &ping.times);
        for store in [Store::Memory, Store::Redb] {
            one_client(job, folder, store, *placement, &ping, &mut report).await?;
        }
    }
    let last = *placements.last().context("a machine has a core")?;
    rates(job, folder, &mut report).await?;
    dial(sigma, job, last, &mut report).await?;
    Ok(report)
}

async fn one_client(
    job: &Job,
    folder: &Path,
    store: Store,
    placement: Placement,
    ping: &Measured,
    report: &mut Report,
) -> Result<()> {
    let host = Host::start(&job.named, folder, store, &[]).await?;
    let _pinned = place(&host, placement)?;
    let worker = Worker::start(host.client()?).await?;
    let row = |what: &str| format!("{}: {what} ({})", placement.name, store.name());
    for operation in Operation::ALL {
        let count = if operation.changes() { job.changes(store) } else { job.count };
        let times = worker.one_by_one(operation, count).await?;
        report.micros(&row(operation.name()), &times);
        if operation == Operation::Get && store == Store::Redb {
            let promise = if placement.server == placement.client { NS_GET } else { NS_GET_ACROSS };
            report.promise(promise, times.value_at_quantile(0.5) as f64 / ping.p50());
        }
    }
    let heard = worker.notifications(&host.client()?, job.changes(store)).await?;
    report.micros(&row("watch notification"), &heard);
    Ok(())
}

impl Job {
    /// Changes that are measured: those that wait for a disk take longer.
    fn changes(&self, store: Store) -> usize {
        match store {
            Store::Memory => self.count,
            Store::Redb => self.count.div_ceil(10),
        }
    }
}

/// How many a second go through with 64 in flight, beside the disk and the store: each where the system puts it.
async fn rates(job: &Job, folder: &Path, report: &mut Report) -> Result<()> {
    let mut durable_puts = 0.0;
    for store in [Store::Memory, Store::Redb] {
        let host = Host::start(&job.named, folder, store, &[]).await?;
        let worker = Worker::start(host.client()?).await?;
        for operation in Operation::ALL {
            let rate = worker.rate(operation, job.count * 5).await?;
            report.row(format!("{}, 64 in flight ({})", operation.name(), store.name()), rate, "/s");
            if operation == Operation::Put && store == Store::Redb {
                durable_puts = rate;
            }
        }
    }
    let one = Load { count: job.count.div_ceil(10), warm_up: 10, in_flight: 1, bytes: BYTES };
    let disk = Peer::measure(&job.peer, "fdatasync", &folder.join("disk"), &one)?.finish()?;
    report.micros("fdatasync of one block", &disk.times);
    let batches = Load { count: job.count * 5, warm_up: IN_FLIGHT, in_flight: IN_FLIGHT, bytes: BYTES };
    let redb = Peer::measure(&job.peer, "redb", &folder.join("redb"), &batches)?.finish()?;
    report.row("fdatasync, one at a time", disk.rate(one.count), "/s");
    report.row("bare redb, batches of 64 puts", redb.rate(batches.count), "/s");
    report.promise(NS_PUT_FDATASYNC, durable_puts / disk.rate(one.count));
    report.promise(NS_PUT_REDB, durable_puts / redb.rate(batches.count));
    Ok(())
}

/// How long the kernel takes to connect a client to a server.
async fn dial(sigma: &Sigma, job: &Job, placement: Placement, report: &mut Report) -> Result<()> {
    let contents = std::fs::read(&job.echo).with_context(|| format!("read {}", job.echo.display()))?;
    sigma.put_file("/bin/echo", contents).await?;
    procs::end_left(sigma, "/bin/echo", SERVER).await?;
    let server = procs::start(sigma, "/bin/echo", &["serve".into(), SERVER.into()], placement.server).await?;
    let link = LinkClient(sigma.kernel().clone());
    let dial = async || link.dial_with(proto::DialRequest { path: SERVER.into() }, Default::default()).await;
    let (mut times, mut warm_up) = (histogram()?, job.count / 10);
    while times.len() < job.count as u64 {
        let begun = Instant::now();
        match dial().await {
            // The server has not taken what it was sent before.
            Err(error) if error.code == Code::Busy => tokio::time::sleep(SERVER_PAUSE).await,
            Err(error) => return Err(error.into()),
            Ok(_) if warm_up > 0 => warm_up -= 1,
            Ok(_) => times.record(begun.elapsed().as_nanos() as u64)?,
        }
    }
    procs::end(sigma, server).await?;
    report.micros("dial of a new endpoint", &times);
    report.row("Go SigmaOS: dial of a new endpoint", 659.0, "us");
    Ok(())
}

fn ping_pong(job: &Job, placement: Placement) -> Result<Measured> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let socket = folder.path().join("socket");
    let load = Load { count: job.count, warm_up: job.count / 10, in_flight: 1, bytes: BYTES };
    let server = Peer::serve(&job.peer, "pong", &socket)?;
    server.pin(placement.server)?;
    let client = Peer::measure(&job.peer, "ping", &socket, &load)?;
    client.pin(placement.client)?;
    client.finish()
}

fn place(host: &Host, placement: Placement) -> Result<Pinned> {
    host.pin(placement.server)?;
    Pinned::here(placement.client)
}
