//! What is still to be written on a connection, in order.

use super::socket::Socket;
use bytes::{Buf, Bytes, BytesMut};
use sigma_abi::frame::Frame;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

/// Chunks handed to the system in one call.
const GATHER: usize = 16;

/// Payloads up to this many bytes are copied behind their head: one chunk is cheaper than two.
const INLINE: usize = 4 << 10;

/// Bytes of small frames that are gathered in one chunk.
const GATHERED: usize = 64 << 10;

/// Memory that an empty outbox keeps for the next frames.
const KEPT: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// An emptied buffer, for the next small frames.
    spare: BytesMut,
}

/// What is written next: bytes, and the descriptors that travel with the first of them.
#[derive(Debug)]
struct Chunk {
    bytes: Piece,
    fds: Vec<OwnedFd>,
}

#[derive(Debug)]
enum Piece {
    /// Whole small frames, and the heads of large ones; the next frame goes behind them.
    Frames(BytesMut),
    /// A large payload, as it was given.
    Payload(Bytes),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Frames(bytes) => bytes,
            Self::Payload(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Frames(bytes) => bytes.advance(count),
            Self::Payload(bytes) => bytes.advance(count),
        }
    }
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, mut frame: Frame, fds: Vec<OwnedFd>) {
        frame.fds = fds.len() as u8;
        let mut payload = std::mem::take(&mut frame.payload);
        let payload_bytes = payload.len();
        let frames = self.open_chunk(fds);
        let before = frames.len();
        frame.encode_start(payload_bytes, frames);
        if payload_bytes <= INLINE {
            frames.extend_from_slice(&payload);
            payload.clear();
        }
        self.bytes += frames.len() - before + payload.len();
        if !payload.is_empty() {
            self.chunks.push_back(Chunk { bytes: Piece::Payload(payload), fds: Vec::new() });
        }
    }

    /// The buffer to which the next frame is appended. Descriptors travel with the first byte of a write, so a frame that carries
    /// some begins a chunk.
    fn open_chunk(&mut self, fds: Vec<OwnedFd>) -> &mut BytesMut {
        let fits = |chunk: &Chunk| match &chunk.bytes {
            Piece::Frames(frames) => fds.is_empty() && frames.len() < GATHERED,
            Piece::Payload(_) => false,
        };
        if !self.chunks.back().is_some_and(fits) {
            let bytes = Piece::Frames(std::mem::take(&mut self.spare));
            self.chunks.push_back(Chunk { bytes, fds });
        }
        match self.chunks.back_mut() {
            Some(Chunk { bytes: Piece::Frames(frames), .. }) => frames,
            _ => unreachable!("the last chunk takes frames, or one that does was just made"),
        }
    }

    /// Writes until all is written or the socket takes no more.
    ///
    /// # Errors
    /// What the socket says, `WouldBlock` excepted.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while let Some(first) = self.chunks.front() {
            let written = if self.chunks.len() == 1 {
                socket.try_write(&[IoSlice::new(first.bytes.as_slice())], &first.fds)
            } else {
                let alone = self.chunks.iter().skip(1).take_while(|chunk| chunk.fds.is_empty());
                let chunks = std::iter::once(first).chain(alone).take(GATHER);
                let slices: Vec<_> = chunks.map(|chunk| IoSlice::new(chunk.bytes.as_slice())).collect();
                socket.try_write(&slices, &first.fds)
            };
            match written {
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
            let step = written.min(first.bytes.as_slice().len());
            first.bytes.advance(step);
            written -= step;
            if first.bytes.as_slice().is_empty()
                && let Some(Chunk { bytes: Piece::Frames(mut frames), .. }) = self.chunks.pop_front()
            {
                // What was written is gone from its front; this takes the room back.
                frames.clear();
                if self.spare.capacity() == 0 && frames.try_reclaim(KEPT) && frames.capacity() <= GATHERED {
                    self.spare = frames;
                }
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
    use std::future::poll_fn;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::task::Poll;

    /// Whoever sends a payload hands over its buffer, and the system reads it from there.
    #[test]
    fn a_payload_is_written_from_its_own_buffer() {
        let payload = Bytes::from(vec![7; MAX_PAYLOAD]);
        let own = payload.as_ptr();
        let frame = Frame { payload, ..Frame::new(Kind::Call, 1, "Echo.Say", &proto::Empty {}) };
        let mut out = Outbox::default();
        out.push(frame, Vec::new());
        let chunks = || out.chunks.iter().map(|chunk| chunk.bytes.as_slice());
        let written: Vec<_> = chunks().map(|bytes| (bytes.as_ptr(), bytes.len())).collect();
        assert_eq!(written.len(), 2, "what comes before the payload, and the payload");
        assert_eq!(written[1], (own, MAX_PAYLOAD));
        // What was written is let go step by step, and what is left is still the same buffer.
        out.advance(written[0].1 + 1000);
        assert_eq!(out.chunks[0].bytes.as_slice().as_ptr(), own.wrapping_add(1000));
    }

    fn frame(tag: u32, payload: usize) -> Frame {
        let head = proto::PathRequest { path: "/a".into() };
        Frame { payload: vec![tag as u8; payload].into(), ..Frame::new(Kind::Call, tag, "A.B", &head) }
    }

    /// Frames of all sizes arrive whole and in order, however many are gathered in one write.
    #[tokio::test]
    async fn what_is_pushed_is_written_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), false).unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            { theirs }.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut outbox = Outbox::default();
        let sizes = [0, 10, INLINE, INLINE + 1, 3, 200_000, 0, 0];
        let mut expect = Vec::new();
        for round in 0..3 {
            for (at, size) in sizes.into_iter().enumerate() {
                let frame = frame(round * 100 + at as u32, size);
                expect.extend_from_slice(&frame.encode());
                outbox.push(frame, Vec::new());
            }
            outbox.flush(&socket).unwrap();
            while outbox.len() > 0 {
                poll_fn(|cx| socket.poll_room(cx)).await.unwrap();
                outbox.flush(&socket).unwrap();
            }
            poll_fn(|cx| Poll::Ready(socket.has_room(cx))).await.unwrap();
        }
        drop(socket);
        let bytes = reader.join().unwrap();
        assert_eq!((bytes.len(), bytes == expect), (expect.len(), true));
    }
}
