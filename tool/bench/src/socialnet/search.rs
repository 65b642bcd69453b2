//! The greatest scale of the staircase that is borne.

use super::{QUANTILE, SLOW, described};
use crate::load::{self, Outcome, Server};
use crate::promise::SOCIALNET_SCALE;
use crate::report::Report;
use anyhow::Result;
use std::time::Duration;

/// From one scale that was borne to the next that is tried, and how long each of its steps takes.
const GROWTH: f64 = 1.25;
const STEP: Duration = Duration::from_secs(2);

/// Where it ends all the same.
const GREATEST: f64 = 16.0;

/// Past the first outcome in `all`, which is of `scale`: greater and greater scales, or smaller ones where it was too much. What
/// comes of them is added to `all`.
pub(super) async fn run(
    report: &mut Report,
    server: &Server,
    mut scale: f64,
    all: &mut Vec<Outcome>,
) -> Result<()> {
    let mut borne = if all.iter().all(bears) { scale } else { 0.0 };
    while scale < GREATEST {
        scale = if borne > 0.0 { scale * GROWTH } else { scale / GROWTH };
        let outcome = load::run(&described(server, scale, STEP, all.len() as u64 + 1)).await?;
        let (bears, found) = (bears(&outcome), borne > 0.0);
        let p99 = outcome.tally.latency.value_at_quantile(QUANTILE) as f64 / 1e6;
        report.row(format!("scale {scale:.2}: p99"), p99, "ms");
        report.row(format!("scale {scale:.2}: failed"), outcome.tally.failed_requests() as f64, "");
        all.push(outcome);
        if bears {
            borne = scale;
        }
        if bears != found || scale < 0.1 {
            break;
        }
    }
    report.promise(SOCIALNET_SCALE, borne);
    Ok(())
}

/// Whether all was answered rightly and soon.
fn bears(outcome: &Outcome) -> bool {
    let slow = outcome.tally.latency.value_at_quantile(QUANTILE) >= SLOW.as_nanos() as u64;
    outcome.tally.failed_requests() == 0 && !slow
}
