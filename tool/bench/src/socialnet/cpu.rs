//! The CPU that a kernel and all that it runs take, second by second.

use crate::kernel_processes;
use anyhow::{Result, anyhow};
use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// A measurement under way, on a thread of its own: the load's thread must not be late.
pub(super) struct Cores {
    end: Sender<()>,
    thread: JoinHandle<Result<Vec<f64>>>,
}

impl Cores {
    /// Measures sigmad and all below it.
    pub(super) fn follow(sigmad: u32) -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let (mut before, mut at, mut cores) = (ran(sigmad)?, Instant::now(), Vec::new());
            // It ends with a word, or with who would say it.
            while ended.recv_timeout(SECOND.saturating_sub(at.elapsed())).is_err_and(is_timeout) {
                let (now, span) = (ran(sigmad)?, at.elapsed());
                at = Instant::now();
                // Who ended meanwhile took what nobody knows; who began took all of it since.
                let ran: u64 = now
                    .iter()
                    .map(|(pid, ran)| ran.saturating_sub(before.get(pid).copied().unwrap_or(0)))
                    .sum();
                cores.push(ran as f64 / span.as_nanos() as f64);
                before = now;
            }
            Ok(cores)
        });
        Self { end, thread }
    }

    /// Cores that were used, in each whole second.
    pub(super) fn finish(self) -> Result<Vec<f64>> {
        // One that has failed waits for no word; what it failed by is said below.
        let _ = self.end.send(());
        self.thread.join().map_err(|_| anyhow!("the thread that measures CPU panicked"))?
    }
}

fn is_timeout(error: mpsc::RecvTimeoutError) -> bool {
    error == mpsc::RecvTimeoutError::Timeout
}

fn ran(sigmad: u32) -> Result<HashMap<u32, u64>> {
    let family = kernel_processes::family(sigmad)?;
    Ok(family.iter().map(|process| (process.pid(), process.ran_ns())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_busy_is_seen() {
        let cores = Cores::follow(std::process::id());
        let begun = Instant::now();
        while begun.elapsed() < SECOND * 3 / 2 {
            std::hint::black_box(begun);
        }
        let cores = cores.finish().unwrap();
        assert!(cores.len() == 1 && cores[0] > 0.1, "{cores:?}");
    }
}
