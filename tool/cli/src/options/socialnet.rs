//! What `sigma bench socialnet` is told.

use super::load::parse_positive;
use clap::{Args, ValueEnum};
use sigma_bench::socialnet::{Job, Part};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Socialnet {
    /// A free TCP port of this machine for its front end
    #[arg(long, default_value_t = 18080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Of the first staircase: times 600, 1200, 1800 and 900 requests a second
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_positive)]
    scale: f64,

    /// How long each of its steps takes [default: 5, as in the thesis; with --kill 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,

    /// Write latency, throughput and CPU of each second of it to this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Kill this in the middle of its greatest step, and measure the recovery; then no greater scale is looked for
    #[arg(long, value_enum, value_name = "PART")]
    kill: Option<Kill>,

    /// Do not look for the greatest scale
    #[arg(long)]
    once: bool,

    /// Leave the network running in the end, for people
    #[arg(long)]
    keep: bool,

    /// Exit with 1 when a promise is not kept
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kill {
    /// All shards of the cache
    Cache,
    /// The proxy of the realm's documents
    Mongo,
}

impl Socialnet {
    /// What is measured, with the programs of this folder.
    pub(crate) fn job(&self, programs: PathBuf) -> Job {
        let kill = self.kill.map(|kill| match kill {
            Kill::Cache => Part::Cache,
            Kill::Mongo => Part::Mongo,
        });
        Job {
            programs,
            port: self.port,
            scale: self.scale,
            step: self.seconds.map(Duration::from_secs),
            csv: self.csv.clone(),
            kill,
            search: !self.once,
            keep: self.keep,
        }
    }
}
