//! The store of its own: a directory of the machine's disk, for a realm whose operator has set no other.
//!
//! ```text
//!   DIR/bucket/a/b     the object `a/b`: directories are there where objects are below them, and no longer
//!   DIR/.drafts/7      an object that is not whole yet; emptied at the start
//! ```
//! What is in a file is written and read by `object_store`'s `LocalFileSystem`, and on the disk before the object is seen: it takes its
//! place by a rename. Names are changed here, one at a time, so that they and what is counted change together.
//!
//! Nobody but this proxy writes in DIR, and it makes files and directories only: there is no link to follow. Landlock holds it to DIR
//! besides.

mod account;
mod disk;

use crate::failure::{disk as disk_failed, failed};
use crate::page::Page;
use crate::place::{Bucket, Object, speakable};
use crate::store::Store;
use account::Account;
pub(crate) use account::{Ask, Say};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use sigma_proxy::aside;
use sigmaos::{Code, Error, Result, proto};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const SYSTEM: &str = "the object store of this machine";

/// Where objects are until they are whole. No bucket can have this name.
const DRAFTS: &str = ".drafts";

/// The store of one realm on this machine.
#[derive(Debug)]
pub(crate) struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    files: Arc<LocalFileSystem>,
    account: Account,
    last_draft: AtomicU64,
    /// Held while names and the account change together.
    names: Mutex<()>,
}

impl Embedded {
    /// Opens the store in `dir`, counts what is there, and removes what was not whole when it ended.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn open(dir: PathBuf, ask: Ask) -> io::Result<Self> {
        let drafts = dir.join(DRAFTS);
        match fs::remove_dir_all(&drafts) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&drafts)?,
        }
        let used = disk::count(&dir)?;
        let files = LocalFileSystem::new_with_prefix(&dir).map_err(io::Error::from)?.with_fsync(true);
        let (account, last_draft, names) = (Account::new(ask, used), AtomicU64::new(0), Mutex::new(()));
        Ok(Self(Arc::new(Inner { dir, files: Arc::new(files), account, last_draft, names })))
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.0.account.used()
    }

    /// Bytes that the files take.
    #[cfg(test)]
    pub(crate) fn on_disk(&self) -> u64 {
        disk::count(&self.0.dir).expect("it can be read")
    }

    /// Tells the kernel when much was given free, for as long as it answers.
    pub(crate) fn settle(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::clone(&self.0);
        async move { inner.account.settle().await }
    }

    fn draft(&self) -> Key {
        Key::from_iter([DRAFTS, &self.0.last_draft.fetch_add(1, Ordering::Relaxed).to_string()])
    }

    /// Puts a whole draft into its place.
    async fn publish(&self, draft: Key, object: &Object, exclusive: bool) -> Result<()> {
        let (inner, object) = (Arc::clone(&self.0), object.clone());
        inner.account.add(disk::entry(&object.key)).await.map_err(|error| error.context(&object))?;
        aside(move || {
            let from = inner.dir.join(draft.as_ref());
            inner.publish(&from, &object, exclusive).inspect_err(|_| {
                // What stays of it is removed at the next start.
                let _ = fs::remove_file(&from);
                inner.account.remove(disk::entry(&object.key));
            })
        })
        .await
    }
}

impl Inner {
    fn bucket(&self, bucket: &Bucket) -> PathBuf {
        self.dir.join(bucket.as_str())
    }

    fn file(&self, object: &Object) -> PathBuf {
        self.dir.join(disk::place(object).as_ref())
    }

    fn find_bucket(&self, bucket: &Bucket) -> Result<()> {
        match fs::symlink_metadata(self.bucket(bucket)) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(missing(bucket)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(bucket)),
            Err(error) => Err(disk_failed(SYSTEM, &format_args!("/{bucket}"), error.kind())),
        }
    }

    fn publish(&self, from: &std::path::Path, object: &Object, exclusive: bool) -> Result<()> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        self.find_bucket(&object.bucket)?;
        let to = self.file(object);
        let replaced = disk::size(&to).map_err(|error| told(object, &error))?;
        if exclusive && replaced.is_some() {
            return Err(disk_failed(SYSTEM, object, ErrorKind::AlreadyExists));
        }
        disk::place_file(from, &to, &self.bucket(&object.bucket)).map_err(|error| told(object, &error))?;
        self.account.remove(replaced.map_or(0, |size| size + disk::entry(&object.key)));
        Ok(())
    }

    fn remove(&self, object: &Object) -> Result<()> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.file(object);
        let Some(size) = disk::size(&file).map_err(|error| told(object, &error))? else {
            return Err(disk_failed(SYSTEM, object, ErrorKind::NotFound));
        };
        disk::remove_file(&file, &self.bucket(&object.bucket)).map_err(|error| told(object, &error))?;
        self.account.remove(size + disk::entry(&object.key));
        Ok(())
    }

    fn make_bucket(&self, bucket: &Bucket) -> Result<()> {
        let made = fs::create_dir(self.bucket(bucket)).and_then(|()| disk::sync(&self.dir));
        made.map_err(|error| disk_failed(SYSTEM, &format_args!("/{bucket}"), error.kind()))
    }

    fn remove_bucket(&self, bucket: &Bucket) -> Result<()> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir(self.bucket(bucket)).and_then(|()| disk::sync(&self.dir)) {
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Err(missing(bucket)),
                ErrorKind::DirectoryNotEmpty => {
                    let text = format!("/{bucket} is not empty: remove what is in it first");
                    Err(Error::new(Code::NotEmpty, text))
                }
                other => Err(disk_failed(SYSTEM, &format_args!("/{bucket}"), other)),
            },
        }
    }
}

impl Store for Embedded {
    type Parts = Parts;

    fn system(&self) -> &str {
        SYSTEM
    }

    async fn buckets(&self, after: &str, limit: usize) -> Result<proto::DirPage> {
        let (inner, after) = (Arc::clone(&self.0), after.to_owned());
        aside(move || {
            let mut page = Page::default();
            let listed = disk::list(&inner.dir, &after, limit + 1, |name| Bucket::parse(name).is_ok());
            let entries = listed.map_err(|error| disk_failed(SYSTEM, &"the buckets", error.kind()))?;
            entries.into_iter().for_each(|entry| page.add(&after, entry));
            Ok(page.first(limit, false))
        })
        .await
    }

    async fn find_bucket(&self, bucket: &Bucket) -> Result<()> {
        self.0.find_bucket(bucket)
    }

    async fn make_bucket(&self, bucket: &Bucket) -> Result<()> {
        let (inner, bucket) = (Arc::clone(&self.0), bucket.clone());
        inner.account.add(disk::ENTRY).await.map_err(|error| error.context(&bucket))?;
        aside(move || inner.make_bucket(&bucket).inspect_err(|_| inner.account.remove(disk::ENTRY))).await
    }

    async fn remove_bucket(&self, bucket: &Bucket) -> Result<()> {
        let (inner, bucket) = (Arc::clone(&self.0), bucket.clone());
        aside(move || inner.remove_bucket(&bucket).inspect(|()| inner.account.remove(disk::ENTRY))).await
    }

    async fn list(&self, bucket: &Bucket, prefix: &str, after: &str, limit: usize) -> Result<proto::DirPage> {
        let (inner, bucket, after) = (Arc::clone(&self.0), bucket.clone(), after.to_owned());
        let dir = inner.bucket(&bucket).join(prefix);
        aside(move || {
            inner.find_bucket(&bucket)?;
            let mut page = Page::default();
            let entries = match disk::list(&dir, &after, limit + 1, speakable) {
                Err(error) if disk::is_nothing(error.kind()) => Vec::new(),
                listed => {
                    listed.map_err(|error| disk_failed(SYSTEM, &format_args!("/{bucket}"), error.kind()))?
                }
            };
            entries.into_iter().for_each(|entry| page.add(&after, entry));
            Ok(page.first(limit, false))
        })
        .await
    }

    async fn is_directory(&self, bucket: &Bucket, prefix: &str) -> Result<bool> {
        Ok(fs::symlink_metadata(self.0.bucket(bucket).join(prefix)).is_ok_and(|found| found.is_dir()))
    }

    fn locate(&self, object: &Object) -> Result<(Arc<dyn ObjectStore>, Key)> {
        Ok((Arc::clone(&self.0.files) as Arc<dyn ObjectStore>, disk::place(object)))
    }

    async fn put(&self, object: &Object, payload: PutPayload, exclusive: bool) -> Result<()> {
        let draft = self.draft();
        self.0.files.put(&draft, payload).await.map_err(|error| failed(SYSTEM, object, &error))?;
        self.publish(draft, object, exclusive).await
    }

    async fn take_room(&self, object: &Object, bytes: u64) -> Result<()> {
        self.0.account.add(bytes).await.map_err(|error| error.context(object))
    }

    fn give_room(&self, bytes: u64) {
        self.0.account.remove(bytes);
    }

    async fn begin(&self, object: &Object) -> Result<Parts> {
        let place = self.draft();
        let upload = self.0.files.put_multipart(&place).await;
        let upload = upload.map_err(|error| failed(SYSTEM, object, &error))?;
        Ok(Parts { upload, place })
    }

    fn part(
        &self,
        object: &Object,
        parts: &mut Parts,
        payload: PutPayload,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (sent, object) = (parts.upload.put_part(payload), object.clone());
        async move { sent.await.map_err(|error| failed(SYSTEM, &object, &error)) }
    }

    async fn complete(&self, object: &Object, mut parts: Parts, exclusive: bool) -> Result<()> {
        parts.upload.complete().await.map_err(|error| failed(SYSTEM, object, &error))?;
        self.publish(parts.place, object, exclusive).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        let (inner, object) = (Arc::clone(&self.0), object.clone());
        aside(move || inner.remove(&object)).await
    }
}

/// A draft in the making. The library removes what is dropped before it is whole.
#[derive(Debug)]
pub(crate) struct Parts {
    upload: Box<dyn MultipartUpload>,
    place: Key,
}

fn missing(bucket: &Bucket) -> Error {
    Error::new(Code::NotFound, format!("the bucket {bucket} does not exist: create the directory to make it"))
}

fn told(object: &Object, error: &io::Error) -> Error {
    disk_failed(SYSTEM, object, error.kind())
}
