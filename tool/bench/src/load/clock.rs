//! Says when something is due. The runtime's own timers count in milliseconds, which is as long as an answer takes; those of
//! Linux' timerfd_create(2) are exact.

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

pub(crate) struct Clock<Times> {
    begun: Instant,
    times: Times,
    timer: AsyncFd<OwnedFd>,
}

impl<Times: Iterator<Item = Duration>> Clock<Times> {
    /// Counts from `begun`.
    ///
    /// # Errors
    /// Where the system has no timer left.
    pub(crate) fn start(begun: Instant, times: Times) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe for what is not, as this is, a descriptor that it owns"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { begun, times, timer })
    }

    /// Waits for the next of the times, which it then gives; `None` after the last. One that has passed is given at once, when
    /// others have had their turn.
    ///
    /// # Errors
    /// What the system says of its timer.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Duration>> {
        let Some(at) = self.times.next() else { return Ok(None) };
        match at.saturating_sub(self.begun.elapsed()) {
            Duration::ZERO => tokio::task::yield_now().await,
            wait => self.sleep(wait).await?,
        }
        Ok(Some(at))
    }

    async fn sleep(&self, wait: Duration) -> io::Result<()> {
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos().into() };
        let wait = Itimerspec { it_interval: once, it_value: wait };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &wait)?;
        loop {
            let mut ready = self.timer.readable().await?;
            match rustix::io::read(&self.timer, &mut [0; 8]) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                read => return read.map(drop).map_err(Into::into),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_time_is_given_when_it_has_come_and_not_before() {
        let times = [0, 3, 3, 7].map(Duration::from_millis);
        let begun = Instant::now();
        let mut clock = Clock::start(begun, times.into_iter()).unwrap();
        for at in times {
            assert_eq!(clock.next().await.unwrap(), Some(at));
            assert!(begun.elapsed() >= at);
        }
        assert_eq!(clock.next().await.unwrap(), None);
    }
}
