//! One namespace, and the sessions of its clients.

use crate::session::Session;
use crate::tree::{Action, Caller, Change, Limits, Reply, Tree};
use sigma_abi::{Principal, Result, proto};
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::{NamedControlServer, NamespaceServer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The permission bits of the top: owner and realm may read and write.
const TOP_PERM: u32 = 0o66;

/// A namespace that is served. Cheap to clone: the clones serve the same one.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tree: Mutex<Tree>,
    /// Where the next `~any` begins to look.
    turn: AtomicU64,
}

impl Server {
    /// An empty namespace, with the default limits.
    pub fn new() -> Self {
        let tree = Tree::new(Limits::default(), Principal::default(), TOP_PERM);
        Self(Arc::new(Shared { tree: Mutex::new(tree), turn: AtomicU64::new(0) }))
    }

    /// Looks at the tree.
    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree> {
        // A change is carried out wholly or not at all, so a tree is whole whatever a holder did.
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tree, now.
    ///
    /// # Errors
    /// As [`Tree::apply`].
    pub(crate) fn apply(&self, by: Caller, action: Action) -> Result<Reply> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |since| since.as_millis() as u64);
        self.tree().apply(Change { by, now_ms, action })
    }

    /// The caller as the tree knows it.
    pub(crate) fn caller(&self, caller: &proto::Caller) -> Caller {
        Caller {
            // The kernel names principals; one that it does not name is the realm's owner.
            principal: Principal::parse(&caller.principal).unwrap_or_default(),
            machine: caller.machine.clone(),
            turn: self.0.turn.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Accept for Server {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn sigmaos::wire::Session> {
        let session = Arc::new(Session::new(self.clone(), Arc::clone(&caller)));
        let services: Vec<Box<dyn sigmaos::rpc::Service>> =
            vec![Box::new(NamespaceServer(Arc::clone(&session))), Box::new(NamedControlServer(session))];
        Arc::new(Services::new(caller, services))
    }
}
