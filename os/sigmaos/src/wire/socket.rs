//! The socket below a connection: non-blocking reads and writes, with descriptors only where they are expected.

use bytes::{Bytes, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use sigma_abi::limits::MAX_FDS;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes of one read of a socket that carries descriptors; such sockets carry little else.
const DOOR_READ: usize = 16 << 10;

/// Descriptors that came with frames not yet decoded.
pub type Incoming = VecDeque<OwnedFd>;

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: UnixStream,
    /// Descriptors may arrive here. Where it is not set, the system drops any that do.
    pub(crate) receives: bool,
}

impl Socket {
    /// Reads once into `buffer`, and descriptors into `fds`. 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `InvalidData` for more descriptors than frames may carry.
    pub(crate) fn try_read(&self, buffer: &mut BytesMut, fds: &mut Incoming) -> io::Result<usize> {
        if !self.receives {
            return self.stream.try_read_buf(buffer);
        }
        let mut bytes = [0u8; DOOR_READ];
        let count =
            self.stream.try_io(Interest::READABLE, || receive(self.stream.as_fd(), &mut bytes, fds))?;
        buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Writes as much as the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>], fds: &[OwnedFd]) -> io::Result<usize> {
        if fds.is_empty() {
            return self.stream.try_write_vectored(slices);
        }
        self.stream.try_io(Interest::WRITABLE, || send(self.stream.as_fd(), slices, fds))
    }
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8], fds: &mut Incoming) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than frames announced"));
    }
    Ok(message.bytes)
}

fn send(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>], fds: &[OwnedFd]) -> io::Result<usize> {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more descriptors than a frame may carry"));
    }
    Ok(sendmsg(socket, slices, &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// What is written next: bytes, and the descriptors that travel with the first of them.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) fds: Vec<OwnedFd>,
}
