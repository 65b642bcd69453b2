//! The least proc: says that it has started, and ends. Outside SigmaOS it is the floor of `sigma bench start`.

use std::process::ExitCode;

fn main() -> ExitCode {
    if !sigmaos::inside() {
        return ExitCode::SUCCESS;
    }
    sigmaos::main(async |sigma| sigma.started().await)
}
