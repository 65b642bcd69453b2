//! A MongoDB of the operator's, by its own driver.
//!
//! Every call has a longest time, however its caller counts, and says which system it waited for. A server that hangs holds up the
//! calls that wait for it and no others: each waits by itself, and those past the connections that there may be wait for one of them
//! for as long. What the operator set as the password is in no error and no log.

mod errors;
mod service;
mod target;

pub use target::Target;

use crate::cursors::Cursors;
use bson::RawDocumentBuf;
use mongodb::options::{ClientOptions, ConnectionString, Credential};
use mongodb::{Client, Cursor, Database};
use sigma_abi::{Code, Error, Result};
use sigmaos::proto::Caller;
use std::time::Duration;

/// Connections to the system at a time.
const MAX_CONNECTIONS: u32 = 64;

/// How long a call waits for a server that can be reached, and a connection for its first answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long a call waits for its answer. Less than callers wait, so that they hear which system it was.
const CALL_DEADLINE: Duration = Duration::from_secs(25);

/// A MongoDB, and the cursors that are open there.
pub struct Outside {
    client: Client,
    /// None: one with the name of the realm.
    database: Option<String>,
    /// How errors name the system.
    system: String,
    cursors: Cursors<Open>,
}

/// A cursor of the driver, and the document that did not fit into the reply before.
struct Open {
    cursor: Cursor<RawDocumentBuf>,
    next: Option<Vec<u8>>,
}

impl Outside {
    /// Prepares the connections; none is made before it is needed.
    ///
    /// # Errors
    /// `Invalid` for settings that do not fit together.
    pub async fn open(target: &Target) -> Result<Self> {
        let wrong = |_| Error::new(Code::Invalid, "the setting mongo.url is no address of a MongoDB");
        let address = ConnectionString::parse(target.url()).map_err(wrong)?;
        let mut options = ClientOptions::parse(address).await.map_err(wrong)?;
        options.app_name = Some("SigmaOS".to_owned());
        options.max_pool_size = Some(MAX_CONNECTIONS);
        options.connect_timeout = Some(CONNECT_DEADLINE);
        options.server_selection_timeout = Some(CONNECT_DEADLINE);
        let database = target.database().map(str::to_owned).or_else(|| options.default_database.clone());
        if let Some((user, password)) = target.credentials() {
            let mut credential = options.credential.take().unwrap_or_else(Credential::default);
            credential.username = Some(user.to_owned());
            credential.password = Some(password.to_owned());
            options.credential = Some(credential);
        }
        let client = Client::with_options(options).map_err(wrong)?;
        let system = format!("MongoDB at {}", target.hosts());
        Ok(Self { client, database, system, cursors: Cursors::default() })
    }

    fn database(&self, caller: &Caller) -> Database {
        self.client.database(self.database.as_deref().unwrap_or(&caller.realm))
    }

    /// Waits for the system, no longer than a call may.
    async fn ask<T>(
        &self,
        changes: bool,
        call: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(CALL_DEADLINE, call.into_future()).await {
            Ok(answer) => answer.map_err(|error| errors::told(&self.system, changes, &error)),
            Err(_) => {
                let text = format!("{} did not answer within {} s", self.system, CALL_DEADLINE.as_secs());
                Err(Error { maybe_done: changes, ..Error::new(Code::Deadline, text) })
            }
        }
    }
}
