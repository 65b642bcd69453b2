//! The store against its words, and against a model that searches where the store keeps orders.

use super::*;
use proptest::prelude::*;

/// Room for three entries of one byte of key and ten of value.
const THREE: u64 = 3 * (11 + ENTRY_OVERHEAD);

fn put(store: &mut Store, key: &'static str, ttl_ms: u64, now_ms: u64) -> Option<u64> {
    store.put(Bytes::from_static(key.as_bytes()), Bytes::from_static(b"0123456789"), ttl_ms, now_ms)
}

fn has(store: &mut Store, key: &str, now_ms: u64) -> bool {
    store.get(key.as_bytes(), now_ms).is_some()
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room() {
    let mut store = Store::new(THREE, 0);
    for key in ["a", "b", "c"] {
        put(&mut store, key, 0, 0);
    }
    assert!(has(&mut store, "a", 0));
    put(&mut store, "d", 0, 0);
    assert!(!has(&mut store, "b", 0));
    assert!(has(&mut store, "a", 0) && has(&mut store, "c", 0) && has(&mut store, "d", 0));
    let statistics = store.statistics(0);
    assert_eq!((statistics.entries, statistics.bytes, statistics.evicted), (3, THREE, 1));
    assert_eq!((statistics.hits, statistics.misses), (4, 1));
}

#[test]
fn a_list_is_in_order_holds_none_twice_and_keeps_its_end() {
    let mut store = Store::new(1 << 20, 0);
    store.add(b"none", b"5", 10, 0);
    assert!(!has(&mut store, "none", 0), "only who knows the whole list begins it");
    store.put(Bytes::from_static(b"list"), Bytes::from_static(b"73"), 100, 0);
    for entry in [b"5", b"9", b"1", b"5", b"9", b"3"] {
        store.add(b"list", entry, 4, 50);
    }
    assert_eq!(store.get(b"list", 99).map(|(_, list)| list), Some(Bytes::from_static(b"9753")));
    assert!(!has(&mut store, "list", 100));
}

#[test]
fn what_is_out_of_its_time_is_gone_and_makes_room_first() {
    let mut store = Store::new(THREE, 0);
    put(&mut store, "a", 0, 0);
    put(&mut store, "b", 100, 0);
    put(&mut store, "c", 0, 0);
    assert!(has(&mut store, "b", 99), "its time is not over");
    put(&mut store, "d", 0, 100);
    assert!(!has(&mut store, "b", 100));
    assert!(has(&mut store, "a", 100), "it was older, and had no time");
    assert_eq!((store.statistics(100).expired, store.statistics(100).evicted), (1, 0));
    // A value that replaces another has its own time.
    put(&mut store, "a", 50, 100);
    put(&mut store, "a", 0, 120);
    assert!(has(&mut store, "a", 1_000));
}

#[test]
fn a_value_past_the_limit_is_not_kept_and_no_older_one_either() {
    let mut store = Store::new(THREE, 0);
    put(&mut store, "a", 0, 0);
    assert_eq!(store.put(Bytes::from_static(b"a"), vec![0; THREE as usize].into(), 0, 0), None);
    assert!(!has(&mut store, "a", 0));
    assert_eq!(store.statistics(0).bytes, 0);
}

#[test]
fn who_compares_replaces_only_what_was_seen() {
    let mut store = Store::new(THREE, 7);
    let (key, value) = (Bytes::from_static(b"a"), Bytes::from_static(b"1"));
    let mut swap = |version, now_ms| store.compare_and_set(key.clone(), version, value.clone(), 10, now_ms);
    assert_eq!(swap(3, 0), Compared::Other(None));
    assert_eq!(swap(0, 0), Compared::Set(8));
    assert_eq!(swap(0, 0), Compared::Other(Some((8, value.clone()))));
    assert_eq!(swap(8, 0), Compared::Set(9));
    assert_eq!(swap(0, 10), Compared::Set(10), "its time was over");
}

#[test]
fn what_another_shard_holds_is_handed_over() {
    let mut store = Store::new(THREE, 0);
    for key in ["a", "b", "c"] {
        put(&mut store, key, 0, 0);
    }
    store.hand_over(|key| key != b"b");
    let statistics = store.statistics(0);
    assert_eq!((statistics.entries, statistics.handed_over), (2, 1));
    assert!(!has(&mut store, "b", 0) && has(&mut store, "a", 0));
}

/// The same store without any order: entries by their last use.
#[derive(Default)]
struct Model(Vec<(u8, Vec<u8>, Option<u64>)>);

impl Model {
    fn expire(&mut self, now_ms: u64) {
        self.0.retain(|(_, _, ends)| ends.is_none_or(|ends| ends > now_ms));
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, value, _)| 1 + value.len() as u64 + ENTRY_OVERHEAD).sum()
    }

    fn put(&mut self, key: u8, value: Vec<u8>, ttl_ms: u64, now_ms: u64, limit: u64) {
        self.0.retain(|(other, ..)| *other != key);
        let size = 1 + value.len() as u64 + ENTRY_OVERHEAD;
        if size > limit {
            return;
        }
        while self.bytes() + size > limit {
            self.0.remove(0);
        }
        self.0.push((key, value, (ttl_ms > 0).then_some(now_ms + ttl_ms)));
    }

    fn get(&mut self, key: u8) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(other, ..)| *other == key)?;
        let entry = self.0.remove(at);
        self.0.push(entry.clone());
        Some(entry.1)
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        steps in prop::collection::vec((0u8..3, 0u8..8, 0usize..400, 0u64..20, 0u64..5), 1..200),
    ) {
        let limit = 1_000;
        let (mut store, mut model, mut now_ms) = (Store::new(limit, 0), Model::default(), 0);
        for (what, key, length, ttl_ms, later) in steps {
            now_ms += later;
            model.expire(now_ms);
            let name = Bytes::copy_from_slice(&[key]);
            match what {
                0 => {
                    store.put(name, vec![key; length].into(), ttl_ms, now_ms);
                    model.put(key, vec![key; length], ttl_ms, now_ms, limit);
                }
                1 => {
                    let found = store.get(&name, now_ms).map(|(_, value)| value.to_vec());
                    prop_assert_eq!(found, model.get(key));
                }
                _ => {
                    let there = model.0.iter().any(|(other, ..)| *other == key);
                    model.0.retain(|(other, ..)| *other != key);
                    prop_assert_eq!(store.delete(&name, now_ms), there);
                }
            }
            let statistics = store.statistics(now_ms);
            prop_assert_eq!((statistics.entries, statistics.bytes), (model.0.len() as u64, model.bytes()));
            prop_assert!(statistics.bytes <= limit);
        }
    }
}
