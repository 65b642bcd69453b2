//! Connections: one session each, with its open objects.

use crate::bounds::{Bounds, IN_FLIGHT};
use crate::session::Session;
use crate::store::Store;
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::NamespaceServer;
use sigmaos::{proto, wire};
use std::sync::Arc;

/// The server of one realm's objects on this machine.
#[derive(Debug)]
pub(crate) struct Server<S: Store> {
    store: Arc<S>,
    bounds: Bounds,
}

impl<S: Store> Server<S> {
    pub(crate) fn new(store: S, bounds: Bounds) -> Self {
        Self { store: Arc::new(store), bounds }
    }
}

impl<S: Store> Accept for Server<S> {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn wire::Session> {
        let session = Arc::new(Session::new(Arc::clone(&self.store), self.bounds.clone()));
        Arc::new(Services::new(caller, vec![Box::new(NamespaceServer(session))]))
    }

    fn in_flight(&self) -> usize {
        IN_FLIGHT
    }
}
