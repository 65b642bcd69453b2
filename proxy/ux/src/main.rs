//! ux: a realm's directory on the disk of one machine, shown as part of the realm's namespace at `/ux/<machine>`.
//!
//! Started as every proxy is, see `sigma_proxy`. Guarantees:
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
mod pieces;
mod root;
mod server;
mod session;

use account::Ask;
use anyhow::Context;
use root::Root;
use server::Server;
use sigma_proxy::{Fences, Outside, Proxy, Settings, Start};
use sigmaos::limits::DISK_RESERVE;
use sigmaos::serve::Accept;
use sigmaos::stub::RoomClient;
use sigmaos::{Sigma, proto};
use std::process::ExitCode;
use std::sync::Arc;

/// Of the descriptors that this process may have, files get one half; the other is for connections.
const SHARE_OF_FILES: usize = 2;

fn main() -> ExitCode {
    sigma_proxy::main::<Ux>()
}

/// The proxy of a realm's files on this machine.
struct Ux;

impl Proxy for Ux {
    const NAME: &'static str = "ux";

    fn outside(_: &Settings) -> anyhow::Result<Outside> {
        Ok(Outside::none())
    }

    async fn open(start: Start) -> anyhow::Result<Arc<dyn Accept>> {
        let root = Arc::new(Root::open(&start.dir, ask(&start.sigma), DISK_RESERVE)?);
        // Aside, so that the kernel sees that this lives, however much there is to count.
        let counting = Arc::clone(&root);
        let counted = tokio::task::spawn_blocking(move || counting.count()).await.context("cannot count")?;
        counted.with_context(|| format!("cannot count what is in {}", start.dir.display()))?;
        let account = Arc::clone(root.account());
        // It ends with the kernel's door, and so does this process.
        tokio::spawn(async move { account.give_back().await });
        let fences = Fences::new(&start.sigma, start.mount);
        Ok(Arc::new(Server::new(root, (start.descriptors / SHARE_OF_FILES).max(1), fences)))
    }
}

/// Asks the kernel for room on the disk.
fn ask(sigma: &Sigma) -> Ask {
    let kernel = RoomClient(sigma.kernel().clone());
    Box::new(move |used, wanted| {
        let kernel = kernel.clone();
        Box::pin(async move { Ok(kernel.take(proto::RoomRequest { used, wanted }).await?.granted) })
    })
}

#[cfg(test)]
mod tests;
