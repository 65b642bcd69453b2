//! The latency-critical service of `sigma bench isolation`: `burner PATH` serves until it is asked to end.

use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Result};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub, dead_code)]
    sigmaos::include_proto!("burner");
}
use stub::{Burner, BurnerServer, Nothing};

/// What a call burns where nobody disturbs it.
const BURN: Duration = Duration::from_micros(300);

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let path = std::env::args().nth(1).ok_or_else(|| Error::new(Code::Invalid, "usage: burner PATH"))?;
        sigma.serve_rpc(&path, BurnerServer(Arc::new(Fire { burn: calibrate() }))).await?;
        sigma.started().await?;
        sigma.wait_kill().await
    })
}

struct Fire {
    /// How much work takes [`BURN`] on this machine.
    burn: u64,
}

impl Burner for Fire {
    async fn burn(&self, _: Request<Nothing>) -> Result<Response<Nothing>> {
        work(self.burn);
        Ok(Nothing {}.into())
    }

    async fn rest(&self, _: Request<Nothing>) -> Result<Response<Nothing>> {
        Ok(Nothing {}.into())
    }
}

/// The work that takes [`BURN`]: the most that was ever done in that time, since others only slow it.
fn calibrate() -> u64 {
    const SAMPLE: u64 = 10_000;
    let sample = || {
        let begun = Instant::now();
        work(SAMPLE);
        begun.elapsed()
    };
    let fastest = (0..200).map(|_| sample()).min().unwrap_or_default().max(Duration::from_nanos(1));
    (SAMPLE as f64 * BURN.as_secs_f64() / fastest.as_secs_f64()) as u64
}

fn work(amount: u64) {
    for step in 0..amount {
        std::hint::black_box(step);
    }
}
