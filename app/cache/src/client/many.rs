//! Several keys with one call to each shard.

use super::{Cache, NEWS_DEADLINE, Shard, changed};
use crate::proto::{AddRequest, Keys};
use crate::{MAX_KEYS, ring::Ring};
use bytes::Bytes;
use futures_util::future::join_all;
use sigmaos::{Code, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Keys of one shard, by their places among all.
type Part = (String, Shard, Vec<usize>);

impl Cache {
    /// The values of several keys, in their order. Where a shard does not answer, or has handed a key over, its keys have none.
    ///
    /// # Errors
    /// `Invalid` as [`Cache::get`].
    pub async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let (parts, _) = parts(&self.0.shards.borrow(), keys, 0..keys.len());
        let gets = parts.into_iter().map(|(name, shard, places)| async move {
            let wanted = places.iter().map(|place| keys[*place].clone()).collect();
            let got = async {
                let client = self.connect(&name, &shard).await?;
                client.get_many_with(Keys { keys: wanted }, Bytes::new()).await
            };
            (places, got.await)
        });
        let mut values = vec![None; keys.len()];
        for (places, got) in join_all(gets).await {
            let reply = match got {
                Err(error) if error.code == Code::Unreachable => continue,
                got => got?,
            };
            let mut payload = reply.payload;
            for (place, length) in places.into_iter().zip(reply.message.lengths) {
                if let Some(length) = length.checked_sub(1)
                    && length as usize <= payload.len()
                {
                    values[place] = Some(payload.split_to(length as usize));
                }
            }
        }
        Ok(values)
    }

    /// Adds an entry to the lists of several keys, those that there are: entries of equal length, the greatest first, none twice,
    /// of so many bytes at most. When it returns, each list that is read after has the entry.
    ///
    /// # Errors
    /// `Unreachable` where some list may be without the entry: its shard does not answer and is not gone, or there is no shard.
    pub async fn add(&self, keys: &[Bytes], entry: &Bytes, limit_bytes: u32) -> Result<()> {
        let mut news = self.0.shards.subscribe();
        let deadline = Instant::now() + NEWS_DEADLINE;
        let mut left: Vec<_> = (0..keys.len()).collect();
        loop {
            let (parts, mut again) = parts(&news.borrow_and_update(), keys, left);
            let adds = parts.into_iter().map(|(name, shard, places)| async move {
                let keys = places.iter().map(|place| keys[*place].clone()).collect();
                let added = async {
                    let client = self.connect(&name, &shard).await?;
                    client.add_with(AddRequest { keys, limit_bytes }, entry.clone()).await
                };
                (places, added.await)
            });
            for (places, added) in join_all(adds).await {
                match added {
                    Ok(added) => again.extend(
                        places.into_iter().filter(|place| added.message.stale.contains(&keys[*place])),
                    ),
                    Err(error) if error.code == Code::Unreachable => again.extend(places),
                    Err(error) => return Err(error),
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            left = again;
            if Instant::now() >= deadline || !changed(&mut news).await {
                return Err(self.no_shard());
            }
        }
    }
}

/// The keys by shard, and those that have none; at most as many at once as a call may have.
fn parts(
    shards: &Ring<Shard>,
    keys: &[Bytes],
    places: impl IntoIterator<Item = usize>,
) -> (Vec<Part>, Vec<usize>) {
    let (mut parts, mut none) = (BTreeMap::<String, (Shard, Vec<usize>)>::new(), Vec::new());
    for place in places {
        match shards.of(&keys[place]) {
            None => none.push(place),
            Some((name, shard)) => {
                let part = parts.entry(name.to_owned());
                part.or_insert_with(|| (Arc::clone(shard), Vec::new())).1.push(place);
            }
        }
    }
    let calls = parts.into_iter().flat_map(|(name, (shard, places))| {
        let calls: Vec<_> = places.chunks(MAX_KEYS).map(<[usize]>::to_vec).collect();
        calls.into_iter().map(move |places| (name.clone(), Arc::clone(&shard), places))
    });
    (calls.collect(), none)
}
