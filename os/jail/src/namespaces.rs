//! The namespaces of the container, and the two processes that a pid namespace takes.
//!
//! The outer process clones the inner one into a new user and pid namespace, maps its ids, and from then on only waits:
//! it holds no descriptor to sigmad and ends as the inner one ends. The inner one is pid 1 of the container; when it
//! ends the kernel kills every proc in it.

use crate::error::Error;
use crate::identity;
use crate::options::Options;
use crate::sys::{self, check, retry};
use sigma_abi::layer::Layer;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::{fs::File, ptr};

/// Which of the two processes this is.
pub(crate) enum Side {
    /// With the pid of the inner one.
    Outer(i32),
    Inner,
}

/// What procs see as the name of their host.
const HOST_NAME: &str = "sigma";

/// Exit code of a shell for a process that a signal ended: this plus the signal.
const SIGNALLED: i32 = 128;

/// Clones the inner process into its user and pid namespaces. It returns there once its ids are mapped.
///
/// # Errors
/// [`Layer::User`] or [`Layer::Pid`].
pub(crate) fn split(options: &Options) -> Result<Side, Error> {
    let (ready, tell) = sys::pipe().map_err(Error::plain("making a pipe"))?;
    match clone(options)? {
        0 => {
            drop(tell);
            await_maps(ready)?;
            Ok(Side::Inner)
        }
        inner => {
            if options.on(Layer::User)
                && let Err(error) = identity::write_maps(inner, options.uid_base)
            {
                // The inner process sees its pipe close and ends without a word.
                return Err(error);
            }
            File::from(tell)
                .write_all(&[1])
                .map_err(Error::plain("telling pid 1 that its ids are mapped"))?;
            Ok(Side::Outer(inner))
        }
    }
}

fn clone(options: &Options) -> Result<i32, Error> {
    let mut flags = libc::SIGCHLD;
    let mut layer = Layer::Pid;
    if options.on(Layer::Pid) {
        flags |= libc::CLONE_NEWPID;
    }
    if options.on(Layer::User) {
        flags |= libc::CLONE_NEWUSER;
        // Whoever may make a user namespace may make a pid namespace within it.
        layer = Layer::User;
    }
    // SAFETY: without CLONE_VM this is fork: the child goes on with a copy of everything, and this process has one
    // thread. No stack and no other pointer is given.
    let inner =
        check(unsafe { libc::syscall(libc::SYS_clone, flags as u64, 0usize, 0usize, 0usize, 0usize) });
    Ok(inner.map_err(Error::layer(layer, "making the user and pid namespaces"))? as i32)
}

fn await_maps(ready: OwnedFd) -> Result<(), Error> {
    let mut byte = [0];
    match File::from(ready).read_exact(&mut byte) {
        Ok(()) => Ok(()),
        // The outer process has said why.
        Err(_) => std::process::exit(1),
    }
}

/// Enters the other namespaces, one at a time so that a failure names its layer.
///
/// # Errors
/// [`Layer::Net`], [`Layer::Ipc`] or [`Layer::Mount`].
pub(crate) fn unshare(options: &Options) -> Result<(), Error> {
    // A session of its own, so that no terminal of sigmad's controls it. It fails only where there is one already.
    // SAFETY: takes nothing.
    unsafe { libc::setsid() };
    let ipc = libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    let kinds = [
        (Layer::Net, libc::CLONE_NEWNET, "making a network namespace"),
        (Layer::Ipc, ipc, "making the ipc, uts and cgroup namespaces"),
        (Layer::Mount, libc::CLONE_NEWNS, "making a mount namespace"),
    ];
    for (layer, flags, attempted) in kinds.into_iter().filter(|(layer, ..)| options.on(*layer)) {
        // SAFETY: takes a number only.
        check(unsafe { libc::unshare(flags) }).map_err(Error::layer(layer, attempted))?;
    }
    if options.on(Layer::Ipc) {
        // SAFETY: the length is that of the text.
        check(unsafe { libc::sethostname(HOST_NAME.as_ptr().cast(), HOST_NAME.len()) })
            .map_err(Error::layer(Layer::Ipc, "hiding the host's name"))?;
    }
    Ok(())
}

/// Waits for the inner process and returns the exit code to end with.
pub(crate) fn wait(inner: i32) -> Result<i32, Error> {
    let mut status = 0;
    // SAFETY: `status` is a valid place; no usage is asked for.
    retry(|| unsafe { libc::wait4(inner, &mut status, 0, ptr::null_mut()) })
        .map_err(Error::plain("waiting for pid 1 of the container"))?;
    Ok(exit_code(status).unwrap_or_else(|signal| SIGNALLED + signal))
}

/// The exit code of a wait status, or the signal.
pub(crate) fn exit_code(status: i32) -> Result<i32, i32> {
    if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) }
}
