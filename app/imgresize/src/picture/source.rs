//! The bytes of a file, as the JPEG decoder reads them: four at a time, millions of times.
//!
//! With a common cursor each of these reads is a call of `memcpy` with a length that the compiler does not know, and
//! musl's `memcpy` is slow for a few bytes: a fifth of a worker's time went there. Here four bytes are one load.

use std::io::{BufRead, Cursor, Read, Result, Seek, SeekFrom};

pub(super) struct Source<'a>(Cursor<&'a [u8]>);

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    /// Reads exactly `N` bytes where `buf` wants as many and they are there.
    #[inline(always)]
    fn read_chunk<const N: usize>(&mut self, buf: &mut [u8]) -> bool {
        let at = self.0.position();
        let left = usize::try_from(at).ok().and_then(|at| self.0.get_ref().get(at..));
        let (Some(from), Ok(to)) =
            (left.and_then(|left| left.first_chunk::<N>()), <&mut [u8; N]>::try_from(buf))
        else {
            return false;
        };
        *to = *from;
        self.0.set_position(at + N as u64);
        true
    }
}

impl Read for Source<'_> {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.read_chunk::<4>(buf) {
            return Ok(4);
        }
        if self.read_chunk::<1>(buf) {
            return Ok(1);
        }
        self.0.read(buf)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Seek for Source<'_> {
    #[inline(always)]
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.0.seek(to)
    }
}
