//! The operations of one connection.

use crate::bounds::{Bounds, READ_AT_ONCE, held, taken, within};
use crate::failure::failed;
use crate::page::{Meta, directory, file};
use crate::place::{Bucket, Object, Place};
use crate::reader::Reader;
use crate::store::Store;
use crate::writer::Writer;
use object_store::{GetOptions, ObjectMeta};
use sigma_proxy::Fences;
use sigmaos::limits::{DIR_PAGE, MAX_PAYLOAD};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::serve::Handles;
use sigmaos::stub::Namespace;
use sigmaos::{Code, Error, Path, Result, proto};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Bytes of a whole object that go in one frame; larger ones are read in pieces.
pub(crate) const WHOLE: usize = MAX_PAYLOAD / 4;

#[derive(Debug)]
pub(crate) struct Session<S: Store> {
    store: Arc<S>,
    bounds: Bounds,
    fences: Arc<Fences>,
    open: Handles<Open<S>>,
    /// Room for what was read and is not yet sent.
    reading: Arc<Semaphore>,
}

/// An object that is held open.
#[derive(Debug)]
struct Open<S: Store> {
    /// As it was named, and the elections that the open rested on.
    path: Path,
    fences: Vec<proto::Fence>,
    body: Body<S>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Body<S: Store> {
    Reader(Reader),
    /// One write after the other.
    Writer(Mutex<Writer<S>>),
}

impl<S: Store> Session<S> {
    pub(crate) fn new(store: Arc<S>, bounds: Bounds, fences: Arc<Fences>) -> Self {
        let (open, reading) = (Handles::default(), Arc::new(Semaphore::new(READ_AT_ONCE)));
        Self { store, bounds, fences, open, reading }
    }

    fn system(&self) -> &str {
        self.store.system()
    }

    /// What is at an object's place; none where nothing is.
    async fn look(&self, object: &Object) -> Result<Option<proto::Stat>> {
        let (place, key) = self.store.locate(object)?;
        let options = GetOptions { head: true, ..Default::default() };
        let found = async {
            place.get_opts(&key, options).await.map_err(|error| failed(self.system(), object, &error))
        };
        match within(self.system(), object, found).await {
            Ok(found) => Ok(Some(describe(object, &found.meta))),
            Err(error) if matches!(error.code, Code::NotFound | Code::NotDir | Code::IsDir) => {
                Ok(self.is_directory(object).await?.then(|| directory(object.name())))
            }
            Err(error) => Err(error),
        }
    }

    async fn is_directory(&self, object: &Object) -> Result<bool> {
        let prefix = object.prefix();
        within(self.system(), object, self.store.is_directory(&object.bucket, &prefix)).await
    }

    /// Says of an object that is not there whether it is a directory.
    async fn missing(&self, object: &Object, error: Error) -> Error {
        if !matches!(error.code, Code::NotFound | Code::NotDir | Code::IsDir) {
            return error;
        }
        match self.is_directory(object).await {
            Ok(true) => {
                Error::new(Code::IsDir, format!("{object} is a directory: list it, or name an object in it"))
            }
            _ if error.code == Code::NotDir => Error::new(Code::NotFound, format!("{object} does not exist")),
            _ => error,
        }
    }

    /// An object with its bytes, where it has no more than [`WHOLE`]. Of a larger one no more comes than is on its way: its connection is closed.
    async fn whole(&self, object: &Object) -> Result<(ObjectMeta, Bytes)> {
        let (place, key) = self.store.locate(object)?;
        let work = async {
            let tell = |error| failed(self.system(), object, &error);
            let found = place.get_opts(&key, GetOptions::default()).await.map_err(tell)?;
            if found.meta.size > WHOLE as u64 {
                let text = format!("{object} has {} bytes: open it and read it in pieces", found.meta.size);
                return Err(Error::new(Code::TooLarge, text));
            }
            let meta = found.meta.clone();
            Ok((meta, found.bytes().await.map_err(tell)?))
        };
        within(self.system(), object, work).await
    }

    fn keep_open(
        &self,
        path: Path,
        fences: Vec<proto::Fence>,
        body: Body<S>,
        stat: proto::Stat,
    ) -> Result<Response<proto::Opened>> {
        let handle = self.open.insert(Open { path, fences, body, _place: self.bounds.open()? })?;
        Ok(proto::Opened { handle, stat: Some(stat) }.into())
    }

    async fn writer(&self, object: Object, exclusive: bool) -> Result<Writer<S>> {
        Writer::new(Arc::clone(&self.store), object, exclusive, self.bounds.clone()).await
    }

    /// Opens what becomes an object when it is closed. Nothing is changed until then, so an election that is over is only told of.
    async fn open_new(
        &self,
        path: Path,
        fences: Vec<proto::Fence>,
        exclusive: bool,
    ) -> Result<Response<proto::Opened>> {
        let object = Place::object(path.as_str())?;
        drop(self.fences.hold(&fences, &[&path], false).await?);
        let stat = file(object.name(), &Meta::default());
        let writer = self.writer(object, exclusive).await?;
        self.keep_open(path, fences, Body::Writer(Mutex::new(writer)), stat)
    }

    /// Carries out a change of `path`, for which no later election comes to count until it has ended; with `below`, of what lies below it, too.
    async fn change<T: Send + 'static>(
        &self,
        path: &Path,
        fences: &[proto::Fence],
        below: bool,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let held = self.fences.hold(fences, &[path], below).await?;
        let work = async move {
            let _held = held;
            work.await
        };
        self.bounds.change(self.system(), path, work).await
    }

    /// Whoever lists what is not there hears of it, though a store does not.
    async fn check_listed(&self, object: &Object, page: &proto::DirPage, after: &str) -> Result<()> {
        if !page.entries.is_empty() || (!after.is_empty() && self.is_directory(object).await?) {
            return Ok(());
        }
        match self.look(object).await? {
            // One that holds nothing but its own name.
            Some(stat) if stat.kind() == proto::Kind::Directory => Ok(()),
            Some(_) => Err(Error::new(Code::NotDir, format!("{object} is an object, and no directory"))),
            None => Err(Error::new(Code::NotFound, format!("{object} does not exist at {}", self.system()))),
        }
    }
}

fn describe(object: &Object, meta: &ObjectMeta) -> proto::Stat {
    let modified_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
    file(object.name(), &Meta { size: meta.size, modified_ms })
}

/// Whoever asks for an entry that ends with its proc must not get one that stays.
fn stays(path: &str, ephemeral: bool) -> Result<()> {
    match ephemeral {
        false => Ok(()),
        true => Err(unsupported(
            path,
            "what is in an object store ends with no proc: make an ephemeral entry outside of /s3",
        )),
    }
}

fn unsupported(path: &str, why: &str) -> Error {
    Error::new(Code::Unsupported, format!("{path}: {why}"))
}

impl<S: Store> Namespace for Session<S> {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let object = Place::object(&request.message.path)?;
        let room = self.bounds.to_read(WHOLE).await?;
        let (meta, bytes) = match self.whole(&object).await {
            Ok(whole) => whole,
            Err(error) => return Err(self.missing(&object, error).await),
        };
        Ok(Response::new(describe(&object, &meta)).payload(held(bytes, room)))
    }

    async fn put(&self, request: Request<proto::PutRequest>) -> Result<Response<proto::Stat>> {
        let proto::PutRequest { path, exclusive, ephemeral, fences, .. } = request.message;
        stays(&path, ephemeral)?;
        let path = Path::parse(&path)?;
        let object = Place::object(path.as_str())?;
        let (size, name) = (request.payload.len() as u64, object.name().to_owned());
        let mut writer = self.writer(object, exclusive).await?;
        writer.write(0, request.payload).await?;
        self.change(&path, &fences, false, writer.close()).await?;
        // When it was stored only the store knows, and another question would cost as much as the put.
        Ok(file(name, &Meta { size, modified_ms: 0 }).into())
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let place = Place::parse(&request.message.path)?;
        match &place {
            Place::Top => {}
            Place::Bucket(bucket) => {
                within(self.system(), &format!("/{bucket}"), self.store.find_bucket(bucket)).await?;
            }
            Place::Within(object) => {
                let missing =
                    || Error::new(Code::NotFound, format!("{object} does not exist at {}", self.system()));
                return Ok(self.look(object).await?.ok_or_else(missing)?.into());
            }
        }
        Ok(directory(place.name()).into())
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> Result<Response<proto::Opened>> {
        let kind = request.message.kind();
        let proto::CreateRequest { path, exclusive, ephemeral, fences, .. } = request.message;
        stays(&path, ephemeral)?;
        let path = Path::parse(&path)?;
        match (kind, path.names().count()) {
            (proto::Kind::Directory, 0) if exclusive => {
                Err(Error::new(Code::Exists, "the directory of all buckets is there"))
            }
            (proto::Kind::Directory, 0) => Ok(proto::Opened { handle: 0, stat: Some(directory("")) }.into()),
            (proto::Kind::Directory, 1) => {
                let bucket = Bucket::parse(path.name().unwrap_or_default());
                let bucket = bucket.map_err(|error| error.context(&path))?;
                let (store, stat) = (Arc::clone(&self.store), directory(bucket.as_str()));
                let made = async move { store.make_bucket(&bucket).await };
                match self.change(&path, &fences, false, made).await {
                    Err(error) if error.code != Code::Exists || exclusive => Err(error),
                    // Handle 0 says that there is none to close.
                    _ => Ok(proto::Opened { handle: 0, stat: Some(stat) }.into()),
                }
            }
            (proto::Kind::Directory, _) => Err(unsupported(
                path.as_str(),
                "a directory in a bucket is there while objects are below it: put one",
            )),
            (proto::Kind::File, _) => {
                let object = Place::object(path.as_str())?;
                if exclusive && self.look(&object).await?.is_some() {
                    return Err(Error::new(Code::Exists, format!("{object} exists at {}", self.system())));
                }
                self.open_new(path, fences, exclusive).await
            }
            (other, _) => Err(unsupported(
                path.as_str(),
                &format!("an object store keeps objects, and no {}", other.as_str_name()),
            )),
        }
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let proto::OpenRequest { path, read, write, create, truncate, ephemeral, fences, .. } =
            request.message;
        stays(&path, ephemeral)?;
        let path = Path::parse(&path)?;
        let object = Place::object(path.as_str())?;
        match (read, write) {
            (true, false) if !create && !truncate => {
                let opened = Reader::open(&*self.store, object.clone(), self.bounds.clone()).await;
                match opened {
                    Ok(reader) => {
                        let stat = describe(&reader.object, &reader.meta);
                        self.keep_open(path, fences, Body::Reader(reader), stat)
                    }
                    Err(error) => Err(self.missing(&object, error).await),
                }
            }
            (false, true) => {
                let there = if create && truncate { None } else { self.look(&object).await? };
                match there {
                    None if create => self.open_new(path, fences, false).await,
                    None => Err(Error::new(
                        Code::NotFound,
                        format!("{object} does not exist at {}", self.system()),
                    )),
                    Some(_) if truncate => self.open_new(path, fences, false).await,
                    Some(_) => Err(unsupported(
                        path.as_str(),
                        "an object is written as a whole: open it to be truncated",
                    )),
                }
            }
            (true, true) => Err(unsupported(
                path.as_str(),
                "an object is read, or written as a whole, and not both at once",
            )),
            _ => {
                let text = format!(
                    "{path}: open it to read or to write; only what is written can be created or truncated"
                );
                Err(Error::new(Code::Invalid, text))
            }
        }
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let open = self.open.get(handle)?;
        let Body::Reader(reader) = &open.body else {
            return Err(Error::new(Code::Denied, "the object was not opened for reading"));
        };
        let length = (length as usize).min(MAX_PAYLOAD);
        let permit = taken(&self.reading, length, || {
            format!("{}: what was read before is not taken: read the answers first", open.path)
        })
        .await?;
        let (given, room) = reader.read(offset, length).await?;
        let (bytes, piped) = given.leave((permit, room));
        Ok(Response::new(proto::Empty {}).payload(bytes).piped(piped))
    }

    async fn write(&self, request: Request<proto::WriteRequest>) -> Result<Response<proto::Written>> {
        let proto::WriteRequest { handle, offset, fences, .. } = request.message;
        let open = self.open.get(handle)?;
        let Body::Writer(writer) = &open.body else {
            return Err(Error::new(Code::Denied, "the object was not opened for writing"));
        };
        drop(self.fences.hold(&fences, &[&open.path], false).await?);
        let length = request.payload.len() as u32;
        let written = async { writer.lock().await.write(offset, request.payload).await };
        within(self.system(), &open.path, written).await?;
        Ok(proto::Written { length }.into())
    }

    /// What was written is an object from now on, unless nobody wants it, or the election is over that it was opened under. One that is
    /// still being written to would not be whole, and is dropped.
    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        let proto::CloseRequest { handle, discard } = request.message;
        let open = self.open.remove(handle)?;
        if discard || matches!(open.body, Body::Reader(_)) {
            return Ok(proto::Empty {}.into());
        }
        match Arc::into_inner(open) {
            Some(Open { path, fences, body: Body::Writer(writer), .. }) => {
                self.change(&path, &fences, false, writer.into_inner().close()).await?;
            }
            Some(_) => {}
            None => {
                let text = "the object was closed while a call on it was in flight: it is not kept";
                return Err(Error::new(Code::Busy, text));
            }
        }
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        let proto::RemoveRequest { path, fences, .. } = request.message;
        let (path, store) = (Path::parse(&path)?, Arc::clone(&self.store));
        match Place::parse(path.as_str())? {
            Place::Top => return Err(Error::new(Code::Invalid, "the directory of all buckets always is")),
            Place::Bucket(bucket) => {
                let removed = async move { store.remove_bucket(&bucket).await };
                self.change(&path, &fences, true, removed).await?;
            }
            Place::Within(object) => {
                let removed = object.clone();
                let removed = async move { store.remove(&removed).await };
                if let Err(error) = self.change(&path, &fences, true, removed).await {
                    return Err(match self.missing(&object, error).await {
                        error if error.code == Code::IsDir => {
                            let text = format!("{object} is not empty: remove what is in it first");
                            Error::new(Code::NotEmpty, text)
                        }
                        error => error,
                    });
                }
            }
        }
        Ok(proto::Empty {}.into())
    }

    async fn rename(&self, request: Request<proto::RenameRequest>) -> Result<Response<proto::Empty>> {
        Err(unsupported(
            &request.message.from,
            "an object store renames nothing: copy it, and remove the first",
        ))
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let limit = if limit == 0 { DIR_PAGE } else { (limit as usize).min(DIR_PAGE) };
        let page = match Place::parse(&path)? {
            Place::Top => within(self.system(), &"the buckets", self.store.buckets(&after, limit)).await?,
            Place::Bucket(bucket) => {
                within(self.system(), &format!("/{bucket}"), self.store.list(&bucket, "", &after, limit))
                    .await?
            }
            Place::Within(object) => {
                let prefix = object.prefix();
                let listed = self.store.list(&object.bucket, &prefix, &after, limit);
                let page = within(self.system(), &object, listed).await?;
                self.check_listed(&object, &page, &after).await?;
                page
            }
        };
        Ok(page.into())
    }

    async fn read_link(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LinkTarget>> {
        let path = request.message.path;
        Err(Error::new(Code::Invalid, format!("{path} is no symbolic link: an object store has none")))
    }
}
