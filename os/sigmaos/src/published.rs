//! TCP connections to the ports that this proc publishes.
//!
//! The kernel listens on the ports that the proc's spec names and hands each connection over as a descriptor. The sandbox lets a
//! proc read, write and close it, and nothing else: it cannot ask who is at the other end, which is why [`Published::accept`]
//! says it, and it cannot make another connection of it.

use crate::sigma::Sigma;
use crate::{Code, Error, Result, proto};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Connections of one port that wait to be accepted; further ones are closed. More than come in a few turns of a door, so that those
/// who come at once all find a place.
const MAX_WAITING: usize = 128;

/// A port of the machine whose connections come to this proc.
#[derive(Debug)]
pub struct Published {
    port: u16,
    connections: Receiver<(TcpStream, SocketAddr)>,
}

impl Published {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a connection; says who is at its other end. It has no delay set (TCP_NODELAY) and is not encrypted.
    ///
    /// # Errors
    /// `Unreachable` where the kernel has gone.
    pub async fn accept(&mut self) -> Result<(TcpStream, SocketAddr)> {
        let gone = || Error::new(Code::Unreachable, format!("port {}: the kernel has gone", self.port));
        self.connections.recv().await.ok_or_else(gone)
    }
}

/// What arrived at each port.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<HashMap<u16, Queue>>);

#[derive(Debug)]
struct Queue {
    sender: Sender<(TcpStream, SocketAddr)>,
    /// Until somebody asks for it.
    receiver: Option<Receiver<(TcpStream, SocketAddr)>>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = channel(MAX_WAITING);
        Self { sender, receiver: Some(receiver) }
    }
}

impl Arrivals {
    /// Queues a connection; one that finds no place is closed.
    pub(crate) fn arrived(&self, published: &proto::Published, socket: OwnedFd) -> Result<()> {
        let wrong = || Error::new(Code::Protocol, "a published connection from nowhere");
        let port = u16::try_from(published.port).map_err(|_| wrong())?;
        let peer = published.peer.parse().map_err(|_| wrong())?;
        let stream = std::net::TcpStream::from(socket);
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        let stream =
            stream.map_err(|error| Error::new(Code::Internal, format!("cannot use a socket: {error}")))?;
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the queue is full, or its owner has dropped it, the connection is closed here.
        let _ = queues.entry(port).or_default().sender.try_send((stream, peer));
        Ok(())
    }

    fn take(&self, port: u16) -> Option<Receiver<(TcpStream, SocketAddr)>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(port).or_default().receiver.take()
    }
}

impl Sigma {
    /// The connections to a port that this proc publishes, those included that arrived before. It publishes the ports of its
    /// [`ProcSpec`](crate::ProcSpec), which the operator has granted to the realm.
    ///
    /// # Errors
    /// `Invalid` for a port that the spec does not name; `Busy` where it was taken before.
    pub async fn published(&self, port: u16) -> Result<Published> {
        let me = self.inner.keeper.me().await?;
        let spec = self.info(me.pid.parse()?).await?.spec.unwrap_or_default();
        if !spec.publish.contains(&port.into()) {
            let text = format!("port {port}: this proc does not publish it; its spec has to name it");
            return Err(Error::new(Code::Invalid, text));
        }
        let taken = || {
            Error::new(Code::Busy, format!("port {port}: its connections are taken elsewhere in this proc"))
        };
        let connections = self.inner.keeper.arrivals.take(port).ok_or_else(taken)?;
        Ok(Published { port, connections })
    }
}
