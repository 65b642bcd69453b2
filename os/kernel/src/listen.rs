//! The local socket: tools of the operator reach the kernel here.

use crate::kernel::Kernel;
use crate::session;
use anyhow::{Context, Result};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use sigmaos::local::{DESCRIPTORS_NAME, open_state, socket_path};
use sigmaos::wire::{Connection, Driver};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Tools that may be connected at once.
const MAX_TOOLS: usize = 1024;

/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the socket, in the place of one that a dead kernel left, and says beside it what its services look like.
pub(crate) fn bind(state: &Path) -> Result<UnixListener> {
    let directory = open_state(state).with_context(|| format!("cannot open {}", state.display()))?;
    let path = socket_path(&directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).context("cannot remove the socket of an earlier kernel");
        }
        _ => {}
    }
    fs::write(state.join(DESCRIPTORS_NAME), sigmaos::stub::DESCRIPTORS)
        .context("cannot write the descriptors of the services")?;
    UnixListener::bind(&path).with_context(|| format!("cannot listen in {}", state.display()))
}

/// Serves tools until the kernel ends.
pub(crate) async fn serve(kernel: Arc<Kernel>, listener: UnixListener) {
    let mut tools = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if tools.len() < MAX_TOOLS => match accepted {
                Ok((socket, _)) if may_operate(&socket) => match serve_one(&kernel, socket) {
                    Ok((connection, driver)) => drop(tools.spawn(async move {
                        driver.await;
                        drop(connection);
                    })),
                    Err(error) => tracing::warn!(%error, "cannot serve a tool"),
                },
                Ok(_) => tracing::warn!("somebody who may not operate this kernel was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a tool");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tools.join_next() => {}
        }
    }
}

fn serve_one(kernel: &Arc<Kernel>, socket: UnixStream) -> std::io::Result<(Connection, Driver)> {
    session::operator(kernel, socket.into_std()?.into()).map_err(std::io::Error::other)
}

/// Only root and the user who runs the kernel operate it.
fn may_operate(socket: &UnixStream) -> bool {
    socket_peercred(socket).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}
