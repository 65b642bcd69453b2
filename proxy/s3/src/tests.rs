use crate::bounds::{Bounds, MEMORY};
use crate::embedded::{Ask, Embedded, Say};
use crate::session::Session;
use sigma_proxy::Fences;
use sigma_test::introduced;
use sigmaos::rpc::Bytes;
use sigmaos::serve::Services;
use sigmaos::stub::{NamespaceClient, NamespaceServer};
use sigmaos::{Code, Error, Path, Result, proto};
use std::sync::Arc;
use tempfile::TempDir;

mod bounds;
mod entries;
mod errors;
mod objects;
mod plain;
mod remote;

/// The store of its own, in a directory of its own, and a client at the other end of a socket pair.
struct S3 {
    directory: TempDir,
    client: NamespaceClient,
    store: Arc<Embedded>,
}

impl S3 {
    fn new() -> Self {
        Self::with(MEMORY, 100, u64::MAX)
    }

    /// One that may hold so many bytes of memory, so many open objects, and use so many bytes of the disk.
    fn with(memory: usize, open: usize, disk: u64) -> Self {
        Self::over(tempfile::tempdir().unwrap(), Bounds::new(memory, open), disk)
    }

    fn over(directory: TempDir, bounds: Bounds, disk: u64) -> Self {
        let store = Arc::new(Embedded::open(directory.path().to_owned(), room(disk)).unwrap());
        let client = connect(Session::new(Arc::clone(&store), bounds, Arc::new(fences())));
        Self { directory, client, store }
    }

    /// The bytes that are counted, which are those that are there.
    #[track_caller]
    fn used(&self) -> u64 {
        assert_eq!(self.store.used(), self.store.on_disk(), "the account is not what is there");
        self.store.used()
    }

    fn drafts(&self) -> usize {
        std::fs::read_dir(self.directory.path().join(".drafts")).unwrap().count()
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        Ok(self.client.get_with(request(path), Bytes::new()).await?.payload)
    }

    async fn put(&self, path: &str, contents: impl Into<Bytes>) -> Result<proto::Stat> {
        let request = proto::PutRequest { path: path.into(), ..Default::default() };
        Ok(self.client.put_with(request, contents.into()).await?.message)
    }

    async fn put_new(&self, path: &str, contents: &'static str) -> Result<proto::Stat> {
        let request = proto::PutRequest { path: path.into(), exclusive: true, ..Default::default() };
        Ok(self.client.put_with(request, contents.into()).await?.message)
    }

    async fn make_directory(&self, path: &str) -> Result<()> {
        let kind = proto::Kind::Directory.into();
        let request = proto::CreateRequest { path: path.into(), kind, exclusive: true, ..Default::default() };
        self.client.create(request).await.map(drop)
    }

    async fn open(&self, path: &str, how: proto::OpenRequest) -> Result<u32> {
        Ok(self.client.open(proto::OpenRequest { path: path.into(), ..how }).await?.handle)
    }

    async fn write(&self, handle: u32, offset: u64, bytes: impl Into<Bytes>) -> Result<()> {
        let request = proto::WriteRequest { handle, offset, ..Default::default() };
        self.client.write_with(request, bytes.into()).await.map(drop)
    }

    async fn read(&self, handle: u32, offset: u64, length: u32) -> Result<Bytes> {
        let request = proto::ReadRequest { handle, offset, length };
        Ok(self.client.read_with(request, Bytes::new()).await?.payload)
    }

    async fn close(&self, handle: u32) -> Result<()> {
        self.client.close(proto::CloseRequest { handle, discard: false }).await.map(drop)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.client.remove(proto::RemoveRequest { path: path.into(), ..Default::default() }).await.map(drop)
    }

    async fn page(&self, path: &str, after: &str, limit: u32) -> Result<proto::DirPage> {
        let request = proto::ReadDirRequest { path: path.into(), after: after.into(), limit };
        self.client.read_dir(request).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        self.page(path, "", 0).await.unwrap().entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// A kernel that grants so many bytes.
fn room(bytes: u64) -> Ask {
    Box::new(move |say| {
        let refused = matches!(say, Say::Wanted { wanted, .. } if wanted > bytes);
        Box::pin(async move { if refused { Err(Error::new(Code::Quota, "no room")) } else { Ok(()) } })
    })
}

/// Nobody was ever elected.
fn fences() -> Fences {
    Fences::asking(Path::parse("/s3/m").unwrap(), Box::new(|_| Box::pin(async { Ok(0) })))
}

fn connect(session: Session<Embedded>) -> NamespaceClient {
    let services = Services::new(Arc::default(), vec![Box::new(NamespaceServer(Arc::new(session)))]);
    NamespaceClient(introduced(Arc::new(services)))
}

fn request(path: &str) -> proto::PathRequest {
    proto::PathRequest { path: path.into() }
}

fn to_read() -> proto::OpenRequest {
    proto::OpenRequest { read: true, ..Default::default() }
}

fn to_replace() -> proto::OpenRequest {
    proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() }
}

/// The call failed with `code`, and its sentence says `word`.
#[track_caller]
fn refused<T>(result: Result<T>, code: Code, word: &str) {
    match result {
        Ok(_) => panic!("it was carried out; expected {code:?}, {word:?}"),
        Err(error) => {
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(word), "{error}: does not say {word:?}");
        }
    }
}
