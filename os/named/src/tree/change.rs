//! Changes of the tree: what they are, and those that make entries.

use super::Tree;
use super::fence::Fence;
use super::node::{Body, Directory, Id, Node, Place};
use super::union::Pick;
use super::walk::{Last, Spot};
use bytes::Bytes;
use sigma_abi::proto::{Endpoint, Kind, Stat};
use sigma_abi::{Code, Error, Path, Pid, Principal, Result};
use std::collections::BTreeSet;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Owns what it makes.
    pub principal: Principal,
    /// The proc or tool; what is ephemeral ends with it.
    pub pid: Pid,
    /// The machine on which it runs, which `~local` means.
    pub machine: String,
    /// The kernel, or a tool of the operator: permissions do not bind it.
    pub kernel: bool,
    /// Which mount `~any` takes where none is local, modulo their number: the edge counts it up.
    pub turn: u64,
}

/// One change, with all that it depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub by: Caller,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// The elections by which the caller acts.
    pub fences: Vec<Fence>,
    pub action: Action,
}

/// What to change.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates or replaces a whole file. An existing one keeps its number, owner, perm and lease.
    Put { path: Path, new: New, exclusive: bool, contents: Bytes },
    /// Creates an entry. Where one of the same kind (and target) exists and it need not be exclusive, that is the reply.
    Create { path: Path, kind: Kind, new: New, exclusive: bool, target: String },
    /// Opens a file or pipe in a way that may change it: one that is made where it is missing, or cut to nothing.
    Open { path: Path, create: bool, truncate: bool, access: Access, new: New },
    /// Takes an entry away, that of the given number alone where there is one; a directory must be empty.
    Remove { path: Path, entry: Option<Id> },
    /// Moves an entry, a directory with all below it. A file or symlink at `to` is replaced, as is an empty directory by a
    /// directory; a mount never is.
    Rename { from: Path, to: Path },
    /// Advertises a server for as long as `pid` lives. The same pid may mount again, with a new endpoint.
    Mount { path: Path, perm: u32, endpoint: Endpoint, pid: Pid },
    /// Makes the ephemeral file that names a leader; who was elected for `fence` before is shut out.
    Elect { path: Path, perm: u32, fence: Option<Path>, contents: Bytes },
    /// A proc has ended: what it held goes.
    Ended { pid: Pid },
    /// All procs of a machine that live: what others of it held goes.
    Alive { machine: String, pids: BTreeSet<Pid> },
    /// Writes to an open file; what lies between its end and `offset` becomes zeros.
    Write { id: Id, offset: u64, data: Bytes },
}

/// How an entry is made, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    pub perm: u32,
    /// It ends with the caller's proc.
    pub ephemeral: bool,
}

/// What an entry is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

/// What a change has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Done,
    /// The entry that was made, changed or found.
    Entry {
        id: Id,
        stat: Stat,
    },
}

impl Tree {
    /// Carries out a change, wholly or not at all.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `IsDir`, `Exists`, `NotEmpty`, `Loop` and `Moved` as the paths have it; `Denied`; `Stale` by a
    /// later election; `Invalid` for what makes no sense anywhere, `TooLarge` past `MAX_NAMED_FILE`, `Quota` past
    /// the limits, `Closed` for an open entry that is gone, `Unsupported` for kinds that this tree does not keep.
    pub fn apply(&mut self, change: Change) -> Result<Reply> {
        let Change { by, now_ms, fences, action } = change;
        if !fences.is_empty() {
            self.check_action(&by, &fences, &action)?;
        }
        match action {
            Action::Put { path, new, exclusive, contents } => {
                self.put(&by, now_ms, &path, new, exclusive, &contents)
            }
            Action::Create { path, kind, new, exclusive, target } => {
                let body = new_body(&path, kind, &target)?;
                self.create(&by, now_ms, &path, new, exclusive, body)
            }
            Action::Open { path, create, truncate, access, new } => {
                self.open_to_change(&by, now_ms, &path, create, truncate, access, new)
            }
            Action::Remove { path, entry } => self.remove(&by, now_ms, &path, entry),
            Action::Rename { from, to } => self.rename(&by, now_ms, &from, &to),
            Action::Mount { path, perm, endpoint, pid } => {
                self.mount(&by, now_ms, &path, perm, endpoint, pid)
            }
            Action::Elect { path, perm, fence, contents } => {
                self.elect(&by, now_ms, &path, perm, fence.as_ref(), &contents)
            }
            Action::Ended { pid } => {
                self.ended(pid, now_ms);
                Ok(Reply::Done)
            }
            Action::Alive { machine, pids } => {
                for pid in self.dead_holders(&machine, &pids) {
                    self.ended(pid, now_ms);
                }
                Ok(Reply::Done)
            }
            Action::Write { id, offset, data } => self.write(now_ms, id, offset, &data),
        }
    }

    /// Whether the caller's elections let it touch what the action would. What the paths lead to decides, not how they
    /// are written.
    fn check_action(&self, by: &Caller, fences: &[Fence], action: &Action) -> Result<()> {
        let (path, last, below) = match action {
            Action::Put { path, exclusive, .. } | Action::Create { path, exclusive, .. } => {
                (path, if *exclusive { Last::Entry } else { Last::Follow }, false)
            }
            Action::Open { path, .. } => (path, Last::Follow, false),
            Action::Mount { path, .. } | Action::Elect { path, .. } => (path, Last::Entry, false),
            Action::Remove { path, .. } | Action::Rename { from: path, .. } => (path, Last::Entry, true),
            Action::Write { id, .. } if self.nodes.contains_key(id) => {
                return self.check_fences(fences, &self.path_of(*id), false);
            }
            Action::Write { .. } | Action::Ended { .. } | Action::Alive { .. } => return Ok(()),
        };
        let spot = self.walk(path, by, last)?;
        self.check_fences(fences, &self.path_of_spot(&spot), below)?;
        if let Action::Rename { to, .. } = action {
            let spot = self.walk(to, by, Last::Entry)?;
            self.check_fences(fences, &self.path_of_spot(&spot), true)?;
        }
        Ok(())
    }

    fn create(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        new: New,
        exclusive: bool,
        body: Body,
    ) -> Result<Reply> {
        if new.ephemeral && matches!(body, Body::Directory(_)) {
            let text = format!("create {path}: a directory cannot be ephemeral, what is in it can");
            return Err(Error::new(Code::Invalid, text));
        }
        let itself = exclusive || matches!(body, Body::Symlink(_)) || by.principal.is_kernel();
        let spot = self.walk(path, by, if itself { Last::Entry } else { Last::Follow })?;
        let spot = if exclusive { spot } else { self.make_way(by, now_ms, spot, &body) };
        let Some(id) = spot.entry else { return self.make(by, now_ms, path, spot, new, body) };
        let same = match (&self.node(id).body, &body) {
            (Body::Symlink(old), Body::Symlink(new)) => old == new,
            (old, new) => std::mem::discriminant(old) == std::mem::discriminant(new),
        };
        if same && !exclusive {
            self.take_over(by, now_ms, id, new.perm);
            return Ok(self.entry(id));
        }
        Err(exists(path).context(format!("create {}", body.noun())))
    }

    /// Makes an entry at a free spot, as somebody who may.
    pub(super) fn make(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        spot: Spot,
        new: New,
        body: Body,
    ) -> Result<Reply> {
        self.may_change(spot.dir, by, path)?;
        let reply = self.insert(by, now_ms, path, spot, new.perm, body)?;
        match reply {
            Reply::Entry { id, .. } if new.ephemeral => {
                self.lease(id, by.pid);
                Ok(self.entry(id))
            }
            reply => Ok(reply),
        }
    }

    /// Makes an entry at a free spot.
    pub(super) fn insert(
        &mut self,
        by: &Caller,
        now_ms: u64,
        path: &Path,
        spot: Spot,
        perm: u32,
        body: Body,
    ) -> Result<Reply> {
        debug_assert!(spot.entry.is_none() && Pick::parse(&spot.name).is_none());
        if by.principal.is_kernel() {
            self.quota.take_for_kernel(body.bytes());
        } else {
            self.quota.take_entry(path, body.bytes())?;
        }
        self.changes += 1;
        self.last_id += 1;
        let (id, place) = (Id(self.last_id), Place { dir: spot.dir, name: spot.name.into() });
        self.nodes.insert(id, Node::new(Some(place.clone()), by.principal.clone(), perm, body));
        self.link(id, place.clone());
        self.log.contents.insert(id);
        self.touch(id, now_ms);
        self.touch(spot.dir, now_ms);
        self.created(&place);
        Ok(self.entry(id))
    }

    /// Marks an entry as changed by the current change.
    pub(super) fn touch(&mut self, id: Id, now_ms: u64) {
        let version = self.changes;
        let node = self.node_mut(id);
        (node.version, node.modified_ms) = (version, now_ms);
        self.log.nodes.insert(id);
    }

    pub(super) fn entry(&self, id: Id) -> Reply {
        Reply::Entry { id, stat: self.stat_of(id) }
    }
}

pub(super) fn exists(path: &Path) -> Error {
    Error::new(Code::Exists, format!("{path} exists"))
}

fn new_body(path: &Path, kind: Kind, target: &str) -> Result<Body> {
    let refuse = |code, text: &str| Err(Error::new(code, format!("create {path}: {text}")));
    match kind {
        Kind::Symlink => Ok(Body::Symlink(link_target(target).map_err(|error| error.context(path))?)),
        _ if !target.is_empty() => refuse(Code::Invalid, "only a symlink has a target"),
        Kind::File => Ok(Body::File(Bytes::new())),
        Kind::Directory => Ok(Body::Directory(Directory::default())),
        Kind::Mount => refuse(Code::Invalid, "a mount is made by mounting a server"),
        Kind::Pipe => Ok(Body::Pipe),
        Kind::RpcDevice => refuse(Code::Unsupported, "an rpc device is made by the server that answers it"),
    }
}

/// An absolute target, or one relative to the link's directory, normalized as a path is.
fn link_target(target: &str) -> Result<String> {
    if target.starts_with('/') {
        return Ok(Path::parse(target)?.as_str().to_owned());
    }
    let relative = Path::parse(&format!("/{target}"))?;
    if relative.is_root() {
        return Err(Error::new(Code::Invalid, format!("{target:?} leads nowhere: a symlink needs a target")));
    }
    Ok(relative.as_str()[1..].to_owned())
}
