//! Going through the documents that a plan finds, in its order, from where one stopped before.

use super::catalog::Collection;
use super::tables::{Fault, Result, Tables, broken, document_key, entry_parts, prefix};
use crate::document::{Raw, check::raw};
use crate::plan::{Plan, Range, bounds};
use redb::ReadableTable;
use std::ops::Bound;

/// What to do after a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    /// This document was taken; no further one is wanted now.
    Stop,
    /// This one was not taken, and comes again.
    Back,
}

/// What is shown a document, with the key of its `_id`.
pub(super) type See<'a> = dyn FnMut(&[u8], &Raw) -> Result<Step, Fault> + 'a;

/// A way through documents. Where it stands is a key, so documents may come and go between two steps.
#[derive(Debug)]
pub(super) struct Walk {
    collection: u32,
    /// The number of the index; none: the documents themselves.
    index: Option<Used>,
    /// In the order in which they are gone through.
    ranges: Vec<Range>,
    reverse: bool,
    /// The range in which it stands.
    at: usize,
    /// The last key that it has seen there, without what stands before all keys.
    seen: Option<Vec<u8>>,
}

/// The index that is used.
#[derive(Debug)]
struct Used {
    number: u32,
    /// A document may come several times; only the first counts.
    multikey: Option<crate::keys::Keys>,
}

impl Walk {
    pub(super) fn new(collection: &Collection, plan: Plan) -> Self {
        let Plan { index, mut ranges, reverse, .. } = plan;
        if reverse {
            ranges.reverse();
        }
        let index = (index > 0).then(|| {
            let index = &collection.indexes[index];
            Used { number: index.number, multikey: index.multikey.then(|| index.keys.clone()) }
        });
        Self { collection: collection.number, index, ranges, reverse, at: 0, seen: None }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let of =
            |range: &Range| size_of::<Range>() + range.from.len() + range.to.as_ref().map_or(0, Vec::len);
        self.ranges.iter().map(of).sum()
    }

    /// The number of the index that it goes by.
    pub(super) fn index(&self) -> Option<u32> {
        self.index.as_ref().map(|used| used.number)
    }

    /// Shows the key of the `_id` and the document of each that is found, until `see` says to stop. Whether it came to the end.
    pub(super) fn go(&mut self, tables: &impl Tables, see: &mut See<'_>) -> Result<bool, Fault> {
        while let Some(range) = self.ranges.get(self.at).cloned() {
            let stopped = match self.index {
                None if range.exact => self.look_up(&range, tables, see)?,
                None => self.go_documents(&range, tables, see)?,
                Some(_) => self.go_entries(&range, tables, see)?,
            };
            match stopped {
                Some(Step::Back) => return Ok(false),
                // One key is all that the range has.
                Some(_) if self.index.is_none() && range.exact => {
                    self.enter_next();
                    return Ok(self.at == self.ranges.len());
                }
                Some(_) => return Ok(false),
                None => self.enter_next(),
            }
        }
        Ok(true)
    }

    fn enter_next(&mut self) {
        self.at += 1;
        self.seen = None;
    }

    fn look_up(&self, range: &Range, tables: &impl Tables, see: &mut See<'_>) -> Result<Option<Step>, Fault> {
        let found =
            tables.documents().get(&document_key(self.collection, &range.from)[..]).map_err(broken)?;
        let Some(found) = found else { return Ok(None) };
        let step = see(&range.from, raw(found.value())?)?;
        Ok(Some(step).filter(|step| *step != Step::Next))
    }

    fn go_documents(
        &mut self,
        range: &Range,
        tables: &impl Tables,
        see: &mut See<'_>,
    ) -> Result<Option<Step>, Fault> {
        let mut records = tables
            .documents()
            .range::<&[u8]>(self.rest(self.collection, range).as_slices())
            .map_err(broken)?;
        while let Some(record) = if self.reverse { records.next_back() } else { records.next() } {
            let (key, document) = record.map_err(broken)?;
            let id = &key.value()[4..];
            let step = see(id, raw(document.value())?)?;
            if step != Step::Back {
                remember(&mut self.seen, id);
            }
            if step != Step::Next {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    fn go_entries(
        &mut self,
        range: &Range,
        tables: &impl Tables,
        see: &mut See<'_>,
    ) -> Result<Option<Step>, Fault> {
        let Some(Used { number, multikey }) = &self.index else { return Ok(None) };
        let mut entries =
            tables.entries().range::<&[u8]>(self.rest(*number, range).as_slices()).map_err(broken)?;
        while let Some(entry) = if self.reverse { entries.next_back() } else { entries.next() } {
            let entry = entry.map_err(broken)?.0;
            let entry = entry.value();
            let (key, id) = entry_parts(entry)?;
            let found = tables.documents().get(&document_key(self.collection, id)[..]).map_err(broken)?;
            // A state has both or neither.
            let Some(found) = found else { continue };
            let document = raw(found.value())?;
            if let Some(keys) = multikey
                && !self.is_first(key, &keys.of(document)?.0)
            {
                continue;
            }
            let step = see(id, document)?;
            if step != Step::Back {
                remember(&mut self.seen, &entry[4..]);
            }
            if step != Step::Next {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    /// Whether this is the key at which the way comes to a document first.
    fn is_first(&self, key: &[u8], keys: &[Vec<u8>]) -> bool {
        let found = keys.iter().filter(|key| self.ranges.iter().any(|range| range.holds(key)));
        let first = if self.reverse { found.max() } else { found.min() };
        first.is_some_and(|first| first == key)
    }

    /// What is left of a range.
    fn rest(&self, number: u32, range: &Range) -> Rest {
        let before = prefix(number);
        let (mut from, mut to) = bounds(&before, range);
        if let Some(seen) = &self.seen {
            let seen = Bound::Excluded([&before[..], seen].concat());
            if self.reverse { to = seen } else { from = seen }
        }
        Rest(from, to)
    }
}

/// Notes a key, in the place of the one before.
fn remember(seen: &mut Option<Vec<u8>>, key: &[u8]) {
    let seen = seen.get_or_insert_default();
    seen.clear();
    seen.extend(key);
}

struct Rest(Bound<Vec<u8>>, Bound<Vec<u8>>);

impl Rest {
    fn as_slices(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.0.as_ref().map(|key| &key[..]), self.1.as_ref().map(|key| &key[..]))
    }
}
