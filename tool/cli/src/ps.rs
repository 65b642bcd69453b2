//! The procs of a realm.

use crate::context::Context;
use crate::report;
use anyhow::Result;
use sigmaos::{Status, proto};

pub(crate) async fn ps(context: &Context, all: bool) -> Result<()> {
    let procs = context.sigma().await?.procs(all).await?;
    if context.json {
        return report::json(&procs.iter().map(object).collect::<Vec<_>>());
    }
    report::table(
        &["PID", "STATE", "CLASS", "BINARY", "START", "STATUS"],
        procs.into_iter().map(|proc| {
            let spec = proc.spec.clone().unwrap_or_default();
            let timing = proc.timing.unwrap_or_default();
            let class = match spec.class() {
                proto::Class::Lc => format!("LC {}", spec.mcpu),
                proto::Class::Be => "BE".to_owned(),
            };
            let start = match timing.started_us {
                0 => "-".to_owned(),
                us => format!("{:.2} ms", us as f64 / 1000.0),
            };
            vec![proc.pid.clone(), state(&proc).to_owned(), class, spec.binary, start, says(&proc)]
        }),
    );
    Ok(())
}

/// The end of a proc, what it waits for, or what is special about how it is served.
pub(crate) fn says(proc: &proto::ProcInfo) -> String {
    let status = proc.status.clone().and_then(|status| Status::try_from(status).ok());
    let lives = || if proc.waiting_for.is_empty() { &proc.served } else { &proc.waiting_for };
    status.map_or_else(|| lives().clone(), |status| status.to_string())
}

pub(crate) fn state(proc: &proto::ProcInfo) -> &'static str {
    match proc.state() {
        proto::State::Queued => "queued",
        proto::State::Starting => "starting",
        proto::State::Running => "running",
        proto::State::Exited => "exited",
    }
}

/// A proc for programs.
pub(crate) fn object(proc: &proto::ProcInfo) -> serde_json::Value {
    let spec = proc.spec.clone().unwrap_or_default();
    serde_json::json!({
        "pid": proc.pid,
        "parent": proc.parent,
        "os_pid": proc.os_pid,
        "state": state(proc),
        "class": if spec.class() == proto::Class::Lc { "LC" } else { "BE" },
        "mcpu": spec.mcpu,
        "memory_bytes": spec.memory_bytes,
        "binary": spec.binary,
        "args": spec.args,
        "status": proc.status.clone().and_then(|status| Status::try_from(status).ok()).map(|status| status.to_string()),
        "waiting_for": proc.waiting_for,
        "served": proc.served,
        "restarts": proc.restarts,
        "timing": timing(&proc.timing.unwrap_or_default()),
    })
}

fn timing(timing: &proto::Timing) -> serde_json::Value {
    timing.steps().map(|(step, at)| (step.to_owned(), serde_json::Value::from(at))).into_iter().collect()
}
