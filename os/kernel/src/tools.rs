//! Tools that act in a realm from outside: each has a pid of its own for as long as it is connected, so that what it holds in
//! the namespace ends with it as a proc's does.

use crate::kernel::Kernel;
use sigma_abi::{Pid, Realm};
use sigmaos::wire::{Connection, WeakConnection};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The tools that are connected.
#[derive(Debug, Default)]
pub(crate) struct Tools(Mutex<BTreeMap<Pid, (Realm, WeakConnection)>>);

/// The life of one tool. Dropping it tells the realm's named.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) pid: Pid,
    realm: Realm,
    kernel: Weak<Kernel>,
}

impl Tools {
    /// The tools in a realm.
    pub(crate) fn list(&self, realm: &Realm) -> Vec<Pid> {
        let tools = self.lock();
        tools.iter().filter(|(_, (of, _))| of == realm).map(|(pid, _)| *pid).collect()
    }

    /// Where connections to a tool of the realm are handed over.
    pub(crate) fn door(&self, realm: &Realm, pid: Pid) -> Option<Connection> {
        let tools = self.lock();
        tools.get(&pid).filter(|(of, _)| of == realm).and_then(|(_, door)| door.upgrade())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Pid, (Realm, WeakConnection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tool {
    pub(crate) fn arrive(kernel: &Arc<Kernel>, realm: &Realm, door: WeakConnection) -> Arc<Self> {
        let pid = kernel.next_pid();
        kernel.tools.lock().insert(pid, (realm.clone(), door));
        Arc::new(Self { pid, realm: realm.clone(), kernel: Arc::downgrade(kernel) })
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let Some(kernel) = self.kernel.upgrade() else { return };
        kernel.tools.lock().remove(&self.pid);
        let Ok(realm) = kernel.realms.find(&self.realm) else { return };
        let pid = self.pid;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { realm.ended(pid).await });
        }
    }
}
