//! mongo: the document database of a realm, at `/mongo`. Started as every proxy is, see `sigma_proxy`.

use sigma_mongo::embedded::{Embedded, Room};
use sigma_mongo::limits::MAX_IN_FLIGHT;
use sigma_mongo::outside::{self, Target};
use sigma_proxy::{Outside, Proxy, Settings, Start};
use sigmaos::Export;
use sigmaos::mongo::stub::MongoServer;
use sigmaos::serve::Accept;
use std::process::ExitCode;
use std::sync::Arc;

/// The file of the embedded store, in the proxy's directory.
const FILE: &str = "mongo.redb";

fn main() -> ExitCode {
    sigma_proxy::main::<Documents>()
}

struct Documents;

impl Proxy for Documents {
    const NAME: &'static str = "mongo";

    fn outside(settings: &Settings) -> anyhow::Result<Outside> {
        let target = Target::read(|key| settings.get(key))?;
        Ok(target.map_or_else(Outside::none, |target| Outside::ports(target.ports())))
    }

    async fn open(start: Start) -> anyhow::Result<Arc<dyn Accept>> {
        let tree = Export::new().in_flight(MAX_IN_FLIGHT);
        let tree = match Target::read(|key| start.settings.get(key))? {
            Some(target) => {
                tree.device("rpc", MongoServer(Arc::new(outside::Outside::open(&target).await?)))?
            }
            None => {
                let file = start.dir.join(FILE);
                let room = Room::new(sigma_proxy::Room::new(&start.sigma, start.dir), file.clone());
                // What can no longer be written is opened anew, by a new process.
                let store = Embedded::open(&file, Some(room), |_| std::process::exit(1))?;
                tree.device("rpc", MongoServer(Arc::new(store)))?
            }
        };
        Ok(Arc::new(tree))
    }
}
