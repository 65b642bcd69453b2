//! The experiments, on the kernel that runs.

mod load;
mod s3;

use crate::context::Context;
use crate::options::Bench;
use crate::run::bundled;
use anyhow::{Context as _, Result};
use sigma_bench::image::Job;
use sigma_bench::report::Report;
use sigma_bench::{idle, image, isolation, mongo, ns, rpc, sched, socialnet, start};
use sigmaos::{Sigma, proto};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) async fn bench(context: &Context, command: &Bench) -> Result<ExitCode> {
    let (report, check) = match command {
        Bench::Sched { check } => (sched::run()?, *check),
        Bench::Start { count, throughput, check } => {
            (start(context, *count as usize, *throughput).await?, *check)
        }
        Bench::Load(options) => return load::load(context, options).await,
        Bench::Isolation { noise, seconds, runs, check } => {
            (isolation(noise.clone(), *seconds, *runs).await?, *check)
        }
        Bench::Idle { seconds, check } => {
            let (_, kernel) = connect(context).await?;
            (idle::run(&kernel, Duration::from_secs(*seconds)).await?, *check)
        }
        Bench::Rpc { count, check } => {
            let (sigma, kernel) = connect(context).await?;
            let job = rpc::Job {
                peer: beside("peer")?,
                echo: program("echo")?,
                caller: program("caller")?,
                count: *count,
            };
            (rpc::run(&sigma, &kernel, &job).await?, *check)
        }
        Bench::Ns { scale, count, entries, watches, check } => {
            let (sigma, kernel) = connect(context).await?;
            let job = ns::Job {
                named: beside("named")?,
                peer: beside("peer")?,
                echo: program("echo")?,
                count: *count,
            };
            let report = match scale {
                true => ns::Scale { entries: *entries, watches: *watches }.run(&kernel, &job).await?,
                false => ns::run(&sigma, &kernel, &job).await?,
            };
            (report, *check)
        }
        Bench::Mongo { count, check } => {
            let (sigma, kernel) = connect(context).await?;
            let job = mongo::Job { peer: beside("peer")?, count: *count };
            (mongo::run(&sigma, &kernel, &job).await?, *check)
        }
        Bench::S3(options) => (s3::s3(context, options).await?, options.check),
        Bench::Socialnet(options) => {
            let kernel = context.kernel()?.kernel_status(proto::Empty {}).await?;
            let programs = program("socialnet")?.parent().context("the program has no folder")?.to_owned();
            (socialnet::run(&kernel, &options.job(programs)).await?, options.check)
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
    print(context, &report, check)
}

async fn start(context: &Context, count: usize, throughput: bool) -> Result<Report> {
    let (sigma, kernel) = connect(context).await?;
    let bench = start::Bench {
        sigma: &sigma,
        kernel: &kernel,
        noop: program("noop")?,
        tiny: program("tiny")?,
        jail: beside("jail")?,
    };
    if throughput { start::throughput(&bench, count).await } else { start::run(&bench, count).await }
}

async fn isolation(noise: String, seconds: u64, runs: u32) -> Result<Report> {
    let bench = isolation::Bench {
        sigma: beside("sigma")?,
        burner: program("burner")?,
        pacer: program("pacer")?,
        flood: program("flood")?,
        noise,
        time: Duration::from_secs(seconds),
        runs: runs as usize,
    };
    isolation::run(&bench).await
}

fn print(context: &Context, report: &Report, check: bool) -> Result<ExitCode> {
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

/// A program of the installation that is no proc.
fn beside(name: &str) -> Result<PathBuf> {
    let sigma = std::env::current_exe().context("where sigma itself is")?;
    let path = sigma.with_file_name(name);
    anyhow::ensure!(path.is_file(), "the program {name} is missing beside sigma: run 'cargo xtask build'");
    Ok(path)
}
