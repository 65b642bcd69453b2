//! The thread that makes changes durable, a batch at a time.

use crate::server::{Core, Shared};
use crate::state::State;
use crate::store::Store;
use sigma_abi::{Code, Error, Result};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

/// How often the room on a full disk is looked at.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(500);

/// Losses that are remembered for those who still wait to hear of theirs.
const MAX_LOST: usize = 64;

/// How far the store has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The fate of changes up to this one is decided.
    pub(crate) committed: u64,
    /// Changes that were taken back, from and to, and why.
    lost: Vec<(u64, u64, Error)>,
}

impl Progress {
    /// Of a namespace in which `committed` is the last change.
    pub(crate) fn since(committed: u64) -> Self {
        Self { committed, lost: Vec::new() }
    }

    /// Whether a decided change is durable.
    ///
    /// # Errors
    /// Why it was taken back.
    pub(crate) fn fate(&self, version: u64) -> Result<()> {
        let lost = self.lost.iter().find(|(from, to, _)| (*from..=*to).contains(&version));
        lost.map_or(Ok(()), |(_, _, error)| Err(error.clone()))
    }
}

/// Starts the thread; it ends with the server.
pub(crate) fn start(shared: Arc<Shared>, mut store: Box<dyn Store>, reserve: u64) {
    thread::spawn(move || {
        while let Some((batch, version, events)) = next(&shared, &*store, reserve) {
            if let Err(error) = store.commit(&batch) {
                take_back(&shared, &mut *store, error);
                continue;
            }
            let mut core = shared.core();
            core.committed = version;
            core.watchers.publish(events);
            core.full = is_full(&*store, reserve);
            drop(core);
            shared.progress.send_modify(|progress| progress.committed = version);
        }
    });
}

type Work = (crate::tree::Batch, u64, Vec<crate::tree::Event>);

/// Waits for changes, and takes all there are.
fn next(shared: &Shared, store: &dyn Store, reserve: u64) -> Option<Work> {
    let mut core = shared.core();
    while !core.dirty {
        if core.ended {
            return None;
        }
        core = match core.full {
            false => shared.work.wait(core).unwrap_or_else(PoisonError::into_inner),
            true => {
                let waited = shared.work.wait_timeout(core, LOOK_FOR_ROOM);
                let mut core = waited.unwrap_or_else(PoisonError::into_inner).0;
                core.full = is_full(store, reserve);
                core
            }
        };
    }
    core.dirty = false;
    let batch = core.state.write_down();
    Some((batch, core.state.tree.version(), std::mem::take(&mut core.events)))
}

fn is_full(store: &dyn Store, reserve: u64) -> bool {
    store.room().is_some_and(|room| room < reserve)
}

/// Goes back to what is durable. Whoever waits for what was lost is told; what nobody was told of never happened.
fn take_back(shared: &Shared, store: &mut dyn Store, error: Error) {
    tracing::error!(%error, "changes could not be made durable, and are taken back");
    let mut core = shared.core();
    match again(&core, store, &error) {
        Ok(state) => {
            let old = std::mem::replace(&mut core.state, state);
            core.state.tree.succeed(old.tree);
        }
        Err(error) => {
            // Whoever serves what nobody can vouch for lies. The kernel starts a new process, which says what is wrong.
            tracing::error!(%error, "the namespace cannot be read again");
            std::process::exit(1);
        }
    }
    let (from, to) = (core.committed + 1, core.state.tree.version());
    (core.committed, core.dirty, core.full) = (to, false, error.code == Code::Quota);
    core.events.clear();
    drop(core);
    shared.progress.send_modify(|progress| {
        progress.committed = to;
        progress.lost.push((from, to, error));
        if progress.lost.len() > MAX_LOST {
            progress.lost.remove(0);
        }
    });
}

/// The durable state, where this is still its owner.
fn again(core: &Core, store: &mut dyn Store, error: &Error) -> Result<State> {
    if error.code == Code::Stale {
        return Err(error.clone());
    }
    State::read_back(core.state.limits(), store.load()?)
}
