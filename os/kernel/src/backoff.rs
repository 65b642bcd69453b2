//! How long what keeps dying stays dead; pure.

use std::time::Duration;

/// The pauses between the lives of one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    /// A life of this length ends a row of deaths.
    healthy: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, healthy: Duration) -> Self {
        Self { first, longest, healthy, next: first }
    }

    /// The pause after a life that lasted so long: doubled at each further death in a row, up to the longest.
    pub(crate) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted > self.healthy {
            self.next = self.first;
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_up_to_the_longest_and_begins_anew_after_a_healthy_life() {
        let [first, longest, healthy] = [50, 5000, 10_000].map(Duration::from_millis);
        let mut backoff = Backoff::new(first, longest, healthy);
        let pauses: Vec<_> = (0..9).map(|_| backoff.after(first).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after(healthy).as_millis(), 5000, "no longer than that is not healthy");
        assert_eq!(backoff.after(healthy * 2), first);
        assert_eq!(backoff.after(first), first * 2);
    }
}
