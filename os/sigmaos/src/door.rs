//! The door: the one descriptor that a proc is born with, and the mark that says that it knows what to do with it.
//!
//! This is the one module outside os/jail with `unsafe`: it takes a descriptor that the process inherited, tells the
//! system where descriptors may not travel: over sockets, and into programs that are executed, and does for the sockets that came by the door
//! what no library does safely.

#![allow(unsafe_code)]

use bytes::BytesMut;
use rustix::fs::{FileType, fstat};
use sigma_abi::limits::DOOR_FD;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The name and type of the ELF note by which the kernel knows a program that links this SDK.
pub const NOTE_NAME: &[u8; 8] = b"SigmaOS\0";
/// See [`NOTE_NAME`].
pub const NOTE_TYPE: u32 = 1;

/// The layout of an ELF note, elf(5): sizes of name and description, type, name, description.
#[repr(C, align(4))]
struct Note {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 8],
    version: u32,
}

// SAFETY: the section holds notes in the layout of elf(5), which `Note` has, and nothing else is placed there.
#[used]
#[unsafe(link_section = ".note.sigmaos")]
static NOTE: Note = Note {
    name_size: 8,
    description_size: 4,
    kind: NOTE_TYPE,
    name: *NOTE_NAME,
    version: sigma_abi::limits::PROTOCOL_VERSION,
};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the door; `None` where this process was not started by SigmaOS, or has taken it before.
pub fn take() -> Option<OwnedFd> {
    if !present() || TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: the descriptor is open, as was just seen. In a proc it is the door, which nothing else owns: it was there
    // before main. `TAKEN` makes this the only time that it is owned.
    Some(unsafe { OwnedFd::from_raw_fd(DOOR_FD) })
}

/// Whether descriptor 3 is a socket.
pub fn present() -> bool {
    // SAFETY: the descriptor is borrowed for one system call, which answers EBADF where it is not open.
    let door = unsafe { BorrowedFd::borrow_raw(DOOR_FD) };
    fstat(door).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Has the runtime tell of what a descriptor is ready for, of that and of nothing else.
///
/// # Errors
/// Where the system has no memory for that.
pub(crate) fn watch(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor stays open, and the same, for as long as its owner is held here.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Reads once into the room that `buffer` has behind its bytes.
///
/// # Errors
/// What the system says.
pub(crate) fn read(socket: &impl AsFd, buffer: &mut BytesMut) -> io::Result<usize> {
    let (bytes, _) = rustix::io::read(socket, buffer.spare_capacity_mut())?;
    let count = bytes.len();
    // SAFETY: so many bytes behind those that were there have just been written.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Bytes that the peer of a unix socket was sent and has not read, with what the system needs to keep them; 0 where it does
/// not say.
pub fn unread(socket: &impl AsFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the call, which writes one int that outlives it (unix(7), SIOCOUTQ).
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if asked == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Makes a unix socket refuse descriptors that its peer sends, where the system can (Linux 6.16, `SO_PASSRIGHTS`).
/// Elsewhere a reader without a control buffer drops them, so that the flow of descriptors stays bounded.
pub fn refuse_descriptors(socket: &impl AsFd) {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the call, and the option's value is one int that outlives it.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        );
    }
}

/// Keeps what this process has inherited beyond its standard streams, known to it or not, from every program that it executes. A kernel
/// that runs for days must not hold a pipe or a lock of the shell that started it.
///
/// # Errors
/// Those of the system, which has this since Linux 5.11.
pub fn pass_nothing_on() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes numbers only, and with this flag it closes nothing: each descriptor stays open in this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
