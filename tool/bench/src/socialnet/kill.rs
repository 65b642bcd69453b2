//! A part of the network is killed in the middle of its load's greatest step: for how long that shows, and what it costs.

use super::QUANTILE;
use super::recovery::{Recovery, recovery};
use super::victims::{Part, Victims};
use crate::load::slice::Slice;
use crate::load::{self, Load, Outcome};
use crate::promise::{SOCIALNET_RECOVERED, SOCIALNET_RECOVERY};
use crate::report::Report;
use anyhow::Result;
use std::time::Duration;

/// How long each step takes, unless it is said otherwise: in the second half of the greatest one there is time for the outage and
/// for the calm after it.
pub const KILL_STEP: Duration = Duration::from_secs(10);

/// What was killed, and what came of it.
pub(super) struct Killed {
    part: Part,
    processes: usize,
    /// Since the load began.
    at: Duration,
    /// Requests a second that were asked for then.
    rate: f64,
    /// Requests that failed, all in all.
    failed: u64,
    recovery: Recovery,
}

/// Sends the load, and kills them half-way through its greatest step.
///
/// # Errors
/// Where they cannot be killed, and as [`load::run`].
pub(super) async fn run(load: &Load, victims: Victims) -> Result<(Outcome, Killed)> {
    let step = load.plan.peak();
    let (part, processes) = (victims.part(), victims.count());
    let kill = victims.kill_after((step.start + step.end) / 2);
    let outcome = load::run(load).await?;
    let at = kill.finish()?.saturating_duration_since(outcome.begun);
    let recovery = recovery(&outcome.tally.slices, at, &step);
    let (rate, failed) = (load.plan.rate(at), outcome.tally.failed_requests());
    Ok((outcome, Killed { part, processes, at, rate, failed, recovery }))
}

impl Killed {
    /// Adds what was measured to a report.
    pub(super) fn rows(&self, report: &mut Report) {
        let Self { part, processes, at, rate, failed, recovery } = self;
        report.environment(
            "killed",
            format!(
                "{part}: {processes} by SIGKILL, {:.3} s after the load began, at {rate:.0}/s",
                at.as_secs_f64()
            ),
        );
        report.row("processes that were killed", *processes as f64, "");
        report.row("killed at", at.as_secs_f64(), "s");
        report.row("failed that were due before it", (failed - recovery.failed) as f64, "");
        report.row("failed that were due after it", recovery.failed as f64, "");
        report.row("tenths of a second that it disturbed", recovery.disturbed as f64, "");
        if let Some(slowest) = recovery.slowest_ms {
            report.row("the slowest tenth of a second after it: p99", slowest, "ms");
        }
        let mut compare = |name: &str, of: fn(&Slice) -> Option<f64>| {
            for (when, slice) in [("before it", &recovery.before), ("after the recovery", &recovery.after)] {
                if let Some(ms) = of(slice) {
                    report.row(format!("{when}, at the same rate ({}): {name}", slice.due), ms, "ms");
                }
            }
        };
        compare("mean", Slice::mean_ms);
        compare("p99", p99);
        let ratio = p99(&recovery.after)
            .zip(p99(&recovery.before))
            .map_or(f64::NAN, |(after, before)| after / before);
        report.promise(SOCIALNET_RECOVERY, recovery.took.as_secs_f64());
        report.promise(SOCIALNET_RECOVERED, ratio);
    }
}

fn p99(slice: &Slice) -> Option<f64> {
    slice.quantile_ms(QUANTILE)
}
