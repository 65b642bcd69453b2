//! named: started by sigmad with a door, serves one namespace until the door closes.

use sigma_abi::{Code, Error};
use sigma_named::options::Options;
use sigma_named::sandbox;
use sigma_named::server::Server;
use sigma_named::store::{Memory, Redb, Store};
use sigmaos::Sigma;
use std::path::Path;
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
    // Before there is a second thread, and before anybody can say anything.
    sandbox::restrict_to(options.store.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let sigma = Sigma::from_door()?;
        // A library that finds a file damaged may give up altogether; the kernel then hears why all the same.
        let (door, options) = (sigma.clone(), Arc::new(options));
        let opening = Arc::clone(&options);
        std::panic::set_hook(Box::new(move |panic| {
            tracing::error!("{panic}");
            door.fail(&damaged(&opening));
        }));
        let server = match open(&options) {
            Ok(server) => server,
            Err(error) => {
                sigma.fail(&error);
                return Err(error.into());
            }
        };
        drop(std::panic::take_hook());
        sigma.accept_all(Arc::new(server));
        sigma.started().await?;
        // The door closes when sigmad ends this process or ends itself; there is nothing left to do then.
        let _ = sigma.wait_kill().await;
        Ok(())
    })
}

fn open(options: &Options) -> Result<Server, Error> {
    let store: Box<dyn Store> = match &options.store {
        Some(path) => Box::new(Redb::open(path)?),
        None => Box::new(Memory::default()),
    };
    Server::open(store, options.limits, options.reserve)
}

fn damaged(options: &Options) -> Error {
    let file = options.store.as_deref().unwrap_or(Path::new("memory"));
    let text = format!(
        "the namespace in {}: it is damaged: put back a copy, or remove the file to begin anew",
        file.display()
    );
    Error::new(Code::Internal, text)
}
