//! What `sigma bench load` is told.

use clap::Args;
use sigma_bench::load::{DEFAULT_CONNECTIONS, DEFAULT_TIMEOUT, DEFAULT_USERS, STAIRCASE, STEP_TIME};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Where requests go, in turn: http://HOST:PORT
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// What is asked for: posts and timelines, as DeathStarBench asks for them, or the URLs themselves
    #[arg(long, default_value = "socialnet", value_parser = ["socialnet", "get"])]
    pub(crate) mix: String,

    /// Users of the social network, username_0 and so on
    #[arg(long, value_name = "N", default_value_t = DEFAULT_USERS, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) users: u32,

    /// Requests a second, step by step
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = STAIRCASE, value_parser = parse_positive)]
    pub(crate) rates: Vec<f64>,

    /// Times so many
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_positive)]
    pub(crate) scale: f64,

    /// How long each step takes
    #[arg(long, value_name = "N", default_value_t = STEP_TIME.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// How far requests are apart
    #[arg(long, default_value = "poisson", value_parser = ["poisson", "fixed"])]
    pub(crate) spacing: String,

    /// The same seed makes the same requests at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The most connections at a time; what waits for one counts from when it was due
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONNECTIONS as u32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// Milliseconds, from when a request is due, until its answer is given up
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_TIMEOUT.as_millis() as u64, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) timeout: u64,

    /// Look at each answer, and exit with 1 when one is wrong or a request failed
    #[arg(long)]
    pub(crate) check: bool,

    /// Write latency and throughput of each second to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

/// A number above 0.
pub(super) fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_above_0() {
        assert_eq!(parse_positive("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "inf", "NaN", "x", ""] {
            assert!(parse_positive(wrong).is_err(), "{wrong:?}");
        }
    }
}
