//! The proc that resizes one picture. See [`imgresize::worker`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sigmaos::main(async |sigma| imgresize::worker::work(&sigma, std::env::args().skip(1)).await)
}
