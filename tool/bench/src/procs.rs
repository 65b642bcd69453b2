//! Procs of a benchmark: spawned, pinned, told to begin, read.

use crate::measured::Measured;
use crate::pin;
use anyhow::{Context, Result, ensure};
use sigmaos::rpc::Bytes;
use sigmaos::{Pid, ProcSpec, Sigma, proto};

/// What each reserves, in thousandths of a core: it is alone on the machine, and must not wait for room.
const MCPU: u32 = 100;

/// Starts an LC proc, whose output is followed, on a core.
///
/// # Errors
/// Where it does not start, with what it said.
pub(crate) async fn start(sigma: &Sigma, binary: &str, args: &[String], core: usize) -> Result<Pid> {
    let spec = ProcSpec::new(binary)?.args(args.iter().cloned()).latency_critical(MCPU);
    let request = proto::SpawnRequest { spec: Some(spec.into()), follow: true, input: true };
    let pid = sigma.spawn_with(request).await?;
    if let Err(error) = sigma.wait_start(pid).await {
        return Err(error).context(read_all(sigma, pid, true).await?);
    }
    move_to(sigma, pid, core).await?;
    Ok(pid)
}

/// Moves a proc to another core.
///
/// # Errors
/// Where it has ended.
pub(crate) async fn move_to(sigma: &Sigma, pid: Pid, core: usize) -> Result<()> {
    pin::process(sigma.info(pid).await?.os_pid, core)
}

/// Lets a proc that measures begin, and reads what it measured.
///
/// # Errors
/// Where it fails, with what it said.
pub(crate) async fn finish(sigma: &Sigma, pid: Pid) -> Result<Measured> {
    sigma.input(pid, Bytes::from_static(b"go\n"), true).await?;
    let out = read_all(sigma, pid, false).await?;
    let status = sigma.wait_exit(pid).await?;
    ensure!(status.is_ok(), "{pid} ended with {status}\n{}", read_all(sigma, pid, true).await?);
    Measured::parse(&out)
}

/// Ends a proc that serves.
///
/// # Errors
/// Where the kernel has gone.
pub(crate) async fn end(sigma: &Sigma, pid: Pid) -> Result<()> {
    sigma.kill(pid).await?;
    sigma.wait_exit(pid).await?;
    Ok(())
}

/// Ends what a benchmark that was killed has left: procs of this program with this argument.
///
/// # Errors
/// Where the kernel has gone.
pub(crate) async fn end_left(sigma: &Sigma, binary: &str, arg: &str) -> Result<()> {
    for proc in sigma.procs(false).await? {
        let spec = proc.spec.unwrap_or_default();
        if spec.binary == binary && spec.args.iter().any(|own| own == arg) {
            end(sigma, proc.pid.parse()?).await?;
        }
    }
    Ok(())
}

/// All that a proc says until its end, on standard output or error.
///
/// # Errors
/// Where the kernel has gone.
pub(crate) async fn read_all(sigma: &Sigma, pid: Pid, stderr: bool) -> Result<String> {
    let mut all = Vec::new();
    loop {
        let output = sigma.follow(pid, stderr, all.len() as u64).await?;
        if output.end {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        all.extend_from_slice(&output.bytes);
    }
}
