//! What a proc writes: kept on disk, head and tail, bounded; whole, with backpressure, while somebody follows.
//!
//! Guarantees: a follower gets every byte from where it began to follow, also where the disk is full; a proc that nobody
//! follows never waits; of a proc that writes nothing, nothing is kept.

mod file;
pub(crate) mod shelf;

use bytes::Bytes;
use file::{PIECE, TAIL};
use shelf::{Shelf, Which};
use sigma_abi::{Code, Error, Pid, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

/// Bytes that a follower may be behind before the writer waits: one more piece still fits into what is kept.
const BEHIND: u64 = TAIL - PIECE;

thread_local! {
    /// Where pipes are read to: one for all, since nothing is awaited while it is used.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE as usize]);
}

/// One stream of a proc that lives.
#[derive(Debug)]
pub(crate) struct Stream {
    shelf: Arc<Shelf>,
    pid: Pid,
    which: Which,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were written in all.
    total: u64,
    /// From here on the disk took nothing.
    unkept: Option<u64>,
    /// The last piece, where the disk did not take it and a follower has yet to read it.
    in_hand: Option<(u64, Bytes)>,
    ended: bool,
    /// How far each follower has read.
    followers: BTreeMap<u64, u64>,
}

impl State {
    fn must_wait(&self) -> bool {
        let Some(slowest) = self.followers.values().min() else { return false };
        let room = if self.unkept.is_some() { 0 } else { BEHIND };
        self.total - slowest.min(&self.total) > room
    }
}

impl Stream {
    /// A new stream; with `follower`, one that is kept whole for it from the first byte on.
    pub(crate) fn new(shelf: &Arc<Shelf>, pid: Pid, which: Which, follower: Option<u64>) -> Self {
        let state = State { followers: follower.map(|id| (id, 0)).into_iter().collect(), ..State::default() };
        Self { shelf: Arc::clone(shelf), pid, which, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Copies what comes out of a pipe until its end.
    pub(crate) async fn pump(&self, pipe: Receiver) {
        loop {
            if pipe.readable().await.is_err() {
                return;
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let count = pipe.try_read(buffer)?;
                self.push(&buffer[..count]);
                io::Result::Ok(count)
            });
            match read {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
            loop {
                let room = self.changed.notified();
                if !self.lock().must_wait() {
                    break;
                }
                room.await;
            }
        }
    }

    fn push(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        let at = state.total;
        state.total += bytes.len() as u64;
        state.in_hand = None;
        if state.unkept.is_none()
            && let Err(error) = self.shelf.append(self.pid, self.which, at, bytes)
        {
            let (pid, stream) = (self.pid, self.which.name());
            tracing::warn!(%pid, stream, %error, "output is kept no further");
            state.unkept = Some(at);
        }
        if state.unkept.is_some() && !state.followers.is_empty() {
            state.in_hand = Some((at, Bytes::copy_from_slice(bytes)));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// From `offset` on, which is where it reads first, everything is kept until this follower has read it.
    pub(crate) fn follow(&self, follower: u64, offset: u64) {
        let mut state = self.lock();
        let from = offset.min(state.total);
        state.followers.entry(follower).or_insert(from);
    }

    /// A follower has gone: a proc that nobody follows never waits.
    pub(crate) fn unfollow(&self, follower: u64) {
        self.lock().followers.remove(&follower);
        self.changed.notify_waiters();
    }

    /// Waits for bytes past `offset`, or for the end: where they begin, the bytes, and whether nothing follows. A follower has
    /// everything before `offset`.
    ///
    /// # Errors
    /// `Internal` where the disk fails.
    pub(crate) async fn read(&self, follower: u64, offset: u64) -> Result<(u64, Bytes, bool)> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if let Some(to) = state.followers.get_mut(&follower)
                    && offset > *to
                {
                    *to = offset;
                    self.changed.notify_waiters();
                }
                if offset < state.total {
                    let (start, bytes) = self.look(&state, offset)?;
                    return Ok((start, bytes, false));
                }
                if state.ended {
                    return Ok((state.total, Bytes::new(), true));
                }
            }
            changed.await;
        }
    }

    fn look(&self, state: &State, offset: u64) -> Result<(u64, Bytes)> {
        if offset < state.unkept.unwrap_or(u64::MAX) {
            return Ok(
                kept(&self.shelf, self.pid, self.which, offset)?.unwrap_or((state.total, Bytes::new()))
            );
        }
        Ok(match &state.in_hand {
            Some((at, bytes)) => {
                let skip = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX).min(bytes.len());
                (at + skip as u64, bytes.slice(skip..))
            }
            None => (state.total, Bytes::new()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a stream from `offset` on; `None` where nothing is.
///
/// # Errors
/// `Internal` where the disk fails.
pub(crate) fn kept(shelf: &Shelf, pid: Pid, which: Which, offset: u64) -> Result<Option<(u64, Bytes)>> {
    shelf.read(pid, which, offset).map_err(|error| {
        Error::new(Code::Internal, format!("cannot read {} of {pid}: {error}", which.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::file::HEAD;
    use super::*;
    use sigma_abi::MachineId;

    const FOLLOWER: u64 = 7;

    fn stream(most: u64, follower: Option<u64>) -> (tempfile::TempDir, Arc<Stream>) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::open(dir.path(), &[], most).unwrap());
        let pid = Pid { home: MachineId(1), epoch: 1, number: 1 };
        (dir, Arc::new(Stream::new(&shelf, pid, Which::Stdout, follower)))
    }

    #[tokio::test]
    async fn head_and_tail_are_kept_and_the_gap_is_told() {
        let (_dir, stream) = stream(u64::MAX, None);
        let all: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        for piece in all.chunks(1000) {
            stream.push(piece);
        }
        stream.end();
        let (start, head, end) = stream.read(0, 0).await.unwrap();
        assert_eq!((start, &head[..], end), (0, &all[..HEAD as usize], false));
        let (start, tail, end) = stream.read(0, HEAD).await.unwrap();
        assert_eq!((start as usize, end), (all.len() - TAIL as usize, false));
        assert!(tail == all[start as usize..start as usize + tail.len()]);
        assert_eq!(stream.read(0, all.len() as u64).await, Ok((all.len() as u64, Bytes::new(), true)));
    }

    async fn followed_whole(most: u64) {
        let (_dir, stream) = stream(most, Some(FOLLOWER));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let pump = tokio::spawn({
            let stream = stream.clone();
            async move {
                stream.pump(Receiver::from_owned_fd(reader).unwrap()).await;
                stream.end();
            }
        });
        let all: Vec<u8> = (0..2_000_000u32).map(|n| (n / 7) as u8).collect();
        let expect = all.clone();
        let writing =
            std::thread::spawn(move || io::Write::write_all(&mut std::fs::File::from(writer), &all));
        let mut seen = Vec::new();
        loop {
            let (start, bytes, end) = stream.read(FOLLOWER, seen.len() as u64).await.unwrap();
            assert_eq!(start as usize, seen.len(), "a gap");
            assert!(stream.lock().total - start <= TAIL, "the writer was not held back");
            seen.extend_from_slice(&bytes);
            if end {
                break;
            }
        }
        pump.await.unwrap();
        writing.join().unwrap().unwrap();
        assert!(seen == expect, "the output is not what was written");
    }

    #[tokio::test]
    async fn a_follower_gets_every_byte_and_holds_the_writer_back() {
        followed_whole(u64::MAX).await;
    }

    #[tokio::test]
    async fn a_follower_gets_every_byte_where_the_disk_takes_none_or_some() {
        followed_whole(0).await;
        followed_whole(100_000).await;
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_is_a_gap_for_others_and_holds_nobody_back() {
        let (_dir, stream) = stream(10, None);
        stream.push(b"0123456789");
        stream.push(b"abc");
        stream.end();
        assert_eq!(stream.read(0, 0).await, Ok((0, Bytes::from("0123456789"), false)));
        assert_eq!(stream.read(0, 10).await, Ok((13, Bytes::new(), false)));
        assert_eq!(stream.read(0, 13).await, Ok((13, Bytes::new(), true)));
    }
}
