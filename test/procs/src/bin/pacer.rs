//! The client of `sigma bench isolation`: `pacer PATH TARGET METHOD` serves at PATH, and calls METHOD of the service at TARGET at the
//! times that it is given.

use sigmaos::rpc::{Bytes, Device, Request, Response};
use sigmaos::{Code, Error, Result};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinSet};

mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub, dead_code)]
    sigmaos::include_proto!("pacer");
}
use stub::{Nothing, Pacer, PacerServer};

/// Linux may wake a thread so much later than it asks for, and mostly does: see PR_SET_TIMERSLACK of prctl(2).
const SLACK: Duration = Duration::from_micros(50);

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [path, target, method] = &args[..] else {
            return Err(Error::new(Code::Invalid, "usage: pacer PATH TARGET METHOD"));
        };
        let device = sigma.open_rpc(&format!("{target}/rpc")).await?;
        let client = Client { device, method: method.as_str().into() };
        sigma.serve_rpc(path, PacerServer(Arc::new(client))).await?;
        sigma.started().await?;
        sigma.wait_kill().await
    })
}

#[derive(Clone)]
struct Client {
    device: Device,
    method: Arc<str>,
}

impl Client {
    /// Nanoseconds from when a call was due until it was answered.
    async fn call(self, due: Instant) -> Result<u64> {
        let answer = self.device.call_encoded(&self.method, Bytes::new(), Bytes::new()).await;
        let took = Instant::now().saturating_duration_since(due);
        // Whatever is answered is read as nothing: the time is all that counts.
        answer.map(|_| took.as_nanos() as u64)
    }
}

impl Pacer for Client {
    async fn run(&self, request: Request<Nothing>) -> Result<Response<Nothing>> {
        let due =
            request.payload.as_chunks().0.iter().map(|due| Duration::from_nanos(u64::from_le_bytes(*due)));
        let mut clock = clock(due.collect());
        let (mut pending, mut took) = (JoinSet::new(), Vec::new());
        while let Some(due) = clock.recv().await {
            pending.spawn(self.clone().call(due));
            while let Some(done) = pending.try_join_next() {
                took.extend(ended(done)?.to_le_bytes());
            }
        }
        while let Some(done) = pending.join_next().await {
            took.extend(ended(done)?.to_le_bytes());
        }
        Ok(Response::new(Nothing {}).payload(took.into()))
    }
}

/// Gives each of these times, counted from now, when it has come. A runtime's own timers count in milliseconds.
fn clock(due: Vec<Duration>) -> UnboundedReceiver<Instant> {
    let (begun, (given, clock)) = (Instant::now(), unbounded_channel());
    std::thread::spawn(move || {
        for due in due.into_iter().map(|at| begun + at) {
            let left = due.saturating_duration_since(Instant::now());
            if left > SLACK {
                std::thread::sleep(left - SLACK);
            }
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            if given.send(due).is_err() {
                return;
            }
        }
    });
    clock
}

fn ended(done: std::result::Result<Result<u64>, JoinError>) -> Result<u64> {
    done.map_err(|error| Error::new(Code::Internal, format!("a call panicked: {error}")))?
}
