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

/// Starts the thread; it ends with the server.
pub(crate) fn start(shared: Arc<Shared>, mut store: Box<dyn Store>, reserve: u64) {
    thread::spawn(move || {
        while let Some((batch, version, events)) = next(&shared, &*store, reserve) {
            if let Err(error) = store.commit(&batch) {
                take_back(&shared, &mut *store, error);
                continue;
            }
            let full = is_full(&*store, reserve);
            let mut core = shared.core();
            core.watchers.publish(events);
            core.full = full;
            let told = core.progress.reach(version);
            drop(core);
            drop(told);
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
    (core.dirty, core.full) = (false, error.code == Code::Quota);
    core.events.clear();
    let last = core.state.tree.version();
    let told = core.progress.lose(last, error);
    drop(core);
    drop(told);
}

/// The durable state, where this is still its owner.
fn again(core: &Core, store: &mut dyn Store, error: &Error) -> Result<State> {
    if error.code == Code::Stale {
        return Err(error.clone());
    }
    State::read_back(core.state.limits(), store.load()?)
}
