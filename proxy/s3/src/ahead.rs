//! How far ahead of a reader is fetched. Pure.
//!
//! Who reads on where the last read ended gets what comes next before it asks, more of it the longer that goes on. Who reads here and
//! there costs the store what it reads, and nothing more.

/// Bytes that are fetched ahead of who begins to read on, and at most. More than a processor's cache holds would be slower, and what lies at
/// the connection comes on top.
pub(crate) const FIRST_AHEAD: u64 = 1 << 20;
pub(crate) const MOST_AHEAD: u64 = 2 << 20;

/// What a reader did so far.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Where the last read ended; the first is expected at the start.
    next: u64,
    window: u64,
}

impl Ahead {
    /// A read of `length` bytes at `offset`, of an object with `size` bytes, is to be answered: up to where to fetch, for who reads on.
    pub(crate) fn plan(&mut self, offset: u64, length: u64, size: u64) -> Option<u64> {
        if offset != self.next {
            self.window = 0;
            return None;
        }
        self.window = (self.window * 2).clamp(FIRST_AHEAD, MOST_AHEAD);
        Some(offset.saturating_add(length).saturating_add(self.window).min(size))
    }

    /// A read ended at `offset`.
    pub(crate) fn ended(&mut self, offset: u64) {
        self.next = offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 << 20;
    const PIECE: u64 = 1 << 20;

    fn read(ahead: &mut Ahead, offset: u64) -> Option<u64> {
        let until = ahead.plan(offset, PIECE, SIZE);
        ahead.ended((offset + PIECE).min(SIZE));
        until
    }

    #[test]
    fn who_reads_on_is_served_ahead_up_to_a_bound() {
        let mut ahead = Ahead::default();
        let windows: Vec<u64> =
            (0..6).map(|piece| read(&mut ahead, piece * PIECE).unwrap() - (piece + 1) * PIECE).collect();
        let doubled = [1, 2, 2, 2, 2, 2].map(|times| times * FIRST_AHEAD);
        assert_eq!((windows, doubled[5]), (doubled.to_vec(), MOST_AHEAD));
    }

    #[test]
    fn who_reads_here_and_there_costs_what_it_reads() {
        let mut ahead = Ahead::default();
        for offset in [40 * PIECE, 3 * PIECE, 17 * PIECE] {
            assert_eq!(read(&mut ahead, offset), None);
        }
        assert_eq!(read(&mut ahead, 18 * PIECE), Some(19 * PIECE + FIRST_AHEAD));
    }

    #[test]
    fn nothing_is_fetched_past_the_end() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.plan(0, PIECE, 10), Some(10));
        assert_eq!(ahead.plan(u64::MAX, u64::MAX, 10), None);
    }
}
