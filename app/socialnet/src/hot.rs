//! Hot copies of timelines in the cache: lists of the ids of posts, newest first.
//!
//! Each kind of list belongs to one proc, which alone reads and writes it; so what is in the cache is what this proc put there. A
//! list that is not there is made again from the posts. One that is being made while a post comes is put into the cache with
//! that post. Where the cache did not take a post, all lists of the kind are made anew: they get other keys. Another life of the proc
//! has other keys, too.

use crate::clock::now_us;
use crate::limits::{HOT_ENTRIES, HOT_TIME, MAX_BUILDS};
use bytes::Bytes;
use cache::Cache;
use sigmaos::{Code, Error, Result};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Bytes of an id in a list.
const ENTRY: usize = size_of::<i64>();

/// The lists of one kind.
#[derive(Debug)]
pub struct Hot {
    cache: Cache,
    kind: &'static str,
    builds: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In each key.
    epoch: u64,
    /// Lists that are being made, by user and number.
    building: HashMap<i64, Vec<Build>>,
    last: u64,
}

/// What happened to a list while it was being made.
#[derive(Debug)]
struct Build {
    number: u64,
    added: Vec<i64>,
    outdated: bool,
}

impl Hot {
    pub fn new(cache: Cache, kind: &'static str) -> Self {
        let state = State { epoch: now_us(), building: HashMap::new(), last: 0 };
        Self { cache, kind, builds: Semaphore::new(MAX_BUILDS), state: Mutex::new(state) }
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
            let mut state = self.lock();
            for user in users {
                let builds = state.building.get_mut(user);
                builds.into_iter().flatten().for_each(|build| build.added.push(post));
            }
            users.iter().map(|user| self.key(state.epoch, *user)).collect()
        };
        if self.add_to(&keys, post).await.is_err() {
            self.refresh_all();
        }
    }

    /// What these users' lists are made of has changed.
    pub async fn refresh(&self, users: &[i64]) {
        for user in users {
            let key = {
                let mut state = self.lock();
                let builds = state.building.get_mut(user);
                builds.into_iter().flatten().for_each(|build| build.outdated = true);
                self.key(state.epoch, *user)
            };
            if self.cache.delete(&key).await.is_err() {
                self.refresh_all();
            }
        }
    }

    /// What any list is made of may have changed.
    pub fn refresh_all(&self) {
        let mut state = self.lock();
        state.epoch = now_us().max(state.epoch + 1);
        state.building.values_mut().flatten().for_each(|build| build.outdated = true);
    }

    async fn cached(&self, user: i64) -> Option<Vec<i64>> {
        let key = self.key(self.lock().epoch, user);
        // A cache that does not answer has nothing.
        let value = self.cache.get(&key).await.ok().flatten()?;
        Some(decode(&value.bytes))
    }

    /// Makes a list, and puts it into the cache.
    async fn build<F: Future<Output = Result<Vec<i64>>>>(
        &self,
        user: i64,
        make: impl Fn(u32) -> F,
    ) -> Result<Vec<i64>> {
        let _turn = self.turn().await?;
        let (number, key) = self.begin(user);
        let begun = Begun { hot: self, user, number };
        let mut ids = make(HOT_ENTRIES).await?;
        let mut seen = 0;
        loop {
            let Some(added) = begun.added(seen) else { return Ok(ids) };
            seen += added.len();
            ids.extend(added);
            ids.sort_unstable_by(|one, other| other.cmp(one));
            ids.dedup();
            ids.truncate(HOT_ENTRIES as usize);
            if self.cache.put(&key, encode(&ids), Some(HOT_TIME)).await.is_err() {
                return Ok(ids);
            }
            // In one step with the look whether something was added: what is added from here on finds the list in the cache.
            match begun.end_at(seen) {
                End::Done => return Ok(ids),
                End::More => {}
                End::Outdated => {
                    if self.cache.delete(&key).await.is_err() {
                        self.refresh_all();
                    }
                    return Ok(ids);
                }
            }
        }
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.builds.acquire().await.map_err(|_| Error::new(Code::Internal, "the turns are closed"))
    }

    fn begin(&self, user: i64) -> (u64, Bytes) {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        let build = Build { number, added: Vec::new(), outdated: false };
        state.building.entry(user).or_default().push(build);
        (number, self.key(state.epoch, user))
    }

    async fn add_to(&self, keys: &[Bytes], post: i64) -> Result<()> {
        let entry = Bytes::copy_from_slice(&post.to_be_bytes());
        self.cache.add(keys, &entry, HOT_ENTRIES * ENTRY as u32).await
    }

    fn key(&self, epoch: u64, user: i64) -> Bytes {
        format!("{}/{epoch}/{user}", self.kind).into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum End {
    Done,
    /// Something was added.
    More,
    Outdated,
}

/// A list that is being made. It is so no more when this goes.
struct Begun<'a> {
    hot: &'a Hot,
    user: i64,
    number: u64,
}

impl Begun<'_> {
    /// What was added past the first so many; `None` where the list is not worth keeping.
    fn added(&self, seen: usize) -> Option<Vec<i64>> {
        self.of(&mut self.hot.lock(), |build| (!build.outdated).then(|| build.added[seen..].to_vec()))
    }

    fn end_at(&self, seen: usize) -> End {
        let mut state = self.hot.lock();
        let end = self.of(&mut state, |build| match build {
            Build { outdated: true, .. } => Some(End::Outdated),
            Build { added, .. } if added.len() > seen => Some(End::More),
            Build { .. } => Some(End::Done),
        });
        let end = end.unwrap_or(End::Outdated);
        if !matches!(end, End::More) {
            self.end(&mut state);
        }
        end
    }

    fn of<T>(&self, state: &mut State, look: impl FnOnce(&Build) -> Option<T>) -> Option<T> {
        look(state.building.get(&self.user)?.iter().find(|build| build.number == self.number)?)
    }

    fn end(&self, state: &mut State) {
        if let Some(builds) = state.building.get_mut(&self.user) {
            builds.retain(|build| build.number != self.number);
            if builds.is_empty() {
                state.building.remove(&self.user);
            }
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.end(&mut self.hot.lock());
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
