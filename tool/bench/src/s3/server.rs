//! Which S3 server is measured: one that runs, or a SeaweedFS that starts for it and ends with it.

use super::weed::{self, Ports};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers, and how often it is asked.
const START_DEADLINE: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The key of the one that is started for this. It is reached from this machine alone, and for as long as this takes.
const ACCESS_KEY: &str = "bench-access-key";
const SECRET_KEY: &str = "bench-secret-key";

/// What is asked.
#[derive(Clone, Debug)]
pub enum Server {
    /// One that runs.
    At(Endpoint),
    /// The program `weed`, to be started.
    Weed(PathBuf),
}

/// Where a server is, and who asks it.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

/// A server that ends with this.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Server {
    /// Where it is, once it answers. One that is started has its data in `folder`, which is made.
    ///
    /// # Errors
    /// Where it does not come up.
    pub(super) async fn start(&self, folder: &Path) -> Result<(Endpoint, Option<Running>)> {
        match self {
            Self::At(endpoint) => Ok((endpoint.clone(), None)),
            Self::Weed(program) => {
                let (endpoint, running) = start(program, folder).await?;
                Ok((endpoint, Some(running)))
            }
        }
    }
}

async fn start(program: &Path, folder: &Path) -> Result<(Endpoint, Running)> {
    let (data, config, log) = (folder.join("data"), folder.join("identities.json"), folder.join("log"));
    fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
    fs::write(&config, weed::identities(ACCESS_KEY, SECRET_KEY))?;
    let ports = Ports::free()?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
    let words = weed::arguments(&text(&data)?, &text(&config)?, &ports);
    let said = File::create(&log)?;
    let child = Command::new(program)
        .args(words)
        .current_dir(folder)
        // What it keeps for itself goes with the folder.
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let mut running = Running(child);
    let begun = Instant::now();
    while !weed::is_ready(&ports) {
        let ended = running.0.try_wait()?;
        let last =
            || fs::read_to_string(&log).unwrap_or_default().lines().last().unwrap_or_default().to_owned();
        ensure!(ended.is_none(), "{} ended at its start: {}", program.display(), last());
        ensure!(begun.elapsed() < START_DEADLINE, "{} does not answer: {}", program.display(), last());
        tokio::time::sleep(ASK_EVERY).await;
    }
    let (access_key, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
    let url = format!("http://127.0.0.1:{}", ports.s3);
    Ok((Endpoint { url, region: "us-east-1".to_owned(), access_key, secret_key }, running))
}

impl Endpoint {
    /// What the operator sets for a realm whose store it is.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let Self { url, region, access_key, secret_key } = self;
        let settings = [
            ("s3.endpoint", url),
            ("s3.region", region),
            ("s3.access-key", access_key),
            ("s3.secret-key", secret_key),
        ];
        settings.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }
}

/// Without what is secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(endpoint) => formatter.write_str(&endpoint.url),
            Self::Weed(_) => formatter.write_str("a SeaweedFS of this run, on this machine"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
