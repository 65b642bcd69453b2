use crate::account::{Ask, ENTRY};
use crate::root::{DRAFTS, Root};
use crate::server::Server;
use sigma_proxy::Fences;
use sigma_test::introduced;
use sigmaos::rpc::Bytes;
use sigmaos::serve::Accept;
use sigmaos::stub::NamespaceClient;
use sigmaos::{Code, Path, Result, proto};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

mod account;
mod bounds;
mod errors;
mod whole;

/// Nobody was ever elected.
fn fences() -> Fences {
    Fences::asking(Path::parse("/ux/m").unwrap(), Box::new(|_| Box::pin(async { Ok(0) })))
}

/// A ux over a directory of its own, and a client at the other end of a socket pair.
struct Ux {
    directory: TempDir,
    client: NamespaceClient,
    root: Arc<Root>,
}

impl Ux {
    fn new() -> Self {
        Self::with_files(100)
    }

    fn with_files(files: usize) -> Self {
        Self::over(tempfile::tempdir().unwrap(), files, u64::MAX)
    }

    /// One that may use so many bytes.
    fn with_room(bytes: u64) -> Self {
        Self::over(tempfile::tempdir().unwrap(), 100, bytes)
    }

    fn over(directory: TempDir, files: usize, bytes: u64) -> Self {
        let root = Arc::new(Root::open(directory.path(), room(bytes), 0).unwrap());
        root.count().unwrap();
        let client = connect(&Server::new(Arc::clone(&root), files, fences()));
        Self { directory, client, root }
    }

    /// Bytes that are counted, which are those that are there.
    #[track_caller]
    fn used(&self) -> u64 {
        let used = self.root.account().used();
        assert_eq!(used, crate::count::count(self.root.top()).unwrap(), "the account is not what is there");
        used
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn drafts(&self) -> usize {
        std::fs::read_dir(self.on_disk(DRAFTS)).unwrap().count()
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        Ok(self.client.get_with(request(path), Bytes::new()).await?.payload)
    }

    async fn put(&self, path: &str, contents: impl Into<Bytes>) -> Result<proto::Stat> {
        let request = proto::PutRequest { path: path.into(), ..Default::default() };
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
        self.client
            .write_with(proto::WriteRequest { handle, offset, ..Default::default() }, bytes.into())
            .await
            .map(drop)
    }

    async fn read(&self, handle: u32, offset: u64, length: u32) -> Result<Bytes> {
        let request = proto::ReadRequest { handle, offset, length };
        Ok(self.client.read_with(request, Bytes::new()).await?.payload)
    }

    async fn close(&self, handle: u32) -> Result<()> {
        self.client.close(proto::CloseRequest { handle, discard: false }).await.map(drop)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.client
            .rename(proto::RenameRequest { from: from.into(), to: to.into(), ..Default::default() })
            .await
            .map(drop)
    }

    async fn page(&self, path: &str, after: &str, limit: u32) -> Result<proto::DirPage> {
        let request = proto::ReadDirRequest { path: path.into(), after: after.into(), limit };
        self.client.read_dir(request).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        self.page(path, "", 0).await.unwrap().entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// A kernel that grants what is asked for, up to so many bytes.
fn room(bytes: u64) -> Ask {
    Box::new(move |used, wanted| Box::pin(async move { Ok(wanted.min(bytes).max(used)) }))
}

fn connect(server: &Server) -> NamespaceClient {
    NamespaceClient(introduced(server.accept(Arc::default())))
}

fn request(path: &str) -> proto::PathRequest {
    proto::PathRequest { path: path.into() }
}

fn removal(path: &str) -> proto::RemoveRequest {
    proto::RemoveRequest { path: path.into(), ..Default::default() }
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
