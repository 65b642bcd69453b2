//! The children of the jail: launchers, and the procs that they became.

use crate::launcher::{self, Ends};
use crate::namespaces::exit_code;
use crate::options::Options;
use crate::seccomp::filter::Last;
use crate::seccomp::{LAUNCHER, SO_PASSRIGHTS};
use crate::sys::{self, check};
use sigma_abi::proto::LauncherExited;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{mem, ptr};

/// The children that have not been reaped.
pub(crate) struct Pool {
    /// Their pids: only these may be signalled, since others may be anybody's.
    live: BTreeSet<i32>,
    /// Made once, since each launcher would otherwise pay for it; `None` where that layer is off.
    last: Option<Last>,
}

/// A new launcher, and sigmad's ends of what connects it.
pub(crate) struct Made {
    pub(crate) process: i32,
    pub(crate) door: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

impl Pool {
    pub(crate) fn new(last: Option<Last>) -> Self {
        Self { live: BTreeSet::new(), last }
    }

    /// Clones one launcher, which joins `groups` by their files of processes. It returns only in the jail.
    ///
    /// # Errors
    /// Those of clone and of making descriptors; nothing is left over then, and it may be tried again.
    pub(crate) fn make(&mut self, options: &Options, groups: &[File]) -> io::Result<Made> {
        let made = match clone()? {
            Cloned::Child(ends) => launcher::run(ends, groups, self.last.as_mut(), options),
            Cloned::Jail(made) => made,
        };
        self.live.insert(made.process);
        Ok(made)
    }

    /// Signals a child that has not been reaped. One that just ended is not an error.
    pub(crate) fn kill(&self, process: i32, signal: i32) {
        if self.live.contains(&process) {
            // SAFETY: takes numbers only; the pid is that of a child that was not reaped, so it is nobody else's.
            unsafe { libc::kill(process, signal) };
        }
    }

    /// Kills all: for an end without a pid namespace.
    pub(crate) fn kill_all(&self) {
        for process in &self.live {
            self.kill(*process, libc::SIGKILL);
        }
    }

    /// Takes one child that has ended, if there is one.
    pub(crate) fn reap(&mut self) -> Option<LauncherExited> {
        let mut status = 0;
        // SAFETY: all-zero is a valid rusage.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: both are valid places for what the call writes.
        let result = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, &mut usage) };
        // No child at all is an error, none that has ended is 0.
        let process = check(result).ok().filter(|process| *process > 0)? as i32;
        self.live.remove(&process);
        let ended = exit_code(status);
        Some(LauncherExited {
            process,
            exit_code: ended.ok(),
            signal: ended.err(),
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
            // The kernel counts in KiB.
            peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10,
        })
    }
}

/// Which of the two processes this is.
pub(crate) enum Cloned {
    Child(Ends),
    Jail(Made),
}

/// Clones a process, and makes what connects it.
///
/// # Errors
/// As [`Pool::make`].
pub(crate) fn clone() -> io::Result<Cloned> {
    let (door, their_door) = sys::socket_pair()?;
    take_no_descriptors(&door)?;
    let (their_input, input) = sys::pipe()?;
    let (output, their_output) = sys::pipe()?;
    let (errors, their_errors) = sys::pipe()?;
    let mut pidfd = -1;
    // SAFETY: without CLONE_VM this is fork: the child goes on with a copy of everything, and this process has one
    // thread. With CLONE_PIDFD the third argument is where the descriptor is written.
    let process = check(unsafe {
        libc::syscall(libc::SYS_clone, LAUNCHER as u64, 0usize, &raw mut pidfd, 0usize, 0usize)
    })?;
    if process == 0 {
        let ends = Ends { door: their_door, input: their_input, output: their_output, errors: their_errors };
        return Ok(Cloned::Child(ends));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Jail(Made { process: process as i32, door, pidfd, input, output, errors }))
}

/// Refuses descriptors that come in at this end, where the kernel can: a proc must not fill sigmad with them.
fn take_no_descriptors(door: &OwnedFd) -> io::Result<()> {
    let no = 0i32;
    // SAFETY: the option is an int, and the length says so.
    let result = unsafe {
        let value = ptr::from_ref(&no).cast();
        libc::setsockopt(door.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, value, 4)
    };
    match check(result) {
        // Before Linux 6.16; sigmad bounds what it takes.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result.map(drop),
    }
}

fn micros(time: libc::timeval) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}
