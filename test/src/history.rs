//! Whether what clients saw of a namespace could have come from one that does one thing at a time. Pure.
//!
//! A history is *linearizable* (Herlihy and Wing, 1990) where each operation can be given one moment between its call and its
//! answer, such that all of them, in the order of these moments, do and see what a plain map would. The search is that of Wing
//! and Gong (1993) with Lowe's memory of what was tried (2017). Keys that no rename connects are looked at one by one, which
//! keeps it small; past [`MOST_TRIED`] it gives up and says so, since an answer that was not found is none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// States that are tried for one set of connected keys.
const MOST_TRIED: usize = 2_000_000;

/// What a client asked for, of files in one directory. Each value that is written is written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new file: fails where the name is taken.
    Create {
        key: String,
        value: u64,
    },
    /// A file, new or not.
    Put {
        key: String,
        value: u64,
    },
    Get {
        key: String,
    },
    /// Replaces what is at `to`.
    Rename {
        from: String,
        to: String,
    },
    Remove {
        key: String,
    },
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Found(u64),
    NotFound,
    Exists,
    /// Nothing: it may have been carried out at any time after its call, or never.
    Unknown,
}

/// An operation, from its call to its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub action: Action,
    pub outcome: Outcome,
    pub called: u64,
    pub answered: u64,
}

/// Orders calls and answers of one process.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

type Files = BTreeMap<String, u64>;

/// Whether operations on an empty directory are linearizable.
///
/// # Errors
/// Those that are not, one a line: an operation that can have no moment, after what else has one.
pub fn linearizable(history: &[Operation]) -> Result<(), String> {
    parts(history).into_iter().try_for_each(|part| Search::new(part).run())
}

impl Action {
    fn keys(&self) -> (&String, Option<&String>) {
        match self {
            Self::Create { key, .. } | Self::Put { key, .. } | Self::Get { key } | Self::Remove { key } => {
                (key, None)
            }
            Self::Rename { from, to } => (from, Some(to)),
        }
    }

    /// What a plain map does and says.
    fn apply(&self, files: &mut Files) -> Outcome {
        match self {
            Self::Create { key, .. } if files.contains_key(key) => Outcome::Exists,
            Self::Create { key, value } | Self::Put { key, value } => {
                files.insert(key.clone(), *value);
                Outcome::Done
            }
            Self::Get { key } => files.get(key).map_or(Outcome::NotFound, |value| Outcome::Found(*value)),
            Self::Remove { key } => files.remove(key).map_or(Outcome::NotFound, |_| Outcome::Done),
            Self::Rename { from, to } => match files.remove(from) {
                None => Outcome::NotFound,
                Some(value) => {
                    files.insert(to.clone(), value);
                    Outcome::Done
                }
            },
        }
    }
}

impl Operation {
    /// What is there afterwards, where that is what the client was told.
    fn step(&self, files: &Files) -> Option<Files> {
        let mut after = files.clone();
        let outcome = self.action.apply(&mut after);
        (outcome == self.outcome || self.outcome == Outcome::Unknown).then_some(after)
    }

    /// The end of the time in which it may have been carried out.
    fn until(&self) -> u64 {
        if self.outcome == Outcome::Unknown { u64::MAX } else { self.answered }
    }
}

/// The operations by the sets of keys that renames connect.
fn parts(history: &[Operation]) -> Vec<Vec<&Operation>> {
    let mut of_key: BTreeMap<&String, usize> = BTreeMap::new();
    for operation in history {
        let (key, other) = operation.action.keys();
        let fresh = of_key.len();
        let part = *of_key.entry(key).or_insert(fresh);
        if let Some(other) = other {
            let fresh = of_key.len();
            let joined = *of_key.entry(other).or_insert(fresh);
            of_key.values_mut().filter(|at| **at == joined).for_each(|at| *at = part);
        }
    }
    let mut parts: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        let part = of_key.get(operation.action.keys().0).copied().unwrap_or_default();
        parts.entry(part).or_default().push(operation);
    }
    parts.into_values().collect()
}

/// Calls and answers in the order of time, as a list from which operations that have their moment are taken out.
struct Search<'a> {
    operations: Vec<&'a Operation>,
    /// The operation of each event, and whether it is its call.
    events: Vec<(usize, bool)>,
    /// The place of each operation's answer in `events`.
    answers: Vec<usize>,
    /// Links between events that are still in the list; the last place is its head and its end.
    next: Vec<usize>,
    before: Vec<usize>,
    /// Which operations have their moment.
    placed: Vec<u64>,
    tried: HashSet<(Vec<u64>, Files)>,
}

impl<'a> Search<'a> {
    fn new(operations: Vec<&'a Operation>) -> Self {
        let mut events: Vec<(usize, bool)> =
            (0..operations.len()).flat_map(|index| [(index, true), (index, false)]).collect();
        events.sort_by_key(|(index, is_call)| match is_call {
            true => (operations[*index].called, 0),
            false => (operations[*index].until(), 1),
        });
        let mut answers = vec![0; operations.len()];
        for (place, (index, is_call)) in events.iter().enumerate() {
            if !is_call {
                answers[*index] = place;
            }
        }
        let ring = events.len() + 1;
        let next = (0..ring).map(|place| (place + 1) % ring).collect();
        let before = (0..ring).map(|place| (place + ring - 1) % ring).collect();
        let placed = vec![0; operations.len().div_ceil(64)];
        Self { operations, events, answers, next, before, placed, tried: HashSet::new() }
    }

    fn run(mut self) -> Result<(), String> {
        let end = self.events.len();
        let mut files = Files::new();
        // What has its moment, in order, and what was there before each.
        let mut done: Vec<(usize, Files)> = Vec::new();
        let mut furthest: Vec<usize> = Vec::new();
        let mut at = self.next[end];
        while at != end {
            let (index, is_call) = self.events[at];
            if is_call {
                let after = self.operations[index].step(&files).filter(|after| self.is_new(index, after));
                let Some(after) = after else {
                    at = self.next[at];
                    continue;
                };
                self.take_out(at, index);
                done.push((at, std::mem::replace(&mut files, after)));
                at = self.next[end];
            } else {
                // It was answered before what comes now was called, so it must have had its moment.
                if done.len() >= furthest.len() {
                    furthest = done.iter().map(|(at, _)| self.events[*at].0).collect();
                }
                let Some((back, before)) = done.pop() else { return Err(self.explain(&furthest)) };
                self.put_back(back, self.events[back].0);
                files = before;
                at = self.next[back];
            }
            if self.tried.len() > MOST_TRIED {
                return Err(format!("undecided after {MOST_TRIED} states: make the history smaller"));
            }
        }
        Ok(())
    }

    /// Whether it was not tried before to go on with this operation to these files.
    fn is_new(&mut self, index: usize, after: &Files) -> bool {
        let mut placed = self.placed.clone();
        placed[index / 64] |= 1 << (index % 64);
        self.tried.insert((placed, after.clone()))
    }

    fn take_out(&mut self, call: usize, index: usize) {
        self.placed[index / 64] |= 1 << (index % 64);
        for place in [call, self.answers[index]] {
            let (before, next) = (self.before[place], self.next[place]);
            (self.next[before], self.before[next]) = (next, before);
        }
    }

    fn put_back(&mut self, call: usize, index: usize) {
        self.placed[index / 64] &= !(1 << (index % 64));
        for place in [self.answers[index], call] {
            let (before, next) = (self.before[place], self.next[place]);
            (self.next[before], self.before[next]) = (place, place);
        }
    }

    fn explain(&self, furthest: &[usize]) -> String {
        let mut files = Files::new();
        let mut lines = vec!["no order explains these operations; the longest that does some:".to_owned()];
        for index in furthest {
            let operation = self.operations[*index];
            operation.action.apply(&mut files);
            lines.push(format!("  {operation:?}"));
        }
        lines.push(format!("leaves {files:?}, and these do not fit:"));
        let left = (0..self.operations.len()).filter(|index| !furthest.contains(index));
        lines.extend(left.take(5).map(|index| format!("  {:?}", self.operations[index])));
        lines.join("\n")
    }
}
