//! The time, and numbers that follow it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Where the numbers begin: 2020-01-01.
const BEGIN_MS: u64 = 1_577_836_800_000;

/// Numbers in one millisecond; then the next one is begun early.
const IN_MS: u64 = 1 << 20;

/// When a number was given, in milliseconds since 1970.
pub fn given_ms(number: i64) -> u64 {
    BEGIN_MS + u64::try_from(number).unwrap_or(0) / IN_MS
}

/// Gives positive numbers, each greater than the one before: 43 bits of time, 20 of random beginnings and counting, so that two that
/// give at the same time do not give the same.
#[derive(Debug, Default)]
pub struct Numbers(Mutex<u64>);

impl Numbers {
    /// The next number. `random` decides where in a new millisecond it begins.
    pub fn next(&self, now_ms: u64, random: u64) -> i64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = now_ms.saturating_sub(BEGIN_MS) * IN_MS;
        // The upper half of a millisecond is for counting on.
        *last = (*last + 1).max(begin + random % (IN_MS / 2));
        (*last & (u64::MAX >> 1)) as i64
    }

    /// The next number now.
    pub fn now(&self) -> i64 {
        let mut random = [0; 8];
        // Without random bytes numbers are still those of one process, in order.
        let _ = getrandom::fill(&mut random);
        self.next(now_ms(), u64::from_le_bytes(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        let numbers = Numbers::default();
        let mut last = 0;
        for (now_ms, random) in [(BEGIN_MS + 5, 9), (BEGIN_MS + 5, 3), (BEGIN_MS + 2, 7), (BEGIN_MS + 6, 0)] {
            let next = numbers.next(now_ms, random);
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        assert_eq!(last, 6 * IN_MS as i64);
        assert_eq!(given_ms(last), BEGIN_MS + 6);
        assert!(numbers.next(u64::MAX / IN_MS, u64::MAX) > 0);
    }
}
