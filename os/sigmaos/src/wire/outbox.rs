//! What is still to be written on a connection, in order.

use super::socket::{Chunk, Socket};
use bytes::{Buf, Bytes, BytesMut};
use sigma_abi::frame::Frame;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

/// Chunks handed to the system in one call.
const GATHER: usize = 16;

/// Payloads up to this many bytes are copied behind their head: one chunk is cheaper than two.
const INLINE: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, mut frame: Frame, fds: Vec<OwnedFd>) {
        frame.fds = fds.len() as u8;
        let mut start = BytesMut::new();
        frame.encode_start(&mut start);
        let mut payload = frame.payload;
        if payload.len() <= INLINE {
            start.extend_from_slice(&payload);
            payload.clear();
        }
        self.push_chunk(start.freeze(), fds);
        if !payload.is_empty() {
            self.push_chunk(payload, Vec::new());
        }
    }

    fn push_chunk(&mut self, bytes: Bytes, fds: Vec<OwnedFd>) {
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { bytes, fds });
    }

    /// Writes until all is written or the socket takes no more.
    ///
    /// # Errors
    /// What the socket says, `WouldBlock` excepted.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while let Some(first) = self.chunks.front() {
            // Descriptors travel with the first byte of a write, so a chunk that carries some begins one.
            let alone = self.chunks.iter().skip(1).take_while(|chunk| chunk.fds.is_empty());
            let slices: Vec<_> = std::iter::once(first)
                .chain(alone)
                .take(GATHER)
                .map(|chunk| IoSlice::new(&chunk.bytes))
                .collect();
            match socket.try_write(&slices, &first.fds) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(first) = self.chunks.front_mut() else { return };
            first.fds.clear();
            let step = written.min(first.bytes.len());
            first.bytes.advance(step);
            written -= step;
            if first.bytes.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigma_abi::frame::Kind;
    use sigma_abi::limits::MAX_PAYLOAD;
    use sigma_abi::proto;

    /// Whoever sends a payload hands over its buffer, and the system reads it from there.
    #[test]
    fn a_payload_is_written_from_its_own_buffer() {
        let payload = Bytes::from(vec![7; MAX_PAYLOAD]);
        let own = payload.as_ptr();
        let frame = Frame { payload, ..Frame::new(Kind::Call, 1, "Echo.Say", &proto::Empty {}) };
        let mut out = Outbox::default();
        out.push(frame, Vec::new());
        let written: Vec<_> =
            out.chunks.iter().map(|chunk| (chunk.bytes.as_ptr(), chunk.bytes.len())).collect();
        assert_eq!(written.len(), 2, "what comes before the payload, and the payload");
        assert_eq!(written[1], (own, MAX_PAYLOAD));
        // What was written is let go step by step, and what is left is still the same buffer.
        out.advance(written[0].1 + 1000);
        assert_eq!(out.chunks[0].bytes.as_ptr(), own.wrapping_add(1000));
    }
}
