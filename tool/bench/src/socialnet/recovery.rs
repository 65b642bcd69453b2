//! How long a load was disturbed by something that happened in the middle of it, and how it was borne before and after. Pure.

use super::{QUANTILE, SLOW};
use crate::load::slice::{SLICE, Slice};
use std::ops::Range;
use std::time::Duration;

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    /// From what happened to the end of the last slice that is [disturbed](disturbed) after it; nothing, where none is.
    pub(super) took: Duration,
    /// The slices that are, after it.
    pub(super) disturbed: usize,
    /// Requests that failed, of those that were due in the slice in which it happened, or later.
    pub(super) failed: u64,
    /// In milliseconds: the longest 99th percentile of a slice from then on.
    pub(super) slowest_ms: Option<f64>,
    /// All that was due in the step before.
    pub(super) before: Slice,
    /// All that was due in the step when the recovery was over.
    pub(super) after: Slice,
}

/// Something happened at `at`, in the step of a load that took `step`: what comes before and after is compared at one rate.
pub(super) fn recovery(slices: &[Slice], at: Duration, step: &Range<Duration>) -> Recovery {
    let then = index(at).min(slices.len());
    let later = &slices[then..];
    let last = later.iter().rposition(disturbed);
    let over = last.map_or(then + 1, |last| then + last + 1);
    let whole =
        |begin: usize, end: usize| Slice::sum(slices.get(begin..end.min(slices.len())).unwrap_or(&[]));
    let p99s = later.iter().filter_map(|slice| slice.quantile_ms(QUANTILE));
    Recovery {
        took: last.map_or(Duration::ZERO, |_| (SLICE * over as u32).saturating_sub(at)),
        disturbed: later.iter().filter(|slice| disturbed(slice)).count(),
        failed: later.iter().map(|slice| slice.failed).sum(),
        slowest_ms: p99s.reduce(f64::max),
        before: whole(index(step.start), then),
        after: whole(over, index(step.end)),
    }
}

/// A request of it failed, or one of a hundred took too long.
fn disturbed(slice: &Slice) -> bool {
    slice.failed > 0 || slice.quantile_ms(QUANTILE).is_some_and(|ms| ms >= SLOW.as_secs_f64() * 1e3)
}

/// The slice in which a time is.
fn index(at: Duration) -> usize {
    (at.as_nanos() / SLICE.as_nanos()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Failure, Kind, Tally};

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Three seconds of a request each 10 ms, of which `answer` says how long it took, or that it failed; what comes of
    /// a kill at 1.25 s, in a step that takes the second and the third one.
    fn after_a_kill(answer: impl Fn(u64) -> Option<u64>) -> Recovery {
        let mut tally = Tally::new().unwrap();
        for due in (0..3000).step_by(10) {
            tally.sent(ms(due), ms(due));
            match answer(due) {
                Some(took) => tally.answered(Kind::Home, ms(due), ms(due + took)),
                None => tally.failed(Kind::Home, ms(due), ms(due + 1), Failure::Connect, "away"),
            }
        }
        recovery(&tally.slices, ms(1250), &(SECOND..3 * SECOND))
    }

    fn mean(slice: &Slice) -> u64 {
        slice.mean_ms().unwrap().round() as u64
    }

    #[test]
    fn what_nobody_notices_takes_no_time() {
        let recovery = after_a_kill(|due| Some(if due < 1250 { 2 } else { 4 }));
        assert_eq!((recovery.took, recovery.disturbed, recovery.failed), (Duration::ZERO, 0, 0));
        assert_eq!(
            (recovery.before.due, mean(&recovery.before)),
            (20, 2),
            "of the step, up to the kill's slice"
        );
        assert_eq!(
            (recovery.after.due, mean(&recovery.after)),
            (170, 4),
            "of the step, past the kill's slice"
        );
        assert!((recovery.slowest_ms.unwrap() - 4.0).abs() < 0.1);
    }

    #[test]
    fn a_stall_is_over_with_the_last_that_waited_long() {
        // All that is due waits for the end of it; who came due in its last 40 ms does not wait too long.
        let recovery = after_a_kill(|due| Some(if (1250..1640).contains(&due) { 1641 - due } else { 3 }));
        assert_eq!((recovery.took, recovery.disturbed), (ms(1600) - ms(1250), 4));
        assert_eq!((recovery.after.due, recovery.failed), (140, 0));
        assert!(recovery.slowest_ms.unwrap() > 385.0);
    }

    #[test]
    fn failures_disturb_and_what_comes_late_counts() {
        let recovery = after_a_kill(|due| (due != 1300 && due != 2790).then_some(1));
        assert_eq!((recovery.took, recovery.disturbed, recovery.failed), (ms(2800) - ms(1250), 2, 2));
        assert_eq!(recovery.after.due, 20);
    }

    #[test]
    fn who_never_recovers_has_nothing_to_compare() {
        let recovery = after_a_kill(|due| (due < 1250).then_some(1));
        assert_eq!((recovery.took, recovery.disturbed), (ms(3000) - ms(1250), 18));
        assert_eq!((recovery.after.due, recovery.after.mean_ms()), (0, None));
        let nothing = super::recovery(&[], ms(1250), &(SECOND..3 * SECOND));
        assert_eq!((nothing.took, nothing.before.due, nothing.after.due), (Duration::ZERO, 0, 0));
    }

    #[test]
    fn what_was_bad_before_is_no_recovery() {
        let recovery = after_a_kill(|due| (due > 1100).then_some(1));
        assert_eq!((recovery.took, recovery.failed), (Duration::ZERO, 0));
    }
}
