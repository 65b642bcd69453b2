//! What a change leaves to tell: events for those who watch, and what is to be written down.

use super::Tree;
use super::node::Id;
use sigma_abi::Path;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something happened in a directory. No two events of a directory have one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub dir: Id,
    /// The directory's version with the change.
    pub version: u64,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An entry is there, and may have replaced another.
    Created(Arc<str>),
    /// An entry is there no more.
    Removed(Arc<str>),
    /// An entry has another name, and may have replaced the one that had it.
    Renamed(Arc<str>, Arc<str>),
    /// The directory itself was removed.
    Gone,
}

/// What has changed since it was last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<Event>,
    /// Nodes whose record has changed.
    pub(super) nodes: BTreeSet<Id>,
    /// Files whose contents have changed.
    pub(super) contents: BTreeSet<Id>,
    /// Places that lead nowhere, unless they were given again.
    pub(super) places: BTreeSet<(Id, Arc<str>)>,
    pub(super) fences: BTreeSet<Path>,
}

impl Tree {
    /// What happened since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.log.events)
    }

    /// Whether there is something to tell or to write down.
    pub fn is_changed(&self) -> bool {
        let Log { events, nodes, contents, places, fences } = &self.log;
        !(events.is_empty()
            && nodes.is_empty()
            && contents.is_empty()
            && places.is_empty()
            && fences.is_empty())
    }

    pub(super) fn tell(&mut self, dir: Id, what: What) {
        let event = Event { dir, version: self.changes, what };
        self.log.events.push(event);
    }
}
