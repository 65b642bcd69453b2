//! The operations of one connection.
//!
//! Names are looked up inline, as a local disk answers them from memory. What moves more than [`INLINE`] bytes, or
//! reads whole directories, runs on another thread, so that other connections do not wait for it.

use crate::account::NewEntry;
use crate::draft::Draft;
use crate::errno::failed;
use crate::list;
use crate::open::Open;
use crate::root::Root;
use rustix::fs::readlinkat;
use rustix::io::Errno;
use sigma_proxy::{Fences, aside};
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::serve::Handles;
use sigmaos::stub::{Namespace, UxControl};
use sigmaos::{Code, Error, Path, Result, proto};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a whole file that go in one frame; larger ones are read in pieces.
pub(crate) const WHOLE: usize = MAX_PAYLOAD / 4;

/// Bytes that are read or written before others get a turn.
const INLINE: usize = 64 << 10;

/// Bytes that were read for one connection and are not yet sent, of reads past [`INLINE`]; further reads wait.
const MOST_READ: usize = 4 * MAX_PAYLOAD;

#[derive(Debug)]
pub(crate) struct Session {
    root: Arc<Root>,
    files: Arc<Semaphore>,
    fences: Arc<Fences>,
    open: Handles<Open>,
    reading: Arc<Semaphore>,
    /// The kernel is at the other end.
    kernel: bool,
}

impl Session {
    pub(crate) fn new(root: Arc<Root>, files: Arc<Semaphore>, fences: Arc<Fences>, kernel: bool) -> Self {
        let (open, reading) = (Handles::default(), Arc::new(Semaphore::new(MOST_READ)));
        Self { root, files, fences, open, reading, kernel }
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.files).try_acquire_owned().map_err(|_| {
            Error::new(Code::Busy, "too many files of this realm are open on this machine: close some")
        })
    }

    /// The place of an entry that is made where there is none. One that is there needs none, so it does not matter that there is no room.
    async fn place(&self, path: &Path) -> Result<Option<NewEntry>> {
        match self.root.account().add(path).await {
            Err(error) if error.code == Code::Quota && self.root.stat(path).is_ok() => Ok(None),
            entry => entry.map(Some),
        }
    }

    fn keep_open(&self, open: Open) -> Result<Response<proto::Opened>> {
        let stat = list::describe(&self.root, open.path(), &open.stat()?)?;
        let handle = self.open.insert(open)?;
        Ok(proto::Opened { handle, stat: Some(stat) }.into())
    }

    fn stat_now(&self, path: &Path) -> Result<proto::Stat> {
        list::describe(&self.root, path, &self.root.stat(path)?)
    }

    async fn read_from(&self, open: Arc<Open>, offset: u64, length: usize) -> Result<Bytes> {
        let length = open.readable(offset, length)?;
        if length <= INLINE {
            return open.read(offset, length).map(Bytes::from);
        }
        let permit = Arc::clone(&self.reading).acquire_many_owned(length as u32).await;
        let permit = permit.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let bytes = aside(move || open.read(offset, length)).await?;
        Ok(Bytes::from_owner(Held { bytes, _permit: permit }))
    }
}

/// Bytes on their way out, with their share of what may be on its way.
struct Held {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whoever asks for an entry that ends with its proc must not get one that stays.
fn stays(path: &Path, ephemeral: bool) -> Result<()> {
    match ephemeral {
        false => Ok(()),
        true => {
            let text =
                format!("{path}: what is on disk ends with no proc: make an ephemeral entry outside of /ux");
            Err(Error::new(Code::Unsupported, text))
        }
    }
}

impl Namespace for Session {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let path = Path::parse(&request.message.path)?;
        let open = Open::briefly(&self.root, &path)?;
        let stat = list::describe(&self.root, &path, &open.stat()?)?;
        if stat.size > WHOLE as u64 {
            let text = format!("{path} has {} bytes: open it and read it in pieces", stat.size);
            return Err(Error::new(Code::TooLarge, text));
        }
        let contents = self.read_from(Arc::new(open), 0, WHOLE).await?;
        Ok(Response::new(stat).payload(contents))
    }

    async fn put(&self, request: Request<proto::PutRequest>) -> Result<Response<proto::Stat>> {
        let proto::PutRequest { path, exclusive, ephemeral, fences, .. } = request.message;
        let path = Path::parse(&path)?;
        stays(&path, ephemeral)?;
        let held = self.fences.hold(&fences, &[&path], false).await?;
        self.root.spot(&path)?;
        let (root, contents) = (Arc::clone(&self.root), request.payload);
        let draft = Draft::new(&root, &path, root.account().add(&path).await?)?;
        draft.counted.extend(&path, contents.len() as u64).await?;
        by_size(contents.len(), move || {
            let _held = held;
            draft.write(&path, &contents)?;
            draft.keep(&path, exclusive)?;
            list::describe(&root, &path, &root.stat(&path)?)
        })
        .await
        .map(Response::new)
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        Ok(self.stat_now(&Path::parse(&request.message.path)?)?.into())
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> Result<Response<proto::Opened>> {
        let kind = request.message.kind();
        let proto::CreateRequest { path, exclusive, ephemeral, fences, .. } = request.message;
        let path = Path::parse(&path)?;
        stays(&path, ephemeral)?;
        let _held = self.fences.hold(&fences, &[&path], false).await?;
        match kind {
            proto::Kind::File => {
                let entry = self.place(&path).await?;
                self.keep_open(Open::create(&self.root, &path, exclusive, self.permit()?, entry)?)
            }
            proto::Kind::Directory => {
                let entry = self.place(&path).await?;
                self.root.make_directory(&path, exclusive, entry)?;
                // Only files can be held open; handle 0 says that there is none to close.
                Ok(proto::Opened { handle: 0, stat: Some(self.stat_now(&path)?) }.into())
            }
            other => {
                let text = format!("{path}: ux keeps files and directories, no {}", other.as_str_name());
                Err(Error::new(Code::Unsupported, text))
            }
        }
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let path = Path::parse(&request.message.path)?;
        stays(&path, request.message.ephemeral)?;
        let proto::OpenRequest { write, create, truncate, ref fences, .. } = request.message;
        let _held = self.fences.hold(if write { fences } else { &[] }, &[&path], false).await?;
        let entry = match (write, create, truncate) {
            // A draft lies beside what it replaces.
            (true, _, true) => Some(self.root.account().add(&path).await?),
            (true, true, false) => self.place(&path).await?,
            _ => None,
        };
        self.keep_open(Open::new(&self.root, &path, &request.message, self.permit()?, entry)?)
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let bytes = self.read_from(self.open.get(handle)?, offset, length as usize).await?;
        Ok(Response::new(proto::Empty {}).payload(bytes))
    }

    async fn write(&self, request: Request<proto::WriteRequest>) -> Result<Response<proto::Written>> {
        let proto::WriteRequest { handle, offset, fences, .. } = request.message;
        let (open, bytes) = (self.open.get(handle)?, request.payload);
        let held = self.fences.hold(&fences, &[open.path()], false).await?;
        let length = bytes.len();
        open.make_room(offset, length).await?;
        by_size(length, move || {
            let _held = held;
            open.write(offset, &bytes)
        })
        .await?;
        Ok(proto::Written { length: length as u32 }.into())
    }

    /// A draft takes its place, unless nobody wants it, or the election is over that it was opened under. One that is still being
    /// written to would not be whole, and is dropped.
    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        let proto::CloseRequest { handle, discard } = request.message;
        let open = self.open.remove(handle)?;
        if discard {
            return Ok(proto::Empty {}.into());
        }
        let (path, is_draft) = (open.path().clone(), open.is_draft());
        let _held = match is_draft {
            true => Some(self.fences.hold(open.fences(), &[&path], false).await?),
            false => None,
        };
        match Arc::into_inner(open) {
            Some(open) => open.keep()?,
            None if is_draft => {
                let text = format!("{path} was closed while a call on it was in flight: it is not kept");
                return Err(Error::new(Code::Busy, text));
            }
            None => {}
        }
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        let path = Path::parse(&request.message.path)?;
        let _held = self.fences.hold(&request.message.fences, &[&path], true).await?;
        self.root.remove(&path)?;
        Ok(proto::Empty {}.into())
    }

    async fn rename(&self, request: Request<proto::RenameRequest>) -> Result<Response<proto::Empty>> {
        let (from, to) = (Path::parse(&request.message.from)?, Path::parse(&request.message.to)?);
        let _held = self.fences.hold(&request.message.fences, &[&from, &to], true).await?;
        self.root.rename(&from, &to)?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let (root, path) = (Arc::clone(&self.root), Path::parse(&path)?);
        aside(move || list::page(&root, &path, &after, limit as usize)).await.map(Response::new)
    }

    async fn read_link(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LinkTarget>> {
        let path = Path::parse(&request.message.path)?;
        let spot = self.root.spot(&path)?;
        let target = readlinkat(&spot.directory, spot.name, Vec::new()).map_err(|errno| match errno {
            Errno::INVAL => Error::new(Code::Invalid, format!("{path} is no symbolic link")),
            other => failed(&path, other),
        })?;
        Ok(proto::LinkTarget { target: target.to_string_lossy().into_owned() }.into())
    }
}

impl UxControl for Session {
    async fn used(&self, _: Request<proto::Empty>) -> Result<Response<proto::FilesUsed>> {
        if !self.kernel {
            return Err(Error::new(Code::Denied, "only the kernel asks how much the realm uses"));
        }
        Ok(proto::FilesUsed { bytes: self.root.account().settle().await? }.into())
    }
}

/// Runs small work at once and large work aside.
async fn by_size<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= INLINE { work() } else { aside(work).await }
}
