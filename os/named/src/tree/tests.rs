//! A tree to play with, and the tests that do.

mod links;
mod model;
mod mounts;
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
    Caller { principal: Principal::default(), machine: machine.to_owned(), turn }
}

/// A tree with a clock that ticks once a change.
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) by: Caller,
    now_ms: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(super) fn limited(limits: Limits) -> Self {
        let tree = Tree::new(limits, Principal::default(), 0o66);
        Self { tree, by: caller("m1", 0), now_ms: 0 }
    }

    pub(super) fn apply(&mut self, action: Action) -> Result<Reply> {
        self.now_ms += 1;
        let before = self.tree.clone();
        let change = Change { by: self.by.clone(), now_ms: self.now_ms, action };
        let reply = self.tree.apply(change);
        if reply.is_err() {
            assert_eq!(format!("{before:?}"), format!("{:?}", self.tree), "a failed change changes nothing");
        }
        self.tree.check();
        reply
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
        let endpoint =
            Endpoint { machine: machine.to_owned(), pid: pid(number).to_string(), generation: number };
        self.entry(Action::Mount { path: path(at), perm: 0o44, endpoint, pid: pid(number) })
    }

    pub(super) fn remove(&mut self, at: &str) -> Result<Reply> {
        self.apply(Action::Remove { path: path(at) })
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

pub(super) fn put(at: &str, contents: &str, exclusive: bool) -> Action {
    let contents = Bytes::copy_from_slice(contents.as_bytes());
    Action::Put { path: path(at), perm: 0o64, exclusive, contents }
}

pub(super) fn create(at: &str, kind: Kind, target: &str) -> Action {
    Action::Create { path: path(at), kind, perm: 0o64, exclusive: true, target: target.to_owned() }
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
    pub(super) fn check(&self) {
        let mut seen = BTreeSet::from([Id::ROOT]);
        let mut mounts: BTreeMap<Pid, BTreeSet<Id>> = BTreeMap::new();
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
                    Body::Mount(mount) => {
                        mounted.insert(name.clone());
                        mounts.entry(mount.pid).or_default().insert(*id);
                    }
                    _ => (),
                }
            }
            assert_eq!(directory.mounts, mounted);
        }
        assert_eq!(self.mounts, mounts);
        for (id, node) in &self.nodes {
            assert_eq!(node.linked, seen.contains(id));
            assert!(node.linked || node.pins > 0, "{id} is kept for nobody");
        }
        let bytes = self.nodes.values().map(|node| node.body.bytes()).sum();
        assert_eq!(self.usage(), Usage { entries: self.nodes.len() as u64 - 1, bytes });
    }
}
