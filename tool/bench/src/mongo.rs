//! `sigma bench mongo`: what the calls of `/mongo` take, beside a get at named and the disk.

use crate::ns::scratch::Scratch;
use crate::peer::{Load, Peer};
use crate::promise::{MONGO_FIND, MONGO_WRITES};
use crate::report::{Report, histogram};
use anyhow::Result;
use hdrhistogram::Histogram;
use sigmaos::mongo::{Bson, Collection, Document, Mongo, doc};
use sigmaos::{Sigma, proto};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Calls at a time, where their rate is measured.
const IN_FLIGHT: usize = 64;

/// Documents of some 300 bytes, as posts are.
const POSTS: i64 = 10_000;

/// Characters of a post's text.
const TEXT: usize = 256;

/// Posts that one call finds by their ids, as a page of a timeline does.
const PAGE: i64 = 10;

/// Ids in a timeline; a push lets the last one go.
const TIMELINE: i64 = 1000;

/// Bytes of the file at named that is got beside, and of the block of the disk.
const BYTES: usize = 64;

/// The file.
const FILE: &str = "/bench-mongo";

/// The program that takes part, and how much it does.
#[derive(Clone, Debug)]
pub struct Job {
    /// `peer`.
    pub peer: PathBuf,
    /// Calls of each kind, one after the other.
    pub count: usize,
}

/// Measures each call by one client and with 64 in flight.
///
/// # Errors
/// Where a part fails, saying which.
pub async fn run(sigma: &Sigma, kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    let mut report = Report::new("mongo");
    report.kernel(kernel);
    report.environment("calls", format!("{} of each kind, one after the other", job.count));
    let worker = Worker::start(sigma).await?;
    for operation in Operation::ALL {
        let count = if operation.changes() { job.count.div_ceil(10) } else { job.count };
        report.micros(operation.name(), &worker.one_by_one(operation, count).await?);
    }
    let (mut finds, mut gets, mut sets) = (f64::NAN, f64::NAN, f64::NAN);
    for operation in Operation::ALL {
        let rate = worker.rate(operation, job.count * 4).await?;
        report.row(format!("{}, {IN_FLIGHT} in flight", operation.name()), rate, "/s");
        match operation {
            Operation::Find => finds = rate,
            Operation::GetFile => gets = rate,
            Operation::Set => sets = rate,
            _ => {}
        }
    }
    report.promise(MONGO_FIND, finds / gets);
    let scratch = Scratch::take(Path::new(&kernel.state_dir))?;
    let one = Load { count: job.count.div_ceil(10), warm_up: 10, in_flight: 1, bytes: BYTES };
    let disk = Peer::measure(&job.peer, "fdatasync", &scratch.path().join("disk"), &one)?.finish()?;
    report.row("fdatasync, one at a time", disk.rate(one.count), "/s");
    report.promise(MONGO_WRITES, sets / disk.rate(one.count));
    worker.end().await?;
    Ok(report)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// At named, to stand beside.
    GetFile,
    Find,
    FindPage,
    ReadTimeline,
    Set,
    Push,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::GetFile, Self::Find, Self::FindPage, Self::ReadTimeline, Self::Set, Self::Push];

    fn name(self) -> &'static str {
        match self {
            Self::GetFile => "get at named",
            Self::Find => "find one by its id",
            Self::FindPage => "find 10 by their ids",
            Self::ReadTimeline => "read 10 ids of a timeline of 1000",
            Self::Set => "upsert by id, durable",
            Self::Push => "push to a timeline of 1000, durable",
        }
    }

    fn changes(self) -> bool {
        matches!(self, Self::Set | Self::Push)
    }
}

/// A client at work. Cheap to clone.
#[derive(Clone, Debug)]
struct Worker {
    sigma: Sigma,
    posts: Collection<Document>,
    timelines: Collection<Document>,
}

impl Worker {
    /// Makes what the calls work on, in place of what a run before has left.
    async fn start(sigma: &Sigma) -> Result<Self> {
        let mongo = Mongo::open(sigma).await?;
        let (posts, timelines) = (mongo.collection("bench_posts"), mongo.collection("bench_timelines"));
        let worker = Self { sigma: sigma.clone(), posts, timelines };
        worker.posts.drop_collection().await?;
        worker.timelines.drop_collection().await?;
        let posts: Vec<Document> =
            (0..POSTS).map(|id| doc! { "_id": id, "text": "x".repeat(TEXT) }).collect();
        worker.posts.insert_many(&posts).await?;
        let ids: Vec<Bson> = (0..TIMELINE).map(Bson::Int64).collect();
        let timelines: Vec<Document> =
            (0..IN_FLIGHT as i64).map(|id| doc! { "_id": id, "ids": ids.clone() }).collect();
        worker.timelines.insert_many(&timelines).await?;
        sigma.put_file(FILE, vec![7; BYTES]).await?;
        Ok(worker)
    }

    async fn end(&self) -> Result<()> {
        self.posts.drop_collection().await?;
        self.timelines.drop_collection().await?;
        self.sigma.remove(FILE).await?;
        Ok(())
    }

    /// One call of one of the callers. Each answer is looked at.
    async fn once(&self, operation: Operation, caller: usize, turn: usize) -> Result<()> {
        let (caller, turn) = (caller as i64, turn as i64);
        let id = (turn * 7919 + caller * 104_729) % POSTS;
        match operation {
            Operation::GetFile => drop(self.sigma.get_file(FILE).await?),
            Operation::Find => {
                let found = self.posts.find_one(doc! { "_id": id }).await?;
                anyhow::ensure!(found.is_some(), "post {id} is not found");
            }
            Operation::FindPage => {
                let ids: Vec<i64> = (0..PAGE).map(|next| (id + next * 997) % POSTS).collect();
                let found = self.posts.find(doc! { "_id": { "$in": ids } }).all().await?;
                anyhow::ensure!(found.len() == PAGE as usize, "{} of {PAGE} posts are found", found.len());
            }
            Operation::ReadTimeline => {
                let page = doc! { "ids": { "$slice": [0, PAGE] } };
                let found = self.timelines.find(doc! { "_id": caller }).projection(page).first().await?;
                let length = found.as_ref().and_then(|it| it.get_array("ids").ok()).map(Vec::len);
                anyhow::ensure!(length == Some(PAGE as usize), "a timeline is read as {found:?}");
            }
            Operation::Set => {
                let post = doc! { "$set": { "text": "y".repeat(TEXT), "turn": turn } };
                self.posts.upsert(doc! { "_id": POSTS + id }, post).await?;
            }
            Operation::Push => {
                let push = doc! { "$each": [turn], "$position": 0, "$slice": TIMELINE };
                self.timelines.update_one(doc! { "_id": caller }, doc! { "$push": { "ids": push } }).await?;
            }
        }
        Ok(())
    }

    /// One after the other: what each takes. A tenth more, before them, is not counted.
    async fn one_by_one(&self, operation: Operation, count: usize) -> Result<Histogram<u64>> {
        let (mut times, warm_up) = (histogram()?, count / 10);
        for turn in 0..warm_up + count {
            let begun = Instant::now();
            self.once(operation, 0, turn).await?;
            if turn >= warm_up {
                times.record(begun.elapsed().as_nanos() as u64)?;
            }
        }
        Ok(times)
    }

    /// [`IN_FLIGHT`] at a time: how many a second.
    async fn rate(&self, operation: Operation, count: usize) -> Result<f64> {
        let turns = count.div_ceil(IN_FLIGHT);
        let begun = Instant::now();
        let callers: Vec<_> = (0..IN_FLIGHT)
            .map(|caller| {
                let worker = self.clone();
                tokio::spawn(async move {
                    for turn in 0..turns {
                        worker.once(operation, caller, turn).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        Ok((turns * IN_FLIGHT) as f64 / begun.elapsed().as_secs_f64())
    }
}
