//! The proc of one shard: a store that is served, and the keys in it that are its own.

use crate::members::{Change, Members};
use crate::proto::{
    AddRequest, Added, Cache, CacheServer, CompareAndSetRequest, Deleted, Entries, Entry, Key, Keys,
    PutRequest, Statistics, StatsRequest, Swapped,
};
use crate::ring::Ring;
use crate::store::{Compared, Store};
use crate::{MAX_KEY, MAX_KEYS, MAX_VALUE};
use bytes::Bytes;
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Result, Sigma};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that a shard keeps unless it is told otherwise.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// A shard. Its name in the directory is its pid, so that another life of it is another shard.
#[derive(Debug)]
pub struct Shard {
    name: String,
    begun: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    store: Store,
    ring: Ring<()>,
}

/// Serves a shard below `directory`, which is made where it is missing, until somebody asks this proc to end.
///
/// # Errors
/// As [`Sigma::create_dir_all`] and [`Sigma::serve_rpc`]; `NotFound` when the directory was removed.
pub async fn serve(sigma: &Sigma, directory: &str, limit_bytes: u64) -> Result<()> {
    sigma.create_dir_all(directory).await?;
    let name = sigma.me().await?.pid.clone();
    let shard = Arc::new(Shard::new(&name, limit_bytes));
    let (mut members, names) = Members::follow(sigma, directory).await?;
    shard.change(Change::Now(names));
    sigma.serve_rpc(&format!("{directory}/{name}"), CacheServer(Arc::clone(&shard))).await?;
    sigma.started().await?;
    tokio::select! {
        ended = sigma.wait_kill() => ended,
        broken = async {
            loop {
                match members.changed().await {
                    Ok(change) => shard.change(change),
                    Err(error) => return error,
                }
            }
        } => Err(broken),
    }
}

impl Shard {
    fn new(name: &str, limit_bytes: u64) -> Self {
        // At random: a shard that begins anew must not give versions again that somebody remembers from a life before, whatever
        // the clock does meanwhile. Half of all numbers follow.
        let first_version = RandomState::new().build_hasher().finish() >> 1;
        let kept = Kept { store: Store::new(limit_bytes, first_version), ring: Ring::default() };
        Self { name: name.to_owned(), begun: Instant::now(), kept: Mutex::new(kept) }
    }

    /// Follows the shards that there are: what is another's now is dropped, and not kept for the day on which it would be
    /// this one's again, since it may change there.
    fn change(&self, change: Change) {
        let mut kept = self.lock();
        match change {
            Change::Came(name) => kept.ring.add(&name, || ()),
            Change::Went(name) => kept.ring.remove(&name),
            Change::Now(names) => {
                kept.ring = Ring::default();
                names.iter().for_each(|name| kept.ring.add(name, || ()));
                // Shards may have come and gone that nobody told of, and held any key.
                kept.store.hand_over(|_| false);
            }
        }
        kept.ring.add(&self.name, || ());
        let Kept { store, ring } = &mut *kept;
        store.hand_over(|key| ring.of(key).is_some_and(|(name, ())| name == self.name));
    }

    /// The store, for a key that is this shard's.
    fn of(&self, key: &[u8]) -> Result<MutexGuard<'_, Kept>> {
        if key.is_empty() || key.len() > MAX_KEY {
            let text = format!("a key of {} bytes: it has 1 to {MAX_KEY}", key.len());
            return Err(Error::new(Code::Invalid, text));
        }
        let kept = self.lock();
        match kept.ring.of(key) {
            Some((name, ())) if name == self.name => Ok(kept),
            _ => Err(Error::new(Code::Stale, format!("shard {} does not hold this key", self.name))),
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for Shard {
    async fn get(&self, request: Request<Key>) -> Result<Response<Entry>> {
        let key = &request.message.key;
        let found = self.of(key)?.store.get(key, self.now_ms());
        let (version, value) = found.ok_or_else(|| Error::new(Code::NotFound, "the key has no value"))?;
        Ok(Response::new(Entry { version }).payload(value))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<Entry>> {
        let PutRequest { key, ttl_ms } = request.message;
        let value = own(&request.payload)?;
        let version = self.of(&key)?.store.put(own(&key)?, value, ttl_ms, self.now_ms());
        Ok(Entry { version: version.ok_or_else(|| too_large(request.payload.len()))? }.into())
    }

    async fn compare_and_set(&self, request: Request<CompareAndSetRequest>) -> Result<Response<Swapped>> {
        let CompareAndSetRequest { key, version, ttl_ms } = request.message;
        let value = own(&request.payload)?;
        let now_ms = self.now_ms();
        let compared = self.of(&key)?.store.compare_and_set(own(&key)?, version, value, ttl_ms, now_ms);
        Ok(match compared {
            Compared::Set(version) => Swapped { done: true, version }.into(),
            Compared::Other(None) => Swapped { done: false, version: 0 }.into(),
            Compared::Other(Some((version, value))) => {
                Response::new(Swapped { done: false, version }).payload(value)
            }
        })
    }

    async fn delete(&self, request: Request<Key>) -> Result<Response<Deleted>> {
        let key = &request.message.key;
        let found = self.of(key)?.store.delete(key, self.now_ms());
        Ok(Deleted { found }.into())
    }

    async fn get_many(&self, request: Request<Keys>) -> Result<Response<Entries>> {
        let keys = &request.message.keys;
        bounded(keys)?;
        let now_ms = self.now_ms();
        let mut kept = self.lock();
        let (mut lengths, mut values) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            let own = kept.ring.of(key).is_some_and(|(name, ())| name == self.name);
            let found = if own { kept.store.get(key, now_ms) } else { None };
            // What does not fit is left for another call.
            match found.filter(|(_, value)| values.len() + value.len() <= MAX_PAYLOAD) {
                Some((_, value)) => {
                    lengths.push(value.len() as u32 + 1);
                    values.extend_from_slice(&value);
                }
                None => lengths.push(0),
            }
        }
        Ok(Response::new(Entries { lengths }).payload(values.into()))
    }

    async fn add(&self, request: Request<AddRequest>) -> Result<Response<Added>> {
        let AddRequest { keys, limit_bytes } = request.message;
        bounded(&keys)?;
        let limit_bytes = if limit_bytes == 0 { MAX_VALUE } else { MAX_VALUE.min(limit_bytes as usize) };
        let now_ms = self.now_ms();
        let mut kept = self.lock();
        let Kept { store, ring } = &mut *kept;
        let (own, stale): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| ring.of(key).is_some_and(|(name, ())| name == self.name));
        own.iter().for_each(|key| store.add(key, &request.payload, limit_bytes, now_ms));
        Ok(Added { stale }.into())
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<Statistics>> {
        Ok(self.lock().store.statistics(self.now_ms()).into())
    }
}

/// A copy that holds no more than itself: what came with a frame would keep the whole buffer that it was read into.
fn own(bytes: &[u8]) -> Result<Bytes> {
    if bytes.len() > MAX_VALUE { Err(too_large(bytes.len())) } else { Ok(Bytes::copy_from_slice(bytes)) }
}

fn bounded(keys: &[Bytes]) -> Result<()> {
    if keys.len() > MAX_KEYS || keys.iter().any(|key| key.is_empty() || key.len() > MAX_KEY) {
        let text =
            format!("{} keys: a call has at most {MAX_KEYS}, of 1 to {MAX_KEY} bytes each", keys.len());
        return Err(Error::new(Code::Invalid, text));
    }
    Ok(())
}

fn too_large(length: usize) -> Error {
    let text = format!("a value of {length} bytes: the limit is {MAX_VALUE}, or that of the shard");
    Error::new(Code::TooLarge, text)
}
