//! The sharded cache (thesis, section 3.1): real shards that come, go and die, and what it costs.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use cache::{Cache, MAX_KEY, MAX_VALUE, Swap, Value};
use sigma_test::{Machine, Tenant, eventually, story, within};
use sigmaos::{Code, Pid, Sigma};
use std::collections::BTreeMap;
use std::time::Duration;

const DIRECTORY: &str = "/cache";

/// Keys of a story: enough that each of a few shards holds some.
const KEYS: u32 = 200;

/// Starts shards, and opens the cache when it knows them all.
async fn shards(machine: &Machine, count: usize) -> (Tenant, Vec<Pid>, Cache) {
    let tenant = machine.realm("a").await;
    let mut pids = Vec::new();
    for _ in 0..count {
        pids.push(tenant.start(&format!("cache-shard {DIRECTORY} {}", 64 << 20)).await);
    }
    let cache = open(&tenant.sigma).await;
    (tenant, pids, cache)
}

async fn open(sigma: &Sigma) -> Cache {
    within("the cache", Cache::open(sigma, DIRECTORY)).await.unwrap()
}

fn key(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

async fn put_all(cache: &Cache, value: &str) {
    for number in 0..KEYS {
        within("a put", cache.put(&key(number), value.to_owned(), None)).await.unwrap();
    }
}

/// How many keys have which value.
async fn values(cache: &Cache) -> BTreeMap<String, u32> {
    let mut values = BTreeMap::new();
    for number in 0..KEYS {
        let value = within("a get", cache.get(&key(number))).await.unwrap();
        let value = value.map_or("none".to_owned(), |value| String::from_utf8_lossy(&value.bytes).into());
        *values.entry(value).or_default() += 1;
    }
    values
}

/// How many keys each shard holds.
async fn held(cache: &Cache) -> BTreeMap<String, u64> {
    let all = within("the statistics", cache.stats()).await.unwrap();
    all.into_iter().map(|(name, statistics)| (name, statistics.entries)).collect()
}

#[test]
fn keys_are_kept_and_spread_over_the_shards() {
    story(async |machine| {
        let (tenant, pids, cache) = shards(machine, 3).await;
        put_all(&cache, "one").await;
        // Whoever opens the cache finds them.
        let other = open(&tenant.sigma).await;
        assert_eq!(values(&other).await, BTreeMap::from([("one".to_owned(), KEYS)]));
        let held = held(&cache).await;
        assert_eq!(held.values().sum::<u64>(), u64::from(KEYS));
        let names: Vec<_> = pids.iter().map(ToString::to_string).collect();
        assert!(names.iter().all(|name| held[name] > 0), "{held:?}");
        assert!(cache.delete(&key(7)).await.unwrap());
        assert!(!cache.delete(&key(7)).await.unwrap());
        assert_eq!(other.get(&key(7)).await.unwrap(), None);
    });
}

#[test]
fn who_compares_replaces_only_what_was_seen() {
    story(async |machine| {
        let (_, _, cache) = shards(machine, 2).await;
        let first = cache.compare_and_set(b"k", None, "1", None).await.unwrap();
        let Swap::Done(version) = first else { panic!("{first:?}") };
        let there = Value { bytes: "1".into(), version };
        assert_eq!(
            cache.compare_and_set(b"k", None, "2", None).await.unwrap(),
            Swap::Other(Some(there.clone()))
        );
        assert!(matches!(
            cache.compare_and_set(b"k", Some(version), "2", None).await.unwrap(),
            Swap::Done(_)
        ));
        let late = cache.compare_and_set(b"k", Some(version), "3", None).await.unwrap();
        assert!(matches!(late, Swap::Other(Some(Value { bytes, .. })) if bytes == "2"));
    });
}

#[test]
fn a_value_ends_with_its_time() {
    story(async |machine| {
        let (_, _, cache) = shards(machine, 1).await;
        cache.put(b"short", "1", Some(Duration::from_millis(20))).await.unwrap();
        cache.put(b"long", "1", Some(Duration::from_secs(600))).await.unwrap();
        eventually("the short one is gone", async || {
            cache.get(b"short").await.unwrap().is_none().then_some(())
        })
        .await;
        assert!(cache.get(b"long").await.unwrap().is_some());
        let (_, statistics) = cache.stats().await.unwrap().remove(0);
        assert_eq!((statistics.entries, statistics.expired, statistics.evicted), (1, 1, 0));
    });
}

#[test]
fn a_dead_shard_costs_its_keys_and_nothing_else() {
    story(async |machine| {
        let (tenant, pids, cache) = shards(machine, 3).await;
        put_all(&cache, "one").await;
        let lost = held(&cache).await[&pids[1].to_string()] as u32;
        tenant.kill(pids[1]).await;
        tenant.wait_exit(pids[1]).await;
        let left = values(&cache).await;
        assert_eq!(left, BTreeMap::from([("none".to_owned(), lost), ("one".to_owned(), KEYS - lost)]));
        // Its keys are others' now.
        put_all(&cache, "two").await;
        assert_eq!(values(&cache).await, BTreeMap::from([("two".to_owned(), KEYS)]));
    });
}

#[test]
fn several_keys_are_read_and_lists_are_added_to_with_one_call_a_shard() {
    story(async |machine| {
        let (tenant, pids, cache) = shards(machine, 3).await;
        let keys: Vec<_> = (0..KEYS).map(|number| Bytes::copy_from_slice(&key(number))).collect();
        // Every other key has a list.
        for key in keys.iter().step_by(2) {
            within("a put", cache.put(key, "7531", None)).await.unwrap();
        }
        let add = async |entry: &'static str| {
            within("an add", cache.add(&keys, &Bytes::from_static(entry.as_bytes()), 4)).await.unwrap();
        };
        for entry in ["6", "6", "0"] {
            add(entry).await;
        }
        let lists = async || {
            let values = within("the lists", cache.get_many(&keys)).await.unwrap();
            let mut counts = BTreeMap::<Option<Bytes>, u32>::new();
            values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
            counts
        };
        let list = Some(Bytes::from_static(b"7653"));
        assert_eq!(lists().await, BTreeMap::from([(None, KEYS / 2), (list.clone(), KEYS / 2)]));
        // A dead shard costs its lists; the others are added to.
        let lost = held(&cache).await[&pids[0].to_string()] as u32;
        tenant.kill(pids[0]).await;
        tenant.wait_exit(pids[0]).await;
        add("8").await;
        let longer = Some(Bytes::from_static(b"8765"));
        assert_eq!(lists().await, BTreeMap::from([(None, KEYS / 2 + lost), (longer, KEYS / 2 - lost)]));
        let many = vec![Bytes::new()];
        assert_eq!(within("a refusal", cache.get_many(&many)).await.unwrap_err().code, Code::Invalid);
    });
}

/// A shard that kept what went to another would give an old value when that one dies.
#[test]
fn no_old_value_comes_back_when_shards_come_and_go() {
    story(async |machine| {
        let (tenant, pids, cache) = shards(machine, 2).await;
        put_all(&cache, "old").await;
        let third = tenant.start(&format!("cache-shard {DIRECTORY}")).await;
        // Those that the third holds now are gone; the others are where they were.
        let moved = eventually("all know the third", async || {
            let values = values(&cache).await;
            let all = held(&cache).await;
            let moved = values.get("none").copied().unwrap_or(0);
            (all.len() == 3 && moved > 0).then_some(moved)
        })
        .await;
        put_all(&cache, "new").await;
        assert_eq!(held(&cache).await[&third.to_string()], u64::from(moved));
        tenant.kill(third).await;
        tenant.wait_exit(third).await;
        let values = values(&cache).await;
        assert_eq!(values.get("old"), None, "{values:?}");
        assert_eq!(values["new"], KEYS - moved);
        assert!(pids.iter().all(|pid| *pid != third));
    });
}

#[test]
fn a_shard_without_room_drops_what_was_not_used_for_the_longest_time() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.start(&format!("cache-shard {DIRECTORY} {}", 20 << 10)).await;
        let cache = open(&tenant.sigma).await;
        put_all(&cache, &"x".repeat(1000)).await;
        let (_, statistics) = cache.stats().await.unwrap().remove(0);
        assert!(statistics.bytes <= 20 << 10 && statistics.entries > 10, "{statistics:?}");
        assert_eq!(statistics.evicted, u64::from(KEYS) - statistics.entries);
        assert!(cache.get(&key(KEYS - 1)).await.unwrap().is_some());
        let error = cache.put(b"large", vec![0; 30 << 10], None).await.unwrap_err();
        assert_eq!(error.code, Code::TooLarge, "{error}");
    });
}

#[test]
fn wrong_requests_are_errors_and_a_cache_without_shards_says_so() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        assert_eq!(Cache::open(&tenant.sigma, DIRECTORY).await.unwrap_err().code, Code::NotFound);
        tenant.sigma.create_dir(DIRECTORY).await.unwrap();
        let cache = open(&tenant.sigma).await;
        assert_eq!(within("a get", cache.get(b"k")).await.unwrap(), None);
        let error = within("a put", cache.put(b"k", "v", None)).await.unwrap_err();
        assert!(error.code == Code::Unreachable && error.message.contains(DIRECTORY), "{error}");
        let shard = tenant.start(&format!("cache-shard {DIRECTORY}")).await;
        for (key, value, code) in [
            (vec![], 1, Code::Invalid),
            (vec![0; MAX_KEY + 1], 1, Code::Invalid),
            (vec![0; MAX_KEY], MAX_VALUE + 1, Code::TooLarge),
        ] {
            let error = within("a put", cache.put(&key, vec![0; value], None)).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
        }
        within("a put", cache.put(&[0; MAX_KEY], vec![0; MAX_VALUE], None)).await.unwrap();
        tenant.kill(shard).await;
        let ended = tenant.run("cache-shard").await;
        assert!(ended.to_string().contains("usage: cache-shard"), "{ended}");
    });
}
