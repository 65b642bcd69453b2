//! Connections: one session each, with its open objects.

use crate::bounds::{Bounds, IN_FLIGHT};
use crate::session::Session;
use crate::store::Store;
use sigma_proxy::Fences;
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::NamespaceServer;
use sigmaos::{proto, wire};
use std::sync::Arc;

/// The server of one realm's objects on this machine.
#[derive(Debug)]
pub(crate) struct Server<S: Store> {
    store: Arc<S>,
    bounds: Bounds,
    fences: Arc<Fences>,
}

impl<S: Store> Server<S> {
    pub(crate) fn new(store: S, bounds: Bounds, fences: Fences) -> Self {
        Self { store: Arc::new(store), bounds, fences: Arc::new(fences) }
    }
}

impl<S: Store> Accept for Server<S> {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn wire::Session> {
        let (store, fences) = (Arc::clone(&self.store), Arc::clone(&self.fences));
        let session = Arc::new(Session::new(store, self.bounds.clone(), fences));
        Arc::new(Services::new(caller, vec![Box::new(NamespaceServer(session))]))
    }

    fn in_flight(&self) -> usize {
        IN_FLIGHT
    }
}
