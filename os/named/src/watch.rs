//! Watches and waits: who is told what happens in which directory.

use crate::server::Server;
use crate::tree::{Event, Id, What};
use sigma_abi::{Code, Error, Result, proto};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Watches and waits of a namespace.
const MAX_WATCHES: usize = 20_000;

/// Events that a watcher may be behind; past that it must list again.
const MAX_BEHIND: usize = 1024;

/// Events that are remembered for watches that come back.
const HISTORY: usize = 16_384;

/// Events of one answer.
const PAGE: usize = 1000;

/// Who watches what, by directory: a change costs its own watchers alone.
pub(crate) struct Watchers {
    by_dir: HashMap<Id, BTreeMap<u64, Arc<Watch>>>,
    count: usize,
    last_key: u64,
    history: VecDeque<Event>,
    /// Events up to this version are not in the history.
    forgotten: u64,
}

/// One watch or wait.
pub(crate) struct Watch {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<proto::Event>,
    /// Events up to this version are known to the watcher.
    since: u64,
    /// Why no more events come.
    end: Option<Error>,
}

/// A watch that is registered. Dropping it ends it.
pub(crate) struct Watching {
    server: Server,
    watch: Arc<Watch>,
    dirs: Vec<Id>,
    key: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut core = self.server.shared.core();
        let watchers = &mut core.watchers;
        watchers.count -= 1;
        for dir in &self.dirs {
            if let Some(of_dir) = watchers.by_dir.get_mut(dir) {
                of_dir.remove(&self.key);
                if of_dir.is_empty() {
                    watchers.by_dir.remove(dir);
                }
            }
        }
    }
}

impl Watchers {
    /// Of a namespace in which `version` is the last change.
    pub(crate) fn new(version: u64) -> Self {
        let (by_dir, history) = (HashMap::new(), VecDeque::new());
        Self { by_dir, count: 0, last_key: 0, history, forgotten: version }
    }

    /// Registers a watch of some directories, of what happens after `since`.
    ///
    /// # Errors
    /// `Busy` past [`MAX_WATCHES`].
    pub(crate) fn add(&mut self, server: &Server, dirs: Vec<Id>, since: u64) -> Result<Watching> {
        if self.count >= MAX_WATCHES {
            let text = format!("{MAX_WATCHES} watches are open in this realm: the most there may be");
            return Err(Error::new(Code::Busy, text));
        }
        self.count += 1;
        self.last_key += 1;
        let queue = Mutex::new(Queue { since, ..Queue::default() });
        let watch = Arc::new(Watch { queue, wake: Notify::new() });
        for dir in &dirs {
            self.by_dir.entry(*dir).or_default().insert(self.last_key, Arc::clone(&watch));
        }
        Ok(Watching { server: server.clone(), watch, dirs, key: self.last_key })
    }

    /// Tells a new watch of a directory what has happened since its last life.
    ///
    /// # Errors
    /// `Version` where that is not known any more.
    pub(crate) fn catch_up(&self, watching: &Watching, dir: Id, since: u64, version: u64) -> Result<()> {
        // What has not changed has no events that could be missing.
        if since < self.forgotten && since != version {
            return Err(behind());
        }
        let missed = self.history.iter().filter(|event| event.dir == dir);
        missed.for_each(|event| watching.watch.tell(event));
        Ok(())
    }

    /// Tells all watchers of durable changes.
    pub(crate) fn publish(&mut self, events: Vec<Event>) {
        for event in events {
            for watch in self.by_dir.get(&event.dir).into_iter().flat_map(BTreeMap::values) {
                watch.tell(&event);
            }
            if self.history.len() >= HISTORY
                && let Some(old) = self.history.pop_front()
            {
                self.forgotten = old.version;
            }
            self.history.push_back(event);
        }
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &Event) {
        let mut queue = self.lock();
        if event.version <= queue.since || queue.end.is_some() {
            return;
        }
        if event.what == What::Gone {
            queue.end = Some(Error::new(Code::NotFound, "the watched directory was removed"));
        } else if queue.events.len() >= MAX_BEHIND {
            queue.events.clear();
            queue.end = Some(behind());
        } else {
            queue.events.push_back(as_proto(event));
        }
        drop(queue);
        self.wake.notify_one();
    }
}

impl Watching {
    /// The events after `seen`, once there are some.
    ///
    /// # Errors
    /// `Version` where some were lost; `NotFound` when the directory is gone.
    pub(crate) async fn events(&self, seen: u64) -> Result<proto::EventPage> {
        loop {
            {
                let mut queue = self.watch.lock();
                while queue.events.front().is_some_and(|event| event.version <= seen) {
                    queue.events.pop_front();
                }
                if !queue.events.is_empty() {
                    return Ok(proto::EventPage {
                        events: queue.events.iter().take(PAGE).cloned().collect(),
                    });
                }
                if let Some(end) = &queue.end {
                    return Err(end.clone());
                }
            }
            self.watch.wake.notified().await;
        }
    }

    /// Something has happened.
    pub(crate) async fn changed(&self) {
        self.watch.wake.notified().await;
    }
}

fn behind() -> Error {
    Error::new(Code::Version, "events of this directory were lost: list it again")
}

fn as_proto(event: &Event) -> proto::Event {
    use proto::event::Kind;
    let (kind, name, to) = match &event.what {
        What::Created(name) => (Kind::Created, name.to_string(), String::new()),
        What::Removed(name) => (Kind::Removed, name.to_string(), String::new()),
        What::Renamed(from, to) => (Kind::Renamed, from.to_string(), to.to_string()),
        What::Gone => (Kind::Removed, String::new(), String::new()),
    };
    proto::Event { kind: kind.into(), name, to, version: event.version }
}
