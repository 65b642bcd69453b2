//! sigma, the command line of SigmaOS. Data goes to standard output, everything else to standard error.

mod bench;
mod context;
mod doctor;
mod entries;
mod files;
mod options;
mod proc;
mod ps;
mod realm;
mod report;
mod rpc;
mod run;
mod status;
mod up;
mod why;

use clap::Parser;
use options::{Command, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let json = options.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failed(&anyhow::Error::from(error), json),
    };
    let done = runtime.block_on(dispatch(options));
    // A thread may still be reading standard input, and there is no way to wake it.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| report::failed(&error, json))
}

async fn dispatch(options: Options) -> anyhow::Result<ExitCode> {
    let context = context::Context::new(&options)?;
    match options.command {
        Command::Up(up) => return up::up(&context, &up).await,
        Command::Down => up::down(&context).await?,
        Command::Status => status::status(&context).await?,
        Command::Doctor => return doctor::doctor(&context),
        Command::Realm { command } => realm::realm(&context, command).await?,
        Command::Run(run) => return run::run(&context, &run).await,
        Command::Ps { all } => ps::ps(&context, all).await?,
        Command::Why { pid } => why::why(&context, &pid).await?,
        Command::Logs { pid, follow, stderr } => proc::logs(&context, pid, stderr, follow).await?,
        Command::Kill { pid, wait } => return proc::kill(&context, pid, wait).await,
        Command::Wait { pid } => return proc::wait(&context, pid).await,
        Command::Ls { path } => files::list(&context, &path).await?,
        Command::Cat { path } => files::cat(&context, &path).await?,
        Command::Put { file, path } => files::put(&context, &file, &path).await?,
        Command::Get { path, file } => files::get(&context, &path, file.as_deref()).await?,
        Command::Rm { path } => files::remove(&context, &path).await?,
        Command::Mv { from, to } => entries::rename(&context, &from, &to).await?,
        Command::Mkdir { path, parents } => entries::make_dir(&context, &path, parents).await?,
        Command::Ln { target, link } => entries::link(&context, &target, &link).await?,
        Command::Mkfifo { path } => entries::make_pipe(&context, &path).await?,
        Command::Stat { path } => entries::stat(&context, &path).await?,
        Command::Tree { path } => entries::tree(&context, &path).await?,
        Command::Watch { path } => entries::watch(&context, &path).await?,
        Command::Rpc(options) => rpc::rpc(&context, &options).await?,
        Command::Bench { command } => return bench::bench(&context, &command).await,
    }
    Ok(ExitCode::SUCCESS)
}
