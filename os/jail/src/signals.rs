//! Signals: procs start with none ignored and none blocked; the jail learns of ended children from a descriptor.

use crate::error::Error;
use crate::sys::check;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{mem, ptr};

/// The greatest signal number of Linux.
const MAX_SIGNAL: i32 = 64;

/// Gives every signal its default action, also those that Rust's runtime or sigmad ignores: exec would keep that.
pub(crate) fn reset() {
    for signal in 1..=MAX_SIGNAL {
        // SAFETY: SIG_DFL is always a valid action. Signals that cannot be changed (KILL, STOP and those that libc
        // keeps for itself) are refused, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Blocks nothing: for what becomes a proc.
pub(crate) fn block_none() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is the empty set, on musl and on glibc.
    set_mask(&unsafe { mem::zeroed() })
}

/// Blocks SIGCHLD and nothing else, and makes a descriptor that becomes readable when a child has ended.
pub(crate) fn child_ended() -> Result<OwnedFd, Error> {
    let set = child_set();
    set_mask(&set).map_err(Error::plain("blocking SIGCHLD"))?;
    // SAFETY: `set` is an initialized signal set that outlives the call.
    let fd = check(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })
        .map_err(Error::plain("making a descriptor for SIGCHLD"))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Empties that descriptor: one SIGCHLD may stand for many children, so all are looked for anyway.
pub(crate) fn drain(ended: &OwnedFd) {
    let mut bytes = [0u8; 512];
    // SAFETY: pointer and length are those of the array; the descriptor does not block.
    unsafe { libc::read(ended.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
}

fn child_set() -> libc::sigset_t {
    // SAFETY: `set` is a valid place for a signal set, and sigaddset gets a valid signal.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        set
    }
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialized; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut()) }).map(drop)
}
