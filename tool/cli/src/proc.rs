//! One proc by its pid: waiting for its end, asking for it, and what it wrote.

use crate::context::Context;
use crate::{report, run};
use anstream::{eprintln, println};
use anyhow::{Context as _, Result};
use sigmaos::rpc::Bytes;
use sigmaos::{Pid, Sigma};
use std::io::Write;
use std::process::ExitCode;

/// Asks a proc to end; with `wait` also waits until it has.
pub(crate) async fn kill(context: &Context, pid: Pid, and_wait: bool) -> Result<ExitCode> {
    context.sigma().await?.kill(pid).await?;
    if and_wait { wait(context, pid).await } else { Ok(ExitCode::SUCCESS) }
}

/// Waits for the end of a proc, tells it, and exits as it did.
pub(crate) async fn wait(context: &Context, pid: Pid) -> Result<ExitCode> {
    let sigma = context.sigma().await?;
    let status = sigma.wait_exit(pid).await?;
    if context.json {
        let info = sigma.info(pid).await?;
        report::json(&crate::ps::object(&info))?;
    } else {
        println!("{status}");
    }
    Ok(run::exit_code(&status))
}

/// Writes what is kept of a stream of a proc; with `follow` all that comes after it, too, until the proc ends.
pub(crate) async fn logs(context: &Context, pid: Pid, stderr: bool, follow: bool) -> Result<()> {
    let sigma = context.sigma().await?;
    if follow {
        return follow_logs(context, &sigma, pid, stderr).await;
    }
    // A pid of nobody is told as what it is.
    sigma.info(pid).await?;
    let stream = if stderr { "stderr" } else { "stdout" };
    let kept = sigma.get_file(&format!("/proc/{pid}/{stream}")).await?;
    write(context, &kept)
}

async fn follow_logs(context: &Context, sigma: &Sigma, pid: Pid, stderr: bool) -> Result<()> {
    let mut offset = 0;
    loop {
        let output = sigma.follow(pid, stderr, offset).await?;
        if output.offset > offset && !context.json {
            eprintln!("[… {} bytes were not kept …]", output.offset - offset);
        }
        if output.end {
            return Ok(());
        }
        offset = output.offset + output.bytes.len() as u64;
        write(context, &output.bytes)?;
    }
}

/// As it is, or for programs one JSON string a piece.
fn write(context: &Context, bytes: &Bytes) -> Result<()> {
    if context.json {
        return report::json(&serde_json::json!({ "output": String::from_utf8_lossy(bytes) }));
    }
    let mut out = std::io::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).context("write the output of the proc")
}
