//! A disk without room, and one that fails in the middle.

use super::*;
use crate::tree::Batch;
use bytes::Bytes;
use sigma_abi::{Code, Error, Result};
use sigmaos::proto::{OpenRequest, PathRequest, PutRequest, ReadRequest, RemoveRequest};
use sigmaos::stub::NamespaceClient;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// Bytes that are kept free.
const RESERVE: u64 = 100;

/// A disk on which somebody else may take all the room, and whose writes may fail or wait.
#[derive(Clone)]
struct Disk(Arc<State>);

struct State {
    kept: Mutex<Memory>,
    room: AtomicU64,
    fails: AtomicBool,
    committed: Notify,
}

impl Disk {
    fn new() -> Self {
        let (room, fails) = (AtomicU64::new(RESERVE), AtomicBool::new(false));
        Self(Arc::new(State { kept: Mutex::new(Memory::default()), room, fails, committed: Notify::new() }))
    }

    fn serve(&self) -> (Server, NamespaceClient) {
        let server = Server::open(Box::new(self.clone()), Limits::default(), RESERVE).unwrap();
        let client = NamespaceClient(client(&server, 1));
        (server, client)
    }
}

impl Store for Disk {
    fn load(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>> {
        self.0.kept.lock().unwrap().load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let done = match self.0.fails.load(Ordering::SeqCst) {
            true => Err(Error::new(Code::Quota, "the disk is full")),
            false => self.0.kept.lock().unwrap().commit(batch),
        };
        self.0.committed.notify_one();
        done
    }

    fn room(&self) -> Option<u64> {
        Some(self.0.room.load(Ordering::SeqCst))
    }

    fn is_slow(&self) -> bool {
        true
    }
}

async fn put(client: &NamespaceClient, path: &str, contents: &'static str) -> Result<()> {
    let request = PutRequest { path: path.into(), perm: 0o66, ..Default::default() };
    client.put_with(request, contents.into()).await.map(drop)
}

async fn get(client: &NamespaceClient, path: &str) -> Result<Bytes> {
    Ok(client.get_with(PathRequest { path: path.into() }, Bytes::new()).await?.payload)
}

async fn remove(client: &NamespaceClient, path: &str) -> Result<()> {
    client.remove(RemoveRequest { path: path.into(), ..Default::default() }).await.map(drop)
}

#[test]
fn past_the_reserve_of_the_disk_names_are_read_and_removed_and_not_written() {
    block_on(async {
        let disk = Disk::new();
        let (_server, client) = disk.serve();
        put(&client, "/a", "a").await.unwrap();
        put(&client, "/b", "b").await.unwrap();
        disk.0.room.store(RESERVE - 1, Ordering::SeqCst);
        // What is seen after a commit holds for the next change.
        remove(&client, "/b").await.unwrap();
        let error = put(&client, "/c", "c").await.unwrap_err();
        assert_eq!(error.code, Code::Quota);
        assert!(error.message.contains("the disk of this machine is full"), "{error}");
        assert_eq!(get(&client, "/a").await.unwrap(), "a");
        assert_eq!(get(&client, "/b").await.unwrap_err().code, Code::NotFound);
        remove(&client, "/a").await.unwrap();
        disk.0.room.store(RESERVE, Ordering::SeqCst);
        // Room that others made is noticed without any change.
        while put(&client, "/c", "c").await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(&client, "/c").await.unwrap(), "c");
    });
}

#[test]
fn what_could_not_be_made_durable_never_happened() {
    block_on(async {
        let disk = Disk::new();
        let (server, client) = disk.serve();
        put(&client, "/kept", "old").await.unwrap();
        let open = OpenRequest { path: "/kept".into(), read: true, ..Default::default() };
        let handle = client.open(open).await.unwrap().handle;
        remove(&client, "/kept").await.unwrap();
        put(&client, "/kept", "new").await.unwrap();
        let before = server.shared.core().state.tree.version();
        disk.0.fails.store(true, Ordering::SeqCst);
        for done in [put(&client, "/lost", "x").await, put(&client, "/kept", "lost").await] {
            let error = done.unwrap_err();
            assert_eq!((error.code, error.maybe_done), (Code::Quota, false), "{error}");
        }
        assert_eq!(get(&client, "/lost").await.unwrap_err().code, Code::NotFound);
        assert_eq!(get(&client, "/kept").await.unwrap(), "new");
        // What is open stays open, also that which was removed.
        let read = ReadRequest { handle, offset: 0, length: 9 };
        assert_eq!(client.read_with(read, Bytes::new()).await.unwrap().payload, "old");
        disk.0.fails.store(false, Ordering::SeqCst);
        while put(&client, "/again", "x").await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(&client, "/again").await.unwrap(), "x");
        let core = server.shared.core();
        core.state.tree.check();
        assert!(core.state.tree.version() > before, "numbers that were given are not given again");
        // The next owner finds what this one has told.
        let (kept, _) = core.state.tree.look(|tree| tree.usage());
        drop(core);
        let (next, _) = disk.serve();
        let found = next.shared.core().state.tree.usage();
        assert_eq!(found.entries + 1, kept.entries, "all but the removed file that is open");
    });
}
