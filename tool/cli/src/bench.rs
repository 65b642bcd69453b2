//! The experiments, on the kernel that runs.

use crate::context::Context;
use crate::options::Bench;
use crate::run::bundled;
use anyhow::{Context as _, Result};
use sigma_bench::image::Job;
use sigma_bench::{image, sched, start};
use sigmaos::{Sigma, proto};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) async fn bench(context: &Context, command: &Bench) -> Result<ExitCode> {
    let (report, check) = match command {
        Bench::Sched { check } => (sched::run()?, *check),
        Bench::Start { count, check } => {
            let (sigma, kernel) = connect(context).await?;
            (start::run(&sigma, &kernel, &program("noop")?, *count).await?, *check)
        }
        Bench::Image { tasks, resizes, width, image, output, check } => {
            let (sigma, kernel) = connect(context).await?;
            let programs = program("imgresize")?;
            let job = Job {
                tasks: *tasks,
                resizes: *resizes,
                width: *width,
                image: image.clone(),
                output: output.clone(),
            };
            let folder = programs.parent().context("the program has no folder")?;
            (image::run(&sigma, &kernel, folder, &job).await?, *check)
        }
    };
    if context.json {
        report.print_json()?
    } else {
        report.print_table()
    }
    Ok(if check && !report.kept() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn connect(context: &Context) -> Result<(Sigma, proto::KernelInfo)> {
    Ok((context.sigma().await?, context.kernel()?.kernel_status(proto::Empty {}).await?))
}

fn program(name: &str) -> Result<PathBuf> {
    bundled(name)
        .with_context(|| format!("the program {name} is missing beside sigma: run 'cargo xtask build'"))
}
