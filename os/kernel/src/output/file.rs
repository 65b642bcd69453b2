//! One stream as a file: its beginning, then a ring of what came last.
//!
//! ```text
//!   0          HEAD                          HEAD + RING
//!   ├── head ───┼── ring, written round and round ──┼── total, 8 bytes ──┤
//! ```
//!
//! A stream that fits is a plain file of what was written. The total is there once the ring has gone round. The ring is one
//! piece longer than what it promises, so that a kernel that is killed between the bytes and the total leaves whole bytes.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes of the beginning of a stream that are kept.
pub(crate) const HEAD: u64 = 64 << 10;

/// Bytes of its end that are kept.
pub(crate) const TAIL: u64 = 256 << 10;

/// Bytes of one write, and of one read.
pub(crate) const PIECE: u64 = 64 << 10;

const RING: u64 = TAIL + PIECE;

/// Bytes that are written before the first of them is overwritten.
pub(super) const FULL: u64 = HEAD + RING;

/// Bytes of the total at the end of a file whose ring has gone round.
const TOTAL: u64 = 8;

/// The most bytes that one stream takes on the disk.
pub(super) const MOST: u64 = FULL + TOTAL;

/// Bytes that were written to a stream in all.
pub(super) fn total(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length < MOST {
        return Ok(length.min(FULL));
    }
    let mut total = [0; TOTAL as usize];
    file.read_exact_at(&mut total, FULL)?;
    // Nothing but a damaged disk makes it less.
    Ok(u64::from_le_bytes(total).max(FULL))
}

/// Appends at most a piece to a stream of `total` bytes.
pub(super) fn append(file: &File, total: u64, bytes: &[u8]) -> io::Result<()> {
    debug_assert!(bytes.len() as u64 <= PIECE, "a ring that is written round at once loses its tail");
    let mut at = total;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (place, room) = place(at);
        let (now, later) = rest.split_at(rest.len().min(room as usize));
        file.write_all_at(now, place)?;
        at += now.len() as u64;
        rest = later;
    }
    if at > FULL {
        file.write_all_at(&at.to_le_bytes(), FULL)?;
    }
    Ok(())
}

/// What is kept from `offset` on of a stream of `total` bytes, at most a piece: where it begins, and the bytes. Where the
/// middle was not kept it begins later.
pub(super) fn read(file: &File, total: u64, offset: u64) -> io::Result<(u64, Bytes)> {
    let kept = if total <= FULL { HEAD } else { total - TAIL };
    let start = if offset < HEAD.min(total) { offset } else { offset.max(kept).min(total) };
    let (place, room) = place(start);
    let mut bytes = vec![0; PIECE.min(room).min(total - start) as usize];
    file.read_exact_at(&mut bytes, place)?;
    Ok((start, bytes.into()))
}

/// Where the byte at `offset` of a stream lies in its file, and how many follow it there.
fn place(offset: u64) -> (u64, u64) {
    if offset < HEAD {
        return (offset, HEAD - offset);
    }
    let place = HEAD + (offset - HEAD) % RING;
    (place, FULL - place)
}

/// All that is kept of a stream, as people read it: a line says how much of the middle is missing.
pub(super) fn whole(file: &File) -> io::Result<Vec<u8>> {
    let total = total(file)?;
    if total <= FULL {
        let mut all = Vec::with_capacity(total as usize);
        file.take(total).read_to_end(&mut all)?;
        return Ok(all);
    }
    let mut all = vec![0; HEAD as usize];
    file.read_exact_at(&mut all, 0)?;
    let missing = total - HEAD - TAIL;
    all.extend_from_slice(format!("\n[… {missing} bytes were not kept …]\n").as_bytes());
    let mut offset = HEAD;
    while offset < total {
        let (start, bytes) = read(file, total, offset)?;
        all.extend_from_slice(&bytes);
        offset = start + bytes.len() as u64;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(count: usize) -> (File, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        let all: Vec<u8> = (0..count).map(|n| (n / 251) as u8).collect();
        let mut at = 0;
        // Odd pieces, so that they lie across every boundary.
        while at < all.len() {
            let piece = &all[at..(at + 7919).min(all.len())];
            append(&file, at as u64, piece).unwrap();
            at += piece.len();
        }
        (file, all)
    }

    fn read_all(file: &File, total: u64) -> Vec<(u64, Bytes)> {
        let mut pieces = Vec::new();
        let mut offset = 0;
        while offset < total {
            let (start, bytes) = read(file, total, offset).unwrap();
            offset = start + bytes.len() as u64;
            pieces.push((start, bytes));
        }
        pieces
    }

    #[test]
    fn a_short_stream_is_a_plain_file() {
        for count in [0, 1, HEAD as usize, HEAD as usize + 1, FULL as usize] {
            let (file, all) = written(count);
            assert_eq!(total(&file).unwrap(), count as u64);
            assert_eq!(file.metadata().unwrap().len(), count as u64);
            assert_eq!(whole(&file).unwrap(), all);
            let pieces = read_all(&file, count as u64);
            assert_eq!(pieces.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn of_a_long_stream_head_and_tail_are_kept_in_bounded_room() {
        for count in [FULL as usize + 1, 1_000_003, 3_333_333] {
            let (file, all) = written(count);
            assert_eq!(total(&file).unwrap(), count as u64);
            assert_eq!(file.metadata().unwrap().len(), MOST);
            for (start, bytes) in read_all(&file, count as u64) {
                assert!(bytes == all[start as usize..start as usize + bytes.len()], "{count}: {start}");
            }
            let text = whole(&file).unwrap();
            assert!(text.starts_with(&all[..HEAD as usize]) && text.ends_with(&all[count - TAIL as usize..]));
        }
    }

    #[test]
    fn a_kernel_that_is_killed_before_it_writes_the_total_leaves_a_whole_tail() {
        let (file, all) = written(1_000_000);
        let before = total(&file).unwrap();
        append(&file, before, &vec![0xff; PIECE as usize]).unwrap();
        file.write_all_at(&before.to_le_bytes(), FULL).unwrap();
        for (start, bytes) in read_all(&file, before) {
            assert!(bytes == all[start as usize..start as usize + bytes.len()], "{start}");
        }
    }
}
