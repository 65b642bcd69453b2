//! The least proc: says that it has started, and ends; with the argument `wait`, when it is asked to. Outside SigmaOS it just
//! ends.

use std::process::ExitCode;

fn main() -> ExitCode {
    if !sigmaos::inside() {
        return ExitCode::SUCCESS;
    }
    sigmaos::main(async |sigma| {
        sigma.started().await?;
        if std::env::args().nth(1).as_deref() == Some("wait") { sigma.wait_kill().await } else { Ok(()) }
    })
}
