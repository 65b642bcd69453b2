//! A payload that lies in a pipe: what a proxy passes on from one socket to another without ever having it in its own memory.
//!
//! The pages that came by the one socket leave by the other; the process between them copies nothing. On the wire it is a payload like any other.

use super::socket::Socket;
use rustix::pipe::{SpliceFlags, splice};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

/// The end of a payload, which lies in a pipe.
pub struct Piped {
    pipe: OwnedFd,
    bytes: usize,
    _held: Box<dyn Send + Sync>,
}

impl Piped {
    /// The `bytes` bytes that lie in the pipe whose reading end is `pipe`, all of them already, and nobody writes any more. `held` is let go with
    /// the last of them.
    pub fn new(pipe: OwnedFd, bytes: usize, held: impl Send + Sync + 'static) -> Self {
        Self { pipe, bytes, _held: Box::new(held) }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// So many bytes were moved.
    pub(crate) fn advance(&mut self, count: usize) {
        self.bytes -= count;
    }

    /// Moves as much as the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; `UnexpectedEof` where the pipe holds less than was said.
    pub(crate) fn move_into(&self, socket: &Socket) -> io::Result<usize> {
        // A reader who has gone is a signal here, for which there is no flag; the runtime of Rust ignores it.
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(&self.pipe, None, socket, None, self.bytes, flags)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            moved => Ok(moved),
        }
    }
}

impl fmt::Debug for Piped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Piped").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
