//! A tree to play with, and the tests that do.

mod layout;
mod links;
mod model;
mod mounts;
mod rights;
mod stories;

use super::node::Body;
use super::*;
use sigma_abi::MachineId;
use sigma_abi::proto::{Endpoint, Kind};

pub(super) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub(super) fn pid(number: u64) -> Pid {
    Pid { home: MachineId(1), epoch: 1, number }
}

pub(super) fn caller(machine: &str, turn: u64) -> Caller {
    let (principal, machine) = (Principal::default(), machine.to_owned());
    Caller { principal, pid: pid(0), machine, kernel: false, turn }
}

/// A tree with a clock that ticks once a change.
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) by: Caller,
    pub(super) fences: Vec<Fence>,
    /// All that was written down.
    pub(super) kept: BTreeMap<Vec<u8>, Bytes>,
    limits: Limits,
    now_ms: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(super) fn limited(limits: Limits) -> Self {
        let tree = Tree::new(limits, Principal::default(), 0o66);
        let (by, fences, kept) = (caller("m1", 0), Vec::new(), BTreeMap::new());
        Self { tree, by, fences, kept, limits, now_ms: 0 }
    }

    pub(super) fn apply(&mut self, action: Action) -> Result<Reply> {
        self.now_ms += 1;
        self.tree.look(|_| ());
        let before = self.tree.clone();
        let (by, now_ms, fences) = (self.by.clone(), self.now_ms, self.fences.clone());
        let change = Change { by, now_ms, fences, action };
        let reply = self.tree.apply(change);
        self.tree.look(|_| ());
        if reply.is_err() {
            assert_eq!(format!("{before:?}"), format!("{:?}", self.tree), "a failed change changes nothing");
        }
        self.tree.check();
        self.keep();
        reply
    }

    /// Writes down what has changed; a tree made of all that was written is the same tree, but for what is held open.
    fn keep(&mut self) {
        let mut batch = Batch::new();
        self.tree.write_down(&mut batch);
        for (key, value) in batch {
            match value {
                Some(value) => drop(self.kept.insert(key, value)),
                None => drop(self.kept.remove(&key)),
            }
        }
        let records = self.kept.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let again = Tree::read_back(self.limits, records).unwrap().unwrap();
        again.check();
        assert_eq!(format!("{:?}", again.durable()), format!("{:?}", self.tree.durable()));
    }

    pub(super) fn entry(&mut self, action: Action) -> Result<(Id, Stat)> {
        match self.apply(action)? {
            Reply::Entry { id, stat } => Ok((id, stat)),
            Reply::Done => panic!("an entry is the reply"),
        }
    }

    pub(super) fn put(&mut self, at: &str, contents: &str) -> Result<(Id, Stat)> {
        self.entry(put(at, contents, false))
    }

    pub(super) fn mkdir(&mut self, at: &str) -> Result<(Id, Stat)> {
        self.entry(create(at, Kind::Directory, ""))
    }

    pub(super) fn symlink(&mut self, at: &str, target: &str) -> Result<(Id, Stat)> {
        self.entry(create(at, Kind::Symlink, target))
    }

    pub(super) fn mount(&mut self, at: &str, machine: &str, number: u64) -> Result<(Id, Stat)> {
        let endpoint = Endpoint {
            machine: machine.to_owned(),
            pid: pid(number).to_string(),
            generation: number,
            ..Endpoint::default()
        };
        self.entry(Action::Mount { path: path(at), perm: 0o44, endpoint, pid: pid(number) })
    }

    pub(super) fn remove(&mut self, at: &str) -> Result<Reply> {
        self.apply(Action::Remove { path: path(at), entry: None })
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<Reply> {
        self.apply(Action::Rename { from: path(from), to: path(to) })
    }

    pub(super) fn get(&self, at: &str) -> Result<String> {
        let (stat, contents) = self.tree.get(&path(at), &self.by)?;
        assert_eq!(stat.size, contents.len() as u64);
        Ok(String::from_utf8(contents.to_vec()).unwrap())
    }

    pub(super) fn stat(&self, at: &str) -> Result<Stat> {
        self.tree.stat(&path(at), &self.by)
    }

    pub(super) fn names(&self, at: &str) -> Result<Vec<String>> {
        let page = self.tree.read_dir(&path(at), &self.by, "", 0)?;
        Ok(page.entries.into_iter().map(|stat| stat.name).collect())
    }
}

/// How entries are made here.
pub(super) const NEW: New = New { perm: 0o64, ephemeral: false };

pub(super) fn put(at: &str, contents: &str, exclusive: bool) -> Action {
    let contents = Bytes::copy_from_slice(contents.as_bytes());
    Action::Put { path: path(at), new: NEW, exclusive, contents }
}

pub(super) fn create(at: &str, kind: Kind, target: &str) -> Action {
    Action::Create { path: path(at), kind, new: NEW, exclusive: true, target: target.to_owned() }
}

/// An error with this code, whose message is exactly this.
pub(super) fn fails<T: std::fmt::Debug>(result: Result<T>, code: Code, message: &str) {
    let error = result.expect_err(message);
    assert_eq!((error.code, error.message.as_str()), (code, message));
}

/// An answer that sends the caller on to another server.
pub(super) fn moves<T: std::fmt::Debug>(result: Result<T>, mount: &str, rest: &str) {
    assert_eq!(result.expect_err("moved"), Error::moved(mount, rest));
}

impl Tree {
    /// Everything that must hold of a tree between changes.
    pub(crate) fn check(&self) {
        let mut seen = BTreeSet::from([Id::ROOT]);
        let mut leases: BTreeMap<Pid, BTreeSet<Id>> = BTreeMap::new();
        let mut todo = vec![Id::ROOT];
        while let Some(dir) = todo.pop() {
            let directory = self.directory(dir);
            let mut mounted = BTreeSet::new();
            for (name, id) in &directory.names {
                assert!(seen.insert(*id), "{id} has two places");
                let node = self.node(*id);
                let place = node.place.as_ref().unwrap();
                assert!(node.linked && place.dir == dir && place.name == *name);
                assert!(node.version <= self.changes);
                match &node.body {
                    Body::Directory(_) => todo.push(*id),
                    Body::Mount(_) => drop(mounted.insert(name.clone())),
                    _ => (),
                }
                if let Some(pid) = node.lease {
                    leases.entry(pid).or_default().insert(*id);
                }
            }
            assert_eq!(directory.mounts, mounted);
        }
        assert_eq!(self.leases, leases);
        for (id, node) in &self.nodes {
            assert_eq!(node.linked, seen.contains(id));
            assert!(node.linked || node.pins > 0, "{id} is kept for nobody");
        }
        let bytes = self.nodes.values().map(|node| node.body.bytes()).sum();
        assert_eq!(self.usage(), Usage { entries: (self.nodes.len() + self.fences.len()) as u64 - 1, bytes });
    }

    /// What a store keeps of a tree.
    fn durable(&self) -> impl std::fmt::Debug {
        let nodes = self.nodes.iter().filter(|(_, node)| node.linked);
        let nodes: Vec<_> = nodes.map(|(id, node)| (*id, Node { pins: 0, ..node.clone() })).collect();
        (nodes, self.leases.clone(), self.fences.clone(), self.last_id, self.changes)
    }
}
