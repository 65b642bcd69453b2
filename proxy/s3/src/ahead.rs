//! How far ahead of a reader is fetched. Pure.
//!
//! Who reads on where the last read ended gets what comes next before it asks, more of it the longer that goes on. Who reads here and
//! there costs the store what it reads, and nothing more.

/// Bytes that are fetched in one request, ahead of need.
pub(crate) const CHUNK: u64 = 4 << 20;

/// Bytes that are fetched ahead at most.
pub(crate) const MOST_AHEAD: u64 = 4 * CHUNK;

/// What a reader did so far.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Where the last read ended; the first is expected at the start.
    next: u64,
    window: u64,
}

/// What to have for a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What was fetched ahead is of use still.
    pub(crate) keep: bool,
    /// Up to where to fetch.
    pub(crate) until: u64,
}

impl Ahead {
    /// A read of `length` bytes at `offset`, of an object with `size` bytes, is to be answered.
    pub(crate) fn plan(&mut self, offset: u64, length: u64, size: u64) -> Plan {
        let end = offset.saturating_add(length).min(size);
        let keep = offset == self.next;
        // The whole of an object may be wanted when its start is; more than one chunk is not fetched on that alone.
        self.window = if keep { (self.window * 2).clamp(CHUNK, MOST_AHEAD) } else { 0 };
        Plan { keep, until: end.saturating_add(self.window).min(size) }
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

    fn read(ahead: &mut Ahead, offset: u64) -> Plan {
        let plan = ahead.plan(offset, PIECE, SIZE);
        ahead.ended((offset + PIECE).min(SIZE));
        plan
    }

    #[test]
    fn who_reads_on_is_served_ahead_up_to_a_bound() {
        let mut ahead = Ahead::default();
        let windows: Vec<u64> =
            (0..5).map(|piece| read(&mut ahead, piece * PIECE).until - (piece + 1) * PIECE).collect();
        assert_eq!(windows, [CHUNK, 2 * CHUNK, MOST_AHEAD, MOST_AHEAD, MOST_AHEAD]);
        assert_eq!(ahead.plan(5 * PIECE, PIECE, SIZE).until, 6 * PIECE + MOST_AHEAD);
    }

    #[test]
    fn who_reads_here_and_there_costs_what_it_reads() {
        let mut ahead = Ahead::default();
        for offset in [40 * PIECE, 3 * PIECE, 17 * PIECE] {
            assert_eq!(read(&mut ahead, offset), Plan { keep: false, until: offset + PIECE });
        }
        assert_eq!(read(&mut ahead, 18 * PIECE), Plan { keep: true, until: 19 * PIECE + CHUNK });
    }

    #[test]
    fn nothing_is_fetched_past_the_end() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.plan(0, PIECE, 10), Plan { keep: true, until: 10 });
        assert_eq!(ahead.plan(u64::MAX, u64::MAX, 10), Plan { keep: false, until: 10 });
    }
}
