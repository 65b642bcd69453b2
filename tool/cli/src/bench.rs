//! The experiments, on the kernel that runs.

use crate::context::Context;
use crate::options::Bench;
use crate::run::bundled;
use anyhow::{Context as _, Result};
use sigmaos::proto;
use std::process::ExitCode;

pub(crate) async fn bench(context: &Context, command: &Bench) -> Result<ExitCode> {
    let sigma = context.sigma().await?;
    let status = context.kernel()?.kernel_status(proto::Empty {}).await?;
    let (report, check) = match command {
        Bench::Start { count, check } => {
            let noop = bundled("noop")
                .context("the program noop is missing beside sigma; run 'cargo xtask build'")?;
            (sigma_bench::start::run(&sigma, &status, &noop, *count).await?, *check)
        }
    };
    if context.json {
        report.print_json()?
    } else {
        report.print_table()
    }
    Ok(if check && !report.kept() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
