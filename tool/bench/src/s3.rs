//! `sigma bench s3`: what reading, writing and listing objects takes through `/s3`, beside the same library without anything between it
//! and the server.
//!
//! Both sides ask the same server in the same run, in turn, a part of their operations each time. Ours is a tool, its proxy and
//! a realm that is made for it; the bare client is a process of `peer` for each turn, whose first operations are not counted.

mod server;
mod weed;

use crate::ns::scratch::Scratch;
use crate::peer::{Load, Peer};
use crate::promise::{S3_GET, S3_LIST, S3_PUT, S3_READ, S3_WRITE};
use crate::realm;
use crate::report::{Report, histogram};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
pub use server::{Endpoint, Server};
use sigmaos::proto::OpenRequest;
use sigmaos::rpc::Bytes;
use sigmaos::{Code, Realm, Sigma, proto};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::task::JoinSet;

/// The realm, which is made and removed.
const REALM: &str = "bench-s3";

/// Bytes of a small object, and of a large one.
const SMALL: usize = 1 << 10;
const LARGE: usize = 64 << 20;

/// Keys of the directory that is listed: more than one page of S3.
const KEYS: usize = 1500;

/// Of these so many are made and removed at a time.
const AT_ONCE: usize = 32;

/// Bytes that are read and written at a time of a large object.
const PIECE: usize = 1 << 20;

/// Turns of each side, at most. Of what it does in one the first tenth, or the first, is not counted.
const TURNS: usize = 8;

/// Small operations for one large one, and for one listing.
const SMALL_FOR_A_LARGE: usize = 100;

/// The program that takes part, which server is asked, and how much is done.
#[derive(Clone, Debug)]
pub struct Job {
    /// `peer`.
    pub peer: PathBuf,
    pub server: Server,
    /// Where the objects are. It is made where it is missing, and then removed.
    pub bucket: String,
    /// Small objects to read and to write, one after the other.
    pub count: usize,
}

/// Measures it with the kernel that runs.
///
/// # Errors
/// Where a part fails, saying which.
pub async fn run(kernel: &proto::KernelInfo, job: &Job) -> Result<Report> {
    let state = Path::new(&kernel.state_dir);
    let scratch = Scratch::take(state)?;
    let (endpoint, _running) = job.server.start(&scratch.path().join("weed")).await?;
    let admin = realm::operator(state)?;
    realm::remove(&admin, REALM).await?;
    admin.realm_create(realm::named(REALM)).await?;
    let measured = async {
        let settings = endpoint.settings();
        admin.realm_set(proto::RealmSetRequest { name: REALM.to_owned(), settings }).await?;
        let sigma = Sigma::connect(state, Some(&Realm::parse(REALM)?))?;
        let both = Both { sigma, endpoint: &endpoint, job, scratch: scratch.path() };
        let mut report = Report::new("s3");
        report.kernel(kernel);
        report.environment("server", job.server.to_string());
        both.measure(&mut report).await?;
        anyhow::Ok(report)
    };
    let measured = measured.await;
    realm::remove(&admin, REALM).await?;
    measured
}

/// Both sides of the measurement.
struct Both<'a> {
    sigma: Sigma,
    endpoint: &'a Endpoint,
    job: &'a Job,
    scratch: &'a Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Get,
    Put,
    Read,
    Write,
    List,
}

impl Operation {
    const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Read, Self::Write, Self::List];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "read of 1 KiB",
            Self::Put => "write of 1 KiB",
            Self::Read => "read of 64 MiB",
            Self::Write => "write of 64 MiB",
            Self::List => "list of 1500 keys",
        }
    }

    /// The object or the directory.
    fn key(self) -> &'static str {
        match self {
            Self::Get => "small",
            Self::Put => "small-written",
            Self::Read => "large",
            Self::Write => "large-written",
            Self::List => "many",
        }
    }

    /// As `peer` calls it.
    fn mode(self) -> &'static str {
        match self {
            Self::Get | Self::Read => "s3-get",
            Self::Put | Self::Write => "s3-put",
            Self::List => "s3-list",
        }
    }

    /// Its bytes, or its keys.
    fn size(self) -> usize {
        match self {
            Self::Get | Self::Put => SMALL,
            Self::Read | Self::Write => LARGE,
            Self::List => KEYS,
        }
    }

    fn is_small(self) -> bool {
        matches!(self, Self::Get | Self::Put)
    }
}

impl Both<'_> {
    async fn measure(&self, report: &mut Report) -> Result<()> {
        let made = self.prepare().await?;
        for operation in Operation::ALL {
            let [ours, bare] = self.in_turn(operation).await.context(operation.name())?;
            tell(report, operation, &ours, &bare);
        }
        self.clean(made).await
    }

    fn path(&self, key: &str) -> String {
        format!("/s3/~local/{}/{key}", self.job.bucket)
    }

    /// Makes what is read. Returns whether the bucket was made, too.
    async fn prepare(&self) -> Result<bool> {
        let bucket = format!("/s3/~local/{}", self.job.bucket);
        let made = match self.sigma.create_dir(&bucket).await {
            Err(error) if error.code == Code::Exists => false,
            made => made.map(|()| true).context("make the bucket")?,
        };
        for operation in [Operation::Get, Operation::Read] {
            self.sigma.put_file(&self.path(operation.key()), vec![7; operation.size()]).await?;
        }
        self.on_each_key(async |sigma, path| sigma.put_file(&path, "x").await.map(drop)).await?;
        Ok(made)
    }

    async fn clean(&self, bucket: bool) -> Result<()> {
        self.on_each_key(async |sigma, path| sigma.remove(&path).await).await?;
        for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::List) {
            self.sigma.remove(&self.path(operation.key())).await?;
        }
        if bucket {
            self.sigma.remove(&format!("/s3/~local/{}", self.job.bucket)).await?;
        }
        Ok(())
    }

    async fn on_each_key<F: Future<Output = sigmaos::Result<()>> + Send + 'static>(
        &self,
        act: impl Fn(Sigma, String) -> F,
    ) -> Result<()> {
        let mut under_way = JoinSet::new();
        for number in 0..KEYS {
            let path = format!("{}/{number:04}", self.path(Operation::List.key()));
            under_way.spawn(act(self.sigma.clone(), path));
            if under_way.len() == AT_ONCE
                && let Some(done) = under_way.join_next().await
            {
                done??;
            }
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Times of ours and of the bare client.
    async fn in_turn(&self, operation: Operation) -> Result<[Histogram<u64>; 2]> {
        let (mut ours, mut bare) = (histogram()?, histogram()?);
        let place = self.place(operation.key())?;
        let all =
            if operation.is_small() { self.job.count } else { self.job.count.div_ceil(SMALL_FOR_A_LARGE) };
        let turns = TURNS.min(all);
        let count = all.div_ceil(turns);
        let load = Load { count, warm_up: count.div_ceil(10), in_flight: 1, bytes: operation.size() };
        let contents = Bytes::from(vec![7; operation.size()]);
        for turn in 0..turns {
            // Each is the first as often as the other.
            for is_ours in [turn % 2 == 0, turn % 2 != 0] {
                if is_ours {
                    for number in 0..load.warm_up + load.count {
                        let begun = Instant::now();
                        self.once(operation, &contents).await?;
                        if number >= load.warm_up {
                            ours.record(begun.elapsed().as_nanos() as u64)?;
                        }
                    }
                } else {
                    let peer = Peer::measure(&self.job.peer, operation.mode(), &place, &load)?;
                    bare.add(&peer.finish()?.times)?;
                }
            }
        }
        fs::remove_file(&place)?;
        Ok([ours, bare])
    }

    /// What tells the bare client where to go: a file, since a secret is no argument.
    fn place(&self, key: &str) -> Result<PathBuf> {
        let (place, Endpoint { url, region, access_key, secret_key }) =
            (self.scratch.join("place"), self.endpoint);
        let text = [url, region, access_key, secret_key, &self.job.bucket, key].join("\n");
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
        std::io::Write::write_all(&mut file?, text.as_bytes())?;
        Ok(place)
    }

    /// One operation of ours. Each answer is looked at.
    async fn once(&self, operation: Operation, contents: &Bytes) -> Result<()> {
        let path = self.path(operation.key());
        match operation {
            Operation::Get => {
                let bytes = self.sigma.get_file(&path).await?.len();
                ensure!(bytes == SMALL, "{path} has {bytes} bytes");
            }
            Operation::Put => drop(self.sigma.put_file(&path, contents.clone()).await?),
            Operation::Read => {
                let mut file = self.sigma.open(&path).await?;
                let mut bytes = 0;
                loop {
                    match file.read(PIECE).await?.len() {
                        0 => break,
                        more => bytes += more,
                    }
                }
                ensure!(bytes == LARGE, "{path} has {bytes} bytes");
            }
            Operation::Write => {
                let how = OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
                let mut file = self.sigma.open_with(&path, how).await?;
                file.write(contents.clone()).await?;
                file.close().await?;
            }
            Operation::List => {
                let keys = self.sigma.read_dir(&path).await?.len();
                ensure!(keys == KEYS, "{path} has {keys} keys");
            }
        }
        Ok(())
    }
}

/// Rows of both sides, and the promise.
fn tell(report: &mut Report, operation: Operation, ours: &Histogram<u64>, bare: &Histogram<u64>) {
    for (side, times) in [("through /s3", ours), ("bare", bare)] {
        let name = format!("{}, {side}", operation.name());
        match operation.is_small() {
            true => report.micros(&name, times),
            false => report.quantiles(&name, times),
        }
    }
    let [ours, bare] = [ours, bare].map(|times| times.value_at_quantile(0.5) as f64);
    match operation {
        Operation::Get => report.promise(S3_GET, (ours - bare) / 1e3),
        Operation::Put => report.promise(S3_PUT, (ours - bare) / 1e3),
        Operation::Read => report.promise(S3_READ, bare / ours),
        Operation::Write => report.promise(S3_WRITE, bare / ours),
        Operation::List => report.promise(S3_LIST, ours / bare),
    }
}
