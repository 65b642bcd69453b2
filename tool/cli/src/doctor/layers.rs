//! The layers of the sandbox, tried out: a jail is started, and says which it cannot set up.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use command_fds::{CommandFdExt, FdMapping};
use sigma_abi::frame::Frame;
use sigma_abi::layer::Layer;
use sigma_abi::limits::DOOR_FD;
use sigma_abi::proto;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a jail may take to say whether it stands.
const DEADLINE: Duration = Duration::from_secs(10);

/// A uid that no realm has: the kernel gives out later ones.
const UID_BASE: u32 = 1_879_000_000;

/// What keeps each layer that cannot be set up from it. Control groups are not the jail's.
///
/// # Errors
/// Where the jail cannot be executed, or fails by what is no layer.
pub(super) fn broken(jail: &Path, root: bool) -> Result<BTreeMap<Layer, String>> {
    let mut broken = BTreeMap::new();
    // Each time without those that are known to fail, so that all are found.
    while let Some(failed) = try_out(jail, root, &broken)? {
        let Ok(layer) = failed.layer.parse::<Layer>() else {
            bail!("the jail does not stand: {}", failed.message)
        };
        if broken.insert(layer, failed.message.clone()).is_some() {
            bail!("the jail fails by a layer that was taken away: {}", failed.message);
        }
    }
    Ok(broken)
}

/// Starts a jail, and ends it when it has spoken: why it does not stand, if it does not.
fn try_out(jail: &Path, root: bool, without: &BTreeMap<Layer, String>) -> Result<Option<proto::JailFailed>> {
    let (ours, theirs) = UnixStream::pair().context("make a socket")?;
    let mut command = Command::new(jail);
    command.arg("--uid-base").arg(if root { UID_BASE.to_string() } else { "none".to_owned() });
    if !without.is_empty() {
        let names: Vec<_> = without.keys().map(|layer| layer.name()).collect();
        command.arg("--without").arg(names.join(","));
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: DOOR_FD }])?;
    let mut child = command.spawn().with_context(|| format!("execute {}", jail.display()))?;
    // The jail's end is also held by the command until now.
    drop(command);
    let word = first_word(ours);
    child.wait().context("wait for the jail")?;
    let frame = word.context("the jail says nothing")?;
    match frame.method() {
        "Jail.Ready" => Ok(None),
        _ => Ok(Some(frame.message().context("what the jail says")?)),
    }
}

/// Reads one frame. The jail ends when this lets go of the socket.
fn first_word(mut socket: UnixStream) -> Result<Frame> {
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut received = BytesMut::new();
    loop {
        if let Some(frame) = Frame::decode(&mut received)? {
            return Ok(frame);
        }
        let mut bytes = [0; 4096];
        match socket.read(&mut bytes)? {
            0 => bail!("it ended without a word"),
            count => received.extend_from_slice(&bytes[..count]),
        }
    }
}
