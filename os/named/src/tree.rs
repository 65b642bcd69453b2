//! The tree of a namespace, as a pure state machine: reads look, [`Tree::apply`] changes, nothing else happens.
//!
//! - No clock, no I/O, no randomness: the time, the caller and the turn of `~any` come with each change and read.
//! - A change is carried out wholly or not at all; an error says on which path and at which name of it.
//! - An entry is a node with a number, and a place (its directory and name) that leads to it. A rename moves the place, a
//!   remove takes it away; a node that somebody holds open stays until the last one lets go. A directory is a range
//!   of places, so a listing of any length goes page by page.
//! - What the tree holds is counted exactly, removed but open files included, and never passes its [`Limits`].
//! - A change leaves behind what there is to tell: events for those who watch, and what a store must write down. From what
//!   was written down a tree can be made again.
//! - What the kernel lays out stays where it is until the kernel moves it; see [`layout`].
//! - Every change has a number, and a changed entry takes it as its version: versions never go back, not even where
//!   a name is removed and made again.
//!
//! # Walks
//! `get`, `stat`, `open`, `read_dir`, a `Put` and a `Create` that is not exclusive follow a symlink at the end of the
//! path; `remove`, `rename`, `read_link`, `mount` and whatever is exclusive act on the entry itself. A symlink's target
//! is absolute, or relative to the directory of the link; targets only lead down, since `..` is refused everywhere.
//!
//! Where a walk meets a mount, the answer is [`Error::moved`] with the mount's path free of symlinks, `~any` and
//! `~local`, and what is left of the path; only what acts on the entry itself stops at a mount that is last.

mod change;
mod event;
mod fence;
mod file;
mod layout;
mod lease;
mod node;
mod open;
mod permission;
mod quota;
mod record;
mod rename;
#[cfg(test)]
mod tests;
mod union;
mod walk;

pub use change::{Access, Action, Caller, Change, New, Reply};
pub use event::{Event, What};
pub use fence::Fence;
pub use node::Id;
pub use quota::{DEFAULT_BYTES, DEFAULT_ENTRIES, Limits, Usage};
pub use record::Batch;

use bytes::Bytes;
use event::Log;
use node::{Body, Node};
use permission::READ;
use quota::Quota;
use sigma_abi::limits::DIR_PAGE;
use sigma_abi::proto::{DirPage, Resolved, Stat};
use sigma_abi::{Code, Error, Path, Pid, Principal, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use walk::{Last, Walked};

/// The entries of one namespace.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<Id, Node>,
    /// What ends with each proc.
    leases: BTreeMap<Pid, BTreeSet<Id>>,
    /// The epoch of the last election for each fenced path.
    fences: BTreeMap<Path, u64>,
    last_id: u64,
    /// Counts changes; the version of what changed last.
    changes: u64,
    quota: Quota,
    log: Log,
    /// The greatest version that walks have met since [`Tree::look`].
    seen: Cell<u64>,
}

impl Tree {
    /// An empty tree, whose root belongs to `owner`.
    pub fn new(limits: Limits, owner: Principal, perm: u32) -> Self {
        let root = Node::new(None, owner, perm, Body::Directory(node::Directory::default()));
        Self {
            nodes: BTreeMap::from([(Id::ROOT, root)]),
            leases: BTreeMap::new(),
            fences: BTreeMap::new(),
            last_id: Id::ROOT.0,
            changes: 0,
            quota: Quota::new(limits),
            log: Log { nodes: BTreeSet::from([Id::ROOT]), ..Log::default() },
            seen: Cell::new(0),
        }
    }

    /// Looks at the tree, and says on which changes the answer rests: on none after the version that comes with it.
    pub fn look<T>(&self, look: impl FnOnce(&Self) -> T) -> (T, u64) {
        self.seen.set(0);
        let found = look(self);
        (found, self.seen.get())
    }

    /// The number of the last change.
    pub fn version(&self) -> u64 {
        self.changes
    }

    /// Changes how many entries the tree may hold. What it holds is not taken away.
    pub fn limit_entries(&mut self, entries: u64) {
        self.quota.set_limits(Limits { entries, ..self.quota.limits() });
    }

    /// What the tree holds now, for `sigma realm show`.
    pub fn usage(&self) -> Usage {
        self.quota.usage()
    }

    /// A whole file.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `IsDir`, `Loop`, `Moved`.
    pub fn get(&self, path: &Path, caller: &Caller) -> Result<(Stat, Bytes)> {
        let id = self.find(path, caller)?;
        match &self.node(id).body {
            Body::File(contents) => {
                self.may(id, caller, READ, path)?;
                Ok((self.stat_of(id), contents.clone()))
            }
            Body::Directory(_) => Err(Error::new(Code::IsDir, format!("{path} is a directory"))),
            other => Err(Error::new(Code::Invalid, format!("{path} is {}: open it", other.noun()))),
        }
    }

    /// What an entry is.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Moved`.
    pub fn stat(&self, path: &Path, caller: &Caller) -> Result<Stat> {
        self.find(path, caller).map(|id| self.stat_of(id))
    }

    /// What is at a path itself, links and mounts included.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Moved`.
    pub fn entry_at(&self, path: &Path, caller: &Caller) -> Result<Stat> {
        self.walk(path, caller, Last::Entry)?.existing(path).map(|id| self.stat_of(id))
    }

    /// Whether a caller may watch a directory.
    ///
    /// # Errors
    /// `NotDir`, `Denied`.
    pub fn may_watch(&self, id: Id, by: &Caller, path: &Path) -> Result<()> {
        match &self.node(id).body {
            Body::Directory(_) => self.may(id, by, READ, path),
            other => Err(Error::new(Code::NotDir, format!("{path} is {}, not a directory", other.noun()))),
        }
    }

    /// The number of an entry, for [`Tree::pin`], [`Tree::read`] and the changes that take an open entry.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Moved`.
    pub fn open(&self, path: &Path, caller: &Caller) -> Result<Id> {
        self.find(path, caller)
    }

    /// Entries of a directory by name, those after `after`, at most `limit` and never more than
    /// [`DIR_PAGE`]; 0 asks for that many. Mounts are listed as entries of this tree.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Moved`.
    pub fn read_dir(&self, path: &Path, caller: &Caller, after: &str, limit: usize) -> Result<DirPage> {
        let id = self.find(path, caller)?;
        let Body::Directory(directory) = &self.node(id).body else {
            let noun = self.node(id).body.noun();
            return Err(Error::new(Code::NotDir, format!("{path} is {noun}, not a directory")));
        };
        self.may(id, caller, READ, path)?;
        let limit = if limit == 0 { DIR_PAGE } else { limit.min(DIR_PAGE) };
        let from = if after.is_empty() { Unbounded } else { Excluded(after) };
        let mut names = directory.names.range::<str, _>((from, Unbounded));
        let entries = names.by_ref().take(limit).map(|(_, id)| self.stat_of(*id)).collect();
        Ok(DirPage { entries, more: names.next().is_some() })
    }

    /// Where a symlink leads, as it was written.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Moved`; `Invalid` where it is not a symlink.
    pub fn read_link(&self, path: &Path, caller: &Caller) -> Result<String> {
        let id = self.walk(path, caller, Last::Entry)?.existing(path)?;
        match &self.node(id).body {
            Body::Symlink(target) => Ok(target.clone()),
            other => Err(Error::new(Code::Invalid, format!("{path} is {}, not a symlink", other.noun()))),
        }
    }

    /// Who serves a path: the mount on its way with what is left below it, or `/` and the path free of symlinks where
    /// this tree does. The last name need not exist.
    ///
    /// # Errors
    /// `NotFound` and `NotDir` before the last name, `Loop`.
    pub fn resolve(&self, path: &Path, caller: &Caller) -> Result<Resolved> {
        match self.walk_or_leave(path, caller, Last::Follow)? {
            Walked::Here(spot) => {
                Ok(Resolved { mount: "/".to_owned(), rest: self.path_of_spot(&spot), endpoint: None })
            }
            Walked::Away { mount, rest } => {
                let endpoint = match &self.node(mount).body {
                    Body::Mount(endpoint) => Some(endpoint.clone()),
                    _ => None,
                };
                Ok(Resolved { mount: self.path_of(mount), rest, endpoint })
            }
        }
    }

    fn find(&self, path: &Path, caller: &Caller) -> Result<Id> {
        self.walk(path, caller, Last::Follow)?.existing(path)
    }

    fn node(&self, id: Id) -> &Node {
        self.nodes.get(&id).expect("a place or an index leads to a node that exists")
    }

    fn node_mut(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a place or an index leads to a node that exists")
    }

    fn stat_of(&self, id: Id) -> Stat {
        self.node(id).stat(id)
    }
}
