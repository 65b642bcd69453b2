//! Says when something is due. The runtime's own timers count in milliseconds, which is as long as an answer takes, so a
//! thread sleeps in between.

use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What may be due and not yet taken up; the thread waits past that. Nothing is lost by it: each is told when it was due.
const MAX_UNTAKEN: usize = 1024;

pub(crate) struct Clock(mpsc::Receiver<Duration>);

impl Clock {
    /// Counts from `begun`. The thread ends after the last of these times, or soon after the clock is dropped.
    pub(crate) fn start(begun: Instant, times: impl Iterator<Item = Duration> + Send + 'static) -> Self {
        let (say, due) = mpsc::channel(MAX_UNTAKEN);
        std::thread::spawn(move || {
            for at in times {
                std::thread::sleep(at.saturating_sub(begun.elapsed()));
                if say.blocking_send(at).is_err() {
                    return;
                }
            }
        });
        Self(due)
    }

    /// Waits for the next of the times, which it then gives; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Duration> {
        self.0.recv().await
    }
}
