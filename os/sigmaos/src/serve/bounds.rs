//! The bounds of a server over all of its connections: how many there are, and how many calls are in flight on them.

use crate::rpc::{Answer, Call};
use crate::wire::Session;
use crate::{Code, Error, Result};
use rustix::process::{Resource, getrlimit};
use sigma_abi::frame::Frame;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server may spend so many of five descriptors on connections that it accepts; the rest is for what it opens itself.
const FIFTHS: u64 = 2;

/// The most connections that a server accepts, however many descriptors it may have.
const MOST_CONNECTIONS: usize = 65_536;

/// A number of places, each taken by one at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Count>);

#[derive(Debug)]
struct Count {
    taken: AtomicUsize,
    all: usize,
}

/// A place that is taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place(Arc<Count>);

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self(Arc::new(Count { taken: AtomicUsize::new(0), all }))
    }

    /// For the connections of a server in this process.
    pub(super) fn for_connections() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(descriptors / 5 * FIFTHS).unwrap_or(usize::MAX);
        Self::new(share.min(MOST_CONNECTIONS))
    }

    pub(super) fn all(&self) -> usize {
        self.0.all
    }

    /// A place, where one is free.
    pub(super) fn take(&self) -> Option<Place> {
        let taken = &self.0.taken;
        let step = |now| (now < self.0.all).then_some(now + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session that takes a place for each of its calls until it is answered or cancelled.
pub(super) struct Bounded {
    pub(super) session: Arc<dyn Session>,
    pub(super) in_flight: Places,
}

impl Session for Bounded {
    fn call(&self, call: Call) -> Answer {
        let Some(place) = self.in_flight.take() else {
            let most = self.in_flight.all();
            let error =
                Error::new(Code::Busy, format!("{most} calls of this server are in flight; try again later"));
            return Box::pin(std::future::ready(Err(error)));
        };
        let answer = self.session.call(call);
        Box::pin(async move {
            let answered = answer.await;
            drop(place);
            answered
        })
    }

    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        self.session.notice(frame, fds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_was_given_back() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.clone().take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
        assert!(Places::new(0).take().is_none());
    }
}
