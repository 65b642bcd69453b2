//! The manager: resizes pictures with a worker proc for each, once or on request.
//!
//! Its standard output has a line `progress DONE TOTAL` for each task that ended, and its standard error, at the end, a
//! line `INPUT: why` for each that failed.

use imgresize::command::{Command, USAGE};
use imgresize::job::Job;
use imgresize::run::{MAX_SPAWNED, Progress, Run};
use imgresize::{plain, service};
use sigmaos::rpc::Bytes;
use sigmaos::{Sigma, Status};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Exit code for arguments that cannot be understood.
const WRONG_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Sample(out)) => report(plain::sample(&out).map(|()| String::new())),
        Ok(Command::Plain(job)) => {
            report(plain::resize(&job).map(|took| format!("makespan_ms {}\n", took.as_millis())))
        }
        Ok(Command::Serve(path)) => sigmaos::main(async |sigma| service::serve(&sigma, &path).await),
        Ok(Command::Resize(job)) => sigmaos::main(async |sigma| resize(&sigma, job).await),
        // As a proc it says so in its status, too.
        Err(error) if sigmaos::inside() => sigmaos::main(async |_| Err(format!("{error}\n{USAGE}"))),
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(WRONG_ARGUMENTS)
        }
    }
}

async fn resize(sigma: &Sigma, job: Job) -> Result<(), String> {
    let text = |error: sigmaos::Error| error.to_string();
    sigma.started().await.map_err(text)?;
    let run = Run::new(sigma.clone(), job, Arc::new(Semaphore::new(MAX_SPAWNED)));
    let mut running = std::pin::pin!(run.run(|progress| {
        say(&format!("progress {} {}\n", progress.done, progress.total));
    }));
    let ended = tokio::select! {
        ended = &mut running => ended.map_err(text)?,
        _ = sigma.wait_kill() => {
            // The workers' ends are what the run waits for, so both go on together.
            let (ended, ()) = tokio::join!(running, run.stop());
            let Progress { done, total, failed, .. } = ended.map_err(text)?;
            let message = format!("asked to end; {} of {total} pictures were resized", done - failed);
            return sigma.exited(Status::killed(message)).await.map_err(text);
        }
    };
    conclude(sigma, ended).await
}

async fn conclude(sigma: &Sigma, ended: Progress) -> Result<(), String> {
    let Progress { total, failed, failures, .. } = ended;
    for (input, why) in &failures {
        eprintln!("{input}: {why}");
    }
    if failed as usize > failures.len() {
        eprintln!("and {} more", failed as usize - failures.len());
    }
    match failures.first() {
        Some((input, why)) => {
            Err(format!("{failed} of {total} pictures could not be resized; the first, {input}: {why}"))
        }
        None => {
            let message = format!("{total} pictures were resized");
            let done = sigma.exited(Status::Ok { message, data: Bytes::new() }).await;
            done.map_err(|error| error.to_string())
        }
    }
}

/// Ends a mode that runs outside SigmaOS.
fn report(done: Result<String, impl Display>) -> ExitCode {
    match done {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that has gone is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
