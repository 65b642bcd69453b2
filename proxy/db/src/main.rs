//! db: the SQL databases of a realm, at `/db/NAME/rpc`: SQLite in files of its own, and what the operator has set, a PostgreSQL or a
//! MariaDB.
//!
//! A call becomes a [`talk::Talk`]: a task that has a connection of a [`pool::Pool`] to itself. Guarantees:
//! - One statement, one transaction or one result at a time on a connection, and nobody gets a connection that is in the middle of
//!   something.
//! - What a caller leaves, by going away, by its deadline or by doing nothing, ends at the engine: the statement is cancelled, the
//!   transaction rolled back.
//! - What a leader asks is carried out while no later election counts for the database, and a connection on which it may still be carried
//!   out has ended before one does; see [`sigma_proxy::Fences`].
//! - Memory is bounded whatever the result: pages of rows wait for their reader, and the engine waits for the page.
//! - No secret is in an error, a log line or a reply.

mod base;
mod decode;
mod desk;
mod engine;
mod fault;
mod names;
mod place;
mod pool;
mod session;
mod settings;
mod sql;
mod talk;

use names::Names;
use session::Server;
use sigma_proxy::{Fences, Outside, Proxy, Room, Settings, Start};
use sigmaos::serve::Accept;
use std::process::ExitCode;
use std::sync::Arc;

/// The databases of one realm.
struct Databases;

impl Proxy for Databases {
    const NAME: &'static str = "db";

    fn outside(settings: &Settings) -> anyhow::Result<Outside> {
        let ports: Vec<u16> = settings::places(settings)?.values().map(|place| place.port).collect();
        Ok(if ports.is_empty() { Outside::none() } else { Outside::ports(ports) })
    }

    async fn open(start: Start) -> anyhow::Result<Arc<dyn Accept>> {
        engine::sqlite::ensure_bounded().await?;
        let room = Room::new(&start.sigma, start.dir.clone());
        let names = Names::new(start.dir, settings::places(&start.settings)?, Some(room));
        let fences = Arc::new(Fences::new(&start.sigma, start.mount));
        Ok(Arc::new(Server { names: Arc::new(names), fences }))
    }
}

fn main() -> ExitCode {
    sigma_proxy::main::<Databases>()
}

#[cfg(test)]
mod tests;
