//! A server with clients on sockets, as the kernel hands them to it.

mod commits;
mod full;
mod requests;

use crate::server::Server;
use crate::store::{Memory, Store};
use crate::tree::Limits;
use sigma_abi::proto;
use sigmaos::rpc::Device;
use sigmaos::serve::{Accept, Services};
use sigmaos::wire::{Connection, Session, hello, read_hello};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A client, as the kernel would describe it.
fn caller(number: u64) -> proto::Caller {
    proto::Caller {
        realm: "a".into(),
        principal: "owner".into(),
        pid: format!("m00000001-1-{number}"),
        machine: "m00000001".into(),
        ..Default::default()
    }
}

/// A connection on which the server has been told who calls.
fn dial(server: &Server, number: u64) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // Each end finds the greeting of the other one, which the kernel has written.
    (&ours).write_all(&hello(Some(caller(number))).encode()).unwrap();
    (&theirs).write_all(&hello(None).encode()).unwrap();
    let server = server.clone();
    let greeter = Box::new(move |frame: &sigma_abi::frame::Frame| {
        Ok(server.accept(Arc::new(read_hello(frame)?.caller.unwrap())))
    });
    let (connection, driver) = Connection::new(theirs, false, greeter).unwrap();
    tokio::spawn(async move {
        driver.await;
        drop(connection);
    });
    ours
}

/// A client of the server.
fn client(server: &Server, number: u64) -> Device {
    let nobody: Arc<dyn Session> = Arc::new(Services::new(Arc::default(), Vec::new()));
    let greeter = Box::new(move |frame: &sigma_abi::frame::Frame| read_hello(frame).map(|_| nobody));
    let (connection, driver) = Connection::new(dial(server, number), false, greeter).unwrap();
    tokio::spawn(driver);
    Device::new(connection)
}

fn in_memory() -> Server {
    let store: Box<dyn Store> = Box::new(Memory::default().open());
    Server::open(store, Limits { entries: 200, bytes: 10_000 }, 0).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
