//! What a load's report says.

use super::Load;
use super::drive::Outcome;
use crate::report::Report;
use hdrhistogram::Histogram;

/// The rows of an outcome.
pub fn report(load: &Load, outcome: &Outcome) -> Report {
    let mut report = Report::new("load");
    let servers: Vec<_> = load.servers.iter().map(|server| server.host.as_str()).collect();
    report.environment("servers", servers.join(" "));
    report.environment("plan", plan(load));
    rows(&mut report, outcome);
    report
}

/// What is asked for, in a line.
pub(crate) fn plan(load: &Load) -> String {
    let steps =
        load.plan.steps.iter().map(|step| format!("{:.0}/s for {} s", step.rate, step.time.as_secs_f64()));
    let checked = if load.check { "answers checked" } else { "answers not checked" };
    let steps: Vec<_> = steps.collect();
    format!("{}, {:?} spacing, seed {}, {checked}", steps.join(", "), load.plan.spacing, load.plan.seed)
}

/// Adds what was measured to a report.
pub(crate) fn rows(report: &mut Report, outcome: &Outcome) {
    let tally = &outcome.tally;
    for (kind, latency) in &tally.by_kind {
        quantiles(report, &format!("{kind} ({})", latency.len()), latency);
    }
    quantiles(report, "all", &tally.latency);
    report.row("requests", tally.requests() as f64, "");
    report.row("answers", tally.answers() as f64, "");
    for (failure, count) in &tally.failures {
        report.row(format!("failed: {failure}"), *count as f64, "");
    }
    for words in &tally.words {
        report.environment("failed", words.clone());
    }
    report.row("connections", outcome.connections as f64, "");
    report.row("CPU of the generator", outcome.own_cpu.as_secs_f64() / outcome.took.as_secs_f64(), "cores");
    report.row("sent late by, p99", tally.lateness.value_at_quantile(0.99) as f64 / 1e6, "ms");
}

/// Where nothing was answered, nothing took any time, and no row says so.
fn quantiles(report: &mut Report, name: &str, latency: &Histogram<u64>) {
    if latency.is_empty() {
        return;
    }
    report.quantiles(name, latency);
    report.row(format!("{name} longest"), latency.max() as f64 / 1e6, "ms");
}
