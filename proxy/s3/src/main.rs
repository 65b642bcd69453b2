//! s3: an object store as part of a realm's namespace, at `/s3/<machine>`.
//!
//! The first names below it are buckets, the rest is the key; see [`place`]. Which store it is the operator sets (see [`settings`]); where
//! nothing is set it is one of its own, a directory of the machine's disk. Guarantees:
//! - An object is seen whole or not at all: when it is closed, and never in part. Who reads one that is replaced hears of it, or
//!   reads on in the old one.
//! - The realm's credentials are in this process and go nowhere but to the store: no error, no log and no reply has them.
//! - What a tenant asks costs bounded memory, connections and time, and no wait for the store is longer than a limit; see [`bounds`].
//! - What is kept on this machine takes no more of the disk than the kernel grants, and is on the disk before it is answered.
//! - Nothing outside its directory and its store is reached: names have no `..`, nobody can make a link, and Landlock holds it.

mod bounds;
mod embedded;
mod failure;
mod page;
mod place;
mod plain;
mod reader;
mod remote;
mod server;
mod session;
mod settings;
mod store;
mod stream;
mod task;
mod writer;

use anyhow::Context;
use bounds::{Bounds, MEMORY, OPEN};
use embedded::{Ask, Embedded, Say};
use remote::Remote;
use server::Server;
use settings::Endpoint;
use sigma_proxy::{Fences, Outside, Proxy, Room, Settings, Start};
use sigmaos::Sigma;
use sigmaos::serve::Accept;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Of the descriptors that the system allows, open objects get one part in so many; the others are for connections.
const SHARE_OF_OBJECTS: usize = 4;

struct S3;

impl Proxy for S3 {
    const NAME: &'static str = "s3";

    fn outside(settings: &Settings) -> anyhow::Result<Outside> {
        Ok(Endpoint::of(settings)?.map_or_else(Outside::none, |endpoint| Outside::ports([endpoint.port()])))
    }

    async fn open(start: Start) -> anyhow::Result<Arc<dyn Accept>> {
        let Start { dir, mount, settings, sigma, descriptors } = start;
        let fences = Fences::new(&sigma, mount);
        let bounds = Bounds::new(MEMORY, OPEN.min(descriptors / SHARE_OF_OBJECTS).max(1));
        if let Some(endpoint) = Endpoint::of(&settings)? {
            let (store, left) = Remote::new(endpoint, &dir).context("cannot make a client of S3")?;
            // It ends when there is nothing left to do, or with this process.
            tokio::spawn(store.tidy(left));
            return Ok(Arc::new(Server::new(store, bounds, fences)));
        }
        let (shown, ask) = (dir.display().to_string(), ask(&sigma, &dir));
        // Aside, so that the kernel sees that this lives, however much there is to count.
        let opened = tokio::task::spawn_blocking(move || Embedded::open(dir, ask)).await?;
        let store = opened.with_context(|| format!("cannot open the object store in {shown}"))?;
        // It ends with the kernel's door, and so does this process.
        tokio::spawn(store.settle());
        Ok(Arc::new(Server::new(store, bounds, fences)))
    }
}

/// Asks the kernel for room on the disk.
fn ask(sigma: &Sigma, dir: &std::path::Path) -> Ask {
    let room = Room::new(sigma, PathBuf::from(dir));
    Box::new(move |say| {
        let room = room.clone();
        Box::pin(async move {
            match say {
                Say::Wanted { used, wanted } => room.reach(used, wanted).await,
                Say::Used(used) => room.settle(used).await,
            }
        })
    })
}

fn main() -> ExitCode {
    sigma_proxy::main::<S3>()
}

#[cfg(test)]
mod tests;
