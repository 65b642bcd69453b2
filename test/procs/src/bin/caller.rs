//! The client of `sigma bench rpc`: `caller PATH COUNT WARM-UP IN-FLIGHT BYTES BUSY` calls the echo server at PATH,
//! polling for BUSY microseconds after each frame. When it is
//! connected it has started; on a line of standard input it begins. It prints a line for each call that it made one after the
//! other, its nanoseconds, and at the end `total` and the nanoseconds of all.

use sigmaos::rpc::Bytes;
use sigmaos::{Code, Error, Result, Sigma};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub, dead_code)]
    sigmaos::include_proto!("echo");
}
use stub::{EchoClient, Text};

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let numbers: Vec<usize> = args.iter().skip(1).filter_map(|arg| arg.parse().ok()).collect();
        match (args.first(), &numbers[..]) {
            (Some(path), &[count, warm_up, in_flight, bytes, busy]) => {
                sigma.busy_poll(Duration::from_micros(busy as u64));
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                let caller = Caller { echo, payload: vec![7; bytes].into() };
                run(&sigma, &caller, count, warm_up, in_flight).await
            }
            _ => Err(Error::new(Code::Invalid, "usage: caller PATH COUNT WARM-UP IN-FLIGHT BYTES BUSY")),
        }
    })
}

async fn run(sigma: &Sigma, caller: &Caller, count: usize, warm_up: usize, in_flight: usize) -> Result<()> {
    sigma.started().await?;
    // Whoever feeds no line wants it to begin at once.
    let _ = std::io::stdin().read_line(&mut String::new());
    for _ in 0..warm_up {
        caller.call().await?;
    }
    let (mut report, begun) = (String::new(), Instant::now());
    if in_flight > 1 {
        caller.many(count, in_flight).await?;
    } else {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Instant::now();
            caller.call().await?;
            times.push(started.elapsed());
        }
        times.iter().for_each(|time| writeln!(report, "{}", time.as_nanos()).unwrap_or_default());
    }
    let total = begun.elapsed();
    println!("{report}total {}", total.as_nanos());
    Ok(())
}

#[derive(Clone)]
struct Caller {
    echo: EchoClient,
    payload: Bytes,
}

impl Caller {
    async fn call(&self) -> Result<()> {
        self.echo.say_with(Text { text: "hello".into() }, self.payload.clone()).await.map(drop)
    }

    /// Keeps so many calls in flight until all were made.
    async fn many(&self, count: usize, in_flight: usize) -> Result<()> {
        let left = Arc::new(AtomicUsize::new(count));
        let callers: Vec<_> = (0..in_flight)
            .map(|_| {
                let (caller, left) = (self.clone(), Arc::clone(&left));
                tokio::spawn(async move {
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        caller.call().await?;
                    }
                    Result::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
        }
        Ok(())
    }
}
