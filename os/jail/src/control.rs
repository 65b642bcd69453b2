//! Frames, with descriptors, over blocking unix stream sockets: the control socket and the doors of launchers.

use crate::error::Error;
use crate::sys::{check, retry};
use bytes::BytesMut;
use prost::Message;
use sigma_abi::frame::{Frame, Kind, PREFIX};
use sigma_abi::limits::MAX_FDS;
use sigma_abi::proto;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::{mem, ptr};

/// The control socket, as sigmad hands it over.
pub(crate) const FD: RawFd = 3;

/// Bytes taken from the control socket at once; its frames are a few dozen bytes each.
const READ_BYTES: usize = 4096;

/// How long to wait where the kernel says that too many descriptors are on their way.
const IN_FLIGHT_PAUSE_MS: i32 = 1;

/// The jail's end of the control socket.
pub(crate) struct Control {
    socket: Option<OwnedFd>,
    received: BytesMut,
    /// Descriptors that came, in the order of the frames that they belong to.
    fds: VecDeque<OwnedFd>,
}

impl Control {
    /// Takes over the descriptor that the jail was started with.
    pub(crate) fn inherited() -> Self {
        // SAFETY: descriptor 3 is the jail's by the contract of its command line, and this is called once. Where
        // there is none, every use of it fails with EBADF.
        let socket = unsafe { OwnedFd::from_raw_fd(FD) };
        Self::over(socket)
    }

    /// The conversation over another socket.
    pub(crate) fn over(socket: OwnedFd) -> Self {
        Self { socket: Some(socket), received: BytesMut::new(), fds: VecDeque::new() }
    }

    /// Makes sure that this is a socket, and that it blocks.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail =
            |source: io::Error| Error::new(format!("descriptor 3 is not the control socket: {source}"));
        let (mut kind, mut length) = (0i32, 4 as libc::socklen_t);
        // SAFETY: both pointers are to valid places, and the length is that of an int.
        let result = unsafe {
            let place = ptr::from_mut(&mut kind).cast();
            libc::getsockopt(self.raw(), libc::SOL_SOCKET, libc::SO_TYPE, place, &mut length)
        };
        check(result).map_err(fail)?;
        // SAFETY: F_GETFL takes no argument.
        let flags = check(unsafe { libc::fcntl(self.raw(), libc::F_GETFL) }).map_err(fail)? as i32;
        // SAFETY: F_SETFL takes an int.
        check(unsafe { libc::fcntl(self.raw(), libc::F_SETFL, flags & !libc::O_NONBLOCK) }).map_err(fail)?;
        // SAFETY: F_SETFD takes an int.
        check(unsafe { libc::fcntl(self.raw(), libc::F_SETFD, libc::FD_CLOEXEC) }).map_err(fail).map(drop)
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Gives up this copy of the socket.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    /// Tells sigmad why there is no jail, or standard error where sigmad cannot be told.
    pub(crate) fn failed(&self, error: &Error) {
        let layer = error.layer.map_or("", |layer| layer.name()).to_owned();
        let message = proto::JailFailed { layer, message: error.message.clone() };
        if self.notify("Jail.Failed", &message, &[]).is_err() {
            eprintln!("jail: {error}");
        }
    }

    /// Sends a notice with descriptors.
    pub(crate) fn notify(
        &self,
        method: &'static str,
        message: &impl Message,
        fds: &[RawFd],
    ) -> io::Result<()> {
        send(self.raw(), method, message, fds)
    }

    /// Answers a call of sigmad, which asks whether the jail answers.
    pub(crate) fn answer(&self, tag: u32) -> io::Result<()> {
        write(self.raw(), Frame::new(Kind::Reply, tag, "", &proto::Empty {}), &[])
    }

    /// Takes what has arrived. False: sigmad is gone.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; READ_BYTES];
        match receive_once(self.raw(), &mut bytes, libc::MSG_DONTWAIT) {
            Ok((0, _)) => Ok(false),
            Ok((count, fds)) => {
                self.received.extend_from_slice(&bytes[..count]);
                self.fds.extend(fds);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame of what was received, with its descriptors.
    pub(crate) fn next(&mut self) -> Result<Option<(Frame, Vec<OwnedFd>)>, Error> {
        let frame = Frame::decode(&mut self.received)
            .map_err(|error| Error::new(format!("sigmad sent no frame: {error}")))?;
        let Some(frame) = frame else { return Ok(None) };
        let count = usize::from(frame.fds);
        if count > self.fds.len() {
            let text = format!("{:?} came without its {count} descriptors", frame.method());
            return Err(Error::new(text));
        }
        let fds = self.fds.drain(..count).collect();
        Ok(Some((frame, fds)))
    }
}

/// Room for the control message of [`MAX_FDS`] descriptors, aligned as cmsg(3) asks.
#[repr(C, align(8))]
struct Ancillary([u8; 64]);

/// Sends a notice; the descriptors go with its first byte.
pub(crate) fn send(
    socket: RawFd,
    method: &'static str,
    message: &impl Message,
    fds: &[RawFd],
) -> io::Result<()> {
    write(socket, Frame::new(Kind::Notice, 0, method, message), fds)
}

fn write(socket: RawFd, mut frame: Frame, fds: &[RawFd]) -> io::Result<()> {
    frame.fds = fds.len() as u8;
    send_frame(socket, frame, fds)
}

/// Sends a frame of any kind.
pub(crate) fn send_frame(socket: RawFd, frame: Frame, fds: &[RawFd]) -> io::Result<()> {
    let wire = frame.encode();
    let (mut rest, mut fds) = (&wire[..], fds);
    while !rest.is_empty() {
        match send_once(socket, rest, fds) {
            Ok(count) => (rest, fds) = (&rest[count..], &[]),
            Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                // sigmad is slow to take the descriptors of earlier frames. Waiting is all that helps.
                // SAFETY: no descriptor is polled; this only waits.
                unsafe { libc::poll(ptr::null_mut(), 0, IN_FLIGHT_PAUSE_MS) };
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send_once(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut space = Ancillary([0; 64]);
    assert!(fds.len() <= MAX_FDS, "no notice of the jail carries more than five descriptors");
    // SAFETY: all-zero is a valid msghdr. `part` and `space` outlive the call, and `space` has room for MAX_FDS
    // descriptors, so the header that CMSG_FIRSTHDR returns and what is written behind it lie within it.
    let count = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let length = size_of_val(fds) as u32;
            header.msg_control = space.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length) as _;
            let control = libc::CMSG_FIRSTHDR(&header);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(length) as _;
            ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(control).cast(), fds.len());
        }
        retry(|| libc::sendmsg(socket, &header, libc::MSG_NOSIGNAL) as i64)?
    };
    Ok(count as usize)
}

/// Waits for one frame and takes not a byte more: what follows it belongs to the proc. `None`: the other end closed.
pub(crate) fn receive_frame(socket: RawFd) -> io::Result<Option<(Frame, Vec<OwnedFd>)>> {
    let mut buffer = BytesMut::zeroed(PREFIX);
    let (count, fds) = receive_once(socket, &mut buffer, 0)?;
    if count == 0 {
        return Ok(None);
    }
    receive_rest(socket, &mut buffer[count..])?;
    if let Some(frame) = decode(&mut buffer)? {
        return Ok(Some((frame, fds)));
    }
    // The prefix is within the limits, so its first word is the length of what follows.
    let body = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    buffer.resize(PREFIX + body, 0);
    receive_rest(socket, &mut buffer[PREFIX..])?;
    let frame = decode(&mut buffer)?.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((frame, fds)))
}

fn decode(buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    Frame::decode(buffer).map_err(io::Error::other)
}

fn receive_rest(socket: RawFd, mut rest: &mut [u8]) -> io::Result<()> {
    while !rest.is_empty() {
        // SAFETY: pointer and length are those of `rest`.
        let count = retry(|| unsafe {
            libc::recv(socket, rest.as_mut_ptr().cast(), rest.len(), libc::MSG_WAITALL) as i64
        })?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        rest = &mut rest[count as usize..];
    }
    Ok(())
}

fn receive_once(socket: RawFd, bytes: &mut [u8], flags: i32) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut space = Ancillary([0; 64]);
    let mut fds = Vec::with_capacity(MAX_FDS);
    // SAFETY: all-zero is a valid msghdr; `part` and `space` outlive the call. The kernel wrote the control messages
    // that are read back, each as long as it says, and the descriptors in them are new and ours alone.
    let count = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.0.as_mut_ptr().cast();
        header.msg_controllen = space.0.len() as _;
        let count = retry(|| libc::recvmsg(socket, &mut header, flags | libc::MSG_CMSG_CLOEXEC) as i64)?;
        let mut control = libc::CMSG_FIRSTHDR(&header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SCM_RIGHTS {
                let length = (*control).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data: *const RawFd = libc::CMSG_DATA(control).cast();
                fds.extend(
                    (0..length / size_of::<RawFd>())
                        .map(|index| OwnedFd::from_raw_fd(data.add(index).read_unaligned())),
                );
            }
            control = libc::CMSG_NXTHDR(&header, control);
        }
        count
    };
    Ok((count as usize, fds))
}
