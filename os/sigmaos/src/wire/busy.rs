//! Busy polling: a driver that was just busy looks again and again for a while, before it sleeps.
//!
//! A core that sleeps takes tens of microseconds to wake, in a virtual machine most of all: more than a light call itself.
//! Whoever looks again instead is there when the next frame comes. The price is CPU: up to the whole time that was set, after
//! each frame. Between two looks the core is given up, so that on a core shared with the other side nobody is kept waiting, and
//! the runtime polls its sockets and runs its other tasks.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

/// For how long the drivers of a client look on after a frame; not at all, unless it is set. Cheap to clone: the clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusyPoll(Arc<AtomicU64>);

impl BusyPoll {
    pub(crate) fn set(&self, time: Duration) {
        self.0.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let nanoseconds = self.0.load(Ordering::Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.get().is_some()
    }
}

/// One driver's watch for its next frame.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    until: Option<Instant>,
}

impl Lookout {
    /// At the end of a turn of the driver: lets it be polled again where it should look on. `was_busy` says that the turn read a
    /// frame, or that one was sent since the last.
    pub(super) fn look_on(&mut self, busy: &BusyPoll, was_busy: bool, cx: &mut Context<'_>) {
        let Some(time) = busy.get() else { return };
        let now = Instant::now();
        if was_busy {
            self.until = now.checked_add(time);
        }
        if self.until.is_none_or(|until| now >= until) {
            self.until = None;
            return;
        }
        std::thread::yield_now();
        // The runtime wakes the driver when it has looked at all sockets and has given every other task a turn. A driver that
        // woke itself would come first.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    /// Turns of a driver that reads a frame in the first, until it sleeps, and how long that takes.
    async fn turns(busy: &BusyPoll) -> (usize, Duration) {
        let (mut lookout, mut turns, begun) = (Lookout::default(), 0, Instant::now());
        poll_fn(|cx| {
            turns += 1;
            lookout.look_on(busy, turns == 1, cx);
            if lookout.until.is_some() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        (turns, begun.elapsed())
    }

    #[tokio::test]
    async fn a_driver_looks_on_for_as_long_as_was_set() {
        let busy = BusyPoll::default();
        assert_eq!(turns(&busy).await.0, 1, "it sleeps at once unless that is set");
        let time = Duration::from_millis(2);
        busy.set(time);
        let (turns, took) = turns(&busy).await;
        assert!(turns > 1 && took >= time, "{turns} turns in {took:?}");
    }
}
