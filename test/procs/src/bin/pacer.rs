//! The client of `sigma bench isolation`: `pacer PATH TARGET METHOD` serves at PATH, and calls METHOD of the service at TARGET at the
//! times that it is given.

use sigma_pace::Clock;
use sigma_pace::proto::{Course, Pacer, PacerServer, Times};
use sigmaos::rpc::{Bytes, Device, Request, Response};
use sigmaos::{Code, Error, Result};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinSet};

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
    async fn run(&self, request: Request<Course>) -> Result<Response<Times>> {
        let (begun, due) = (Instant::now(), request.message.due_ns);
        let no_timer =
            |error: std::io::Error| Error::new(Code::Internal, format!("the pacer's clock: {error}"));
        let mut clock = Clock::start(begun, due.into_iter().map(Duration::from_nanos)).map_err(no_timer)?;
        let (mut pending, mut took_ns) = (JoinSet::new(), Vec::new());
        while let Some(at) = clock.next().await.map_err(no_timer)? {
            pending.spawn(self.clone().call(begun + at));
            while let Some(done) = pending.try_join_next() {
                took_ns.push(ended(done)?);
            }
        }
        while let Some(done) = pending.join_next().await {
            took_ns.push(ended(done)?);
        }
        Ok(Times { took_ns }.into())
    }
}

fn ended(done: std::result::Result<Result<u64>, JoinError>) -> Result<u64> {
    done.map_err(|error| Error::new(Code::Internal, format!("a call panicked: {error}")))?
}
