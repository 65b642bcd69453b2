//! Pipes: bytes that flow from writers to readers, and block and close as pipe(7) says.

use crate::tree::{Access, Id};
use bytes::{Buf, Bytes, BytesMut};
use sigma_abi::{Code, Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Bytes that wait in a pipe for a reader.
const CAPACITY: usize = 64 << 10;

/// Bytes of one write that are never mixed with those of others: PIPE_BUF of pipe(7).
const UNMIXED: usize = 4 << 10;

/// The pipes that somebody has open.
#[derive(Default)]
pub(crate) struct Pipes(Mutex<HashMap<Id, Weak<Pipe>>>);

#[derive(Default)]
struct Pipe {
    state: Mutex<Flow>,
    changed: Notify,
}

#[derive(Default)]
struct Flow {
    bytes: BytesMut,
    readers: usize,
    writers: usize,
    /// How often an end was opened, so that one that came and went is noticed.
    reads_opened: u64,
    writes_opened: u64,
}

/// An end of a pipe, or both. Dropping it closes it.
pub(crate) struct End {
    pipe: Arc<Pipe>,
    access: Access,
}

impl Pipes {
    /// Opens an end, and waits for the other one.
    pub(crate) async fn open(&self, id: Id, access: Access) -> End {
        let pipe = self.find(id);
        let (reads, writes) = {
            let mut flow = pipe.lock();
            let before = (flow.reads_opened, flow.writes_opened);
            if access.read {
                flow.readers += 1;
                flow.reads_opened += 1;
            }
            if access.write {
                flow.writers += 1;
                flow.writes_opened += 1;
            }
            before
        };
        // From here on a drop closes it, also that of a caller who does not wait any longer.
        let end = End { pipe, access };
        end.pipe.changed.notify_waiters();
        end.until(|flow| {
            let read = !access.read || flow.writers > 0 || flow.writes_opened > writes;
            let written = !access.write || flow.readers > 0 || flow.reads_opened > reads;
            (read && written).then_some(())
        })
        .await;
        end
    }

    fn find(&self, id: Id) -> Arc<Pipe> {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipes.get(&id).and_then(Weak::upgrade) {
            return pipe;
        }
        pipes.retain(|_, pipe| pipe.strong_count() > 0);
        let pipe = Arc::new(Pipe::default());
        pipes.insert(id, Arc::downgrade(&pipe));
        pipe
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// Bytes, once there are some; none when the last writer has closed.
    ///
    /// # Errors
    /// `Denied` at an end that was not opened for reading.
    pub(crate) async fn read(&self, length: usize) -> Result<Bytes> {
        if !self.access.read {
            return Err(Error::new(Code::Denied, "this end of the pipe was not opened for reading"));
        }
        let bytes = self.until(|flow| {
            let length = length.min(flow.bytes.len());
            (length > 0 || flow.writers == 0).then(|| flow.bytes.split_to(length).freeze())
        });
        let bytes = bytes.await;
        self.pipe.changed.notify_waiters();
        Ok(bytes)
    }

    /// Writes all of `bytes`, as room comes; up to [`UNMIXED`] of them in one piece.
    ///
    /// # Errors
    /// `Closed` when nobody reads any more: what was written before may be lost. `Denied` at an end for reading.
    pub(crate) async fn write(&self, mut bytes: Bytes) -> Result<()> {
        if !self.access.write {
            return Err(Error::new(Code::Denied, "this end of the pipe was not opened for writing"));
        }
        let least = if bytes.len() <= UNMIXED { bytes.len() } else { 1 };
        while bytes.has_remaining() {
            let step = self.until(|flow| {
                if flow.readers == 0 {
                    return Some(Err(Error::new(Code::Closed, "nobody reads this pipe any more")));
                }
                let room = CAPACITY - flow.bytes.len();
                if room < least {
                    return None;
                }
                let piece = bytes.slice(..room.min(bytes.len()));
                flow.bytes.extend_from_slice(&piece);
                Some(Ok(piece.len()))
            });
            let written = step.await?;
            bytes.advance(written);
            self.pipe.changed.notify_waiters();
        }
        Ok(())
    }

    async fn until<T>(&self, mut ready: impl FnMut(&mut Flow) -> Option<T>) -> T {
        loop {
            let changed = self.pipe.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = ready(&mut self.pipe.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut flow = self.pipe.lock();
        flow.readers -= usize::from(self.access.read);
        flow.writers -= usize::from(self.access.write);
        drop(flow);
        self.pipe.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Access = Access { read: true, write: false };
    const WRITE: Access = Access { read: false, write: true };

    async fn both(pipes: &Pipes) -> (End, End) {
        tokio::join!(pipes.open(Id(7), READ), pipes.open(Id(7), WRITE))
    }

    #[tokio::test]
    async fn bytes_come_in_order_until_the_last_writer_has_closed() {
        let pipes = Pipes::default();
        let (reader, writer) = both(&pipes).await;
        let sent: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let write = async {
            writer.write(sent.clone()).await.unwrap();
            drop(writer);
        };
        let read = async {
            let mut all = BytesMut::new();
            loop {
                let piece = reader.read(10_000).await.unwrap();
                if piece.is_empty() {
                    return all.freeze();
                }
                all.extend_from_slice(&piece);
            }
        };
        let (all, ()) = tokio::join!(read, write);
        assert_eq!(all, sent);
    }

    #[tokio::test]
    async fn a_writer_without_a_reader_is_told_also_while_it_waits() {
        let pipes = Pipes::default();
        let (reader, writer) = both(&pipes).await;
        let (written, ()) = tokio::join!(writer.write(vec![0; 2 * CAPACITY].into()), async { drop(reader) });
        assert_eq!(written.unwrap_err().code, Code::Closed);
        assert_eq!(writer.read(1).await.unwrap_err().code, Code::Denied);
    }

    /// A short write into a pipe that was nearly full once came in two pieces, with those of others between them.
    #[tokio::test]
    async fn a_short_write_comes_in_one_piece() {
        let pipes = Pipes::default();
        let (reader, writer) = both(&pipes).await;
        let filled = CAPACITY - UNMIXED + 1;
        writer.write(vec![b'x'; filled].into()).await.unwrap();
        let mut short = std::pin::pin!(writer.write(vec![b'a'; UNMIXED].into()));
        assert!(futures_poll(short.as_mut()).await.is_none(), "there is room for all of it but one byte");
        writer.write("b".into()).await.unwrap();
        assert!(reader.read(CAPACITY).await.unwrap().ends_with(b"xb"));
        short.await.unwrap();
        assert_eq!(reader.read(CAPACITY).await.unwrap(), vec![b'a'; UNMIXED]);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_has_not_opened_anything() {
        let pipes = Pipes::default();
        {
            let opening = std::pin::pin!(pipes.open(Id(7), WRITE));
            let pending = futures_poll(opening).await;
            assert!(pending.is_none());
        }
        let opening = std::pin::pin!(pipes.open(Id(7), READ));
        assert!(futures_poll(opening).await.is_none(), "the writer has gone");
        // With both ends in one hand nobody has to wait.
        let both = pipes.open(Id(8), Access { read: true, write: true }).await;
        both.write("x".into()).await.unwrap();
        assert_eq!(both.read(5).await.unwrap(), "x");
    }

    /// Polls once.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
