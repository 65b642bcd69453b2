//! The numbers of a client's changes: by them a server carries out once what it is sent more than once.

use crate::proto;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The session of a client: what its changes are numbered in.
#[derive(Debug)]
pub(crate) struct Changes {
    session: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Changes whose answers have not come yet.
    open: BTreeSet<u64>,
}

/// A change that waits for its answer. Dropping this says that nobody sends it again.
#[derive(Debug)]
pub(crate) struct Numbered<'a> {
    changes: &'a Changes,
    number: u64,
}

/// What a change carries beside what it changes.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) stamp: Option<proto::Stamp>,
    pub(crate) fences: Vec<proto::Fence>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        // A hasher's keys are random; that is all the randomness that a name for a session needs.
        let session = RandomState::new().build_hasher().finish();
        Self { session, state: Mutex::default() }
    }

    /// The next change.
    pub(crate) fn number(&self) -> Numbered<'_> {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.open.insert(number);
        Numbered { changes: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbered<'_> {
    /// What the server is told, each time that the change is sent.
    pub(crate) fn stamp(&self) -> proto::Stamp {
        let state = self.changes.lock();
        let done = state.open.first().map_or(state.last, |first| first - 1);
        proto::Stamp { session: self.changes.session, number: self.number, done }
    }
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        self.changes.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_what_no_answer_is_awaited_of() {
        let changes = Changes::new();
        let (first, second) = (changes.number(), changes.number());
        let told = |change: &Numbered<'_>| (change.stamp().number, change.stamp().done);
        assert_eq!((told(&first), told(&second)), ((1, 0), (2, 0)));
        drop(first);
        assert_eq!(told(&second), (2, 1));
        drop(second);
        assert_eq!(told(&changes.number()), (3, 2));
    }

    #[test]
    fn two_clients_have_two_sessions() {
        let session = || Changes::new().number().stamp().session;
        assert_ne!(session(), session());
    }
}
