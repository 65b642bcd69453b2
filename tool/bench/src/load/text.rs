//! What the posts of the load say: as random as those of DeathStarBench, and such that whoever reads one can tell that it is whole.
//!
//! The last characters of the random part are a checksum of those before it and of who wrote them. So a reader needs to know
//! nothing of what was sent to find a text that was cut, changed, or shown under another's name.

use crate::random::Random;

/// Characters of a text's random part, the checksum among them.
pub const LENGTH: usize = 256;

const CHECKSUM: usize = 8;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The random part of a text of this user.
pub(super) fn compose(random: &mut Random, user: u32) -> String {
    let mut text = letters(random, LENGTH - CHECKSUM);
    text.push_str(&checksum(&text, user));
    text
}

/// So many random letters and digits.
pub(super) fn letters(random: &mut Random, count: usize) -> String {
    (0..count).map(|_| letter(random.next())).collect()
}

/// The random part of a text, if this user wrote all of it.
pub fn written_by(text: &str, user: u32) -> Option<&str> {
    let part = text.get(..LENGTH)?;
    let (text, sum) = part.split_at_checked(LENGTH - CHECKSUM)?;
    (sum == checksum(text, user)).then_some(part)
}

/// By which a text is known.
pub fn key(part: &str) -> u64 {
    // FNV-1a, of 64 bits.
    part.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn checksum(text: &str, user: u32) -> String {
    let mut random = Random::new(key(text) ^ u64::from(user));
    letters(&mut random, CHECKSUM)
}

fn letter(number: u64) -> char {
    char::from(LETTERS[(number % LETTERS.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_to_be_whole_and_whose_it_is() {
        let text = compose(&mut Random::new(1), 17);
        assert_eq!(text.len(), LENGTH);
        assert_eq!(written_by(&text, 17), Some(text.as_str()));
        assert_eq!(written_by(&format!("{text} @username_3"), 17), Some(text.as_str()));
        assert_eq!(written_by(&text, 18), None, "of another");
        assert_eq!(written_by(&text[1..], 17), None, "cut");
        assert_eq!(written_by(&format!("{text}x")[1..], 17), None, "moved");
        let changed = text.replacen(&text[..1], "-", 1);
        assert_eq!(written_by(&changed, 17), None, "changed");
        assert_eq!(written_by(&"é".repeat(LENGTH), 17), None, "not even of letters");
    }

    #[test]
    fn texts_differ() {
        let mut random = Random::new(1);
        let mut keys: Vec<_> = (0..10_000).map(|_| key(&compose(&mut random, 1))).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10_000);
    }
}
