//! The program of the social network: `socialnet up` starts it, and each of its services is a proc of the same program.

use clap::Parser;
use sigmaos::Sigma;
use socialnet::options::{Command, Options};
use socialnet::{seed, service, up};
use std::process::ExitCode;

/// Exit code for arguments that cannot be understood.
const WRONG_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    match Options::try_parse() {
        Ok(options) => sigmaos::main(async |sigma| run(&sigma, options.command).await),
        // As a proc it says so in its status, too.
        Err(error) if sigmaos::inside() && error.use_stderr() => sigmaos::main(async |_| Err(error)),
        Err(error) => {
            // Where nobody reads it there is nobody to tell.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(WRONG_ARGUMENTS) } else { ExitCode::SUCCESS }
        }
    }
}

async fn run(sigma: &Sigma, command: Command) -> sigmaos::Result<()> {
    match command {
        Command::Up(options) => up::up(sigma, &options).await,
        Command::Down => up::down(sigma).await,
        Command::Seed(options) => seed::seed(sigma, &options).await,
        Command::User { password_cost } => service::user::serve(sigma, password_cost).await,
        Command::Graph => service::graph::serve(sigma).await,
        Command::Post => service::post::serve(sigma).await,
        Command::Timeline => service::timeline::serve(sigma).await,
        Command::Home => service::home::serve(sigma).await,
        Command::Url { public_url } => service::url::serve(sigma, &public_url).await,
        Command::Media => service::media::serve(sigma).await,
        Command::Text => service::text::serve(sigma).await,
        Command::Compose => service::compose::serve(sigma).await,
        Command::Front { port } => service::front::serve(sigma, port).await,
    }
}
