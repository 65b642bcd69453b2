//! Hot copies of timelines in the cache: lists of the ids of posts, newest first.
//!
//! Each kind of list belongs to one proc, which alone reads and writes it; so what is in the cache is what this proc put there. A
//! list that is not there is made again from the posts. One that is being made while a post comes is put into the cache with
//! that post. Where the cache did not take a post, all lists of the kind are made anew: they get other keys. Another life of the proc
//! has other keys, too.

mod builds;

use crate::clock::now_us;
use crate::limits::{HOT_ENTRIES, HOT_TIME, MAX_BUILDS};
use builds::{Builds, End};
use bytes::Bytes;
use cache::Cache;
use sigmaos::{Code, Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of an id in a list.
const ENTRY: usize = size_of::<i64>();

/// The lists of one kind.
#[derive(Debug)]
pub struct Hot {
    cache: Cache,
    kind: &'static str,
    turns: Semaphore,
    builds: Mutex<Builds>,
}

impl Hot {
    pub fn new(cache: Cache, kind: &'static str) -> Self {
        Self { cache, kind, turns: Semaphore::new(MAX_BUILDS), builds: Mutex::new(Builds::new(now_us())) }
    }

    /// The ids from `start` up to `stop`. `make` gives so many of the newest, from the posts.
    ///
    /// # Errors
    /// What `make` gives.
    pub async fn page<F: Future<Output = Result<Vec<i64>>>>(
        &self,
        user: i64,
        (start, stop): (u32, u32),
        make: impl Fn(u32) -> F,
    ) -> Result<Vec<i64>> {
        let mut ids = match self.cached(user).await {
            Some(ids) => ids,
            None => self.build(user, &make).await?,
        };
        if stop > HOT_ENTRIES && ids.len() >= HOT_ENTRIES as usize {
            let _turn = self.turn().await?;
            ids = make(stop).await?;
        }
        ids.truncate(stop as usize);
        Ok(ids.split_off(ids.len().min(start as usize)))
    }

    /// Adds a post, which is stored, to the lists of some users.
    pub async fn add(&self, users: &[i64], post: i64) {
        let keys: Vec<_> = {
            let mut builds = self.lock();
            builds.add(users, post);
            users.iter().map(|user| self.key(builds.epoch(), *user)).collect()
        };
        let entry = Bytes::copy_from_slice(&post.to_be_bytes());
        if self.cache.add(&keys, &entry, HOT_ENTRIES * ENTRY as u32).await.is_err() {
            self.refresh_all();
        }
    }

    /// What these users' lists are made of has changed.
    pub async fn refresh(&self, users: &[i64]) {
        for user in users {
            let key = {
                let mut builds = self.lock();
                builds.outdate(*user);
                self.key(builds.epoch(), *user)
            };
            self.drop_list(&key).await;
        }
    }

    /// What any list is made of may have changed.
    pub fn refresh_all(&self) {
        self.lock().outdate_all(now_us());
    }

    async fn cached(&self, user: i64) -> Option<Vec<i64>> {
        let key = self.key(self.lock().epoch(), user);
        // A cache that does not answer has nothing.
        let value = self.cache.get(&key).await.ok().flatten()?;
        Some(decode(&value.bytes))
    }

    /// Makes a list, and puts it into the cache, unless somebody has done so before it is this call's turn.
    async fn build<F: Future<Output = Result<Vec<i64>>>>(
        &self,
        user: i64,
        make: impl Fn(u32) -> F,
    ) -> Result<Vec<i64>> {
        let _turn = self.turn().await?;
        // Where all lists are gone at once, many wait for their turn to make the same ones.
        if let Some(ids) = self.cached(user).await {
            return Ok(ids);
        }
        let begun = Begun::new(self, user);
        let mut ids = make(HOT_ENTRIES).await?;
        let mut seen = 0;
        loop {
            let Some(added) = self.lock().added(user, begun.number, seen) else { return Ok(ids) };
            seen += added.len();
            ids.extend(added);
            ids.sort_unstable_by(|one, other| other.cmp(one));
            ids.dedup();
            ids.truncate(HOT_ENTRIES as usize);
            if self.cache.put(&begun.key, encode(&ids), Some(HOT_TIME)).await.is_err() {
                return Ok(ids);
            }
            let end = self.lock().end(user, begun.number, seen);
            match end {
                End::Done => return Ok(ids),
                End::More => {}
                End::Outdated => {
                    self.drop_list(&begun.key).await;
                    return Ok(ids);
                }
            }
        }
    }

    async fn drop_list(&self, key: &Bytes) {
        if self.cache.delete(key).await.is_err() {
            self.refresh_all();
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.turns.acquire().await.map_err(|_| Error::new(Code::Internal, "the turns are closed"))
    }

    fn key(&self, epoch: u64, user: i64) -> Bytes {
        format!("{}/{epoch}/{user}", self.kind).into()
    }

    fn lock(&self) -> MutexGuard<'_, Builds> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list that is being made. It is so no more when this goes.
struct Begun<'a> {
    hot: &'a Hot,
    user: i64,
    number: u64,
    key: Bytes,
}

impl<'a> Begun<'a> {
    fn new(hot: &'a Hot, user: i64) -> Self {
        let mut builds = hot.lock();
        let key = hot.key(builds.epoch(), user);
        Self { hot, user, number: builds.begin(user), key }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.hot.lock().forget(self.user, self.number);
    }
}

/// As a list of the cache: big-endian, so that its order is that of the numbers.
fn encode(ids: &[i64]) -> Bytes {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

fn decode(list: &[u8]) -> Vec<i64> {
    list.as_chunks::<ENTRY>().0.iter().map(|id| i64::from_be_bytes(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_the_cache() {
        let ids = [i64::MAX, 7, 1];
        assert_eq!(decode(&encode(&ids)), ids);
        assert!(encode(&[9]) > encode(&[8]));
        assert_eq!(decode(b"short"), [0; 0]);
    }
}
