//! Connections: one session each, with its open files.

use crate::root::Root;
use crate::session::Session;
use sigmaos::rpc::{Answer, Call};
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::NamespaceServer;
use sigmaos::{Result, proto, wire};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The server of one realm's files on this machine.
#[derive(Debug)]
pub(crate) struct Server {
    root: Arc<Root>,
    /// One permit a file that may be open, over all connections.
    files: Arc<Semaphore>,
}

impl Server {
    /// Serves `root`, with at most `files` of them open at a time.
    pub(crate) fn new(root: Root, files: usize) -> Self {
        Self { root: Arc::new(root), files: Arc::new(Semaphore::new(files)) }
    }
}

impl Accept for Server {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn wire::Session> {
        let session = Arc::new(Session::new(Arc::clone(&self.root), Arc::clone(&self.files)));
        let services = Services::new(caller, vec![Box::new(NamespaceServer(Arc::clone(&session)))]);
        Arc::new(Connected { session, services })
    }
}

struct Connected {
    session: Arc<Session>,
    services: Services,
}

impl wire::Session for Connected {
    fn call(&self, call: Call) -> Answer {
        self.services.call(call)
    }

    /// A close that nobody waits for is what remains of a handle that was dropped: a draft is not kept.
    fn notice(&self, frame: sigma_abi::frame::Frame, fds: Vec<OwnedFd>) -> Result<()> {
        if frame.method() == "Namespace.Close"
            && let Ok(proto::CloseRequest { handle, .. }) = frame.message()
        {
            self.session.discard(handle);
            return Ok(());
        }
        self.services.notice(frame, fds)
    }
}
