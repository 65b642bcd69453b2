//! An open-loop load: calls are made when they are due, whether or not those before them have been answered, and their times
//! count from then.

use crate::cpu::{Cpu, Waits};
use crate::load::clock::Clock;
use crate::load::{Plan, Spacing, Step};
use crate::report::histogram;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use sigmaos::rpc::Device;
use sigmaos::{ProcSpec, Sigma, proto};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
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

/// What a service reserves that burns 60 % of a core, and one that hardly does anything.
const BURN_MCPU: u32 = 700;
const EMPTY_MCPU: u32 = 50;

/// The services, and how often they are called.
pub(super) struct Load {
    burns: Vec<Device>,
    empty: Device,
    /// Calls a second of each service that burns.
    pub(super) rate: f64,
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) burn: Measured,
    pub(super) empty: Measured,
    /// How long this process, which makes the calls and is no LC proc, waited for a core each time that it was woken, in
    /// nanoseconds on average. A call has it twice, and no service can help it.
    pub(super) caller_wait: f64,
}

/// Times of calls, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) mean: f64,
    pub(super) p99: f64,
}

impl Load {
    /// Starts a service a core, and one for empty calls.
    pub(super) async fn prepare(sigma: &Sigma, burner: &Path, cores: u32) -> Result<Self> {
        sigma.put_file("/bin/burner", std::fs::read(burner)?).await?;
        let mut burns = Vec::new();
        for core in 0..cores {
            burns.push(serve(sigma, &format!("/burn-{core}"), BURN_MCPU).await?);
        }
        Ok(Self { burns, empty: serve(sigma, "/empty", EMPTY_MCPU).await?, rate: FIRST_RATE })
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
        let burnt = Arc::new(Mutex::new(histogram()?));
        let empty = Arc::new(Mutex::new(histogram()?));
        let mut streams = JoinSet::new();
        let before = Waits::of_this_thread()?;
        for (seed, device) in self.burns.iter().enumerate() {
            let stream =
                calls(device.clone(), "Burner.Burn", self.rate, seed as u64 + 1, time, Arc::clone(&burnt));
            streams.spawn(stream);
        }
        streams.spawn(calls(self.empty.clone(), "Burner.Rest", EMPTY_RATE, 99, time, Arc::clone(&empty)));
        while let Some(done) = streams.join_next().await {
            done.context("a stream of calls panicked")??;
        }
        let caller_wait = Waits::of_this_thread()?.mean_since(before);
        Ok(Run { burn: measured(&burnt), empty: measured(&empty), caller_wait })
    }
}

async fn serve(sigma: &Sigma, path: &str, mcpu: u32) -> Result<Device> {
    let spec = ProcSpec::new("/bin/burner")?.args([path]).latency_critical(mcpu);
    let pid = sigma.spawn(spec).await?;
    sigma.wait_start(pid).await?;
    Ok(sigma.open_rpc(&format!("{path}/rpc")).await?)
}

/// Makes calls at random times, `rate` a second on average.
async fn calls(
    device: Device,
    method: &'static str,
    rate: f64,
    seed: u64,
    time: Duration,
    times: Arc<Mutex<Histogram<u64>>>,
) -> Result<()> {
    let plan = Plan { steps: vec![Step { rate, time }], spacing: Spacing::Poisson, seed };
    let begun = Instant::now();
    let mut clock = Clock::start(begun, plan.arrivals())?;
    let mut pending = JoinSet::new();
    while let Some(at) = clock.next().await? {
        let due = begun + at;
        let (device, times) = (device.clone(), Arc::clone(&times));
        pending.spawn(async move {
            // Whatever is answered is read as nothing: the time is all that counts.
            let answer = device.call::<proto::Empty>(method, &proto::Empty {}, Default::default()).await;
            let took = Instant::now().saturating_duration_since(due);
            answer?;
            times.lock().unwrap_or_else(PoisonError::into_inner).record(took.as_nanos().max(1) as u64)?;
            anyhow::Ok(())
        });
        while let Some(done) = pending.try_join_next() {
            done.context("a call panicked")??;
        }
    }
    while let Some(done) = pending.join_next().await {
        done.context("a call panicked")??;
    }
    Ok(())
}

fn measured(times: &Mutex<Histogram<u64>>) -> Measured {
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    Measured { mean: times.mean(), p99: times.value_at_quantile(0.99) as f64 }
}
