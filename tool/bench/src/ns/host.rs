//! A named of the benchmark's own, with as much of a kernel around it as it asks for: a door, and clients that are introduced to
//! it. So it can be measured on any store and past the limits of a realm, and nothing of a realm is touched.

use crate::pin;
use anyhow::{Context, Result, ensure};
use command_fds::{CommandFdExt, FdMapping};
use sigma_abi::frame::{Frame, Kind};
use sigmaos::limits::DOOR_FD;
use sigmaos::local::{SOCKET_NAME, open_state, socket_path};
use sigmaos::rpc::{Request, Response};
use sigmaos::serve::Services;
use sigmaos::stub::{Link, LinkServer, Proc, ProcServer};
use sigmaos::wire::{Connection, Session, hello, read_hello};
use sigmaos::{Code, Error, MachineId, Pid, Realm, Sigma, proto};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// How long named may take to come up.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What keeps the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Redb,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb => "redb",
        }
    }
}

/// A named that serves. It ends with this, and its folder goes.
#[derive(Debug)]
pub(crate) struct Host {
    named: Child,
    folder: TempDir,
    listener: AbortHandle,
}

impl Host {
    /// Starts the program `named` with a store below `folder`, and further arguments.
    pub(crate) async fn start(named: &Path, folder: &Path, store: Store, args: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("host-").tempdir_in(folder)?;
        let (ours, theirs) = Socket::pair().context("make a door")?;
        let mut command = Command::new(named);
        command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        if store == Store::Redb {
            command.arg("--store").arg(folder.path().join("named.redb"));
        }
        command.fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: DOOR_FD }])?;
        let named = command.spawn().with_context(|| format!("run {}", named.display()))?;
        drop(command);
        let up = Arc::new(Notify::new());
        let starter: Arc<dyn Session> = Arc::new(Services::new(
            Arc::default(),
            vec![Box::new(ProcServer(Arc::new(Starter(Arc::clone(&up)))))],
        ));
        let door = connection(ours, starter)?;
        let directory = open_state(folder.path()).context("open the folder of the benchmark")?;
        let listener = UnixListener::bind(socket_path(&directory)).context("listen for clients")?;
        let listener = tokio::spawn(introduce_all(listener, door)).abort_handle();
        let host = Self { named, folder, listener };
        tokio::time::timeout(START_DEADLINE, up.notified()).await.context("named does not come up")?;
        Ok(host)
    }

    /// One more client, with a session of its own.
    pub(crate) fn client(&self) -> Result<Sigma> {
        Ok(Sigma::connect(self.folder.path(), Some(&Realm::parse("bench")?))?)
    }

    pub(crate) fn pin(&self, core: usize) -> Result<()> {
        pin::process(self.named.id(), core)
    }

    /// Bytes of memory that named has in use.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.named.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().split(' ').next());
        Ok(kib.and_then(|kib| kib.parse::<u64>().ok()).context("a process has memory")? << 10)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.listener.abort();
        // It may have ended by itself.
        let _ = self.named.kill();
        let _ = self.named.wait();
        // What its folder still names is gone with it.
        let _ = std::fs::remove_file(self.folder.path().join(SOCKET_NAME));
    }
}

/// Hears that named serves.
struct Starter(Arc<Notify>);

impl Proc for Starter {
    async fn started(&self, _: Request<proto::Empty>) -> sigmaos::Result<Response<proto::Empty>> {
        self.0.notify_one();
        Ok(proto::Empty {}.into())
    }

    async fn wait_kill(&self, _: Request<proto::Empty>) -> sigmaos::Result<Response<proto::Empty>> {
        // It ends when its door closes.
        std::future::pending().await
    }
}

async fn introduce_all(listener: UnixListener, door: Connection) {
    let mut clients = JoinSet::new();
    for number in 1.. {
        let Ok((socket, _)) = listener.accept().await else { return };
        let caller = proto::Caller {
            realm: "bench".into(),
            principal: "owner".into(),
            pid: Pid { home: MachineId(0), epoch: 1, number }.to_string(),
            class: proto::Class::Lc.into(),
            machine: MachineId(0).to_string(),
            ..Default::default()
        };
        let link = LinkServer(Arc::new(Introducer { door: door.clone(), caller: caller.clone() }));
        let session: Arc<dyn Session> = Arc::new(Services::new(Arc::new(caller), vec![Box::new(link)]));
        clients.spawn(async move {
            let Ok(socket) = socket.into_std() else { return };
            let Ok((connection, driver)) = Connection::new(socket, false, greeter(session)) else { return };
            // A client that has gone already needs no greeting.
            let _ = connection.send(hello(None), Vec::new());
            driver.await;
        });
    }
}

/// Connects a client to named, as a kernel does.
struct Introducer {
    door: Connection,
    caller: proto::Caller,
}

impl Link for Introducer {
    async fn dial(
        &self,
        request: Request<proto::DialRequest>,
    ) -> sigmaos::Result<Response<proto::DialReply>> {
        let broken = |error: std::io::Error| Error::new(Code::Internal, error.to_string());
        let (mut callers, mut servers) = Socket::pair().map_err(broken)?;
        // What is written into one end is read at the other.
        callers.write_all(&hello(Some(self.caller.clone())).encode()).map_err(broken)?;
        servers.write_all(&hello(None).encode()).map_err(broken)?;
        let accept = Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept { mount: "/".into() });
        self.door.send(accept, vec![OwnedFd::from(servers)])?;
        let reply = proto::DialReply { mount: "/".into(), rest: request.message.path };
        Ok(Response::new(reply).fd(callers.into()))
    }
}

/// A connection that is driven for as long as it lives.
fn connection(socket: Socket, session: Arc<dyn Session>) -> Result<Connection> {
    let (connection, driver) = Connection::new(socket, false, greeter(session))?;
    // Its task ends with the last handle of the connection, or with named.
    tokio::spawn(driver);
    connection.send(hello(None), Vec::new())?;
    Ok(connection)
}

fn greeter(session: Arc<dyn Session>) -> sigmaos::wire::Greeter {
    Box::new(move |frame| {
        read_hello(frame)?;
        Ok(session)
    })
}

/// Refuses a folder in memory: what is durable there is durable nowhere.
///
/// # Errors
/// Where the folder is in memory.
pub(crate) fn on_disk(folder: &Path) -> Result<()> {
    /// File systems in memory, statfs(2): tmpfs and ramfs.
    const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    let system =
        rustix::fs::statfs(folder).with_context(|| format!("which file system has {}", folder.display()))?;
    ensure!(
        !MEMORY.contains(&(system.f_type as i64)),
        "{} is in memory, where nothing is durable: run the kernel with --state on a disk",
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_refused() {
        let shm = Path::new("/dev/shm");
        let refused = on_disk(shm).unwrap_err().to_string();
        assert!(refused.starts_with("/dev/shm is in memory"), "{refused}");
        assert!(on_disk(Path::new("/proc/nothing")).is_err());
    }
}
