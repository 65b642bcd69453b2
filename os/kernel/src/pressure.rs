//! What the machine is short of: how long its tasks wait for CPU, memory and disk, and how much memory is left.
//!
//! Where memory is short no new BE proc starts, so that what runs is not made to wait for the disk, or killed by the machine's own
//! out-of-memory killer, which knows nothing of classes.

use crate::kernel::Kernel;
use crate::log;
use crate::state::State;
use sigma_abi::proto;
use sigma_schedd::Event;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Bytes of available memory below which it is short, and above which it no longer is.
const SHORT_BELOW: u64 = 128 << 20;
const ENOUGH_ABOVE: u64 = 256 << 20;

/// Percent of the last 10 s in which every task waited for memory, above which it is short, and below which it no longer is.
const STALLED_ABOVE: f32 = 20.0;
const FLOWING_BELOW: f32 = 5.0;

/// The pressure of the machine when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Pressure(Mutex<Measured>);

/// Percent of the last 10 s, proc_pressure(5); 0 where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Measured {
    /// Some task waited for a core.
    cpu: f32,
    /// Every task waited for memory.
    memory: f32,
    /// Every task waited for a disk.
    io: f32,
    /// Bytes of memory that could be had without swapping; `None` where the system does not say.
    available: Option<u64>,
    short: bool,
}

impl Measured {
    fn read(before: Self) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stalled =
            |what: &str, kind: &str| average(&text(&format!("/proc/pressure/{what}")), kind).unwrap_or(0.0);
        let measured = Self {
            cpu: stalled("cpu", "some"),
            memory: stalled("memory", "full"),
            io: stalled("io", "full"),
            available: available(&text("/proc/meminfo")),
            short: false,
        };
        Self { short: measured.is_short(before.short), ..measured }
    }

    /// Whether memory is short. It takes more to leave that state than to stay out of it.
    fn is_short(&self, before: bool) -> bool {
        let (least, most) = if before { (ENOUGH_ABOVE, FLOWING_BELOW) } else { (SHORT_BELOW, STALLED_ABOVE) };
        self.memory > most || self.available.is_some_and(|available| available < least)
    }
}

impl Pressure {
    pub(crate) fn to_proto(&self) -> proto::Pressure {
        let Measured { cpu, memory, io, available, short } =
            *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        proto::Pressure {
            cpu_percent: cpu,
            memory_percent: memory,
            io_percent: io,
            memory_available_bytes: available.unwrap_or(0),
            memory_short: short,
        }
    }

    /// Looks again; says whether memory is short where that has changed.
    fn look(&self) -> Option<bool> {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *measured;
        *measured = Measured::read(before);
        (measured.short != before.short).then_some(measured.short)
    }
}

/// Looks at the machine, and at what grows by itself, for as long as the kernel lives.
pub(crate) async fn watch(kernel: Arc<Kernel>) {
    loop {
        if let Some(short) = kernel.pressure.look() {
            tracing::warn!(short, "the machine's memory");
            kernel.schedule(Event::MemoryShort { short });
        }
        let log = State::log_file(&kernel.state.dir);
        if log::is_full(&log)
            && let Ok(Err(error)) = tokio::task::spawn_blocking(move || log::rotate(&log)).await
        {
            tracing::warn!(%error, "the log cannot be rotated");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The average over 10 s of a line of a file of proc_pressure(5), in percent.
fn average(text: &str, kind: &str) -> Option<f32> {
    let line = text.lines().find(|line| line.starts_with(kind))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let text = "some avg10=1.25 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!((average(text, "some"), average(text, "full")), (Some(1.25), Some(0.5)));
        assert_eq!(average("", "some"), None);
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB"), None);
    }

    #[test]
    fn memory_is_short_until_there_is_clearly_enough() {
        let with = |available, memory| Measured { available: Some(available), memory, ..Measured::default() };
        assert!(with(SHORT_BELOW - 1, 0.0).is_short(false));
        assert!(with(ENOUGH_ABOVE * 2, STALLED_ABOVE + 1.0).is_short(false));
        let between = with(SHORT_BELOW + 1, 0.0);
        assert_eq!((between.is_short(false), between.is_short(true)), (false, true));
        assert!(!with(ENOUGH_ABOVE, FLOWING_BELOW).is_short(true));
        assert!(!Measured::default().is_short(false), "a system that says nothing is not short");
    }
}
