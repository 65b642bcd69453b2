//! Searches that callers go on with: kept by number, for the proc that began them, and not for ever.

use crate::limits::{CURSOR_IDLE, MAX_CURSOR_BYTES, MAX_CURSORS, MAX_CURSORS_OF_CALLER};
use sigma_abi::{Code, Error, Result};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Cursors that hold an `S` each.
#[derive(Debug)]
pub struct Cursors<S>(Mutex<Kept<S>>);

#[derive(Debug)]
struct Kept<S> {
    all: HashMap<u64, Cursor<S>>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Cursor<S> {
    owner: String,
    search: S,
    bytes: usize,
    since: Instant,
}

impl<S> Default for Cursors<S> {
    fn default() -> Self {
        // At random: a number from before a restart must not be another's now, whatever the clock does meanwhile. Half of all
        // numbers follow.
        let next = RandomState::new().build_hasher().finish() >> 1;
        Self(Mutex::new(Kept { all: HashMap::new(), bytes: 0, next }))
    }
}

impl<S> Cursors<S> {
    /// Keeps a search that holds so many bytes; its number.
    ///
    /// # Errors
    /// `Busy` past [`MAX_CURSORS_OF_CALLER`], [`MAX_CURSORS`] or [`MAX_CURSOR_BYTES`].
    pub fn keep(&self, owner: &str, search: S, bytes: usize) -> Result<u64> {
        let mut kept = self.lock();
        let now = Instant::now();
        let idle: Vec<u64> = kept
            .all
            .iter()
            .filter(|(_, cursor)| now.duration_since(cursor.since) > CURSOR_IDLE)
            .map(|(number, _)| *number)
            .collect();
        for number in idle {
            kept.remove(number);
        }
        let own = kept.all.values().filter(|cursor| cursor.owner == owner).count();
        if own >= MAX_CURSORS_OF_CALLER
            || kept.all.len() >= MAX_CURSORS
            || kept.bytes + bytes > MAX_CURSOR_BYTES
        {
            let text = format!("too many cursors are open: read {own} of yours to their ends, or drop them");
            return Err(Error::new(Code::Busy, text));
        }
        let number = kept.next;
        kept.next += 1;
        kept.bytes += bytes;
        kept.all.insert(number, Cursor { owner: owner.to_owned(), search, bytes, since: now });
        Ok(number)
    }

    /// Takes a search, to go on with it; while it is gone on with, nobody else has it.
    ///
    /// # Errors
    /// `Closed` where there is none of that number for this owner.
    pub fn take(&self, owner: &str, number: u64) -> Result<S> {
        let mut kept = self.lock();
        let known = kept
            .all
            .get(&number)
            .is_some_and(|cursor| cursor.owner == owner && cursor.since.elapsed() <= CURSOR_IDLE);
        let found = if known { kept.remove(number) } else { None };
        found.ok_or_else(|| {
            Error::new(
                Code::Closed,
                "the cursor is not open: it has been idle, or its server has ended; find again",
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Kept<S> {
    fn remove(&mut self, number: u64) -> Option<S> {
        let cursor = self.all.remove(&number)?;
        self.bytes -= cursor.bytes;
        Some(cursor.search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_its_owners_and_once_taken_gone() {
        let cursors = Cursors::default();
        let number = cursors.keep("p1", "search", 10).unwrap();
        assert_eq!(cursors.take("p2", number).unwrap_err().code, Code::Closed);
        assert_eq!(cursors.take("p1", number).unwrap(), "search");
        assert_eq!(cursors.take("p1", number).unwrap_err().code, Code::Closed);
    }

    #[test]
    fn one_proc_does_not_take_the_places_of_all() {
        let cursors = Cursors::default();
        let numbers: Vec<u64> =
            (0..MAX_CURSORS_OF_CALLER).map(|_| cursors.keep("greedy", (), 0).unwrap()).collect();
        assert_eq!(cursors.keep("greedy", (), 0).unwrap_err().code, Code::Busy);
        cursors.keep("modest", (), 0).unwrap();
        cursors.take("greedy", numbers[0]).unwrap();
        cursors.keep("greedy", (), 0).unwrap();
        assert_eq!(cursors.keep("modest", (), MAX_CURSOR_BYTES + 1).unwrap_err().code, Code::Busy);
    }
}
