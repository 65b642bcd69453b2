//! What a process measured of itself and printed: a line of nanoseconds for each operation, then `total` and those of all.

use crate::report::histogram;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::time::Duration;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Each operation; empty where they overlapped.
    pub times: Histogram<u64>,
    pub total: Duration,
}

impl Measured {
    /// # Errors
    /// Where the text is not what such a process prints.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut times, mut total) = (histogram()?, None);
        for line in text.lines() {
            let strange = || format!("a process that measures says {line:?}");
            match line.strip_prefix("total ") {
                Some(number) => total = Some(Duration::from_nanos(number.parse().with_context(strange)?)),
                None => times.record(line.parse::<u64>().with_context(strange)?.max(1))?,
            }
        }
        Ok(Self { times, total: total.context("a process that measures ended before it was done")? })
    }

    /// The median, in nanoseconds.
    pub fn p50(&self) -> f64 {
        self.times.value_at_quantile(0.5) as f64
    }

    /// Operations a second, of `count`.
    pub fn rate(&self, count: usize) -> f64 {
        count as f64 / self.total.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let measured = Measured::parse("1000\n3000\n2000\ntotal 6000\n").unwrap();
        assert_eq!((measured.p50(), measured.times.len()), (2000.0, 3));
        assert_eq!(measured.rate(3).round(), 500_000.0);
        for wrong in ["", "1000\n", "1000\nhello\ntotal 5", "total x"] {
            assert!(Measured::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
