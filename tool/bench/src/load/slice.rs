//! A short time of a load. What is told by second, or by anything longer, is the sum of several.

use hdrhistogram::Histogram;
use std::time::Duration;

/// How long a slice is: so short that an outage of a few tenths of a second has a beginning and an end.
pub const SLICE: Duration = Duration::from_millis(100);

/// Slices of a second.
pub const OF_A_SECOND: usize = 10;

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// One slice. Latencies and failures are of the requests that were due in it.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Requests that were due.
    pub due: u64,
    /// Answers that arrived in it, whenever their requests were due.
    pub answered: u64,
    pub failed: u64,
    /// In microseconds, to a hundredth. It grows with what it holds: most slices are quick, and take little room.
    latency: Histogram<u32>,
}

impl Slice {
    pub(super) fn new() -> Self {
        let latency = Histogram::new(2).expect("two digits are among those that it takes");
        Self { due: 0, answered: 0, failed: 0, latency }
    }

    /// All of several together.
    pub fn sum(slices: &[Self]) -> Self {
        let mut sum = Self::new();
        for slice in slices {
            sum.due += slice.due;
            sum.answered += slice.answered;
            sum.failed += slice.failed;
            sum.latency += &slice.latency;
        }
        sum
    }

    pub(super) fn took(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US);
        self.latency.record(us).expect("it grows to all that LONGEST_US allows");
    }

    /// In milliseconds; `None` where nothing was answered.
    pub fn mean_ms(&self) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.mean() / 1e3)
    }

    /// In milliseconds; `None` where nothing was answered.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(quantile) as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_summed_whatever_each_has_grown_to() {
        let mut slices = vec![Slice::new(); 3];
        assert_eq!((Slice::sum(&slices).mean_ms(), Slice::sum(&slices).quantile_ms(0.5)), (None, None));
        for (slice, time) in slices.iter_mut().zip([3, 3000, u64::MAX]) {
            (slice.due, slice.answered, slice.failed) = (4, 3, 2);
            slice.took(Duration::from_millis(time));
        }
        let sum = Slice::sum(&slices);
        assert_eq!((sum.due, sum.answered, sum.failed), (12, 9, 6));
        let about = |quantile: f64, ms: f64| {
            let found = sum.quantile_ms(quantile).unwrap();
            assert!((found / ms - 1.0).abs() < 0.01, "{found} and not {ms}");
        };
        about(0.3, 3.0);
        about(0.6, 3000.0);
        about(1.0, LONGEST_US as f64 / 1e3);
        assert_eq!(SLICE * OF_A_SECOND as u32, Duration::from_secs(1));
    }
}
