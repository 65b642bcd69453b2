//! named: started by sigmad with a door, serves one namespace until the door closes.

use sigma_named::server::Server;
use sigmaos::Sigma;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let sigma = Sigma::from_door()?;
        sigma.accept_all(Arc::new(Server::new()));
        sigma.started().await?;
        // The door closes when sigmad ends this process or ends itself; there is nothing left to do then.
        let _ = sigma.wait_kill().await;
        Ok(())
    })
}
