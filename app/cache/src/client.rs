//! The client: finds the shard of each key by itself, and follows shards that come and go.

mod many;

use crate::members::{Change, Members};
use crate::proto::{CacheClient, CompareAndSetRequest, Key, PutRequest, Statistics, StatsRequest};
use crate::ring::Ring;
use bytes::Bytes;
use sigmaos::{Code, Error, Result, Sigma};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::task::AbortHandle;

/// How long a call waits for news of the shards while the one that it knows is gone, or holds the key no more.
const NEWS_DEADLINE: Duration = Duration::from_secs(1);

/// A shard that hears of a change later than this client says that a key is another's; it is asked again after this time.
const SHARD_DELAY: Duration = Duration::from_millis(5);

/// A client of the shards below one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sigma: Sigma,
    directory: String,
    shards: watch::Sender<Ring<Shard>>,
    follows: AbortHandle,
}

/// The connection to a shard, made at first use.
type Shard = Arc<OnceCell<CacheClient>>;

impl Drop for Inner {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

/// A value, and the version that [`Cache::compare_and_set`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub bytes: Bytes,
    pub version: u64,
}

/// What [`Cache::compare_and_set`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value was set; its version now.
    Done(u64),
    /// It was not, since this is there.
    Other(Option<Value>),
}

impl Cache {
    /// Follows the shards below `directory`. There may be none yet.
    ///
    /// # Errors
    /// `NotFound` where the directory is missing; as [`Sigma::watch_dir`].
    pub async fn open(sigma: &Sigma, directory: &str) -> Result<Self> {
        let (members, names) = Members::follow(sigma, directory).await?;
        let shards = watch::Sender::new(Ring::default());
        change(&shards, Change::Now(names));
        let follows = tokio::spawn(follow(members, shards.clone())).abort_handle();
        Ok(Self(Arc::new(Inner { sigma: sigma.clone(), directory: directory.to_owned(), shards, follows })))
    }

    /// The value of a key; `None` where there is none, or where its shard has just died.
    ///
    /// # Errors
    /// `Invalid` for an empty key or one of more than [`crate::MAX_KEY`] bytes; `Deadline`.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        let got = self.at(key, |shard| async move {
            shard.get_with(Key { key: Bytes::copy_from_slice(key) }, Bytes::new()).await
        });
        match got.await {
            Ok(reply) => Ok(Some(Value { bytes: reply.payload, version: reply.message.version })),
            Err(error) if matches!(error.code, Code::NotFound | Code::Unreachable) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a value, at most for `ttl`; its version.
    ///
    /// # Errors
    /// `TooLarge` past [`crate::MAX_VALUE`] or the shard's limit; `Unreachable` while there is no shard for the key.
    pub async fn put(&self, key: &[u8], value: impl Into<Bytes>, ttl: Option<Duration>) -> Result<u64> {
        let (value, ttl_ms) = (value.into(), millis(ttl));
        let put = self.at(key, |shard| {
            let request = PutRequest { key: Bytes::copy_from_slice(key), ttl_ms };
            let value = value.clone();
            async move { shard.put_with(request, value).await }
        });
        Ok(put.await?.message.version)
    }

    /// Keeps a value where the one that is there has the `version`; `None`: where there is none.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub async fn compare_and_set(
        &self,
        key: &[u8],
        version: Option<u64>,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<Swap> {
        let (value, ttl_ms, version) = (value.into(), millis(ttl), version.unwrap_or(0));
        let swapped = self.at(key, |shard| {
            let request = CompareAndSetRequest { key: Bytes::copy_from_slice(key), version, ttl_ms };
            let value = value.clone();
            async move { shard.compare_and_set_with(request, value).await }
        });
        let reply = swapped.await?;
        let (done, version) = (reply.message.done, reply.message.version);
        Ok(match (done, version) {
            (true, version) => Swap::Done(version),
            (false, 0) => Swap::Other(None),
            (false, version) => Swap::Other(Some(Value { bytes: reply.payload, version })),
        })
    }

    /// Takes a value away; whether there was one.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        let deleted =
            self.at(key, |shard| async move { shard.delete(Key { key: Bytes::copy_from_slice(key) }).await });
        Ok(deleted.await?.found)
    }

    /// The statistics of each shard that answers, by its name.
    ///
    /// # Errors
    /// None today: a shard that does not answer is left out.
    pub async fn stats(&self) -> Result<Vec<(String, Statistics)>> {
        let shards: Vec<_> =
            self.0.shards.borrow().iter().map(|(name, shard)| (name.to_owned(), Arc::clone(shard))).collect();
        let mut all = Vec::new();
        for (name, shard) in shards {
            let statistics = async { self.connect(&name, &shard).await?.stats(StatsRequest {}).await };
            if let Ok(statistics) = statistics.await {
                all.push((name, statistics));
            }
        }
        Ok(all)
    }

    /// Calls the shard of a key. One that is gone, or that says that the key is another's, is asked again once there is
    /// news of the shards.
    async fn at<T, F: Future<Output = Result<T>>>(
        &self,
        key: &[u8],
        call: impl Fn(CacheClient) -> F,
    ) -> Result<T> {
        let mut news = self.0.shards.subscribe();
        let calls = async {
            loop {
                let found = {
                    let shards = news.borrow_and_update();
                    shards.of(key).map(|(name, shard)| (name.to_owned(), Arc::clone(shard)))
                };
                if let Some((name, shard)) = found {
                    let called = async { call(self.connect(&name, &shard).await?).await };
                    match called.await {
                        Err(error) if matches!(error.code, Code::Stale | Code::Unreachable) => {}
                        done => return done,
                    }
                }
                if !changed(&mut news).await {
                    return Err(self.no_shard());
                }
            }
        };
        tokio::time::timeout(NEWS_DEADLINE, calls).await.unwrap_or_else(|_| Err(self.no_shard()))
    }

    async fn connect(&self, name: &str, shard: &Shard) -> Result<CacheClient> {
        let path = format!("{}/{name}/rpc", self.0.directory);
        let connected = shard.get_or_try_init(|| self.0.sigma.client(&path)).await;
        connected.cloned().map_err(|error| match error.code {
            // Its mount went with it.
            Code::NotFound => Error::new(Code::Unreachable, error.message),
            _ => error,
        })
    }

    fn no_shard(&self) -> Error {
        let text = format!("no shard below {} holds the key now", self.0.directory);
        Error::new(Code::Unreachable, text)
    }
}

/// Waits for news of the shards, or until the shards may have had news themselves. False where none come any more.
async fn changed(news: &mut watch::Receiver<Ring<Shard>>) -> bool {
    match tokio::time::timeout(SHARD_DELAY, news.changed()).await {
        Ok(changed) => changed.is_ok(),
        Err(_) => true,
    }
}

async fn follow(mut members: Members, shards: watch::Sender<Ring<Shard>>) {
    // Without its directory a cache is without shards, and calls say so.
    while let Ok(news) = members.changed().await {
        change(&shards, news);
    }
    change(&shards, Change::Now(BTreeSet::new()));
}

fn change(shards: &watch::Sender<Ring<Shard>>, change: Change) {
    shards.send_modify(|shards| match change {
        Change::Came(name) => {
            // A name that comes again is another life, with another connection.
            shards.remove(&name);
            shards.add(&name, Shard::default);
        }
        Change::Went(name) => shards.remove(&name),
        Change::Now(names) => {
            shards.retain(|name| names.contains(name));
            names.iter().for_each(|name| shards.add(name, Shard::default));
        }
    });
}

fn millis(ttl: Option<Duration>) -> u64 {
    // A time that is shorter than the clock's step is still a time.
    ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
}
