//! A disk that takes its time, and one that fails.

use super::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use sigma_abi::Code;
use std::io;
use std::sync::{Condvar, Mutex, mpsc};

/// A disk in memory whose syncs a test holds up, counts and spoils.
#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    held: Arc<Held>,
}

#[derive(Debug, Default)]
struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    broken: bool,
    /// Syncs that have begun.
    begun: usize,
}

impl Held {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until a sync is held up, on a thread that may block.
    async fn has_begun(self: &Arc<Self>, syncs: usize) {
        let held = Arc::clone(self);
        let waited = tokio::task::spawn_blocking(move || {
            let state = held.state.lock().unwrap();
            drop(held.changed.wait_while(state, |state| state.begun < syncs).unwrap());
        });
        waited.await.unwrap();
    }

    fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.held.state.lock().unwrap();
        state.begun += 1;
        self.held.changed.notify_all();
        let state = self.held.changed.wait_while(state, |state| state.shut).unwrap();
        if state.broken { Err(io::Error::other("the disk is gone")) } else { self.memory.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

#[test]
fn readers_do_not_wait_for_the_disk_and_changes_that_arrive_meanwhile_go_together() {
    run(async {
        let held = Arc::new(Held::default());
        let disk = Disk { memory: InMemoryBackend::new(), held: Arc::clone(&held) };
        let store = Arc::new(Store(Embedded::over(disk, |error| panic!("{error}"))));
        store.insert("c", &numbered(10)).await.unwrap();
        let insert = |id: i32| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.insert("c", &[doc! { "_id": id }]).await })
        };
        held.set(|state| state.shut = true);
        let before = held.begun();
        let first = insert(100);
        held.has_begun(before + 1).await;
        // What is not durable is not read, and nobody waits for it.
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 10);
        let others: Vec<_> = (101..150).map(insert).collect();
        // They wait in the queue by now: this runs after all that were spawned before it.
        tokio::spawn(async {}).await.unwrap();
        assert_eq!(store.find("c", doc! { "_id": 3 }, Asked::default()).await.unwrap().len(), 1);
        assert!(!first.is_finished());
        held.set(|state| state.shut = false);
        first.await.unwrap().unwrap();
        for other in others {
            other.await.unwrap().unwrap();
        }
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 60);
        let syncs = held.begun() - before;
        assert!(syncs < 20, "50 changes took {syncs} syncs");
    });
}

#[test]
fn a_disk_that_fails_ends_the_store_and_whoever_waits_is_told() {
    run(async {
        let held = Arc::new(Held::default());
        let disk = Disk { memory: InMemoryBackend::new(), held: Arc::clone(&held) };
        let (tell, told) = mpsc::channel();
        let store = Store(Embedded::over(disk, move |error| tell.send(error.clone()).unwrap()));
        store.insert("c", &numbered(10)).await.unwrap();
        held.set(|state| state.broken = true);
        let error = store.insert("c", &[doc! { "_id": 100 }]).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Internal, true), "{error}");
        assert!(error.message.contains("the disk is gone"), "{error}");
        assert_eq!(told.recv().unwrap().code, Code::Internal);
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 10, "what is durable is still read");
    });
}
