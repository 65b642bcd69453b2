//! Dates of the proleptic Gregorian calendar, ISO 8601.

use std::fmt::Write;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
pub(crate) const DAYS_TO_2000: i64 = 10_957;

/// The date that is so many days after 1970-01-01, as `YYYY-MM-DD`; ` BC` follows where it is before year 1.
///
/// The algorithm is civil_from_days of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
pub(crate) fn date(days: i64) -> String {
    // Eras of 400 years that begin in March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

/// A time of day of so many microseconds, as `HH:MM:SS` with as many decimals as it has.
pub(crate) fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    clock(seconds / 3600, seconds / 60 % 60, seconds % 60, fraction)
}

pub(crate) fn clock(hours: i64, minutes: i64, seconds: i64, micros: i64) -> String {
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if micros != 0 {
        let decimals = format!("{micros:06}");
        let _ = write!(text, ".{}", decimals.trim_end_matches('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expect) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (DAYS_TO_2000, "2000-01-01"),
            (11_016, "2000-02-29"),
            (20_782, "2026-11-25"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(days), expect);
        }
    }

    #[test]
    fn times_have_the_decimals_that_they_have() {
        for (micros, expect) in
            [(0, "00:00:00"), (86_399_999_999, "23:59:59.999999"), (3_600_500_000, "01:00:00.5")]
        {
            assert_eq!(time(micros), expect);
        }
    }
}
