//! Starting and ending the kernel of this machine.

use crate::context::Context;
use crate::options::Up;
use anstream::eprintln;
use anyhow::{Context as _, Result, bail};
use sigmaos::proto;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long the processes of a kernel may take to end.
const DOWN_DEADLINE: Duration = Duration::from_secs(15);

/// Starts the kernel, and returns when it serves.
pub(crate) async fn up(context: &Context, options: &Up) -> Result<ExitCode> {
    sigmaos::door::pass_nothing_on().context(
        "cannot keep what was inherited from the kernel, as Linux 5.11 or later does (close_range)",
    )?;
    let sigmad = beside("sigmad")?;
    let mut command = Command::new(&sigmad);
    command.arg("--state").arg(&context.state);
    for layer in &options.insecure_without {
        command.arg("--insecure-without").arg(layer);
    }
    command.arg("--sched-idle").arg(&options.sched_idle);
    if options.ends_with_input {
        command.arg("--ends-with-input");
    }
    if options.foreground {
        let status =
            command.arg("--verbose").status().with_context(|| format!("run {}", sigmad.display()))?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut child = command
        .arg("--detach")
        .stdin(if options.ends_with_input { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", sigmad.display()))?;
    let stdout = child.stdout.take().context("sigmad has no output")?;
    let mut said = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read what sigmad says")?;
        if line == "ready" {
            eprintln!("the kernel serves on {}", context.state.display());
            return Ok(ExitCode::SUCCESS);
        }
        said.push_str(&line);
    }
    let output = child.wait_with_output().context("wait for sigmad")?;
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    bail!("the kernel did not start: {}", said.trim());
}

/// Ends the kernel, and returns when all its processes have ended.
pub(crate) async fn down(context: &Context) -> Result<()> {
    context.kernel()?.shutdown(proto::Empty {}).await?;
    let deadline = Instant::now() + DOWN_DEADLINE;
    let lock = context.state.join("lock");
    while is_held(&lock)? {
        if Instant::now() > deadline {
            bail!("processes of the kernel are still there; see them with 'fuser -v {}'", lock.display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eprintln!("the kernel has ended");
    Ok(())
}

/// Every process of a kernel holds this lock.
fn is_held(lock: &std::path::Path) -> Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    let file = std::fs::File::open(lock).with_context(|| format!("open {}", lock.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error).with_context(|| format!("look at {}", lock.display())),
    }
}

/// A program of the same installation.
fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the folder of sigma")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is missing: an installation is a whole folder, as 'cargo xtask build' makes it",
            path.display()
        );
    }
    Ok(path)
}
