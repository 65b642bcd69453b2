//! The main function of a proc.

use crate::{Sigma, Status, door};
use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

/// Exit code of a proc that was not started by SigmaOS, or whose kernel has gone.
const NO_KERNEL: u8 = 3;

/// Whether this process was started by SigmaOS.
pub fn inside() -> bool {
    door::present()
}

/// Runs a proc: connects to its kernel, runs `body`, and tells the kernel how it ended.
///
/// `Ok` ends with status `Ok`; an error ends with status `Err` and its text, which also goes to standard error. A proc
/// that wants another status calls [`Sigma::exited`] itself; what it said first counts.
///
/// One thread runs everything: it starts fastest, and most procs wait more than they compute.
pub fn main<E: Display>(body: impl AsyncFnOnce(Sigma) -> Result<(), E>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot make the runtime: {error}")),
    };
    // What it holds goes with the process, at once. Taking it down bit by bit, after the kernel was told of the end, would only
    // be waited for.
    let runtime = ManuallyDrop::new(runtime);
    runtime.block_on(async {
        let sigma = match Sigma::from_door() {
            Ok(sigma) => sigma,
            Err(error) => return fail(&error),
        };
        let (status, code) = match body(sigma.clone()).await {
            Ok(()) => (Status::ok(), ExitCode::SUCCESS),
            Err(error) => {
                eprintln!("{error}");
                (Status::err(error.to_string()), ExitCode::FAILURE)
            }
        };
        match sigma.exited(status).await {
            Ok(()) => code,
            Err(error) => fail(&error),
        }
    })
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(NO_KERNEL)
}
