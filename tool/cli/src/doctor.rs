//! `sigma doctor`: which layers of the sandbox and which limits this machine can have, what is lost without each, and how to get
//! it. It needs no kernel that runs.

mod facts;
mod judge;
mod layers;

use crate::context::Context;
use crate::report;
use anstream::println;
use anyhow::Result;
use facts::Facts;
use judge::{Finding, State, judge};
use std::process::ExitCode;

/// # Errors
/// Where the program of the jail is missing, or the system does not say what it is.
pub(crate) fn doctor(context: &Context) -> Result<ExitCode> {
    let findings = judge(&Facts::gather(&context.state)?);
    let fit = findings.iter().all(|finding| finding.state != State::Missing);
    if context.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        report::json(&serde_json::json!({ "fit": fit, "findings": findings }))?;
    } else {
        findings.iter().for_each(print);
        println!(
            "{}",
            if fit { "Procs can run here." } else { "Procs cannot run here as safely as they must." }
        );
    }
    Ok(if fit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(finding: &Finding) {
    let mark = match finding.state {
        State::Fine => "ok",
        State::Limited => "limited",
        State::Missing => "MISSING",
    };
    println!("{mark:<8} {:<16} {}", finding.name, finding.found);
    for (what, text) in [("lost", &finding.lost), ("remedy", &finding.remedy)] {
        if !text.is_empty() {
            println!("{:<25} {what}: {text}", "");
        }
    }
}
