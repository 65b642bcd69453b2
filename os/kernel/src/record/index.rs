//! Which records of a realm are kept, and where; pure.
//!
//! ```text
//!   lives ──ended──▶ kept until its parent has read it (or ended) and a retention time has passed, or there are too many
//! ```
//!
//! Guarantees: never more than the limits; where something must go, the oldest goes first that nobody waits for any more,
//! and only then the oldest.

use super::journal::Place;
use sigma_abi::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) ended: usize,
    pub(super) ended_bytes: u64,
    pub(super) live_bytes: u64,
    pub(super) retention: Duration,
}

/// A record whose proc lives or is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) parent: Option<Pid>,
    pub(super) spawned: Place,
    pub(super) end: Option<End>,
    /// Its parent has read its status, or it has none within the realm.
    read: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) place: Place,
    /// Counted by a clock that never jumps.
    at: Duration,
    /// Counts the ends of the realm.
    number: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    limits: Limits,
    records: BTreeMap<Pid, Kept>,
    /// Ended ones, by the number of their end: read ones apart from those that somebody may still wait for.
    read: BTreeSet<(u64, Pid)>,
    unread: BTreeSet<(u64, Pid)>,
    ends: u64,
    live_bytes: u64,
    ended_bytes: u64,
}

impl Index {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            records: BTreeMap::new(),
            read: BTreeSet::new(),
            unread: BTreeSet::new(),
            ends: 0,
            live_bytes: 0,
            ended_bytes: 0,
        }
    }

    /// Whether the record of one more proc that lives may take so many bytes.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.live_bytes + bytes <= self.limits.live_bytes
    }

    pub(super) fn spawned(&mut self, pid: Pid, parent: Option<Pid>, spawned: Place) {
        self.live_bytes += spawned.size();
        self.records.insert(pid, Kept { parent, spawned, end: None, read: parent.is_none() });
    }

    /// A proc has ended: which records go for it.
    pub(super) fn ended(&mut self, pid: Pid, place: Place, now: Duration) -> Vec<Pid> {
        self.ends += 1;
        let number = self.ends;
        if let Some(kept) = self.records.get_mut(&pid).filter(|kept| kept.end.is_none()) {
            kept.end = Some(End { place, at: now, number });
            self.live_bytes -= kept.spawned.size();
            self.ended_bytes += kept.spawned.size() + place.size();
            if kept.read { &mut self.read } else { &mut self.unread }.insert((number, pid));
        }
        let mut gone = Vec::new();
        while self.read.len() + self.unread.len() > self.limits.ended
            || self.ended_bytes > self.limits.ended_bytes
        {
            let oldest = self.read.first().or_else(|| self.unread.first()).map(|(_, pid)| *pid);
            let Some(oldest) = oldest else { break };
            self.forget(oldest);
            gone.push(oldest);
        }
        gone
    }

    /// Somebody has read how a proc ended.
    pub(super) fn read_by(&mut self, pid: Pid, reader: Pid) {
        if self.records.get(&pid).is_some_and(|kept| kept.parent == Some(reader)) {
            self.was_read(pid);
        }
    }

    fn was_read(&mut self, pid: Pid) {
        let Some(kept) = self.records.get_mut(&pid) else { return };
        kept.read = true;
        if let Some(end) = kept.end {
            self.unread.remove(&(end.number, pid));
            self.read.insert((end.number, pid));
        }
    }

    /// What is kept no longer: read, or its parent lives no more, and past the retention time.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<Pid> {
        let orphans: Vec<_> =
            self.unread.iter().map(|(_, pid)| *pid).filter(|pid| !self.parent_lives(*pid)).collect();
        orphans.into_iter().for_each(|pid| self.was_read(pid));
        let old = |pid: &Pid| {
            let end = self.records.get(pid).and_then(|kept| kept.end);
            end.is_some_and(|end| now.saturating_sub(end.at) > self.limits.retention)
        };
        let gone: Vec<_> = self.read.iter().map(|(_, pid)| *pid).take_while(old).collect();
        gone.iter().for_each(|pid| self.forget(*pid));
        gone
    }

    fn parent_lives(&self, pid: Pid) -> bool {
        let parent = self.records.get(&pid).and_then(|kept| kept.parent);
        parent.and_then(|parent| self.records.get(&parent)).is_some_and(|parent| parent.end.is_none())
    }

    pub(super) fn get(&self, pid: Pid) -> Option<Kept> {
        self.records.get(&pid).copied()
    }

    /// Records in the order of their spawn, after `after`.
    pub(super) fn after(&self, after: Option<Pid>) -> impl DoubleEndedIterator<Item = (Pid, Kept)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.records.range((from, std::ops::Bound::Unbounded)).map(|(pid, kept)| (*pid, *kept))
    }

    /// All entries that are needed, in an order that a replay understands.
    pub(super) fn places(&self) -> Vec<Place> {
        let ended = self.read.iter().chain(&self.unread).filter_map(|(_, pid)| self.records.get(pid));
        let live = self.records.values().filter(|kept| kept.end.is_none());
        ended
            .chain(live)
            .flat_map(|kept| [Some(kept.spawned), kept.end.map(|end| end.place)])
            .flatten()
            .collect()
    }

    /// Bytes of the entries that are needed.
    pub(super) fn bytes(&self) -> u64 {
        self.live_bytes + self.ended_bytes
    }

    /// The entries lie elsewhere now.
    pub(super) fn moved(&mut self, to: impl Fn(Place) -> Option<Place>) {
        for kept in self.records.values_mut() {
            kept.spawned = to(kept.spawned).unwrap_or(kept.spawned);
            if let Some(end) = &mut kept.end {
                end.place = to(end.place).unwrap_or(end.place);
            }
        }
    }

    /// Drops a record, whether its proc lives or has ended.
    pub(super) fn forget(&mut self, pid: Pid) {
        let Some(kept) = self.records.remove(&pid) else { return };
        match kept.end {
            Some(end) => {
                self.ended_bytes -= kept.spawned.size() + end.place.size();
                self.read.remove(&(end.number, pid));
                self.unread.remove(&(end.number, pid));
            }
            None => self.live_bytes -= kept.spawned.size(),
        }
    }
}
