//! The binary forms of MySQL's protocol that it calls "binary protocol value", each with its length before it.

use super::calendar::clock;

/// `DATE`, `DATETIME` and `TIMESTAMP`. What the server leaves out at the end is zero.
pub(crate) fn datetime_of(bytes: &[u8], with_time: bool) -> Option<String> {
    let (length, rest) = bytes.split_first()?;
    let rest = rest.get(..usize::from(*length))?;
    let byte = |place: usize| rest.get(place).copied().unwrap_or(0);
    let date = format!("{:04}-{:02}-{:02}", u16::from_le_bytes([byte(0), byte(1)]), byte(2), byte(3));
    if !with_time {
        return Some(date);
    }
    let micros = u32::from_le_bytes([byte(7), byte(8), byte(9), byte(10)]);
    Some(format!("{date} {}", clock(byte(4).into(), byte(5).into(), byte(6).into(), micros.into())))
}

/// `TIME`, which is a length of time and may be negative or longer than a day.
pub(crate) fn time_of(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first()?;
    let rest = rest.get(..usize::from(*length))?;
    let byte = |place: usize| rest.get(place).copied().unwrap_or(0);
    let days = u32::from_le_bytes([byte(1), byte(2), byte(3), byte(4)]);
    let micros = u32::from_le_bytes([byte(8), byte(9), byte(10), byte(11)]);
    let hours = i64::from(days) * 24 + i64::from(byte(5));
    let sign = if byte(0) == 1 { "-" } else { "" };
    Some(format!("{sign}{}", clock(hours, byte(6).into(), byte(7).into(), micros.into())))
}

/// `BIT(n)`: big-endian, of up to 64 bits.
pub(crate) fn bits_of(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_zero() {
        let check =
            |bytes: &[u8], expect: &str| assert_eq!(datetime_of(bytes, true).as_deref(), Some(expect));
        check(&[4, 0xea, 7, 11, 25], "2026-11-25 00:00:00");
        check(&[7, 0xea, 7, 11, 25, 13, 37, 1], "2026-11-25 13:37:01");
        check(&[11, 0xea, 7, 11, 25, 13, 37, 1, 0x20, 0xa1, 7, 0], "2026-11-25 13:37:01.5");
        assert_eq!(datetime_of(&[4, 0xea, 7, 11, 25], false).as_deref(), Some("2026-11-25"));
        assert_eq!(datetime_of(&[4, 0], false), None, "what is cut off is no date");
    }

    #[test]
    fn a_time_may_be_negative_and_long() {
        assert_eq!(time_of(&[0]).as_deref(), Some("00:00:00"));
        assert_eq!(time_of(&[8, 1, 2, 0, 0, 0, 3, 4, 5]).as_deref(), Some("-51:04:05"));
        assert_eq!(time_of(&[12, 0, 0, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0]).as_deref(), Some("01:02:03.000001"));
    }

    #[test]
    fn bits_are_a_number() {
        assert_eq!(bits_of(&[1, 2]), Some(258));
        assert_eq!(bits_of(&[255; 8]), Some(u64::MAX));
        assert_eq!(bits_of(&[0; 9]), None);
    }
}
