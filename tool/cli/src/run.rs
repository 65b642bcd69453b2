//! Running a program as a proc, as if it were a command of this shell.

use crate::context::Context;
use crate::options::Run;
use anstream::eprintln;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use sigmaos::limits::DEFAULT_MEMORY;
use sigmaos::{Cause, Code, Error, Pid, ProcSpec, Sigma, Status, proto};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Exit code of a proc that never started, and of one that was killed.
const NOT_STARTED: u8 = 125;
const KILLED: u8 = 137;

pub(crate) async fn run(context: &Context, options: &Run) -> Result<ExitCode> {
    let sigma = context.sigma().await?;
    let spec = spec(options, &upload(&sigma, &options.binary).await?)?;
    let request = proto::SpawnRequest { spec: Some(spec.into()), follow: true, input: true };
    let pid = sigma.spawn_with(request).await?;
    let input = tokio::spawn(feed(sigma.clone(), pid));
    let interrupt = tokio::spawn(kill_on_interrupt(sigma.clone(), pid));
    let (stdout, stderr) =
        tokio::join!(copy(&sigma, pid, false, std::io::stdout()), copy(&sigma, pid, true, std::io::stderr()));
    let status = sigma.wait_exit(pid).await?;
    input.abort();
    interrupt.abort();
    let info = sigma.info(pid).await?;
    stdout.and(stderr)?;
    if !options.quiet {
        eprintln!("{}", summary(&info, &status));
    }
    Ok(exit_code(&status))
}

fn spec(options: &Run, binary: &str) -> Result<ProcSpec> {
    let mut spec = ProcSpec::new(binary)?
        .args(options.args.iter().cloned())
        .memory_bytes(options.memory.unwrap_or(DEFAULT_MEMORY));
    if let Some(mcpu) = options.lc {
        spec = spec.latency_critical(mcpu);
    }
    spec = spec.restart(options.restart);
    if let Some(grace) = options.grace {
        spec = spec.grace(Duration::from_millis(grace));
    }
    for variable in &options.env {
        let (name, value) = variable.split_once('=').context("--env takes NAME=VALUE")?;
        spec = spec.env(name, value);
    }
    Ok(spec)
}

/// Brings the program into the namespace where it is not there already, and says where it is.
async fn upload(sigma: &Sigma, binary: &str) -> Result<String> {
    let local = PathBuf::from(binary);
    let (name, contents) = if local.is_file() {
        let name = local.file_name().and_then(|name| name.to_str()).context("the program has no name")?;
        (name.to_owned(), std::fs::read(&local).with_context(|| format!("read {binary}"))?)
    } else if binary.starts_with("/bin/") || binary.starts_with("/ux/") {
        return Ok(binary.to_owned());
    } else if binary.contains('/') {
        bail!(Error::new(
            Code::NotFound,
            format!("{binary} is not a file here, nor a path below /bin or /ux")
        ));
    } else {
        match bundled(binary) {
            Some(path) => {
                (binary.to_owned(), std::fs::read(&path).with_context(|| format!("read {}", path.display()))?)
            }
            // It may have been uploaded before; if not, the spawn says so.
            None => return Ok(format!("/bin/{binary}")),
        }
    };
    let path = format!("/bin/{name}");
    sigma.put_file(&path, contents).await?;
    Ok(path)
}

/// A program that comes with SigmaOS.
pub(crate) fn bundled(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let path = own.parent()?.parent()?.join("proc").join(Path::new(name).file_name()?);
    path.is_file().then_some(path)
}

/// Copies one stream of the proc to one of this process.
async fn copy(sigma: &Sigma, pid: Pid, stderr: bool, mut out: impl Write) -> Result<()> {
    let mut offset = 0;
    loop {
        let output = sigma.output(pid, stderr, offset).await?;
        if output.end {
            return Ok(());
        }
        offset = output.offset + output.bytes.len() as u64;
        let written = out.write_all(&output.bytes).and_then(|()| out.flush());
        if let Err(error) = written {
            // As a shell does it: who writes to a pipe that nobody reads is ended.
            sigma.kill(pid).await?;
            return Err(error).context("write the output of the proc");
        }
    }
}

async fn feed(sigma: Sigma, pid: Pid) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 64 << 10];
    loop {
        // An input that cannot be read is at its end.
        let count = stdin.read(&mut buffer).await.unwrap_or(0);
        let piece = Bytes::copy_from_slice(&buffer[..count]);
        // A proc that reads no more needs none.
        if sigma.input(pid, piece, count == 0).await.is_err() || count == 0 {
            return;
        }
    }
}

async fn kill_on_interrupt(sigma: Sigma, pid: Pid) {
    while tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("ending {pid}");
        // It may have ended by itself in the meantime.
        let _ = sigma.kill(pid).await;
    }
}

/// The end and the steps of the start: thesis, Figure 4.2.
fn summary(info: &proto::ProcInfo, status: &Status) -> String {
    let timing = info.timing.unwrap_or_default();
    let ms = |from: u64, to: u64| format!("{:.3}", to.saturating_sub(from) as f64 / 1000.0);
    let mut line = format!("{} {status}", info.pid);
    if timing.started_us > 0 {
        line.push_str(&format!(
            "; started in {} ms (queue {}, binary {}, jail {}, launch {}, start {}), ran {} ms",
            ms(0, timing.started_us),
            ms(0, timing.admitted_us),
            ms(timing.admitted_us, timing.binary_us),
            ms(timing.binary_us, timing.jail_us),
            ms(timing.jail_us, timing.launched_us),
            ms(timing.launched_us, timing.started_us),
            ms(timing.started_us, timing.exited_us),
        ));
    }
    line
}

pub(crate) fn exit_code(status: &Status) -> ExitCode {
    ExitCode::from(match status {
        Status::Ok { .. } => 0,
        Status::Err { .. } => 1,
        Status::Killed { .. } => KILLED,
        Status::Crashed { cause, .. } => match cause {
            Cause::ExitCode(code) => u8::try_from(*code).unwrap_or(1).max(1),
            Cause::Signal(signal) => u8::try_from(128 + signal).unwrap_or(KILLED),
            Cause::OutOfMemory { .. } | Cause::MachineLost | Cause::Evicted { .. } => KILLED,
            Cause::NotStarted(_) => NOT_STARTED,
        },
    })
}
