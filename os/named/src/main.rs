//! named: started by sigmad with a door, serves one namespace until the door closes.

use sigma_abi::{Code, Error};
use sigma_named::options::Options;
use sigma_named::server::Server;
use sigma_named::store::{Memory, Redb, Store};
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
    let options = Options::parse(std::env::args().skip(1)).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let sigma = Sigma::from_door()?;
        let server = match open(&options) {
            Ok(server) => server,
            Err(error) => {
                sigma.fail(&error);
                return Err(error.into());
            }
        };
        sigma.accept_all(Arc::new(server));
        sigma.started().await?;
        // The door closes when sigmad ends this process or ends itself; there is nothing left to do then.
        let _ = sigma.wait_kill().await;
        Ok(())
    })
}

fn open(options: &Options) -> Result<Server, Error> {
    let store: Box<dyn Store> = match &options.store {
        // A library that finds a file damaged may give up altogether.
        Some(path) => match std::panic::catch_unwind(|| Redb::open(path)) {
            Ok(store) => Box::new(store?),
            Err(_) => {
                let text = format!("the namespace in {}: it is damaged", path.display());
                return Err(Error::new(
                    Code::Internal,
                    text + ": put back a copy, or remove the file to begin anew",
                ));
            }
        },
        None => Box::new(Memory::default()),
    };
    Server::open(store, options.limits, options.reserve)
}
