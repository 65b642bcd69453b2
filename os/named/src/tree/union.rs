//! Union directories: the names `~any` and `~local` stand for one of the mounts beside them.

use super::Tree;
use super::change::Caller;
use super::node::{Body, Directory, Id};
use sigma_abi::{Code, Error, Path, Result};
use std::sync::Arc;

/// Which mount of a directory is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// One on the caller's machine, and otherwise each in turn.
    Any,
    /// One on the caller's machine.
    Local,
}

impl Pick {
    /// `None` for an ordinary name. No entry can have one of the two names.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "~any" => Some(Self::Any),
            "~local" => Some(Self::Local),
            _ => None,
        }
    }
}

impl Tree {
    /// The mount that `pick` stands for in a directory.
    ///
    /// # Errors
    /// `NotFound`, saying what the directory lacks.
    pub(super) fn pick(&self, dir: Id, pick: Pick, path: &Path, caller: &Caller) -> Result<Id> {
        let none = |text: &str| {
            Err(Error::new(Code::NotFound, format!("{path}: {} holds no {text}", self.path_of(dir))))
        };
        let Body::Directory(directory) = &self.node(dir).body else { return none("mount") };
        if let Some(id) = directory.mounts.iter().find_map(|name| self.local(directory, name, caller)) {
            return Ok(id);
        }
        let count = directory.mounts.len() as u64;
        if pick == Pick::Local {
            return none(&format!("mount of the caller's machine {}", caller.machine));
        }
        let turn = caller.turn.checked_rem(count).unwrap_or(0);
        match directory.mounts.iter().nth(turn as usize).and_then(|name| directory.names.get(name)) {
            Some(id) => Ok(*id),
            None => none("mount"),
        }
    }

    fn local(&self, directory: &Directory, name: &Arc<str>, caller: &Caller) -> Option<Id> {
        let id = *directory.names.get(name)?;
        match &self.node(id).body {
            Body::Mount(endpoint) if endpoint.machine == caller.machine => Some(id),
            _ => None,
        }
    }
}
