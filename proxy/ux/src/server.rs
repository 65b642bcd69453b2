//! Connections: one session each, with its open files.

use crate::root::Root;
use crate::session::Session;
use sigma_proxy::Fences;
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::{NamespaceServer, UxControlServer};
use sigmaos::{proto, wire};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The server of one realm's files on this machine.
#[derive(Debug)]
pub(crate) struct Server {
    root: Arc<Root>,
    /// One permit a file that may be open, over all connections.
    files: Arc<Semaphore>,
    fences: Arc<Fences>,
}

impl Server {
    /// Serves `root`, with at most `files` of them open at a time.
    pub(crate) fn new(root: Arc<Root>, files: usize, fences: Fences) -> Self {
        Self { root, files: Arc::new(Semaphore::new(files)), fences: Arc::new(fences) }
    }
}

impl Accept for Server {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn wire::Session> {
        let session = Arc::new(Session::new(
            Arc::clone(&self.root),
            Arc::clone(&self.files),
            Arc::clone(&self.fences),
            caller.kernel,
        ));
        let control = Box::new(UxControlServer(Arc::clone(&session)));
        Arc::new(Services::new(caller, vec![Box::new(NamespaceServer(session)), control]))
    }
}
