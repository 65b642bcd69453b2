//! Ports of the machine that procs publish: the kernel listens, and hands each connection over as a descriptor.
//!
//! ```text
//!   spawn ──granted? free? bound──▶ the system queues ──started──▶ each connection goes to the proc ──its end──▶ closed
//!                                           ▲                         │                     no longer granted ───▶ closed
//!                                           └──── its life has ended ─┘
//! ```
//!
//! Only a port that the operator granted to the realm is listened on, and only for one proc at a time: a proc that is started
//! again keeps it, and what arrives meanwhile waits. A port that is no longer granted is withdrawn at once; the proc
//! goes on, with the connections that it has. Many that come at once wait for the proc to take them. One that takes
//! none for [`TAKE_DEADLINE`] costs a bounded number of descriptors; further ones are closed. The socket is made ready here
//! (no delay), since the sandbox lets a proc set next to nothing.

use crate::dial::{TAKE_DEADLINE, TAKE_PAUSE};
use crate::kernel::Kernel;
use crate::proc::{Phase, Proc};
use crate::realm::Tenant;
use crate::realm::settings::Settings;
use futures_util::future::join_all;
use rustix::io::Errno;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::{Code, Error, Pid, ProcSpec, Realm, Result, proto};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The notice that hands over a connection.
const PUBLISHED: &str = "Link.Published";

/// The ports that procs of this machine publish.
#[derive(Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<Taken>>);

type Taken = BTreeMap<u16, Holder>;

/// Whose a port is.
#[derive(Debug)]
struct Holder {
    pid: Pid,
    realm: Realm,
    /// Tells that it is no longer granted.
    withdrawn: Arc<Notify>,
}

/// A port that is one proc's. Dropping it makes it free.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    listener: TcpListener,
    withdrawn: Arc<Notify>,
    ports: Arc<Mutex<Taken>>,
}

impl Ports {
    /// Listens on the ports of a spec, for a proc to be.
    ///
    /// # Errors
    /// `Denied` for a port that was not granted or needs privilege, `Busy` for one that is taken, `Unsupported` for a plain
    /// program. Each names the port.
    pub(crate) fn claim(&self, realm: &Tenant, spec: &ProcSpec, sdk: bool, pid: Pid) -> Result<Vec<Port>> {
        if !spec.publish.is_empty() && !sdk {
            let text = "publish: a plain program cannot take connections; a program that links the SDK can";
            return Err(Error::new(Code::Unsupported, text));
        }
        spec.publish.iter().map(|port| self.claim_one(realm, *port, pid)).collect()
    }

    fn claim_one(&self, realm: &Tenant, number: u16, pid: Pid) -> Result<Port> {
        let refuse = |code, why: String| Err(Error::new(code, format!("publish {number}: {why}")));
        if !realm.settings().grants_port(number) {
            let name = &realm.name;
            return refuse(
                Code::Denied,
                format!(
                    "this port is not granted to realm {name}; the operator does it by 'sigma realm set {name} \
                     publish.ports={number}'"
                ),
            );
        }
        if let Some(other) = lock(&self.0).get(&number) {
            return refuse(Code::Busy, format!("{} publishes this port", other.pid));
        }
        let listener = listen(number).map_err(|error| {
            let (code, why) = cannot_listen(&error);
            Error::new(code, format!("publish {number}: {why}"))
        })?;
        let withdrawn = Arc::new(Notify::new());
        let holder = Holder { pid, realm: realm.name.clone(), withdrawn: Arc::clone(&withdrawn) };
        lock(&self.0).insert(number, holder);
        Ok(Port { number, listener, withdrawn, ports: Arc::clone(&self.0) })
    }

    /// Withdraws the ports of a realm that it is not granted any more.
    pub(crate) fn keep_granted(&self, realm: &Realm, settings: &Settings) {
        for (number, holder) in lock(&self.0).iter() {
            if holder.realm == *realm && !settings.grants_port(*number) {
                holder.withdrawn.notify_one();
            }
        }
    }
}

/// Why there is no listening, for who asked for it.
fn cannot_listen(error: &std::io::Error) -> (Code, String) {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => {
            (Code::Busy, "another program of this machine listens on this port".to_owned())
        }
        Some(Errno::ACCESS | Errno::PERM) => (
            Code::Denied,
            "the kernel runs without the privilege to listen below 1024: choose a greater port, or lower \
             net.ipv4.ip_unprivileged_port_start"
                .to_owned(),
        ),
        _ => (Code::Busy, format!("cannot listen: {error}")),
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.ports).remove(&self.number);
    }
}

fn lock(ports: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens on all addresses of the machine; on those of IPv4 alone where it has no IPv6.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let bind = |address: IpAddr| std::net::TcpListener::bind(SocketAddr::new(address, port));
    let listener =
        bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match Errno::from_io_error(&error) {
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bind(Ipv4Addr::UNSPECIFIED.into()),
            _ => Err(error),
        })?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Hands over what arrives at the ports of a proc, for as long as it lives and they are granted.
pub(crate) async fn serve(kernel: Arc<Kernel>, proc: Arc<Proc>, ports: Vec<Port>) {
    join_all(ports.into_iter().map(|port| port.serve(&kernel, &proc))).await;
}

impl Port {
    async fn serve(self, kernel: &Kernel, proc: &Proc) {
        let mut phase = proc.phase.subscribe();
        tokio::select! {
            _ = phase.wait_for(|phase| matches!(phase, Phase::Exited(_))) => {}
            () = self.withdrawn.notified() => {
                tracing::info!(pid = %proc.pid, port = self.number, "a port is no longer granted, and is withdrawn");
            }
            () = self.accept(kernel, proc) => {}
        }
    }

    async fn accept(&self, kernel: &Kernel, proc: &Proc) {
        let mut phase = proc.phase.subscribe();
        let runs = |phase: &Phase| matches!(phase, Phase::Running);
        let mut patience = TAKE_DEADLINE;
        // While it does not run, before it has started and between two lives, the system queues what arrives.
        while phase.wait_for(runs).await.is_ok() {
            let accepted = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| !runs(phase)) => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    patience = taken(proc, patience).await;
                    if let Err(error) = self.hand_over(kernel, proc, socket, peer) {
                        tracing::debug!(pid = %proc.pid, port = self.number, %error, "a connection is closed");
                    }
                }
                Err(error) => {
                    tracing::warn!(port = self.number, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Where this fails the connection is closed.
    fn hand_over(&self, kernel: &Kernel, proc: &Proc, socket: TcpStream, peer: SocketAddr) -> Result<()> {
        let broken = |error: std::io::Error| Error::new(Code::Unreachable, error.to_string());
        let gone = || Error::new(Code::Unreachable, "the proc is not there");
        let realm = kernel.realms.reach(&proc.realm).ok_or_else(gone)?;
        let door = proc.door().ok_or_else(gone)?;
        realm.handed.check(&door)?;
        socket.set_nodelay(true).map_err(broken)?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let published = proto::Published { port: self.number.into(), peer: peer.to_string() };
        let frame = Frame::new(Kind::Notice, 0, PUBLISHED, &published);
        door.send(frame, vec![OwnedFd::from(socket.into_std().map_err(broken)?)])
    }
}

/// Waits until the proc has taken most connections before, as many may come at once; how long it is waited next time: not at all
/// for one that has not taken any for so long.
async fn taken(proc: &Proc, patience: Duration) -> Duration {
    let begun = Instant::now();
    while proc.door().is_some_and(|door| !door.takes_descriptors()) {
        if begun.elapsed() >= patience {
            return Duration::ZERO;
        }
        // Nothing tells when the other side of a socket has read.
        tokio::time::sleep(TAKE_PAUSE).await;
    }
    TAKE_DEADLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_listen_is_told_what_to_do() {
        let said = |errno: Errno| cannot_listen(&errno.into());
        let (code, why) = said(Errno::ACCESS);
        assert_eq!((code, why.contains("privilege to listen below 1024")), (Code::Denied, true), "{why}");
        let (code, why) = said(Errno::ADDRINUSE);
        assert_eq!((code, why.contains("another program")), (Code::Busy, true), "{why}");
        assert_eq!(said(Errno::NOBUFS).0, Code::Busy);
    }
}
