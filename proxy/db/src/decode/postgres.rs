//! PostgreSQL's binary forms, which its sources define in src/backend/utils/adt.

use super::calendar::{DAYS_TO_2000, date, time};
use std::fmt::Write;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The ends of time.
fn infinity(is_latest: bool) -> String {
    if is_latest { "infinity".to_owned() } else { "-infinity".to_owned() }
}

/// `date`: days since 2000-01-01.
pub(crate) fn date_of(bytes: &[u8]) -> Option<String> {
    let days = i32::from_be_bytes(bytes.try_into().ok()?);
    Some(match days {
        i32::MAX | i32::MIN => infinity(days == i32::MAX),
        days => date(i64::from(days) + DAYS_TO_2000),
    })
}

/// `time`: microseconds of the day.
pub(crate) fn time_of(bytes: &[u8]) -> Option<String> {
    Some(time(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// `timetz`: a time, and seconds west of Greenwich.
pub(crate) fn timetz_of(bytes: &[u8]) -> Option<String> {
    let (micros, west) = bytes.split_at_checked(8)?;
    let east = -i32::from_be_bytes(west.try_into().ok()?);
    let (sign, east) = if east < 0 { ('-', -east) } else { ('+', east) };
    Some(format!("{}{sign}{:02}:{:02}", time_of(micros)?, east / 3600, east / 60 % 60))
}

/// `timestamp`, and `timestamptz` in UTC: microseconds since 2000-01-01.
pub(crate) fn timestamp_of(bytes: &[u8], zone: &str) -> Option<String> {
    let micros = i64::from_be_bytes(bytes.try_into().ok()?);
    if micros == i64::MAX || micros == i64::MIN {
        return Some(infinity(micros == i64::MAX));
    }
    let (days, of_day) = (micros.div_euclid(DAY) + DAYS_TO_2000, micros.rem_euclid(DAY));
    let date = date(days);
    // "BC" stands at the end.
    let (date, era) = date.split_once(' ').map_or((date.as_str(), ""), |(date, _)| (date, " BC"));
    Some(format!("{date} {}{zone}{era}", time(of_day)))
}

pub(crate) fn uuid_of(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// `numeric`: digits of base 10,000, the first of which has the weight 10,000 to the power of `weight`.
pub(crate) fn numeric_of(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 | 0xF000 => return Some(infinity(sign == 0xD000)),
        _ => {}
    }
    let digits: Vec<u16> = words.take(count.into()).collect();
    let digit = |weighs: i32| {
        let place = usize::try_from(i32::from(weight) - weighs).ok();
        place.and_then(|place| digits.get(place)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    if sign == 0x4000 {
        text.push('-');
    }
    let first = i32::from(weight).max(0);
    let _ = write!(text, "{}", digit(first));
    for weighs in (0..first).rev() {
        let _ = write!(text, "{:04}", digit(weighs));
    }
    if scale > 0 {
        text.push('.');
        let whole = text.len();
        let mut weighs = -1;
        while text.len() < whole + usize::from(scale) {
            let _ = write!(text, "{:04}", digit(weighs));
            weighs -= 1;
        }
        text.truncate(whole + usize::from(scale));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(words: &[u16]) -> Option<String> {
        numeric_of(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (words, expect) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 42], "42"),
            (&[2, 0, 0x4000, 2, 12, 5000], "-12.50"),
            (&[1, 2, 0, 0, 7], "700000000"),
            (&[1, -2_i16 as u16, 0, 8, 1234], "0.00001234"),
            (&[3, 1, 0, 3, 1, 2, 3450], "10002.345"),
            (&[0, 0, 0xC000, 0], "NaN"),
            (&[0, 0, 0xF000, 0], "-infinity"),
        ] {
            assert_eq!(numeric(words).as_deref(), Some(expect));
        }
        assert_eq!(numeric(&[1, 0]), None, "what is cut off is no number");
    }

    #[test]
    fn times_begin_in_2000() {
        assert_eq!(date_of(&0_i32.to_be_bytes()).as_deref(), Some("2000-01-01"));
        assert_eq!(date_of(&i32::MIN.to_be_bytes()).as_deref(), Some("-infinity"));
        let stamp = |micros: i64| timestamp_of(&micros.to_be_bytes(), "+00").unwrap();
        assert_eq!(stamp(-1), "1999-12-31 23:59:59.999999+00");
        assert_eq!(stamp(i64::MAX), "infinity");
        assert_eq!(stamp(-70_000_000 * 1_000_000_000), "0220-10-14 19:33:20+00 BC");
        let zoned = [3_600_000_000_i64.to_be_bytes().as_slice(), &(-19_800_i32).to_be_bytes()].concat();
        assert_eq!(timetz_of(&zoned).as_deref(), Some("01:00:00+05:30"));
        assert_eq!(timestamp_of(b"short", ""), None);
    }

    #[test]
    fn a_uuid_has_its_dashes() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid_of(&bytes).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert_eq!(uuid_of(&bytes[1..]), None);
    }
}
