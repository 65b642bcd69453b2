//! What one shard keeps. Pure: the clock comes with each call.
//!
//! Guarantees: the bytes that are kept never pass the limit; what is out of its time is never given out, and makes room before
//! anything else does; after that goes what was not used for the longest time.

use crate::proto::Statistics;
use bytes::Bytes;
use lru::LruCache;
use std::collections::BTreeSet;

/// Bytes that an entry costs beside its key and its value: its places in the table, the list and the order of times.
pub const ENTRY_OVERHEAD: u64 = 128;

/// Keys and values, bounded in bytes.
#[derive(Debug)]
pub struct Store {
    entries: LruCache<Bytes, Entry>,
    /// The keys that have a time, by its end.
    times: BTreeSet<(u64, Bytes)>,
    last_version: u64,
    counts: Statistics,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    version: u64,
    ends_ms: Option<u64>,
}

/// What a compare-and-set found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The value was replaced; its version now.
    Set(u64),
    /// Another value is there, or none.
    Other(Option<(u64, Bytes)>),
}

impl Store {
    /// An empty store. Versions begin after `first_version`.
    pub fn new(limit_bytes: u64, first_version: u64) -> Self {
        let counts = Statistics { limit_bytes, ..Statistics::default() };
        Self { entries: LruCache::unbounded(), times: BTreeSet::new(), last_version: first_version, counts }
    }

    /// The value of a key, with its version.
    pub fn get(&mut self, key: &[u8], now_ms: u64) -> Option<(u64, Bytes)> {
        self.expire(now_ms);
        let found = self.entries.get(key).map(|entry| (entry.version, entry.value.clone()));
        match found {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        found
    }

    /// Keeps a value; its version. `None` where it is larger than all that may be kept: the key then has no value.
    pub fn put(&mut self, key: Bytes, value: Bytes, ttl_ms: u64, now_ms: u64) -> Option<u64> {
        self.expire(now_ms);
        self.take(&key);
        let size = size(&key, &value);
        if size > self.counts.limit_bytes {
            return None;
        }
        while self.counts.bytes + size > self.counts.limit_bytes {
            let Some((oldest, entry)) = self.entries.pop_lru() else { break };
            self.forget(&oldest, &entry);
            self.counts.evicted += 1;
        }
        self.last_version += 1;
        let ends_ms = (ttl_ms > 0).then(|| now_ms.saturating_add(ttl_ms));
        if let Some(ends_ms) = ends_ms {
            self.times.insert((ends_ms, key.clone()));
        }
        self.counts.bytes += size;
        self.entries.put(key, Entry { value, version: self.last_version, ends_ms });
        Some(self.last_version)
    }

    /// Keeps a value where the one that is there has this version; 0: where there is none.
    pub fn compare_and_set(
        &mut self,
        key: Bytes,
        version: u64,
        value: Bytes,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Compared {
        self.expire(now_ms);
        let there = self.entries.peek(&key).map(|entry| (entry.version, entry.value.clone()));
        if there.as_ref().map_or(0, |(version, _)| *version) != version {
            return Compared::Other(there);
        }
        match self.put(key, value, ttl_ms, now_ms) {
            Some(version) => Compared::Set(version),
            None => Compared::Other(None),
        }
    }

    /// Adds an entry to a list that is there: entries of equal length, the greatest first, none twice. What is past the limit
    /// is dropped, and the list ends when it would have.
    pub fn add(&mut self, key: &[u8], entry: &[u8], limit_bytes: usize, now_ms: u64) {
        self.expire(now_ms);
        let Some(there) = self.entries.peek(key) else { return };
        let Some(list) = inserted(&there.value, entry, limit_bytes) else { return };
        let ttl_ms = there.ends_ms.map_or(0, |ends_ms| ends_ms - now_ms);
        self.put(Bytes::copy_from_slice(key), list, ttl_ms, now_ms);
    }

    /// Takes a value away; whether there was one.
    pub fn delete(&mut self, key: &[u8], now_ms: u64) -> bool {
        self.expire(now_ms);
        self.take(key)
    }

    /// Keeps the keys alone that `own` wants.
    pub fn hand_over(&mut self, own: impl Fn(&[u8]) -> bool) {
        let others: Vec<_> =
            self.entries.iter().map(|(key, _)| key.clone()).filter(|key| !own(key)).collect();
        for key in &others {
            self.take(key);
        }
        self.counts.handed_over += others.len() as u64;
    }

    pub fn statistics(&mut self, now_ms: u64) -> Statistics {
        self.expire(now_ms);
        Statistics { entries: self.entries.len() as u64, ..self.counts }
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some((ends_ms, key)) = self.times.first()
            && *ends_ms <= now_ms
        {
            let key = key.clone();
            self.take(&key);
            self.counts.expired += 1;
        }
    }

    fn take(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.pop_entry(key) else { return false };
        self.forget(&key, &entry);
        true
    }

    /// Counts an entry out that is in the table no more.
    fn forget(&mut self, key: &Bytes, entry: &Entry) {
        self.counts.bytes -= size(key, &entry.value);
        if let Some(ends_ms) = entry.ends_ms {
            self.times.remove(&(ends_ms, key.clone()));
        }
    }
}

/// A list with one entry more; `None` where it is there already, or would be dropped.
fn inserted(list: &[u8], entry: &[u8], limit_bytes: usize) -> Option<Bytes> {
    if entry.is_empty() {
        return None;
    }
    let greater = list.chunks_exact(entry.len()).take_while(|other| *other > entry).count();
    let (before, after) = list.split_at(greater * entry.len());
    if after.starts_with(entry) || before.len() + entry.len() > limit_bytes {
        return None;
    }
    let whole = limit_bytes / entry.len() * entry.len();
    let mut longer = Vec::with_capacity(list.len() + entry.len());
    longer.extend_from_slice(before);
    longer.extend_from_slice(entry);
    longer.extend_from_slice(after);
    longer.truncate(whole);
    Some(longer.into())
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests;
