//! The floor of a call: bytes there and back over a unix socket, by blocking reads and writes.

use crate::pace::{self, Load};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Answers one connection after the other. Its first eight bytes say how long each message is.
pub(crate) fn serve(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("listen at {}", socket.display()))?;
    pace::ready()?;
    loop {
        let (mut stream, _) = listener.accept().context("accept a connection")?;
        let mut length = [0; 8];
        stream.read_exact(&mut length).context("read the length of messages")?;
        let mut message = vec![0; u64::from_le_bytes(length) as usize];
        // It ends when the other side has gone.
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
    }
}

pub(crate) fn call(socket: &Path, load: &Load) -> Result<()> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.write_all(&(load.bytes as u64).to_le_bytes())?;
    let mut message = vec![7; load.bytes];
    pace::one_by_one(load, || {
        stream.write_all(&message)?;
        stream.read_exact(&mut message).context("the other side has gone")
    })
}
