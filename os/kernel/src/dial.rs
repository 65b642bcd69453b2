//! Dialling: the kernel introduces a caller to the server of a path, and is then out of the way.
//!
//! This is the only part of the kernel that knows where a server is.

use crate::kernel::Kernel;
use crate::realm::Tenant;
use crate::service::bin::BinTree;
use crate::service::machine::MachineFiles;
use crate::service::procs::ProcFiles;
use crate::service::tree::Tree;
use crate::session::Client;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::{Code, Error, Path, Pid, Result, proto};
use sigmaos::serve::Accept;
use sigmaos::wire::{Connection, hello, read_hello};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// How long a caller waits for a server that does not take the connections that it was handed.
pub(crate) const TAKE_DEADLINE: Duration = Duration::from_secs(2);

/// Between two looks at such a server.
pub(crate) const TAKE_PAUSE: Duration = Duration::from_millis(1);

/// The caller's end of a new connection, and what it leads to.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) mount: String,
    pub(crate) rest: String,
    pub(crate) socket: OwnedFd,
}

/// Connects `client` to the server of `path` in its realm.
///
/// # Errors
/// `NotFound` where nothing is there, `Unreachable` where its server is dead.
pub(crate) async fn dial(kernel: &Arc<Kernel>, client: &Client, path: &Path) -> Result<Dialled> {
    let realm = kernel.realms.find(client.realm()?)?;
    if let Some(door) = client.proc.as_ref().and_then(|proc| proc.door()) {
        // The caller's end comes back on its own door.
        realm.handed.check(&door)?;
    }
    let resolved = realm.resolve(path).await?;
    let mount = Path::parse(&resolved.mount)?;
    let socket = if mount.is_root() {
        if let Some(proc) = &client.proc {
            proc.meets_named();
        }
        introduce_in_turn(&realm.root().await?.door, &mount, &client.caller).await?
    } else if let Some(tree) = own_tree(kernel, &realm, &mount) {
        serve_here(&*tree, &client.caller, realm.binaries().connect()?)?
    } else if let Some(proxy) = Tenant::proxy_at(kernel, &mount) {
        introduce_in_turn(&realm.proxy(kernel, proxy)?.door().await?, &mount, &client.caller).await?
    } else {
        let endpoint = resolved.endpoint.unwrap_or_default();
        let door = door_of(kernel, client, &mount, &endpoint)?;
        realm.handed.check(&door).map_err(|error| error.context(format!("the server of {mount}")))?;
        // Wherever the mount is now, its server knows it by the path of its own call.
        introduce_in_turn(&door, &Path::parse(&endpoint.mount)?, &client.caller).await?
    };
    Ok(Dialled { mount: resolved.mount, rest: resolved.rest, socket })
}

/// The tree at a mount that the kernel serves itself.
fn own_tree(kernel: &Arc<Kernel>, realm: &Arc<Tenant>, mount: &Path) -> Option<Box<dyn Accept>> {
    let machine = format!("/machine/{}", kernel.capacity.id);
    Some(match mount.as_str() {
        "/bin" => Box::new(BinTree(realm.binaries())),
        "/proc" => Box::new(Tree(ProcFiles { kernel: Arc::clone(kernel), realm: Arc::downgrade(realm) })),
        path if path == machine => Box::new(Tree(MachineFiles(Arc::clone(kernel)))),
        _ => return None,
    })
}

/// The door of the proc that is mounted at `mount`.
fn door_of(kernel: &Kernel, client: &Client, mount: &Path, endpoint: &proto::Endpoint) -> Result<Connection> {
    let dead = || Error::new(Code::Unreachable, format!("the server of {mount} has ended"));
    let pid: Pid = endpoint.pid.parse()?;
    if let Some(door) = kernel.tools.door(client.realm()?, pid) {
        return Ok(door);
    }
    let proc = kernel.procs.find(client.realm()?, pid).map_err(|_| dead())?;
    // What an earlier life of it advertised is not the business of this one.
    let door = proc.door().filter(|_| endpoint.generation == u64::from(proc.restarts()));
    door.ok_or_else(dead)
}

/// As [`introduce`], for callers that are many at once: a server that has yet to take those before is given some time.
async fn introduce_in_turn(server: &Connection, mount: &Path, caller: &proto::Caller) -> Result<OwnedFd> {
    let begun = Instant::now();
    loop {
        match introduce(server, mount, caller) {
            Err(error) if error.code == Code::Busy && begun.elapsed() < TAKE_DEADLINE => {}
            introduced => return introduced,
        }
        // Nothing tells when the other side of a socket has read.
        tokio::time::sleep(TAKE_PAUSE).await;
    }
}

/// Makes a connection, says on it who each side is, and hands one end to the server.
pub(crate) fn introduce(server: &Connection, mount: &Path, caller: &proto::Caller) -> Result<OwnedFd> {
    let (callers, servers) = pair(caller)?;
    let accept = proto::Accept { mount: mount.to_string() };
    server.send(Frame::new(Kind::Notice, 0, "Link.Accept", &accept), vec![servers]).map_err(|error| {
        match error.code {
            Code::Busy => error.context(format!("the server of {mount}")),
            _ => Error::new(Code::Unreachable, format!("the server of {mount} has ended")),
        }
    })?;
    Ok(callers)
}

/// Connects to a server within the kernel.
fn serve_here(
    server: &dyn Accept,
    caller: &Arc<proto::Caller>,
    place: OwnedSemaphorePermit,
) -> Result<OwnedFd> {
    let session = server.accept(Arc::clone(caller));
    let (callers, servers) = pair(caller)?;
    let (connection, driver) = Connection::new(
        servers,
        false,
        Box::new(move |frame| {
            read_hello(frame)?;
            Ok(session)
        }),
    )?;
    // The task ends when the caller closes its end, or is gone.
    tokio::spawn(async move {
        let reason = driver.await;
        tracing::debug!(%reason, "a connection to the kernel's own tree has ended");
        drop((connection, place));
    });
    Ok(callers)
}

/// Both ends of a connection, each with the first frame of the other already in it, written by the kernel.
fn pair(caller: &proto::Caller) -> Result<(OwnedFd, OwnedFd)> {
    let (callers, servers) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| broken(error.into()))?;
    for end in [&callers, &servers] {
        sigmaos::door::refuse_descriptors(end);
    }
    let (callers, servers) = (UnixStream::from(callers), UnixStream::from(servers));
    // What is written into one end is read at the other.
    (&callers).write_all(&hello(Some(caller.clone())).encode()).map_err(broken)?;
    (&servers).write_all(&hello(None).encode()).map_err(broken)?;
    Ok((callers.into(), servers.into()))
}

fn broken(error: std::io::Error) -> Error {
    Error::new(Code::Busy, format!("cannot make a connection: {error}"))
}
