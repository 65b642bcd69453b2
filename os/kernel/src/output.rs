//! What a proc writes: head and tail of a stream, bounded; whole, with backpressure, while somebody follows.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

/// Bytes of the beginning of a stream that are kept.
pub(crate) const HEAD: usize = 64 << 10;

/// Bytes of its end that are kept.
pub(crate) const TAIL: usize = 64 << 10;

/// Bytes that a follower may be behind before the writer waits.
const BEHIND: usize = 256 << 10;

/// Bytes of one read, and of one answer.
const PIECE: usize = 64 << 10;

/// One stream of a proc.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    kept: Mutex<Kept>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    /// What follows the head, or the end of it.
    tail: VecDeque<u8>,
    /// Bytes that were written in all.
    total: u64,
    ended: bool,
    /// A follower has read up to here, and wants all that comes after.
    followed_to: Option<u64>,
}

impl Kept {
    fn tail_start(&self) -> u64 {
        self.total - self.tail.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) {
        let to_head = (HEAD - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..to_head]);
        self.tail.extend(&bytes[to_head..]);
        self.total += bytes.len() as u64;
        self.trim();
    }

    /// Drops what nobody keeps: past the tail, unless a follower has yet to read it.
    fn trim(&mut self) {
        let extra = self.tail.len().saturating_sub(TAIL);
        let unread = self.followed_to.map_or(0, |to| self.total.saturating_sub(to)) as usize;
        self.tail.drain(..extra.min(self.tail.len().saturating_sub(unread)));
    }

    fn is_behind(&self) -> bool {
        self.followed_to.is_some_and(|to| self.total - to.min(self.total) > BEHIND as u64)
    }

    fn read(&self, offset: u64) -> (u64, Bytes) {
        if let Some(rest) = usize::try_from(offset).ok().and_then(|at| self.head.get(at..))
            && !rest.is_empty()
        {
            return (offset, Bytes::copy_from_slice(rest));
        }
        let start = offset.max(self.tail_start());
        let skip = (start - self.tail_start()).min(self.tail.len() as u64) as usize;
        (start.min(self.total), self.tail.iter().skip(skip).take(PIECE).copied().collect())
    }
}

impl Stream {
    /// A stream that is kept whole for a follower until it was read.
    pub(crate) fn followed() -> Self {
        let kept = Kept { followed_to: Some(0), ..Kept::default() };
        Self { kept: Mutex::new(kept), changed: Notify::new() }
    }

    /// Copies what comes out of a pipe until its end.
    pub(crate) async fn pump(&self, mut pipe: Receiver) {
        let mut buffer = vec![0; PIECE];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => self.lock().push(&buffer[..count]),
            }
            self.changed.notify_waiters();
            loop {
                let room = self.changed.notified();
                if !self.lock().is_behind() {
                    break;
                }
                room.await;
            }
        }
        self.end();
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    /// The follower has gone: a proc that nobody follows never waits.
    pub(crate) fn unfollow(&self) {
        let mut kept = self.lock();
        kept.followed_to = None;
        kept.trim();
        drop(kept);
        self.changed.notify_waiters();
    }

    /// Waits for bytes past `offset`, or for the end: where they begin, the bytes, and whether nothing follows.
    pub(crate) async fn read(&self, offset: u64) -> (u64, Bytes, bool) {
        loop {
            let changed = self.changed.notified();
            {
                let mut kept = self.lock();
                if let Some(to) = &mut kept.followed_to
                    && offset > *to
                {
                    *to = offset;
                    kept.trim();
                    self.changed.notify_waiters();
                }
                if offset < kept.total {
                    let (start, bytes) = kept.read(offset);
                    return (start, bytes, false);
                }
                if kept.ended {
                    return (kept.total, Bytes::new(), true);
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn head_and_tail_are_kept_and_the_gap_is_told() {
        let stream = Stream::default();
        let all: Vec<u8> = (0..400_000u32).map(|n| n as u8).collect();
        for piece in all.chunks(1000) {
            stream.lock().push(piece);
        }
        stream.end();
        let (start, head, end) = stream.read(0).await;
        assert_eq!((start, &head[..], end), (0, &all[..HEAD], false));
        let (start, tail, end) = stream.read(HEAD as u64).await;
        assert_eq!((start as usize, &tail[..], end), (all.len() - TAIL, &all[all.len() - TAIL..], false));
        assert_eq!(stream.read(all.len() as u64).await, (all.len() as u64, Bytes::new(), true));
    }

    #[tokio::test]
    async fn a_follower_gets_every_byte_and_holds_the_writer_back() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let stream = std::sync::Arc::new(Stream::followed());
        let pump = tokio::spawn({
            let stream = stream.clone();
            async move { stream.pump(Receiver::from_owned_fd(reader).unwrap()).await }
        });
        let all: Vec<u8> = (0..2_000_000u32).map(|n| (n / 7) as u8).collect();
        let expect = all.clone();
        let writing =
            std::thread::spawn(move || std::io::Write::write_all(&mut std::fs::File::from(writer), &all));
        let mut seen = Vec::new();
        loop {
            let (start, bytes, end) = stream.read(seen.len() as u64).await;
            assert_eq!(start as usize, seen.len(), "a gap");
            assert!(stream.lock().tail.len() <= BEHIND + 2 * PIECE, "the writer was not held back");
            seen.extend_from_slice(&bytes);
            if end {
                break;
            }
        }
        pump.await.unwrap();
        writing.join().unwrap().unwrap();
        assert!(seen == expect, "the output is not what was written");
    }
}
