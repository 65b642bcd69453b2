//! Reads and writes of any length, in pieces.
//!
//! Most kernels of servers take the CPU from nobody who is within a system call. A write of megabytes is one of a fraction of a
//! millisecond, in which a latency-critical proc that wakes up on this core waits; a piece takes some ten microseconds.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;

const PIECE: usize = 64 << 10;

/// Writes all of `bytes`. Part may have been written where that fails.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    let mut at = offset;
    for piece in bytes.chunks(PIECE) {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Reads `length` bytes, fewer where the file ends before.
pub(crate) fn read_at(file: &File, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let end = length.min(filled + PIECE);
        match file.read_at(&mut bytes[filled..end], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
