//! The processes of a part of the social network, found and killed.

use super::REALM;
use crate::kernel_processes;
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sigmaos::{Sigma, proto};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program of a shard of the cache, in the realm.
const SHARD: &str = "/bin/cache-shard";

/// The program of the proxy of documents.
const MONGO: &str = "mongo";

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All shards of the cache.
    Cache,
    /// The proxy of the realm's documents.
    Mongo,
}

/// Processes, held by descriptors: no other one can be taken for one of them, whatever becomes of it.
pub(super) struct Victims {
    part: Part,
    processes: Vec<(u32, OwnedFd)>,
}

/// A kill to come, on a thread of its own: the load's thread must not be late.
pub(super) struct Kill {
    call_off: Sender<()>,
    thread: JoinHandle<Result<Instant>>,
}

impl Victims {
    /// Finds the processes of a part, among those below sigmad.
    ///
    /// # Errors
    /// Where there are none.
    pub(super) async fn find(kernel: &proto::KernelInfo, sigma: &Sigma, part: Part) -> Result<Self> {
        let mut found = kernel_processes::family(kernel.os_pid)?;
        match part {
            Part::Cache => {
                let shards = shards(sigma).await?;
                found.retain(|process| shards.contains(&process.pid()));
            }
            Part::Mongo => {
                found.retain(|process| process.program == MONGO && serves(&process.words(), REALM));
            }
        }
        ensure!(!found.is_empty(), "{part}: no process of that is below the kernel's, {}", kernel.os_pid);
        let hold = |process: kernel_processes::Process| {
            let pid = Pid::from_raw(process.pid() as i32).context("a process without a number")?;
            let descriptor = pidfd_open(pid, PidfdFlags::empty())
                .with_context(|| format!("{part}: process {} cannot be held", process.pid()))?;
            Ok((process.pid(), descriptor))
        };
        Ok(Self { part, processes: found.into_iter().map(hold).collect::<Result<_>>()? })
    }

    pub(super) fn part(&self) -> Part {
        self.part
    }

    pub(super) fn count(&self) -> usize {
        self.processes.len()
    }

    /// Kills all of them after this time, unless what this gives is dropped before.
    pub(super) fn kill_after(self, time: Duration) -> Kill {
        let (call_off, called_off) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || match called_off.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => self.kill(),
            _ => bail!("{}: nobody waits any more for what would be killed", self.part),
        });
        Kill { call_off, thread }
    }

    fn kill(&self) -> Result<Instant> {
        let now = Instant::now();
        for (pid, descriptor) in &self.processes {
            pidfd_send_signal(descriptor, Signal::KILL).map_err(|error| match error {
                Errno::PERM => anyhow!(
                    "{}: process {pid} may not be killed by this user: run the benchmark as who runs the kernel",
                    self.part
                ),
                Errno::SRCH => anyhow!("{}: process {pid} has ended before it was to be killed", self.part),
                error => anyhow!("{}: process {pid} cannot be killed: {error}", self.part),
            })?;
        }
        Ok(now)
    }
}

impl Kill {
    /// When it happened. It is waited for.
    ///
    /// # Errors
    /// Where one could not be killed.
    pub(super) fn finish(self) -> Result<Instant> {
        let killed = self.thread.join().map_err(|_| anyhow!("the thread that kills panicked"))?;
        drop(self.call_off);
        killed
    }
}

/// The processes of the shards, as the kernel knows them.
async fn shards(sigma: &Sigma) -> Result<BTreeSet<u32>> {
    let procs = sigma.procs(false).await?;
    let of_the_cache = |proc: &proto::ProcInfo| proc.spec.as_ref().is_some_and(|spec| spec.binary == SHARD);
    Ok(procs.iter().filter(|proc| of_the_cache(proc)).map(|proc| proc.os_pid).collect())
}

/// Whether a proxy that was executed with these words serves a realm: its directory lies in the realm's.
fn serves<W: AsRef<OsStr>>(words: &[W], realm: &str) -> bool {
    let dirs = words.windows(2).filter(|pair| pair[0].as_ref() == "--dir").map(|pair| Path::new(&pair[1]));
    dirs.filter_map(Path::parent).any(|dir| dir.file_name().is_some_and(|name| name == realm))
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cache => "the shards of the cache",
            Self::Mongo => "the proxy of /mongo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Victims) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let descriptor = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let processes = vec![(child.id(), descriptor)];
        (child, Victims { part: Part::Mongo, processes })
    }

    #[test]
    fn it_is_killed_when_it_is_time() {
        let (mut child, victims) = sleeper();
        let begun = Instant::now();
        let killed = victims.kill_after(Duration::from_millis(20)).finish().unwrap();
        assert!(killed - begun >= Duration::from_millis(20));
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_kill_that_is_called_off_harms_nobody() {
        let (mut child, victims) = sleeper();
        let Kill { call_off, thread } = victims.kill_after(Duration::from_secs(1000));
        drop(call_off);
        assert!(thread.join().unwrap().is_err());
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_has_ended_is_told() {
        let (mut child, victims) = sleeper();
        child.kill().unwrap();
        child.wait().unwrap();
        let error = victims.kill_after(Duration::ZERO).finish().unwrap_err().to_string();
        assert!(error.contains("/mongo") && error.contains("has ended before"), "{error}");
    }

    #[test]
    fn a_proxy_is_of_the_realm_in_whose_directory_it_keeps_its_own() {
        let words = ["/dist/bin/mongo", "--dir", "/state/realm/shop/mongo", "--mount", "/mongo"];
        assert!(serves(&words, "shop"));
        assert!(!serves(&words, "mongo") && !serves(&words, "realm") && !serves(&words[..2], "shop"));
    }
}
