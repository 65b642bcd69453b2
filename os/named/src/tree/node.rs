//! What the tree is made of.

use bytes::Bytes;
use sigma_abi::proto::{Endpoint, Kind, Stat};
use sigma_abi::{Pid, Principal};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The number of an entry within its tree. It stays through renames and is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Id {
    /// The tree's root.
    pub const ROOT: Self = Self(1);
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// The directory and the name that lead to a node.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: Id,
    pub(super) name: Arc<str>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// `None` for the root.
    pub(super) place: Option<Place>,
    /// False once it was removed; `place` then says where it was.
    pub(super) linked: bool,
    /// How often it is held open.
    pub(super) pins: u64,
    pub(super) owner: Principal,
    pub(super) perm: u32,
    pub(super) version: u64,
    pub(super) modified_ms: u64,
    /// The proc that it ends with.
    pub(super) lease: Option<Pid>,
    /// The store keeps its contents in a record of their own.
    pub(super) apart: bool,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Bytes),
    Directory(Directory),
    Symlink(String),
    Mount(Endpoint),
    /// What flows through it is the edge's.
    Pipe,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) names: BTreeMap<Arc<str>, Id>,
    /// Those of the names that are mounts: what `~any` and `~local` choose from.
    pub(super) mounts: BTreeSet<Arc<str>>,
}

impl Node {
    pub(super) fn new(place: Option<Place>, owner: Principal, perm: u32, body: Body) -> Self {
        let (version, modified_ms, lease) = (0, 0, None);
        Self { place, linked: true, pins: 0, owner, perm, version, modified_ms, lease, apart: false, body }
    }

    pub(super) fn stat(&self, id: Id) -> Stat {
        let name = self.place.as_ref().map_or("/", |place| &place.name);
        let (kind, size) = match &self.body {
            Body::File(contents) => (Kind::File, contents.len()),
            Body::Directory(directory) => (Kind::Directory, directory.names.len()),
            Body::Symlink(target) => (Kind::Symlink, target.len()),
            Body::Mount(_) => (Kind::Mount, 0),
            Body::Pipe => (Kind::Pipe, 0),
        };
        Stat {
            name: name.to_owned(),
            kind: kind.into(),
            size: size as u64,
            perm: self.perm,
            owner: self.owner.to_string(),
            version: self.version,
            modified_ms: self.modified_ms,
            entry: id.0,
            lease: self.lease.map(|pid| pid.to_string()).unwrap_or_default(),
        }
    }
}

impl Body {
    /// The bytes that count against the tree's limit.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(contents) => contents.len() as u64,
            Self::Symlink(target) => target.len() as u64,
            Self::Mount(endpoint) => endpoint.mount.len() as u64,
            Self::Directory(_) | Self::Pipe => 0,
        }
    }

    pub(super) fn is_mount(&self) -> bool {
        matches!(self, Self::Mount(_))
    }

    /// What it is, within a sentence.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::File(_) => "a file",
            Self::Directory(_) => "a directory",
            Self::Symlink(_) => "a symlink",
            Self::Mount(_) => "a mount",
            Self::Pipe => "a pipe",
        }
    }
}
