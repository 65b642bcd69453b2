//! Which shard holds a key: the one with the highest score for it (rendezvous hashing; Thaler and Ravishankar, 1998).

use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Shards by name, each with what belongs to it.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    shards: BTreeMap<String, (u64, T)>,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { shards: BTreeMap::new() }
    }
}

impl<T> Ring<T> {
    /// Adds a shard. One that is there keeps what belongs to it.
    pub fn add(&mut self, name: &str, make: impl FnOnce() -> T) {
        if !self.shards.contains_key(name) {
            self.shards.insert(name.to_owned(), (xxh3_64(name.as_bytes()), make()));
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.shards.remove(name);
    }

    /// Keeps the shards alone that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.shards.retain(|name, _| keep(name));
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.shards.get(name).map(|(_, shard)| shard)
    }

    /// The shard that holds `key`; `None` where there is no shard.
    pub fn of(&self, key: &[u8]) -> Option<(&str, &T)> {
        let score = |seed: u64| xxh3_64_with_seed(key, seed);
        let best = self.shards.iter().max_by_key(|(_, (seed, _))| score(*seed));
        best.map(|(name, (_, shard))| (name.as_str(), shard))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.shards.iter().map(|(name, (_, shard))| (name.as_str(), shard))
    }

    pub fn len(&self) -> usize {
        self.shards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 10_000;

    fn ring(shards: u32) -> Ring<()> {
        let mut ring = Ring::default();
        (0..shards).for_each(|shard| ring.add(&format!("m1-1-{shard}"), || ()));
        ring
    }

    fn owner(ring: &Ring<()>, key: u32) -> String {
        ring.of(&key.to_le_bytes()).unwrap().0.to_owned()
    }

    #[test]
    fn keys_are_spread_evenly() {
        let ring = ring(5);
        let mut counts = BTreeMap::<String, u32>::new();
        (0..KEYS).for_each(|key| *counts.entry(owner(&ring, key)).or_default() += 1);
        // 2,000 each, with a standard deviation of 40.
        assert!(counts.values().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
        assert_eq!(counts.len(), 5);
    }

    #[test]
    fn a_shard_that_goes_moves_its_own_keys_alone() {
        let before = ring(5);
        let mut after = before.clone();
        after.remove("m1-1-2");
        for key in 0..KEYS {
            let (was, is) = (owner(&before, key), owner(&after, key));
            assert!(was == is || was == "m1-1-2", "key {key} moved from {was} to {is}");
            assert_ne!(is, "m1-1-2");
        }
        assert!(ring(0).of(b"key").is_none());
    }
}
