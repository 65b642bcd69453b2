//! An open-loop load: calls are made when they are due, whether or not those before them have been answered, and their times
//! count from then. Each service has a client of its own, the test proc `pacer`, which is latency-critical as it is itself.

use super::Bench;
use crate::cpu::{Cpu, Waits};
use crate::kernel_processes;
use crate::load::{Plan, Spacing, Step};
use crate::report::histogram;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use sigmaos::rpc::Device;
use sigmaos::{ProcSpec, Sigma, proto};
use std::time::Duration;
use tokio::task::JoinSet;

/// Empty calls a second.
const EMPTY_RATE: f64 = 200.0;

/// Burning calls a second of a service at first, which no machine is too slow for, and how often the rate is corrected.
const FIRST_RATE: f64 = 300.0;
const CORRECTIONS: usize = 3;

/// The most that one correction raises it by.
const MOST_RISE: f64 = 3.0;

/// Keeps the rate above none, where something else keeps the cores busy.
const LEAST_RATE: f64 = 50.0;

/// What a service reserves that burns 60 % of a core, and its client; one that hardly does anything, and its client.
const BURN_MCPU: [u32; 2] = [700, 150];
const EMPTY_MCPU: [u32; 2] = [50, 50];

/// What the clients are executed as.
const PACER: &str = "pacer";

/// The clients of the services, and how often they call.
pub(super) struct Load {
    burns: Vec<Device>,
    empty: Device,
    /// Calls a second of each service that burns.
    pub(super) rate: f64,
    sigmad: u32,
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) burn: Measured,
    pub(super) empty: Measured,
    /// How long a client waited for a core each time that it was woken, in nanoseconds on average. A call has it twice, and its
    /// service cannot help it.
    pub(super) caller_wait: f64,
}

/// Times of calls, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) mean: f64,
    pub(super) p99: f64,
}

impl Load {
    /// Starts a service a core, one for empty calls, and their clients.
    pub(super) async fn prepare(sigma: &Sigma, bench: &Bench, sigmad: u32, cores: u32) -> Result<Self> {
        for (name, program) in [("burner", &bench.burner), (PACER, &bench.pacer)] {
            let contents = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
            sigma.put_file(&format!("/bin/{name}"), contents).await?;
        }
        let mut burns = Vec::new();
        for core in 0..cores {
            burns.push(serve(sigma, &format!("burn-{core}"), "Burner.Burn", BURN_MCPU).await?);
        }
        let empty = serve(sigma, "empty", "Burner.Rest", EMPTY_MCPU).await?;
        Ok(Self { burns, empty, rate: FIRST_RATE, sigmad })
    }

    /// Finds the rate at which this part of the cores is busy: with the calls, and with making and carrying them.
    pub(super) async fn calibrate(&mut self, part: f64, time: Duration) -> Result<()> {
        for _ in 0..CORRECTIONS {
            let before = Cpu::now()?;
            self.run(time).await?;
            let busy = Cpu::now()?.since(before).load();
            self.rate = (self.rate * (part / busy).min(MOST_RISE)).max(LEAST_RATE);
        }
        Ok(())
    }

    /// Calls for so long.
    pub(super) async fn run(&self, time: Duration) -> Result<Run> {
        let (mut burns, before) = (JoinSet::new(), self.waits()?);
        for (seed, pacer) in self.burns.iter().enumerate() {
            burns.spawn(calls(pacer.clone(), self.rate, seed as u64 + 1, time));
        }
        let empty = calls(self.empty.clone(), EMPTY_RATE, 99, time).await?;
        let mut burnt = histogram()?;
        while let Some(done) = burns.join_next().await {
            burnt.add(done.context("a stream of calls panicked")??)?;
        }
        let caller_wait = self.waits()?.mean_since(before);
        Ok(Run { burn: measured(&burnt), empty: measured(&empty), caller_wait })
    }

    /// Of all clients.
    fn waits(&self) -> Result<Waits> {
        let clients = kernel_processes::procs(self.sigmad, PACER)?;
        ensure!(clients.len() == self.burns.len() + 1, "{} of the clients are there", clients.len());
        clients.iter().map(|client| Waits::of(client.pid())).sum()
    }
}

/// Starts a service, and who calls it.
async fn serve(sigma: &Sigma, name: &str, method: &str, mcpu: [u32; 2]) -> Result<Device> {
    let (path, client) = (format!("/{name}"), format!("/{name}-client"));
    let programs = [("burner", &[&path[..]][..]), (PACER, &[&client, &path, method])];
    for ((program, args), mcpu) in programs.into_iter().zip(mcpu) {
        let spec =
            ProcSpec::new(&format!("/bin/{program}"))?.args(args.iter().copied()).latency_critical(mcpu);
        let pid = sigma.spawn(spec).await?;
        sigma.wait_start(pid).await?;
    }
    // It answers when all calls were made.
    Ok(sigma.open_rpc(&format!("{client}/rpc")).await?.deadline(None))
}

/// Has calls made at random times, `rate` a second on average.
async fn calls(pacer: Device, rate: f64, seed: u64, time: Duration) -> Result<Histogram<u64>> {
    let plan = Plan { steps: vec![Step { rate, time }], spacing: Spacing::Poisson, seed };
    let due: Vec<u8> = plan.arrivals().flat_map(|at| (at.as_nanos() as u64).to_le_bytes()).collect();
    let answer = pacer.call::<proto::Empty>("Pacer.Run", &proto::Empty {}, due.into()).await?;
    let mut times = histogram()?;
    for took in answer.payload.as_chunks().0 {
        times.record(u64::from_le_bytes(*took).max(1))?;
    }
    Ok(times)
}

fn measured(times: &Histogram<u64>) -> Measured {
    Measured { mean: times.mean(), p99: times.value_at_quantile(0.99) as f64 }
}
