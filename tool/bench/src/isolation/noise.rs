//! Best-effort work that takes what it can get: spinners, memory hogs and disk writers.

use super::Bench;
use crate::cpu::Cpu;
use crate::kernel_processes;
use anyhow::Result;
use sigmaos::{Pid, ProcSpec, Sigma, proto};
use std::fs;
use std::time::Duration;

/// Until their memory is there and their first files are written.
const SETTLE: Duration = Duration::from_millis(500);

/// What they are executed as.
const PROGRAM: &str = "flood";

/// The kernel process that works for them alone.
const PROXY: &str = "ux";

pub(super) struct Noise {
    sigma: Sigma,
    /// What the test proc `flood` is asked for. For all kinds at once each proc does all: the scheduler runs one a core while
    /// none is idle.
    kind: String,
    sigmad: u32,
    cores: u32,
}

/// From one look at the machine's CPU to the next.
pub(super) struct Meter<'a> {
    noise: &'a Noise,
    got: Duration,
    cpu: Cpu,
}

/// What best-effort work had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Procs that ran.
    pub(super) procs: usize,
    /// The part of the CPU that it got, of what it got and what stayed idle.
    pub(super) part: f64,
}

impl Noise {
    pub(super) async fn prepare(sigma: Sigma, bench: &Bench, kernel: &proto::KernelInfo) -> Result<Self> {
        sigma.put_file("/bin/flood", fs::read(&bench.flood)?).await?;
        Ok(Self { sigma, kind: bench.noise.clone(), sigmad: kernel.os_pid, cores: kernel.cores })
    }

    /// Starts one for each core.
    pub(super) async fn begin(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for _ in 0..self.cores {
            let spec = ProcSpec::new("/bin/flood")?.args([self.kind.as_str()]).grace(Duration::ZERO);
            pids.push(self.sigma.spawn(spec).await?);
        }
        for pid in &pids {
            self.sigma.wait_start(*pid).await?;
        }
        tokio::time::sleep(SETTLE).await;
        Ok(pids)
    }

    pub(super) async fn end(&self, pids: Vec<Pid>) -> Result<()> {
        for pid in &pids {
            self.sigma.kill(*pid).await?;
        }
        for pid in pids {
            self.sigma.wait_exit(pid).await?;
        }
        Ok(())
    }

    pub(super) fn meter(&self) -> Result<Meter<'_>> {
        Ok(Meter { noise: self, got: self.got()?.0, cpu: Cpu::now()? })
    }

    /// The time that all of them ran, and the proxy that only they use, and how many they are.
    fn got(&self) -> Result<(Duration, usize)> {
        let (mut ran, mut procs) = (Duration::ZERO, 0);
        for process in kernel_processes::family(self.sigmad)? {
            let is_proc = process.is_called(PROGRAM);
            if is_proc || process.program == PROXY {
                ran += Duration::from_nanos(process.ran_ns());
            }
            procs += usize::from(is_proc);
        }
        Ok((ran, procs))
    }
}

impl Meter<'_> {
    pub(super) fn share(self) -> Result<Share> {
        let (got, procs) = self.noise.got()?;
        let got = got.saturating_sub(self.got).as_secs_f64();
        let idle = Cpu::now()?.since(self.cpu).idle.as_secs_f64();
        Ok(Share { procs, part: got / (got + idle) })
    }
}
