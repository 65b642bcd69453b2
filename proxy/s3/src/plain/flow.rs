//! The body of an answer as it lies at the socket: read into memory, or moved into a pipe from where it goes on without a copy.
//!
//! The socket's own buffer is what is fetched ahead; the rest waits at the server.

use super::connection::{Connection, Idle};
use crate::bounds::held as in_room;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use sigmaos::rpc::Piped;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

/// From so many bytes on a pipe is cheaper than a copy, and there are few enough pipes in all.
const WORTH_A_PIPE: usize = 64 << 10;

/// Bytes that a pipe may hold: what an ordinary user may ask for.
const PIPE: usize = 1 << 20;

/// What is left of a body.
#[derive(Debug)]
pub(crate) struct Flow {
    /// None when all was read of it.
    stream: Option<TcpStream>,
    /// What came with the head.
    before: Bytes,
    /// Bytes that are still to come from the socket.
    left: u64,
    idle: Option<Arc<Idle>>,
}

/// What a read gives: bytes in memory, and behind them those in a pipe.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) bytes: Bytes,
    pipe: Option<(OwnedFd, usize)>,
}

impl Given {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.pipe.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// As a reply has it, which lets go of `held` when the last of it has left.
    pub(crate) fn leave(self, held: impl Send + Sync + 'static) -> (Bytes, Option<Piped>) {
        match self.pipe {
            Some((pipe, bytes)) => (self.bytes, Some(Piped::new(pipe, bytes, held))),
            None => (in_room(self.bytes, held), None),
        }
    }
}

impl From<Bytes> for Given {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, pipe: None }
    }
}

impl Flow {
    /// The body of `bytes` bytes, some of which may be in `incoming` already.
    pub(super) async fn new(
        connection: Connection,
        mut incoming: Incoming,
        bytes: u64,
        idle: Option<Arc<Idle>>,
    ) -> Self {
        let (stream, unread) = connection.into_parts();
        let mut before = BytesMut::new();
        // Without its connection it ends with what it has.
        while let Some(Ok(frame)) = incoming.frame().await {
            before.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        before.extend_from_slice(&unread);
        // A server that sends more than its answer is not spoken to again.
        let more = before.len() as u64 > bytes;
        before.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        let left = bytes - before.len() as u64;
        let idle = idle.filter(|_| !more);
        let mut flow = Self { stream: Some(stream), before: before.freeze(), left, idle };
        flow.settle().await;
        flow
    }

    /// At most `length` bytes; none at the end, and where the server broke off.
    ///
    /// # Errors
    /// As the connection breaks. What came before that is given first.
    pub(crate) async fn read(&mut self, length: usize) -> io::Result<Given> {
        let bytes = self.before.split_to(length.min(self.before.len()));
        let wanted = (length - bytes.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(stream) = self.stream.as_mut().filter(|_| wanted > 0) else { return Ok(bytes.into()) };
        let (given, came) = match (wanted >= WORTH_A_PIPE).then(pipe).flatten() {
            Some(pipe) => {
                let (pipe, came) = fill(stream, pipe, wanted.min(PIPE)).await?;
                (Given { bytes, pipe: Some((pipe, came)).filter(|_| came > 0) }, came)
            }
            None if bytes.is_empty() => {
                let bytes = read(stream, wanted).await?;
                let came = bytes.len();
                (bytes.into(), came)
            }
            None => (bytes.into(), 0),
        };
        self.left -= came as u64;
        self.settle().await;
        Ok(given)
    }

    /// Gives its connection to others where there is nothing left of it.
    async fn settle(&mut self) {
        if self.left == 0
            && let (Some(stream), Some(idle)) = (self.stream.take(), &self.idle)
            && let Ok(connection) = Connection::new(stream).await
        {
            idle.keep(connection);
        }
    }
}

/// The ends of a pipe, where this process may have one more.
fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    // Who has very many gets small ones, and then less at a time.
    let _ = fcntl_setpipe_size(&writes, PIPE);
    Some((reads, writes))
}

/// Moves bytes into a pipe until it has `wanted` of them, or is full; fewer where the connection breaks. Gives the end to read.
async fn fill(
    stream: &TcpStream,
    (reads, writes): (OwnedFd, OwnedFd),
    wanted: usize,
) -> io::Result<(OwnedFd, usize)> {
    let mut came = 0;
    while came < wanted {
        stream.readable().await?;
        let moved = stream.try_io(Interest::READABLE, || {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(stream, None, &writes, None, wanted - came, flags) {
                // The pipe takes no more, and the socket has it: so it must not be thought empty.
                Err(rustix::io::Errno::AGAIN) if came > 0 && has_more(stream) => Ok(None),
                moved => Ok(Some(moved?)),
            }
        });
        match moved {
            Ok(Some(more @ 1..)) => came += more,
            Ok(_) => break,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) if came == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok((reads, came))
}

fn has_more(stream: &TcpStream) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Reads `wanted` bytes; fewer where the connection breaks.
async fn read(stream: &mut TcpStream, wanted: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(wanted);
    while bytes.len() < wanted {
        let missing = wanted - bytes.len();
        let mut room = (&mut bytes).limit(missing);
        match stream.read_buf(&mut room).await {
            Ok(1..) => {}
            Err(error) if bytes.is_empty() => return Err(error),
            _ => break,
        }
    }
    Ok(bytes.freeze())
}
