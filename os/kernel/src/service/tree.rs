//! A read-only tree of files that the kernel writes as they are read: what `/proc` and `/machine` have in common.

use sigma_abi::limits::DIR_PAGE;
use sigma_abi::{Code, Error, Path, Result, proto};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::serve::{Accept, Handles, Services};
use sigmaos::stub::{Namespace, NamespaceServer};
use sigmaos::wire::Session;
use std::sync::Arc;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Entry {
    Directory,
    /// How many bytes it has, where that is known before it is read.
    File {
        size: u64,
    },
}

/// Files by path, and what is in them.
pub(crate) trait Files: Clone + Send + Sync + 'static {
    /// # Errors
    /// `NotFound`.
    fn entry(&self, path: &Path) -> Result<Entry>;

    /// Names of a directory that come after one, at most so many, with what each is; and whether more follow.
    ///
    /// # Errors
    /// `Invalid` where `after` is no name that it may hold.
    fn list(&self, path: &Path, after: &str, limit: usize) -> Result<(Vec<(String, Entry)>, bool)>;

    /// The contents of a file, as they are now.
    ///
    /// # Errors
    /// `NotFound`.
    fn read(&self, path: &Path) -> Result<Bytes>;
}

/// Serves files.
pub(crate) struct Tree<F>(pub(crate) F);

impl<F: Files> Accept for Tree<F> {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn Session> {
        let session = TreeSession { files: self.0.clone(), open: Handles::default() };
        Arc::new(Services::new(caller, vec![Box::new(NamespaceServer(Arc::new(session)))]))
    }
}

struct TreeSession<F> {
    files: F,
    open: Handles<Path>,
}

impl<F: Files> TreeSession<F> {
    /// The contents of what must be a file.
    fn read_file(&self, path: &Path) -> Result<Bytes> {
        match self.files.entry(path)? {
            Entry::Directory => Err(Error::new(Code::IsDir, format!("{path} is a directory"))),
            Entry::File { .. } => self.files.read(path),
        }
    }
}

impl<F: Files> Namespace for TreeSession<F> {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let path = Path::parse(&request.message.path)?;
        let contents = self.read_file(&path)?;
        let entry = Entry::File { size: contents.len() as u64 };
        Ok(Response::new(stat(path.name().unwrap_or_default(), &entry)).payload(contents))
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let path = Path::parse(&request.message.path)?;
        Ok(stat(path.name().unwrap_or_default(), &self.files.entry(&path)?).into())
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let proto::OpenRequest { path, write, truncate, .. } = request.message;
        let path = Path::parse(&path)?;
        let entry = self.files.entry(&path)?;
        if write || truncate {
            return Err(Error::new(Code::Denied, format!("{path} can only be read")));
        }
        let stat = stat(path.name().unwrap_or_default(), &entry);
        match entry {
            Entry::Directory => Err(Error::new(Code::IsDir, format!("{path} is a directory"))),
            Entry::File { .. } => {
                Ok(proto::Opened { handle: self.open.insert(path)?, stat: Some(stat) }.into())
            }
        }
    }

    /// Each read sees the file as it is then.
    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let contents = self.read_file(&*self.open.get(handle)?)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        let to = from.saturating_add((length as usize).min(PIECE)).min(contents.len());
        Ok(Response::new(proto::Empty {}).payload(contents.slice(from..to)))
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        self.open.remove(request.message.handle)?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let path = Path::parse(&path)?;
        if let Entry::File { .. } = self.files.entry(&path)? {
            return Err(Error::new(Code::NotDir, format!("{path} is not a directory")));
        }
        let limit = if limit == 0 { DIR_PAGE } else { DIR_PAGE.min(limit as usize) };
        let (names, more) = self.files.list(&path, &after, limit)?;
        let entries = names.iter().map(|(name, entry)| stat(name, entry)).collect();
        Ok(proto::DirPage { entries, more }.into())
    }
}

fn stat(name: &str, entry: &Entry) -> proto::Stat {
    let (kind, size) = match entry {
        Entry::Directory => (proto::Kind::Directory, 0),
        Entry::File { size } => (proto::Kind::File, *size),
    };
    proto::Stat { name: name.to_owned(), kind: kind.into(), size, perm: 0o44, ..Default::default() }
}

/// A page of names that are always the same.
pub(crate) fn page(
    names: &[&str],
    after: &str,
    limit: usize,
    entry: impl Fn(&str) -> Entry,
) -> (Vec<(String, Entry)>, bool) {
    let mut later = names.iter().filter(|name| **name > after);
    let page = later.by_ref().take(limit).map(|name| ((*name).to_owned(), entry(name))).collect();
    (page, later.next().is_some())
}

/// JSON as people read it.
pub(crate) fn json(value: &serde_json::Value) -> Bytes {
    format!("{value:#}\n").into()
}

pub(crate) fn missing(path: &Path) -> Error {
    Error::new(Code::NotFound, format!("{path} does not exist at this server"))
}
