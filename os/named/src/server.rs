//! One namespace that is served: the state that changes at once, and the store that follows it.
//!
//! The state in memory is ahead of the store. Changes that arrive together are written down together, and while one batch
//! is being made durable the next one gathers. What has been told to anybody is durable: a change is answered after its
//! batch, and a read that rests on a change waits for it.

use crate::commit;
use crate::pipe::Pipes;
use crate::progress::Progress;
use crate::session::Session;
use crate::state::State;
use crate::store::{Memory, Store};
use crate::tree::{Action, Caller, Change, Event, Fence, Limits, Reply, Tree};
use crate::watch::Watchers;
use sigma_abi::proto::Stamp;
use sigma_abi::{Code, Error, Pid, Principal, Result, proto};
use sigmaos::serve::{Accept, Services};
use sigmaos::stub::{NamedControlServer, NamespaceServer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Calls that are in flight at a namespace; each watch has one that waits for events.
const MAX_IN_FLIGHT: usize = 65_536;

/// A namespace that is served. Cheap to clone: the clones serve the same one, and its last one ends it.
#[derive(Clone)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    _last: Arc<Last>,
}

/// What all sessions and the commits share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Wakes the thread that commits.
    pub(crate) work: Condvar,
    pub(crate) pipes: Pipes,
    /// Where the next `~any` begins to look.
    turn: AtomicU64,
}

/// What is changed together.
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) watchers: Watchers,
    /// Events of changes that are not durable yet.
    pub(crate) events: Vec<Event>,
    /// Something waits to be written down.
    pub(crate) dirty: bool,
    pub(crate) progress: Progress,
    /// The reserve of the disk is reached.
    pub(crate) full: bool,
    /// Nobody serves this any more.
    pub(crate) ended: bool,
    /// A store that takes no time; a slow one is the thread's.
    fast: Option<Box<dyn Store>>,
}

struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.core().ended = true;
        self.0.work.notify_one();
    }
}

impl Shared {
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A change is carried out wholly or not at all, so a state is whole whatever a holder did.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// An empty namespace in memory, with the default limits.
    pub fn new() -> Self {
        let store = Box::new(Memory::default());
        Self::open(store, Limits::default(), 0).expect("an empty store in memory can be read")
    }

    /// The namespace that a store keeps. Writes are refused while the disk has less than `reserve` bytes of room.
    ///
    /// # Errors
    /// What the store cannot read.
    pub fn open(mut store: Box<dyn Store>, limits: Limits, reserve: u64) -> Result<Self> {
        let state = State::read_back(limits, store.load()?)?;
        let committed = state.tree.version();
        let slow = store.is_slow();
        let full = store.room().is_some_and(|room| room < reserve);
        let (fast, slow) = if slow { (None, Some(store)) } else { (Some(store), None) };
        let core = Core {
            watchers: Watchers::new(committed),
            events: Vec::new(),
            dirty: false,
            ended: false,
            state,
            progress: Progress::since(committed),
            full,
            fast,
        };
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            work: Condvar::new(),
            pipes: Pipes::default(),
            turn: AtomicU64::new(0),
        });
        if let Some(store) = slow {
            commit::start(Arc::clone(&shared), store, reserve);
        }
        Ok(Self { _last: Arc::new(Last(Arc::clone(&shared))), shared })
    }

    /// Looks at the tree. The answer is given when all that it rests on is durable.
    ///
    /// # Errors
    /// What the look says.
    pub(crate) async fn look<T>(&self, look: impl Fn(&Tree) -> Result<T>) -> Result<T> {
        loop {
            let (found, waiting) = {
                let mut core = self.shared.core();
                let (found, version) = core.state.tree.look(|tree| look(tree));
                if version <= core.progress.committed() {
                    return found;
                }
                (found, core.progress.wait(version))
            };
            if told(waiting).await.is_ok() {
                return found;
            }
            // What was seen was taken back: look again.
        }
    }

    /// Changes the tree. The answer is given when the change is durable.
    ///
    /// # Errors
    /// As [`State::apply`]; `Quota` without room on the disk; what keeps the store from writing.
    pub(crate) async fn apply(
        &self,
        by: Caller,
        fences: Vec<Fence>,
        stamp: Option<&Stamp>,
        action: Action,
    ) -> Result<Reply> {
        self.apply_and(by, fences, stamp, action, |_, _| ()).await.map(|(reply, ())| reply)
    }

    /// As [`Server::apply`], and does something with what was changed before anybody else can change it.
    ///
    /// # Errors
    /// As [`Server::apply`].
    pub(crate) async fn apply_and<T>(
        &self,
        by: Caller,
        fences: Vec<Fence>,
        stamp: Option<&Stamp>,
        action: Action,
        then: impl FnOnce(&mut Tree, &Reply) -> T,
    ) -> Result<(Reply, T)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |since| since.as_millis() as u64);
        let (done, waiting) = {
            let mut core = self.shared.core();
            if core.full && grows(&action) && !by.kernel {
                let text =
                    "the disk of this machine is full: names can be read and removed, and not be written";
                return Err(Error::new(Code::Quota, text));
            }
            let done = core.state.apply(Change { by, now_ms, fences, action }, stamp);
            let version = core.state.tree.version();
            if done.is_ok() && core.state.is_changed() {
                self.written(&mut core)?;
            }
            let done = done.map(|reply| {
                let then = then(&mut core.state.tree, &reply);
                (reply, then)
            });
            let open = version > core.progress.committed();
            (done, open.then(|| core.progress.wait(version)))
        };
        match waiting {
            None => done,
            Some(waiting) => told(waiting).await.and(done),
        }
    }

    /// Makes what was just changed durable, or asks for it.
    fn written(&self, core: &mut Core) -> Result<()> {
        let events = core.state.tree.take_events();
        if let Some(store) = &mut core.fast {
            store.commit(&core.state.write_down())?;
            core.watchers.publish(events);
            // Nobody waits: whoever changes something here has the core until this is said.
            let version = core.state.tree.version();
            drop(core.progress.reach(version));
            return Ok(());
        }
        core.events.extend(events);
        core.dirty = true;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Waits until a change is durable.
    ///
    /// # Errors
    /// Why it was taken back.
    pub(crate) async fn settled(&self, version: u64) -> Result<()> {
        let waiting = {
            let mut core = self.shared.core();
            match core.progress.fate(version) {
                Some(fate) => return fate,
                None => core.progress.wait(version),
            }
        };
        told(waiting).await
    }

    /// The caller as the tree knows it.
    pub(crate) fn caller(&self, caller: &proto::Caller) -> Result<Caller> {
        Ok(Caller {
            // The kernel names principals; one that it does not name is the realm's owner.
            principal: Principal::parse(&caller.principal).unwrap_or_default(),
            pid: caller.pid.parse::<Pid>()?,
            machine: caller.machine.clone(),
            kernel: caller.kernel,
            turn: self.shared.turn.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// Waits to be told the fate of a change.
///
/// # Errors
/// Why it was taken back.
async fn told(waiting: oneshot::Receiver<Result<()>>) -> Result<()> {
    waiting.await.unwrap_or_else(|_| Err(Error::new(Code::Unreachable, "this namespace ends")))
}

/// Whether an action needs room.
fn grows(action: &Action) -> bool {
    !matches!(action, Action::Remove { .. } | Action::Ended { .. } | Action::Alive { .. })
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

    fn in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::New;
    use sigma_abi::Path;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// On a store in memory, and on one that was just read back, a watch once waited for a commit that had been long before.
    #[tokio::test(flavor = "current_thread")]
    async fn what_is_durable_is_waited_for_by_nobody() {
        let memory = Memory::default();
        let server = Server::open(Box::new(memory.open()), Limits::default(), 0).unwrap();
        let by = proto::Caller { pid: "m00000001-1-1".into(), ..Default::default() };
        let (path, new) = (Path::parse("/a").unwrap(), New { perm: 0o66, ephemeral: false });
        let put = Action::Put { path, new, exclusive: false, contents: Default::default() };
        server.apply(server.caller(&by).unwrap(), Vec::new(), None, put).await.unwrap();
        let version = server.shared.core().state.tree.version();
        assert!(version > 0);
        let settled = pin!(server.settled(version)).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(settled, Poll::Ready(Ok(())));
    }
}
