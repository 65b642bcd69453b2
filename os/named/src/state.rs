//! A namespace as a whole: the tree, and the answers that are kept for its clients. Pure.

use crate::replies::Replies;
use crate::tree::{Action, Batch, Change, Limits, Reply, Tree};
use bytes::Bytes;
use sigma_abi::proto::Stamp;
use sigma_abi::{Principal, Result};

/// The permission bits of the top: owner and realm may read and write.
const TOP_PERM: u32 = 0o66;

/// What a named holds.
#[derive(Clone, Debug)]
pub struct State {
    pub tree: Tree,
    replies: Replies,
    limits: Limits,
}

impl State {
    /// An empty namespace.
    pub fn new(limits: Limits) -> Self {
        let tree = Tree::new(limits, Principal::default(), TOP_PERM);
        Self { tree, replies: Replies::default(), limits }
    }

    /// A namespace from what a store has kept.
    ///
    /// # Errors
    /// `Internal`, naming what makes no sense.
    pub fn read_back(limits: Limits, records: Vec<(Vec<u8>, Bytes)>) -> Result<Self> {
        let (tree, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|(key, _)| Tree::owns(key));
        let sessions = others.into_iter().filter(|(key, _)| Replies::owns(key)).collect();
        let state = Self::new(limits);
        Ok(Self {
            tree: Tree::read_back(limits, tree)?.unwrap_or(state.tree),
            replies: Replies::read_back(sessions)?,
            limits,
        })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Carries out a change, wholly or not at all, and once: where it was carried out before, the answer is that of then.
    ///
    /// # Errors
    /// As [`Tree::apply`] and [`Replies::find`].
    pub fn apply(&mut self, change: Change, stamp: Option<&Stamp>) -> Result<Reply> {
        let stamp = stamp.filter(|stamp| stamp.number != 0);
        let (pid, now_ms) = (change.by.pid, change.now_ms);
        if let Some(stamp) = stamp
            && let Some(reply) = self.replies.find(pid, stamp)?
        {
            return Ok(reply);
        }
        match &change.action {
            Action::Ended { pid } => self.replies.end(*pid),
            Action::Alive { machine, pids } => self.replies.keep_alive(machine, pids),
            _ => {}
        }
        let reply = self.tree.apply(change)?;
        if let Some(stamp) = stamp {
            self.replies.keep(pid, stamp, now_ms, reply.clone());
        }
        Ok(reply)
    }

    /// Whether something has changed that cannot wait for the next change to be written down. What was merely forgotten of
    /// a proc that ended can: where it is lost, it is forgotten again.
    pub fn is_changed(&self) -> bool {
        self.tree.is_changed() || self.replies.is_changed()
    }

    /// All that has changed since this was last called.
    pub fn write_down(&mut self) -> Batch {
        let mut batch = Batch::new();
        self.tree.write_down(&mut batch);
        self.replies.write_down(&mut batch);
        batch
    }
}
