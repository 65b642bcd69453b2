//! The local socket of a kernel: where it is, and how a tool reaches it.

use crate::{Code, Error, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// The socket's name in the state directory.
pub const SOCKET_NAME: &str = "sigma.sock";

/// Beside it: what the services on it look like, an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS_NAME: &str = "sigma.descriptor";

/// The socket below an open state directory. By the directory's descriptor, since an address has room for a path of
/// 107 bytes only, unix(7).
pub fn socket_path(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd())
}

/// Opens a state directory, to name its socket by.
///
/// # Errors
/// What open(2) says.
pub fn open_state(state: &Path) -> std::result::Result<OwnedFd, Errno> {
    open(state, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Connects to the kernel whose state is in `state`.
pub(crate) fn dial(state: &Path) -> Result<OwnedFd> {
    let connected = || {
        let directory = open_state(state)?;
        let address = SocketAddrUnix::new(socket_path(&directory))?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &address)?;
        Ok(socket)
    };
    connected().map_err(|error: Errno| {
        let state = state.display();
        let text = format!("no kernel runs on {state} ({error}); start one with 'sigma --state {state} up'");
        Error::new(Code::Unreachable, text)
    })
}
