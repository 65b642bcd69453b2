//! System calls whose arguments are plain numbers, and the reading of their results.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The result of a system call: -1 is the error in `errno`.
pub(crate) fn check<T: Into<i64>>(result: T) -> io::Result<i64> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T: Into<i64>>(mut call: impl FnMut() -> T) -> io::Result<i64> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only; whoever calls owns no descriptor from `first` on that it still uses.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// A pipe, reading end first; both ends are closed by exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors that the call writes.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok(own(ends))
}

/// A pair of connected unix stream sockets; both are closed by exec.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors that the call writes.
    check(unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    })?;
    Ok(own(ends))
}

/// Duplicates `from` as the number `to`, replacing what was there; exec keeps it.
pub(crate) fn duplicate(from: &impl AsRawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only; `to` is a number that nothing in this process owns.
    check(unsafe { libc::dup3(from.as_raw_fd(), to, 0) }).map(drop)
}

/// Duplicates `from` as the number `to`, which must be free; exec closes it.
pub(crate) fn duplicate_free(from: &impl AsRawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only, and makes the lowest number from `to` on that is free.
    let made = check(unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, to) })?;
    if made == i64::from(to) { Ok(()) } else { Err(io::Error::other(format!("descriptor {to} is taken"))) }
}

fn own([first, second]: [RawFd; 2]) -> (OwnedFd, OwnedFd) {
    // SAFETY: the kernel has just made both descriptors for us, and nothing else knows them.
    unsafe { (OwnedFd::from_raw_fd(first), OwnedFd::from_raw_fd(second)) }
}
