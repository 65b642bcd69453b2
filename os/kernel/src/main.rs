//! sigmad, the kernel of one machine: it boots, supervises, schedules and dials. Every other kernel process is its child.
//!
//! Principles:
//! - It links no store and no driver; named, the proxies and jails are programs that it executes.
//! - It knows who is at each door, because it made the door. Nobody tells it who they are.
//! - It is off the data path: it introduces procs to servers, and they talk directly.
//! - What a tenant sends is an error for that tenant at worst.
//! - A machine is one unit of failure: when sigmad ends, all that it started ends, and the next one boots clean.

mod backoff;
mod binary;
mod boot;
mod cgroup;
mod dial;
mod elf;
mod handed;
mod homes;
mod jail;
mod kernel;
mod listen;
mod log;
mod machine;
mod measure;
mod output;
mod pressure;
mod proc;
mod publish;
mod rank;
mod realm;
mod record;
mod schedule;
mod service;
mod session;
mod state;
mod supervise;
mod tools;
mod tree;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Parser};
use sigma_abi::layer::Layer;
use std::path::PathBuf;
use std::process::ExitCode;

/// The kernel of one machine. People start it with 'sigma up'.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where everything that outlives the kernel is kept.
    #[arg(long)]
    state: PathBuf,

    /// Also write the log to standard error.
    #[arg(long)]
    verbose: bool,

    /// Leave the session of the terminal that started it.
    #[arg(long)]
    detach: bool,

    /// End when the standard input, a pipe, is closed.
    #[arg(long)]
    ends_with_input: bool,

    /// Run procs without a layer of their sandbox. 'sigma status' keeps showing it.
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    insecure_without: Vec<Layer>,

    /// Whether BE procs run only where nobody else wants the CPU: off for experiments.
    #[arg(long, value_name = "on|off", value_parser = BoolishValueParser::new(), default_value = "on", action = ArgAction::Set)]
    sched_idle: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.detach {
        // Where it already leads a session there is nothing to leave.
        let _ = rustix::process::setsid();
    }
    match boot::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // 'sigma up' reads this until the kernel says that it is ready.
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
