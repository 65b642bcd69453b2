//! What is still to be written on a connection, in order.

use super::piped::Piped;
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
    /// One that is in no memory of this process.
    Piped(Piped),
}

impl Piece {
    /// What is of it in memory.
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Frames(bytes) => bytes,
            Self::Payload(bytes) => bytes,
            Self::Piped(_) => &[],
        }
    }

    fn is_piped(&self) -> bool {
        matches!(self, Self::Piped(_))
    }

    fn len(&self) -> usize {
        match self {
            Self::Piped(piped) => piped.len(),
            in_memory => in_memory.as_slice().len(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Frames(bytes) => bytes.advance(count),
            Self::Payload(bytes) => bytes.advance(count),
            Self::Piped(piped) => piped.advance(count),
        }
    }
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Queues a frame with its descriptors. What is `piped` is the end of its payload.
    pub(crate) fn push(&mut self, mut frame: Frame, fds: Vec<OwnedFd>, piped: Option<Piped>) {
        frame.fds = fds.len() as u8;
        let mut payload = std::mem::take(&mut frame.payload);
        let piped_bytes = piped.as_ref().map_or(0, Piped::len);
        let payload_bytes = payload.len() + piped_bytes;
        let frames = self.open_chunk(fds);
        let before = frames.len();
        frame.encode_start(payload_bytes, frames);
        if payload.len() <= INLINE {
            frames.extend_from_slice(&payload);
            payload.clear();
        }
        self.bytes += frames.len() - before + payload.len() + piped_bytes;
        let payload = Some(payload).filter(|payload| !payload.is_empty()).map(Piece::Payload);
        let piped = piped.filter(|piped| piped.len() > 0).map(Piece::Piped);
        let chunk = |bytes| Chunk { bytes, fds: Vec::new() };
        self.chunks.extend(payload.into_iter().chain(piped).map(chunk));
    }

    /// The buffer to which the next frame is appended. Descriptors travel with the first byte of a write, so a frame that carries
    /// some begins a chunk.
    fn open_chunk(&mut self, fds: Vec<OwnedFd>) -> &mut BytesMut {
        let fits = |chunk: &Chunk| match &chunk.bytes {
            Piece::Frames(frames) => fds.is_empty() && frames.len() < GATHERED,
            Piece::Payload(_) | Piece::Piped(_) => false,
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
            let written = match &first.bytes {
                Piece::Piped(piped) => piped.move_into(socket),
                bytes if self.chunks.len() == 1 => {
                    socket.try_write(&[IoSlice::new(bytes.as_slice())], &first.fds)
                }
                _ => {
                    let alone = |chunk: &&Chunk| chunk.fds.is_empty() && !chunk.bytes.is_piped();
                    let others = self.chunks.iter().skip(1).take_while(alone);
                    let chunks = std::iter::once(first).chain(others).take(GATHER);
                    let slices: Vec<_> = chunks.map(|chunk| IoSlice::new(chunk.bytes.as_slice())).collect();
                    socket.try_write(&slices, &first.fds)
                }
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
            let step = written.min(first.bytes.len());
            first.bytes.advance(step);
            written -= step;
            if first.bytes.len() == 0
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
        out.push(frame, Vec::new(), None);
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
                outbox.push(frame, Vec::new(), None);
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

    /// A reading end whose pipe holds these bytes and has no writer.
    fn pipe(bytes: &[u8]) -> OwnedFd {
        let (reads, writes) = io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writes, bytes.len()).unwrap();
        io::Write::write_all(&mut &writes, bytes).unwrap();
        reads.into()
    }

    /// What lies in a pipe arrives behind what lies in memory, between whole frames, however seldom the other side reads.
    #[tokio::test]
    async fn what_is_piped_is_the_end_of_its_payload() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), false).unwrap();
        let (mut outbox, mut expect) = (Outbox::default(), Vec::new());
        let held = std::sync::Arc::new(());
        for (tag, (memory, piped)) in [(0, 1 << 20), (3, 10), (INLINE + 1, 300_000)].into_iter().enumerate() {
            let lies: Vec<u8> = (0..piped).map(|at| (at % 251) as u8).collect();
            let mut whole = frame(tag as u32, memory);
            outbox.push(whole.clone(), Vec::new(), Some(Piped::new(pipe(&lies), piped, held.clone())));
            whole.payload = [&whole.payload[..], &lies].concat().into();
            expect.extend_from_slice(&whole.encode());
            outbox.push(frame(tag as u32, 7), Vec::new(), None);
            expect.extend_from_slice(&frame(tag as u32, 7).encode());
        }
        assert_eq!(outbox.len(), expect.len());
        let mut came = Vec::new();
        while outbox.len() > 0 {
            outbox.flush(&socket).unwrap();
            let mut some = [0; 70_000];
            let count = theirs.read(&mut some).unwrap();
            came.extend_from_slice(&some[..count]);
        }
        assert_eq!(std::sync::Arc::strong_count(&held), 1, "its place is let go when it has left");
        drop(socket);
        theirs.read_to_end(&mut came).unwrap();
        assert_eq!((came.len(), came == expect), (expect.len(), true));
    }

    #[tokio::test]
    async fn a_pipe_that_holds_less_than_was_said_ends_the_connection() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), false).unwrap();
        let mut outbox = Outbox::default();
        outbox.push(frame(1, 0), Vec::new(), Some(Piped::new(pipe(b"four"), 5, ())));
        assert_eq!(outbox.flush(&socket).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
