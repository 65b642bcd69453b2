//! A server's session and a client of it, without a kernel.

use sigmaos::rpc::Device;
use sigmaos::serve::Services;
use sigmaos::wire::{Connection, Session, hello, read_hello};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A client at the other end of a socket pair from `session`.
pub fn introduced(session: Arc<dyn Session>) -> Device {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let (serving, driver) = Connection::new(
        theirs,
        false,
        Box::new(move |frame| {
            read_hello(frame)?;
            Ok(session)
        }),
    )
    .expect("a socket");
    // In SigmaOS it is the kernel that greets both sides.
    serving.send(hello(None), Vec::new()).expect("a connection that is new");
    tokio::spawn(async move {
        driver.await;
        drop(serving);
    });
    let nothing = || Arc::new(Services::new(Arc::default(), Vec::new())) as Arc<dyn Session>;
    let (calling, driver) = Connection::new(ours, false, Box::new(move |_| Ok(nothing()))).expect("a socket");
    tokio::spawn(driver);
    calling.send(hello(None), Vec::new()).expect("a connection that is new");
    Device::new(calling)
}
