//! The order of a directory's entries, from the order of a bucket's keys. Pure.
//!
//! A page of a directory has its entries in the order of their names. S3 lists keys in their order, and a directory `d` is there where
//! `d/` is among them: after the objects `d`, `d-1` and `d.txt`, though its name comes before the last two. So in a page that ends
//! with `d-1` a directory `d` may be missing that S3 would tell of only later. Which directories these are the last name tells:
//! where one name sorts before another and yet its key after it, the first is a beginning of the second.

use sigmaos::proto::{self, Kind};
use std::collections::BTreeMap;

/// An object or a directory that a store told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// `None`: a directory.
    pub(crate) object: Option<Meta>,
}

/// What a store tells of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) size: u64,
    pub(crate) modified_ms: u64,
}

/// A page in the making: entries in the order of their names. Where an object and a directory have one name the object is shown.
#[derive(Debug, Default)]
pub(crate) struct Page(BTreeMap<String, Option<Meta>>);

/// The directories that sort up to `last`, and whose keys come after it; those up to `after` were told of before.
pub(crate) fn overlooked<'a>(after: &str, last: &'a str) -> impl Iterator<Item = &'a str> {
    let after = after.to_owned();
    let cuts = last.char_indices().filter(|(_, next)| *next < '/').map(|(at, _)| &last[..at]);
    cuts.filter(move |name| !name.is_empty() && *name > after.as_str())
}

impl Page {
    /// Takes an entry, unless it is not after `after`.
    pub(crate) fn add(&mut self, after: &str, entry: Entry) {
        if entry.name.as_str() > after {
            let object = self.0.entry(entry.name).or_default();
            *object = object.take().or(entry.object);
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn last(&self) -> Option<&str> {
        self.0.last_key_value().map(|(name, _)| name.as_str())
    }

    /// The first `limit` entries, and whether others follow.
    pub(crate) fn first(mut self, limit: usize, more: bool) -> proto::DirPage {
        let more = more || self.len() > limit;
        while self.len() > limit {
            self.0.pop_last();
        }
        let entries = self.0.into_iter().map(|(name, object)| match object {
            Some(meta) => file(name, &meta),
            None => directory(name),
        });
        proto::DirPage { entries: entries.collect(), more }
    }
}

/// What is told of a directory. How much is in it only a listing tells.
pub(crate) fn directory(name: impl Into<String>) -> proto::Stat {
    proto::Stat { name: name.into(), kind: Kind::Directory.into(), perm: PERM, ..Default::default() }
}

/// What is told of an object.
pub(crate) fn file(name: impl Into<String>, meta: &Meta) -> proto::Stat {
    let Meta { size, modified_ms } = *meta;
    let (name, kind) = (name.into(), Kind::File.into());
    proto::Stat { name, kind, size, perm: PERM, version: modified_ms, modified_ms, ..Default::default() }
}

/// Within a realm its buckets are open to all.
const PERM: u32 = 0o66;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What S3 answers: entries of the directory `prefix` after the key `after`, at most `most`, and whether others follow.
    fn s3(keys: &BTreeSet<String>, prefix: &str, after: &str, most: usize) -> (Vec<Entry>, bool) {
        let mut entries: Vec<Entry> = Vec::new();
        for key in keys.iter().filter(|key| key.as_str() > after) {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let entry = match rest.split_once('/') {
                None => Entry { name: rest.to_owned(), object: Some(Meta::default()) },
                Some((name, _)) => Entry { name: name.to_owned(), object: None },
            };
            if entries.last() != Some(&entry) {
                if entries.len() == most {
                    return (entries, true);
                }
                entries.push(entry);
            }
        }
        (entries, false)
    }

    fn pages(keys: &BTreeSet<String>, limit: usize) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let mut most = limit;
            let page = loop {
                let (entries, more) = s3(keys, "p/", &format!("p/{after}"), most);
                let mut page = Page::default();
                entries.into_iter().for_each(|entry| page.add(&after, entry));
                let Some(last) = page.last().map(str::to_owned) else {
                    assert!(!more || most < 1000);
                    if !more {
                        return names;
                    }
                    most += limit;
                    continue;
                };
                for name in overlooked(&after, &last).filter(|_| more) {
                    if keys.iter().any(|key| key.starts_with(&format!("p/{name}/"))) {
                        page.add(&after, Entry { name: name.to_owned(), object: None });
                    }
                }
                break page.first(limit, more);
            };
            after = page.entries.last().unwrap().name.clone();
            names.extend(page.entries.into_iter().map(|entry| entry.name));
            if !page.more {
                return names;
            }
        }
    }

    #[test]
    fn a_directory_comes_before_what_its_name_begins() {
        let keys: BTreeSet<String> = ["p/d-1", "p/d.txt", "p/d/x", "p/e"].map(String::from).into();
        for limit in 1..5 {
            assert_eq!(pages(&keys, limit), ["d", "d-1", "d.txt", "e"], "{limit} a page");
        }
    }

    proptest! {
        #[test]
        fn pages_of_any_size_tell_of_each_name_once_and_in_order(
            keys in prop::collection::btree_set("p/[a./-]{1,6}", 0..24),
            limit in 1usize..6,
        ) {
            // What a path cannot say the store's side leaves out.
            let keys: BTreeSet<String> =
                keys.into_iter().filter(|key| !key.contains("//") && !key.ends_with('/')).collect();
            let name = |key: &String| key[2..].split('/').next().unwrap().to_owned();
            let expected: BTreeSet<String> = keys.iter().map(name).collect();
            prop_assert_eq!(pages(&keys, limit), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
