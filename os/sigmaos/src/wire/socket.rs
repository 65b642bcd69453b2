//! The socket below a connection: non-blocking reads and writes, with descriptors only where they are expected.

use crate::door;
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of one read of a socket that carries descriptors; such sockets carry little else.
const DOOR_READ: usize = 16 << 10;

/// Bytes of one read of any other; more are read at once where a frame is known to be larger.
const LIGHT_READ: usize = 8 << 10;

/// A write does not wait, and a reader who has gone is an error and no signal.
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

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
///
/// The runtime hears when there is something to read, and when there is room again only from a full socket on: whoever hears of
/// room at all wakes up each time that the other side has read, and so once too often for each frame.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: Arc<OwnedFd>,
    heard: Mutex<Heard>,
    /// Descriptors may arrive here. Where it is not set, the system drops any that do.
    receives: bool,
}

/// What the runtime hears of a socket.
#[derive(Debug)]
struct Heard {
    /// None only where the system refused.
    of: Option<AsyncFd<Arc<OwnedFd>>>,
    room: bool,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// # Errors
    /// Where the system has no memory to watch it.
    pub(crate) fn new(fd: OwnedFd, receives: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let (fd, mut heard) = (Arc::new(fd), Heard { of: None, room: false });
        heard.listen(&fd, false)?;
        Ok(Self { fd, heard: Mutex::new(heard), receives })
    }

    /// Reads once into `buffer`, and descriptors into `fds`. 0 at the end of the stream.
    ///
    /// # Errors
    /// `InvalidData` for more descriptors than frames may carry; what the system says.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        fds: &mut Incoming,
    ) -> Poll<io::Result<usize>> {
        let heard = self.lock();
        let of = heard.of()?;
        loop {
            let mut ready = ready!(of.poll_read_ready(cx))?;
            let read =
                if self.receives { self.read_with_descriptors(buffer, fds) } else { self.read_bytes(buffer) };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok((count, emptied)) => {
                    // Which saves a read that finds nothing after each frame.
                    if emptied {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn read_with_descriptors(&self, buffer: &mut BytesMut, fds: &mut Incoming) -> io::Result<(usize, bool)> {
        let mut bytes = [0u8; DOOR_READ];
        let count = receive(self.as_fd(), &mut bytes, fds)?;
        buffer.extend_from_slice(&bytes[..count]);
        Ok((count, false))
    }

    /// Reads bytes alone, and says whether they did not fill their room: then the socket is empty.
    fn read_bytes(&self, buffer: &mut BytesMut) -> io::Result<(usize, bool)> {
        if buffer.capacity() - buffer.len() > LIGHT_READ {
            // The rest of a large frame goes where it is wanted, without a copy.
            return Ok((door::read(self, buffer)?, false));
        }
        let mut room = [MaybeUninit::uninit(); LIGHT_READ];
        let (bytes, _) = rustix::io::read(self, &mut room)?;
        buffer.extend_from_slice(bytes);
        Ok((bytes.len(), !bytes.is_empty() && bytes.len() < LIGHT_READ))
    }

    /// Writes as much as the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; see [`Socket::poll_room`].
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>], fds: &[OwnedFd]) -> io::Result<usize> {
        match slices {
            [bytes] if fds.is_empty() => Ok(rustix::net::send(self, bytes, SEND)?),
            slices => send(self.as_fd(), slices, fds),
        }
    }

    /// Waits until a socket that took nothing takes something again.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut heard = self.lock();
        if !heard.room {
            heard.listen(&self.fd, true)?;
            // Whoever waits to read does so anew.
            cx.waker().wake_by_ref();
        }
        let mut ready = ready!(heard.of()?.poll_write_ready(cx))?;
        ready.clear_ready();
        Poll::Ready(Ok(()))
    }

    /// All was written: room is no news any more.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn has_room(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut heard = self.lock();
        if heard.room {
            heard.listen(&self.fd, false)?;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Begins anew, with what the socket is ready for now.
    fn listen(&mut self, fd: &Arc<OwnedFd>, room: bool) -> io::Result<()> {
        // The system knows a descriptor once.
        self.of = None;
        let interest = if room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        (self.of, self.room) = (Some(door::watch(Arc::clone(fd), interest)?), room);
        Ok(())
    }

    fn of(&self) -> io::Result<&AsyncFd<Arc<OwnedFd>>> {
        self.of.as_ref().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
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
    if borrowed.is_empty() {
        return Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), SEND)?);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more descriptors than a frame may carry"));
    }
    Ok(sendmsg(socket, slices, &mut control, SEND)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll::EventFlags;
    use std::collections::BTreeSet;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::task::Waker;
    use std::time::Duration;
    use tokio::time::timeout;

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

    /// What the runtime is told of a socket, as proc_pid_fdinfo(5) shows it.
    fn is_told_of_room(socket: &Socket) -> bool {
        let watched = format!("tfd: {:8} events: ", socket.as_fd().as_raw_fd());
        let all = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
        let infos = all.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        let events = infos.filter_map(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix(&watched).map(str::to_owned))?;
            u32::from_str_radix(line.split_whitespace().next()?, 16).ok()
        });
        // The runtime has its list twice: by two descriptors.
        let events: BTreeSet<u32> = events.collect();
        assert_eq!(events.len(), 1, "it is watched once");
        events.into_iter().any(|events| events & EventFlags::OUT.bits() != 0)
    }

    /// Each read of the other side once woke up who had written, and found nothing to do.
    #[tokio::test]
    async fn who_has_room_hears_of_none_and_reads_on_when_that_changes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into(), false).unwrap();
        let mut buffer = BytesMut::new();
        let mut read = async || {
            let mut fds = Incoming::default();
            let reads = poll_fn(|cx| socket.poll_read(cx, &mut buffer, &mut fds));
            timeout(Duration::from_secs(10), reads).await.expect("it hears of what came").unwrap()
        };
        assert!(!is_told_of_room(&socket));
        (&theirs).write_all(b"one").unwrap();
        assert_eq!(read().await, 3);
        let full = [7; 1 << 16];
        while socket.try_write(&[IoSlice::new(&full)], &[]).is_ok() {}
        let mut room = pin!(poll_fn(|cx| socket.poll_room(cx)));
        assert!(room.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(is_told_of_room(&socket));
        (&theirs).write_all(b"three").unwrap();
        assert_eq!(read().await, 5);
        theirs.set_nonblocking(true).unwrap();
        while (&theirs).read(&mut [0; 1 << 16]).is_ok() {}
        timeout(Duration::from_secs(10), room).await.expect("it hears of room").unwrap();
        poll_fn(|cx| Poll::Ready(socket.has_room(cx))).await.unwrap();
        assert!(!is_told_of_room(&socket));
        (&theirs).write_all(b"seven__").unwrap();
        assert_eq!(read().await, 7);
        drop(theirs);
        assert_eq!(read().await, 0, "and of the end");
    }
}
