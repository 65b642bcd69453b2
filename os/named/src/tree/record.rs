//! The tree as keys and values, for a store to keep.
//!
//! | key | value |
//! |---|---|
//! | `e`, number of the directory, name | the entry, with its contents where those are small; a directory is a range of keys. The root is in directory 0, without a name |
//! | `c`, number of the file | its contents where they are large |
//! | `f`, path | the epoch of the last election for a fenced path |
//! | `m` | the last number of an entry and of a change |
//!
//! Numbers are big-endian, so that keys sort as they do.

use super::event::Log;
use super::node::{Body, Directory, Id, Node, Place};
use super::quota::Quota;
use super::{Limits, Tree};
use bytes::Bytes;
use prost::Message;
use sigma_abi::proto::{Endpoint, Kind};
use sigma_abi::{Code, Error, Path, Principal, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to write down: a value for each key, none where the key goes.
pub type Batch = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Contents of at most so many bytes lie in the record of their entry: one record is written sooner than two.
const TOGETHER: usize = 512;

const ENTRY: u8 = b'e';
const CONTENTS: u8 = b'c';
const FENCE: u8 = b'f';
const META: u8 = b'm';

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(enumeration = "Kind", tag = "2")]
    kind: i32,
    #[prost(string, tag = "3")]
    owner: String,
    #[prost(uint32, tag = "4")]
    perm: u32,
    #[prost(uint64, tag = "5")]
    version: u64,
    #[prost(uint64, tag = "6")]
    modified_ms: u64,
    #[prost(string, tag = "7")]
    lease: String,
    #[prost(string, tag = "8")]
    target: String,
    #[prost(message, optional, tag = "9")]
    endpoint: Option<Endpoint>,
    #[prost(bytes = "bytes", tag = "10")]
    contents: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct MetaRecord {
    #[prost(uint64, tag = "1")]
    last_id: u64,
    #[prost(uint64, tag = "2")]
    changes: u64,
}

impl Tree {
    /// Adds to `batch` all that has changed since this was last called.
    pub fn write_down(&mut self, batch: &mut Batch) {
        let events = std::mem::take(&mut self.log.events);
        let log = std::mem::replace(&mut self.log, Log { events, ..Log::default() });
        for (dir, name) in &log.places {
            batch.insert(entry_key(*dir, name), None);
        }
        for id in &log.nodes {
            if let Some(node) = self.nodes.get(id).filter(|node| node.linked) {
                let (dir, name) = node.place.as_ref().map_or((Id(0), ""), |place| (place.dir, &place.name));
                batch.insert(entry_key(dir, name), Some(record(*id, node).encode_to_vec().into()));
            }
        }
        for id in &log.contents {
            let Some(node) = self.nodes.get_mut(id).filter(|node| node.linked) else {
                batch.insert(contents_key(*id), None);
                continue;
            };
            let apart = match &node.body {
                Body::File(contents) if contents.len() > TOGETHER => Some(contents.clone()),
                _ => None,
            };
            // What lies with the entry may have had a record of its own before.
            let was_apart = std::mem::replace(&mut node.apart, apart.is_some());
            if was_apart || node.apart {
                batch.insert(contents_key(*id), apart);
            }
        }
        for path in &log.fences {
            let epoch = self.fences.get(path).map(|epoch| Bytes::copy_from_slice(&epoch.to_be_bytes()));
            batch.insert([&[FENCE], path.as_str().as_bytes()].concat(), epoch);
        }
        let meta = MetaRecord { last_id: self.last_id, changes: self.changes };
        batch.insert(vec![META], Some(meta.encode_to_vec().into()));
    }

    /// Whether a key is one of those above.
    pub fn owns(key: &[u8]) -> bool {
        matches!(key.first(), Some(&(ENTRY | CONTENTS | FENCE | META)))
    }

    /// A tree from what was written down; none where nothing was.
    ///
    /// # Errors
    /// `Internal`, naming the key that makes no sense.
    pub fn read_back(limits: Limits, records: Vec<(Vec<u8>, Bytes)>) -> Result<Option<Self>> {
        if records.is_empty() {
            return Ok(None);
        }
        let mut tree = Self::new(limits, Principal::default(), 0);
        tree.quota = Quota::new(Limits { entries: u64::MAX, bytes: u64::MAX });
        tree.nodes.clear();
        let mut contents = Vec::new();
        for (key, value) in records {
            let damaged = || Error::new(Code::Internal, format!("the record {key:02x?} makes no sense"));
            match key.split_first() {
                Some((&ENTRY, place)) => {
                    let record = EntryRecord::decode(value).map_err(|_| damaged())?;
                    tree.restore(place, record).ok_or_else(damaged)?;
                }
                Some((&CONTENTS, id)) => contents.push((number(id).ok_or_else(damaged)?, value)),
                Some((&FENCE, path)) => {
                    let path = std::str::from_utf8(path).ok().and_then(|path| Path::parse(path).ok());
                    tree.fences.insert(path.ok_or_else(damaged)?, number(&value).ok_or_else(damaged)?);
                }
                _ => {
                    let meta = MetaRecord::decode(value).map_err(|_| damaged())?;
                    (tree.last_id, tree.changes) = (meta.last_id, meta.changes);
                }
            }
        }
        for (id, bytes) in contents {
            match tree.nodes.get_mut(&Id(id)) {
                Some(Node { body: Body::File(contents), apart, .. }) => {
                    // A copy, since what a store hands out may share a larger buffer.
                    (*contents, *apart) = (Bytes::copy_from_slice(&bytes), true);
                }
                _ => {
                    let text = format!("the contents of entry {id} belong to no file");
                    return Err(Error::new(Code::Internal, text));
                }
            }
        }
        tree.relink()?;
        tree.count(limits);
        tree.log = Log::default();
        Ok(Some(tree))
    }

    /// Makes a node of its record.
    fn restore(&mut self, place: &[u8], record: EntryRecord) -> Option<()> {
        let (dir, name) = place.split_at_checked(8)?;
        let (dir, name) = (Id(number(dir)?), std::str::from_utf8(name).ok()?);
        let body = match record.kind() {
            // A copy, as that of large ones.
            Kind::File => Body::File(Bytes::copy_from_slice(&record.contents)),
            Kind::Directory => Body::Directory(Directory::default()),
            Kind::Symlink => Body::Symlink(record.target),
            Kind::Mount => Body::Mount(record.endpoint?),
            Kind::Pipe => Body::Pipe,
            Kind::RpcDevice => return None,
        };
        let id = Id(record.id);
        let place = (dir != Id(0)).then(|| Place { dir, name: Arc::from(name) });
        let owner = Principal::parse(&record.owner).ok()?;
        let lease = match record.lease.as_str() {
            "" => None,
            pid => Some(pid.parse().ok()?),
        };
        if let Some(pid) = lease {
            self.leases.entry(pid).or_default().insert(id);
        }
        let node = Node::new(place, owner, record.perm, body);
        let (version, modified_ms) = (record.version, record.modified_ms);
        self.nodes.insert(id, Node { version, modified_ms, lease, ..node });
        Some(())
    }

    /// Gives each node its place in its directory.
    fn relink(&mut self) -> Result<()> {
        let places: Vec<_> = self.nodes.iter().map(|(id, node)| (*id, node.place.clone())).collect();
        for (id, place) in places {
            let Some(place) = place else { continue };
            match self.nodes.get(&place.dir).map(|node| &node.body) {
                Some(Body::Directory(_)) => self.link(id, place),
                _ => {
                    let text = format!("entry {id} lies in {}, which is no directory", place.dir);
                    return Err(Error::new(Code::Internal, text));
                }
            }
        }
        match self.nodes.get(&Id::ROOT).map(|root| &root.body) {
            Some(Body::Directory(_)) => Ok(()),
            _ => Err(Error::new(Code::Internal, "the namespace has lost its root")),
        }
    }

    fn count(&mut self, limits: Limits) {
        let bytes = self.nodes.values().map(|node| node.body.bytes()).sum();
        let entries = self.nodes.len() + self.fences.len() - 1;
        self.quota = Quota::counted(limits, entries as u64, bytes);
    }

    /// Takes over what was held open in a tree that this one replaces, so far as it is here, and goes on with its numbers.
    pub fn succeed(&mut self, old: Self) {
        (self.last_id, self.changes) = (self.last_id.max(old.last_id), self.changes.max(old.changes));
        let limits = self.quota.limits();
        for (id, node) in old.nodes.into_iter().filter(|(_, node)| node.pins > 0) {
            match self.nodes.get_mut(&id) {
                Some(here) => here.pins = node.pins,
                // Removed, and open: it lives on by those who hold it.
                None if !node.linked => drop(self.nodes.insert(id, node)),
                None => {}
            }
        }
        self.count(limits);
    }
}

fn record(id: Id, node: &Node) -> EntryRecord {
    let stat = node.stat(id);
    let mut record = EntryRecord {
        id: id.0,
        kind: stat.kind,
        owner: stat.owner,
        perm: stat.perm,
        version: stat.version,
        modified_ms: stat.modified_ms,
        lease: stat.lease,
        ..EntryRecord::default()
    };
    match &node.body {
        Body::Symlink(target) => record.target.clone_from(target),
        Body::Mount(endpoint) => record.endpoint = Some(endpoint.clone()),
        Body::File(contents) if contents.len() <= TOGETHER => record.contents = contents.clone(),
        Body::File(_) | Body::Directory(_) | Body::Pipe => {}
    }
    record
}

fn entry_key(dir: Id, name: &str) -> Vec<u8> {
    [&[ENTRY], &dir.0.to_be_bytes()[..], name.as_bytes()].concat()
}

fn contents_key(id: Id) -> Vec<u8> {
    [&[CONTENTS], &id.0.to_be_bytes()[..]].concat()
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
