//! The connection to the server, which is made again when the server was.

use super::proto;
use super::stub::MongoClient;
use crate::rpc::Response;
use crate::{Code, Error, Result, Sigma};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a call that does no harm is sent again while its server is away.
const AGAIN_FOR: Duration = Duration::from_secs(10);

/// Between two such attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// When a call is sent again after its connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It changes nothing.
    Always,
    /// Where it surely was not carried out.
    Undone,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    sigma: Sigma,
    path: Arc<str>,
    deadline: Option<Duration>,
    client: Arc<Mutex<Option<MongoClient>>>,
}

impl Link {
    pub(super) async fn open(sigma: &Sigma, path: &str) -> Result<Self> {
        let (deadline, client) = (Some(crate::limits::DEFAULT_DEADLINE), Arc::default());
        let link = Self { sigma: sigma.clone(), path: Arc::from(path), deadline, client };
        link.client().await?;
        Ok(link)
    }

    pub(super) fn deadline(&self, deadline: Option<Duration>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Calls the server, and again where it went away and that does no harm.
    pub(super) async fn call<T, F: Future<Output = Result<Response<T>>>>(
        &self,
        again: Again,
        run: impl Fn(MongoClient) -> F,
    ) -> Result<Response<T>> {
        let begun = Instant::now();
        loop {
            let error = match self.client().await {
                Ok(client) => match run(client.clone()).await {
                    Err(error) if harmless(again, &client, &error) => error,
                    answered => return answered,
                },
                Err(error) if error.code == Code::Unreachable => error,
                Err(error) => return Err(error),
            };
            if begun.elapsed() > AGAIN_FOR {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells the server that nobody wants the rest of a cursor. One that does not hear of it closes the cursor in a while.
    pub(super) fn close(&self, cursor: u64) {
        let kept = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = kept {
            client.0.notify("Mongo.CloseCursor", &proto::CursorRequest { cursor });
        }
    }

    /// The client that is connected, or a new one.
    async fn client(&self) -> Result<MongoClient> {
        let kept = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connected = kept.filter(|client| client.0.connection().closed().is_none());
        let client = match connected {
            Some(client) => client,
            None => {
                let client: MongoClient = self.sigma.client(&self.path).await?;
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
                client
            }
        };
        Ok(MongoClient(client.0.deadline(self.deadline)))
    }
}

fn harmless(again: Again, client: &MongoClient, error: &Error) -> bool {
    let broken = client.0.connection().closed().is_some();
    broken && (again == Again::Always || !error.maybe_done)
}
