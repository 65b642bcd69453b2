//! The top of a realm's namespace: laid out each time that its named comes up.

use crate::dial;
use sigma_abi::{Code, Error, Path, Result, proto};
use sigmaos::rpc::Device;
use sigmaos::stub::NamespaceClient;
use sigmaos::wire::{Connection, Session, read_hello};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;

/// Lays out the top of a realm's namespace, each time that its named comes up.
pub(super) async fn lay_out(
    mut doors: watch::Receiver<Option<Connection>>,
    caller: proto::Caller,
    machine: String,
    laid_out: watch::Sender<Option<Device>>,
) {
    while doors.changed().await.is_ok() {
        let door = doors.borrow_and_update().clone();
        laid_out.send_replace(None);
        let Some(door) = door else { continue };
        let done = async {
            let root = connect(dial::introduce(&door, &Path::root(), &caller)?)?;
            lay_out_top(&NamespaceClient(root.clone()), &caller.pid, &machine).await?;
            Result::Ok(root)
        };
        match done.await {
            Ok(root) => drop(laid_out.send_replace(Some(root))),
            Err(error) => {
                tracing::error!(realm = caller.realm, %error, "the top of a realm cannot be laid out")
            }
        }
    }
}

async fn lay_out_top(root: &NamespaceClient, pid: &str, machine: &str) -> Result<()> {
    let exists = |result: Result<_>| match result {
        Err(error) if error.code == Code::Exists => Ok(()),
        other => other.map(drop),
    };
    let directory = proto::CreateRequest {
        path: "/ux".into(),
        kind: proto::Kind::Directory.into(),
        perm: 0o66,
        exclusive: true,
        ..Default::default()
    };
    exists(root.create(directory).await)?;
    for path in ["/bin".to_owned(), format!("/ux/{machine}")] {
        let endpoint = proto::Endpoint { machine: machine.to_owned(), pid: pid.to_owned(), generation: 0 };
        root.mount(proto::MountRequest { path, perm: 0o66, endpoint: Some(endpoint), ..Default::default() })
            .await?;
    }
    Ok(())
}

/// A connection of the kernel's own, as a client of a server that it introduced itself to.
pub(super) fn connect(socket: OwnedFd) -> Result<Device> {
    let broken =
        |error: std::io::Error| Error::new(Code::Internal, format!("cannot use a connection: {error}"));
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(broken)?;
    let socket = tokio::net::UnixStream::from_std(socket).map_err(broken)?;
    let (connection, driver) = Connection::new(
        socket,
        false,
        Box::new(|frame| {
            read_hello(frame)?;
            Ok(Arc::new(sigmaos::serve::Services::new(Arc::default(), Vec::new())) as Arc<dyn Session>)
        }),
    );
    // The driver ends with the last handle of its connection.
    tokio::spawn(driver);
    Ok(Device::new(connection))
}
