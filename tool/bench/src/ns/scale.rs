//! `sigma bench ns --scale`: what a namespace costs as it grows: a get, a create and a notification among a thousand and among a
//! million entries, beside one watch and beside ten thousand.

use super::Job;
use super::host::{Host, Store};
use super::scratch::Scratch;
use crate::pin::{Pinned, placements};
use crate::promise::{SCALE_CREATE, SCALE_GET, SCALE_WATCH, SCALE_WATCHES};
use crate::report::{Report, histogram, mib};
use anyhow::{Context, Result};
use sigmaos::limits::MAX_HANDLES;
use sigmaos::{Create, DirWatch, Sigma, proto};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The directory that grows.
const GROWS: &str = "/grows";

/// The one in which watchers are told, and those of the others that watch beside.
const WATCHED: &str = "/watched";

/// Room beyond the entries that are asked for: those that are made while it is measured.
const SPARE: usize = 100_000;

/// How far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Entries of the largest directory; the smallest has a thousandth.
    pub entries: usize,
    /// Watches of the most; the fewest is one.
    pub watches: usize,
}

/// Medians at one size, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Costs {
    get: f64,
    create: f64,
    watch: f64,
}

impl Scale {
    /// Measures at each size, smaller ones first.
    ///
    /// # Errors
    /// Where a part fails, saying which.
    pub async fn run(self, kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
        let mut report = Report::new("ns scale");
        report.environment("operations", format!("{} of each kind at each size", job.count));
        let most = (self.entries + self.watches + SPARE).to_string();
        let args = ["--entries".to_owned(), most];
        let scratch = Scratch::take(Path::new(&kernel.state_dir))?;
        let host = Host::start(&job.named, scratch.path(), Store::Memory, &args).await?;
        let place = *placements()?.first().context("a machine has a core")?;
        host.pin(place.server)?;
        let _pinned = Pinned::here(place.client)?;
        let sigma = host.client()?;
        sigma.create_dir(GROWS).await?;
        sigma.create_dir(WATCHED).await?;
        self.entries(&host, &sigma, job, &mut report).await?;
        self.watches(&host, &sigma, job, &mut report).await?;
        Ok(report)
    }

    async fn entries(self, host: &Host, sigma: &Sigma, job: &Job, report: &mut Report) -> Result<()> {
        let empty = host.resident_bytes()?;
        let (mut there, mut costs) = (0, Vec::new());
        for size in [self.entries / 1000, self.entries / 100, self.entries / 10, self.entries] {
            let size = size.max(1);
            fill(sigma, there, size).await?;
            there = size;
            let held = host.resident_bytes()?.saturating_sub(empty);
            report.row(format!("{size} entries: memory an entry"), held as f64 / size as f64, "bytes");
            let begun = Instant::now();
            let listed = sigma.read_dir(GROWS).await?.len();
            report.row(
                format!("{size} entries: listing, an entry"),
                begun.elapsed().as_secs_f64() * 1e6 / listed as f64,
                "us",
            );
            let at_size = measure(sigma, size, job.count).await?;
            for (what, cost) in
                [("get", at_size.get), ("create", at_size.create), ("notification", at_size.watch)]
            {
                report.row(format!("{size} entries: {what} p50"), cost / 1e3, "us");
            }
            costs.push(at_size);
        }
        report.row("memory of the largest", mib(host.resident_bytes()? as f64), "MiB");
        let (smallest, largest) = (costs[0], costs[costs.len() - 1]);
        report.promise(SCALE_GET, largest.get / smallest.get);
        report.promise(SCALE_CREATE, largest.create / smallest.create);
        report.promise(SCALE_WATCH, largest.watch / smallest.watch);
        Ok(())
    }

    async fn watches(self, host: &Host, sigma: &Sigma, job: &Job, report: &mut Report) -> Result<()> {
        let (mut watches, mut clients, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for size in [1, self.watches / 100, self.watches] {
            while watches.len() + 1 < size {
                if watches.len() % (MAX_HANDLES / 2) == 0 {
                    clients.push(host.client()?);
                }
                let client = clients.last().context("a client was just made")?;
                watches.push(beside(sigma, client, watches.len()).await?);
            }
            let cost = notifications(sigma, job.count).await?;
            report.row(format!("{} watches: notification p50", watches.len() + 1), cost / 1e3, "us");
            costs.push(cost);
        }
        report.promise(SCALE_WATCHES, costs[costs.len() - 1] / costs[0]);
        Ok(())
    }
}

/// Makes the entries from one number to another, 64 at a time.
async fn fill(sigma: &Sigma, from: usize, to: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(from));
    let callers: Vec<_> = (0..super::IN_FLIGHT)
        .map(|_| {
            let (sigma, next) = (sigma.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        return sigmaos::Result::Ok(());
                    }
                    sigma.put_file(&name(number), Vec::new()).await?;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("{GROWS}/entry-{number:08}")
}

async fn measure(sigma: &Sigma, size: usize, count: usize) -> Result<Costs> {
    let (mut gets, mut creates) = (histogram()?, histogram()?);
    for turn in 0..count {
        // A step that is prime to most sizes leads all over the directory.
        let path = name(turn * 7919 % size);
        let begun = Instant::now();
        sigma.get_file(&path).await?;
        gets.record(begun.elapsed().as_nanos() as u64)?;
    }
    for turn in 0..count {
        let path = format!("{GROWS}/new-{turn}");
        let begun = Instant::now();
        sigma.create(&path, Create::file()).await?;
        creates.record(begun.elapsed().as_nanos() as u64)?;
        sigma.remove(&path).await?;
    }
    let p50 = |times: hdrhistogram::Histogram<u64>| times.value_at_quantile(0.5) as f64;
    Ok(Costs { get: p50(gets), create: p50(creates), watch: notifications(sigma, count).await? })
}

/// The median from the making of an entry until a watcher has heard of it.
async fn notifications(sigma: &Sigma, count: usize) -> Result<f64> {
    let mut times = histogram()?;
    let mut watch = sigma.watch_dir(WATCHED).await?;
    let path = format!("{WATCHED}/entry");
    for _ in 0..count {
        let begun = Instant::now();
        let heard = async { watch.next().await.map(|_| begun.elapsed()) };
        let (heard, put) = tokio::join!(heard, sigma.put_file(&path, Vec::new()));
        put?;
        times.record(heard?.as_nanos() as u64)?;
        sigma.remove(&path).await?;
        watch.next().await?;
    }
    Ok(times.value_at_quantile(0.5) as f64)
}

/// A watch of a directory in which nothing happens.
async fn beside(sigma: &Sigma, client: &Sigma, number: usize) -> Result<DirWatch> {
    let path = format!("{WATCHED}-{number}");
    sigma.create_dir(&path).await?;
    Ok(client.watch_dir(&path).await?)
}
