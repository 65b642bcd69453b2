//! ux: a realm's directory on the disk of one machine, shown as part of the realm's namespace at `/ux/<machine>`.
//!
//! Started by sigmad with a door (descriptor 3) and a lock (descriptor 4, which it only holds); serves until the door
//! closes. Guarantees:
//! - Nothing outside the directory is reached, whatever a path says and whoever moves or links things meanwhile: each
//!   access is one walk by the system, `openat2` beneath the open directory, which refuses links and other file
//!   systems. Landlock holds the process to the directory once more.
//! - A file that is put, or opened to be created and cut, is seen whole or not at all; see [`draft`].
//! - A tenant's bytes, names and hurry cost bounded memory and descriptors: past a limit it is told, or waits.
//!
//! - The realm's files take no more of the disk than the kernel grants; see [`account`].
//!
//! It does not call fsync: what was written in the seconds before a machine lost power may be missing.

mod account;
mod count;
mod draft;
mod errno;
mod list;
mod open;
mod root;
mod sandbox;
mod server;
mod session;

use account::Ask;
use anyhow::{Context, bail};
use root::Root;
use server::Server;
use sigmaos::limits::DISK_RESERVE;
use sigmaos::stub::RoomClient;
use sigmaos::{Sigma, proto};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Threads for what may take long. Few, since they wait for one disk.
const BLOCKING_THREADS: usize = 8;

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
    let directory = directory(std::env::args_os().skip(1))?;
    let files = sandbox::raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot make the runtime")?;
    runtime.block_on(async {
        let sigma = Sigma::from_door()?;
        let root = Arc::new(Root::open(&directory, ask(&sigma), DISK_RESERVE)?);
        // Before there is a second thread: Landlock holds the thread that asks and those that it makes.
        sandbox::restrict_to(root.top());
        // Aside, so that the kernel sees that this lives, however much there is to count.
        let counting = Arc::clone(&root);
        let counted = tokio::task::spawn_blocking(move || counting.count()).await.context("cannot count")?;
        counted.with_context(|| format!("cannot count what is in {}", directory.display()))?;
        let account = Arc::clone(root.account());
        // It ends with the kernel's door, and so does this process.
        tokio::spawn(async move { account.give_back().await });
        sigma.accept_all(Arc::new(Server::new(root, files)));
        sigma.started().await?;
        // The door closes when sigmad ends this process or ends itself; there is nothing left to do then.
        let _ = sigma.wait_kill().await;
        Ok(())
    })
}

/// Asks the kernel for room on the disk.
fn ask(sigma: &Sigma) -> Ask {
    let kernel = RoomClient(sigma.kernel().clone());
    Box::new(move |used, wanted| {
        let kernel = kernel.clone();
        Box::pin(async move { Ok(kernel.take(proto::RoomRequest { used, wanted }).await?.granted) })
    })
}

fn directory(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> anyhow::Result<PathBuf> {
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(flag), Some(directory), None) if flag == "--root" => Ok(directory.into()),
        _ => bail!("usage: ux --root DIR; it is started by sigmad, not by hand"),
    }
}

#[cfg(test)]
mod tests;
