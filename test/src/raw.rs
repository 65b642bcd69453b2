//! A connection below the SDK: what a client could send that speaks the wire by itself.

use crate::{Tenant, within};
use sigmaos::serve::Services;
use sigmaos::stub::{LinkClient, NamespaceClient};
use sigmaos::wire::{Connection, Session, read_hello};
use sigmaos::{Sigma, proto, rpc};
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Tenant {
    /// Dials the server of `path`; the socket on which the kernel has introduced this client.
    pub async fn dial(&self, path: &str) -> OwnedFd {
        dial(&self.sigma, path).await
    }

    /// The server of `path`, on a connection of its own: what comes back is what it says, `Moved` included, and nothing is sent
    /// again.
    pub async fn server(&self, path: &str) -> NamespaceClient {
        server(&self.sigma, path).await
    }
}

/// As [`Tenant::server`], for another client.
pub async fn server(sigma: &Sigma, path: &str) -> NamespaceClient {
    let socket = dial(sigma, path).await;
    NamespaceClient(connect(socket))
}

async fn dial(sigma: &Sigma, path: &str) -> OwnedFd {
    let link = LinkClient(sigma.kernel().clone());
    let request = proto::DialRequest { path: path.to_owned() };
    let dialled = within("a dial", link.dial_with(request, rpc::Bytes::new())).await.expect("it is served");
    dialled.fds.into_iter().next().expect("a dial gives a connection")
}

fn connect(socket: OwnedFd) -> rpc::Device {
    let nothing: Arc<dyn Session> = Arc::new(Services::new(Arc::default(), Vec::new()));
    let greeter = Box::new(move |frame: &sigma_abi::frame::Frame| read_hello(frame).map(|_| nothing));
    let (connection, driver) = Connection::new(socket, false, greeter).expect("a socket");
    // The driver ends with the last handle of its connection.
    tokio::spawn(driver);
    rpc::Device::new(connection)
}
