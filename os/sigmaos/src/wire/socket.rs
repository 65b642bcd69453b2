//! The socket below a connection: non-blocking reads and writes, with descriptors only where they are expected.

use bytes::BytesMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
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

/// Bytes of one read of any other; more are read at once where a frame is known to be larger.
const LIGHT_READ: usize = 8 << 10;

/// What came with frames that are not yet decoded, in their order: descriptors, and gaps where the system had none to give to this
/// process, which has as many as it may have.
#[derive(Debug, Default)]
pub struct Incoming(VecDeque<Option<OwnedFd>>);

/// The descriptors of one frame.
#[derive(Debug)]
pub(crate) enum Taken {
    All(Vec<OwnedFd>),
    /// Some of them came when there was no room. The system has closed those, and the others are closed here.
    Lost,
    /// They were not sent.
    Missing,
}

impl Incoming {
    fn arrived(&mut self, fds: Vec<OwnedFd>, lost: bool) -> io::Result<()> {
        self.0.extend(fds.into_iter().map(Some));
        if lost {
            self.0.push_back(None);
        }
        if self.0.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than frames announced"));
        }
        Ok(())
    }

    /// Takes what came with the next frame, which announces `count`. The descriptors of a frame come in one read, so that a gap ends
    /// what came with it.
    pub(crate) fn take(&mut self, count: usize) -> Taken {
        let mut fds = Vec::with_capacity(count);
        while fds.len() < count {
            match self.0.pop_front() {
                Some(Some(fd)) => fds.push(fd),
                Some(None) => return Taken::Lost,
                None => return Taken::Missing,
            }
        }
        Taken::All(fds)
    }
}

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
            return self.read_bytes(buffer);
        }
        let mut bytes = [0u8; DOOR_READ];
        let count =
            self.stream.try_io(Interest::READABLE, || receive(self.stream.as_fd(), &mut bytes, fds))?;
        buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Reads bytes alone. A read that does not fill its room has emptied the socket; the runtime is told so, which saves a read
    /// that finds nothing after each frame.
    fn read_bytes(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.capacity() - buffer.len() > LIGHT_READ {
            // The rest of a large frame goes where it is wanted, without a copy.
            return self.stream.try_read_buf(buffer);
        }
        let (mut room, mut count) = ([MaybeUninit::uninit(); LIGHT_READ], 0);
        let done = self.stream.try_io(Interest::READABLE, || {
            let (bytes, _) = rustix::io::read(&self.stream, &mut room)?;
            buffer.extend_from_slice(bytes);
            count = bytes.len();
            // To the runtime this is how a socket says that it is empty.
            if 0 < count && count < LIGHT_READ { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match done {
            Err(_) if count > 0 => Ok(count),
            done => done.map(|()| count),
        }
    }

    /// Writes as much as the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>], fds: &[OwnedFd]) -> io::Result<usize> {
        match slices {
            [bytes] if fds.is_empty() => return self.stream.try_write(bytes),
            slices if fds.is_empty() => return self.stream.try_write_vectored(slices),
            _ => {}
        }
        self.stream.try_io(Interest::WRITABLE, || send(self.stream.as_fd(), slices, fds))
    }
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8], fds: &mut Incoming) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    let mut came = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            came.extend(rights);
        }
    }
    fds.arrived(came, message.flags.contains(ReturnFlags::CTRUNC))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_frame_whose_descriptors_are_lost_takes_none_of_another() {
        let mut incoming = Incoming::default();
        incoming.arrived(vec![null()], false).unwrap();
        incoming.arrived(vec![null()], true).unwrap();
        incoming.arrived(Vec::new(), true).unwrap();
        incoming.arrived(vec![null(), null()], false).unwrap();
        assert!(matches!(incoming.take(1), Taken::All(fds) if fds.len() == 1));
        assert!(matches!(incoming.take(2), Taken::Lost), "one of two came");
        assert!(matches!(incoming.take(0), Taken::All(fds) if fds.is_empty()), "this one announces none");
        assert!(matches!(incoming.take(1), Taken::Lost));
        assert!(matches!(incoming.take(2), Taken::All(fds) if fds.len() == 2));
        assert!(matches!(incoming.take(1), Taken::Missing));
        let many = (0..=MAX_FDS).map(|_| null()).collect();
        assert!(incoming.arrived(many, false).is_err(), "no frame carries so many");
    }
}
