//! Programs: stored by content, named in the realm's `/bin`, checked when they arrive.
//!
//! A program is on the disk for as long as a realm names it, and stays there while a proc that is to run it holds it open; the
//! system frees its bytes then. So nothing counts procs, and what no name needs is deleted at once.

mod blob;
mod upload;

pub(crate) use blob::Blobs;
pub(crate) use upload::Upload;

use crate::elf::Program;
use crate::realm::disk::Disk;
use crate::state;
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Path, Result, proto};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one program.
pub(crate) const MAX_BINARY: u64 = 256 << 20;

/// Programs that one realm may name.
const MAX_NAMES: usize = 10_000;

/// Different programs of one realm that are held open for its queued and running procs.
const MAX_OPEN: usize = 256;

/// Uploads of one realm at a time.
const MAX_UPLOADS: usize = 64;

/// Connections of one realm to its `/bin` at a time.
const MAX_CONNECTIONS: usize = 256;

/// Bytes of a program that go in one frame; longer ones are read in pieces.
pub(crate) const WHOLE: u64 = (MAX_PAYLOAD / 4) as u64;

/// A program that can be executed, whatever happens to its name.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// Open for reading; executed by this descriptor.
    pub(crate) file: Arc<File>,
    pub(crate) program: Program,
    pub(crate) size: u64,
    pub(crate) digest: String,
}

/// What is known of a program that is not open.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    digest: String,
    program: Program,
    pub(crate) size: u64,
}

/// The programs of one realm on this machine.
#[derive(Debug)]
pub(crate) struct Binaries {
    /// One file a name, which holds the digest.
    names_dir: PathBuf,
    blobs: Arc<Blobs>,
    disk: Arc<Disk>,
    names: Mutex<BTreeMap<String, Entry>>,
    open: Mutex<HashMap<String, Weak<File>>>,
    uploads: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Binaries {
    /// Reads the names that are there. One whose program is gone or damaged is left out, and logged.
    pub(crate) fn open(names_dir: PathBuf, blobs: Arc<Blobs>, disk: Arc<Disk>) -> std::io::Result<Self> {
        state::make_dir(&names_dir)?;
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&names_dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let loaded = fs::read_to_string(entry.path())
                .map_err(|error| Error::new(Code::Internal, error.to_string()))
                .and_then(|digest| blobs.load(digest.trim()));
            match loaded {
                Ok(binary) => {
                    blobs.name(&binary.digest);
                    disk.hold(binary.size);
                    names.insert(name, binary);
                }
                Err(error) => tracing::warn!(name, %error, "a program is left out"),
            }
        }
        Ok(Self {
            names_dir,
            blobs,
            disk,
            names: Mutex::new(names),
            open: Mutex::default(),
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// The program of a name, open.
    ///
    /// # Errors
    /// `NotFound`, saying how to upload; `Busy` where too many different ones are open.
    pub(crate) fn find(&self, name: &str) -> Result<Binary> {
        let Entry { digest, program, size } = self.entry(name)?;
        let file = self.share(&digest, || self.blobs.open(&digest))?;
        Ok(Binary { file, program, size, digest })
    }

    /// What is known of the program of a name.
    ///
    /// # Errors
    /// `NotFound`, saying how to upload.
    pub(crate) fn entry(&self, name: &str) -> Result<Entry> {
        self.lock().get(name).cloned().ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format!("there is no program {name:?} in /bin: 'sigma run FILE' uploads one"),
            )
        })
    }

    pub(crate) fn list(&self, after: &str, limit: usize) -> proto::DirPage {
        let names = self.lock();
        let mut later = names.iter().filter(|(name, _)| name.as_str() > after);
        let entries = later.by_ref().take(limit).map(|(name, entry)| stat(name, entry.size)).collect();
        proto::DirPage { entries, more: later.next().is_some() }
    }

    /// # Errors
    /// As [`Binaries::entry`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.entry(name)?;
        fs::remove_file(self.names_dir.join(name)).map_err(|error| broken("remove", name, &error))?;
        if let Some(gone) = self.lock().remove(name) {
            self.let_go(&gone);
        }
        Ok(())
    }

    /// A place among the connections to `/bin`, for as long as one lasts.
    ///
    /// # Errors
    /// `Busy` past [`MAX_CONNECTIONS`].
    pub(crate) fn connect(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().map_err(|_| {
            Error::new(Code::Busy, format!("the realm has {MAX_CONNECTIONS} connections to /bin: close some"))
        })
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `Quota` where the disk is full or the realm names too many; `Busy` past [`MAX_UPLOADS`].
    pub(crate) fn upload(&self, name: &str) -> Result<Upload> {
        if self.lock().len() >= MAX_NAMES && !self.lock().contains_key(name) {
            return Err(Error::new(Code::Quota, format!("/bin holds {MAX_NAMES} programs: remove some")));
        }
        let permit = Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| {
            Error::new(
                Code::Busy,
                format!("the realm uploads {MAX_UPLOADS} programs already: try again later"),
            )
        })?;
        Upload::begin(&self.blobs, &self.disk, name, permit)
    }

    /// Keeps a finished upload under its name.
    ///
    /// # Errors
    /// `Invalid` where it is no program that can run here.
    pub(crate) fn commit(&self, upload: Upload) -> Result<Entry> {
        let name = upload.name().to_owned();
        let entry = upload.keep(&self.blobs)?;
        let named = state::write_durably(&self.names_dir.join(&name), &entry.digest);
        if let Err(error) = named {
            self.let_go(&entry);
            return Err(Error::new(Code::Internal, format!("{error:#}")));
        }
        if let Some(replaced) = self.lock().insert(name, entry.clone()) {
            self.let_go(&replaced);
        }
        Ok(entry)
    }

    /// A program that runs without a name: it is gone from the disk when the last proc that needs it is.
    ///
    /// # Errors
    /// `Invalid` where it is no program that can run here; `Busy` as [`Binaries::find`].
    pub(crate) fn unnamed(&self, upload: Upload) -> Result<Binary> {
        let (digest, file, program, size) = upload.open()?;
        let file = self.share(&digest, || Ok(file))?;
        Ok(Binary { file, program, size, digest })
    }

    /// The realm is gone, and its names with it.
    pub(crate) fn forget(&self) {
        for entry in std::mem::take(&mut *self.lock()).into_values() {
            self.let_go(&entry);
        }
    }

    /// The open file of a program, shared by all procs that need it.
    fn share(&self, digest: &str, open: impl FnOnce() -> Result<File>) -> Result<Arc<File>> {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = all.get(digest).and_then(Weak::upgrade) {
            return Ok(file);
        }
        all.retain(|_, file| file.strong_count() > 0);
        if all.len() >= MAX_OPEN {
            let text = format!(
                "procs of the realm need {MAX_OPEN} different programs already: wait for some to end"
            );
            return Err(Error::new(Code::Busy, text));
        }
        let file = Arc::new(open()?);
        all.insert(digest.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }

    fn let_go(&self, entry: &Entry) {
        self.blobs.unname(&entry.digest);
        self.disk.give_back(entry.size);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(attempted: &str, name: &str, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::Quota,
        _ => Code::Internal,
    };
    Error::new(code, format!("cannot {attempted} the program {name:?}: {error}"))
}

pub(crate) fn stat(name: &str, size: u64) -> proto::Stat {
    proto::Stat { name: name.to_owned(), size, perm: 0o66, ..Default::default() }
}

/// The one name of a path in `/bin`.
///
/// # Errors
/// `NotFound` for a path further down, `IsDir` for `/bin` itself.
pub(crate) fn name_in_bin(path: &Path) -> Result<String> {
    let mut names = path.names();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        (None, _) => Err(Error::new(Code::IsDir, "/bin is a directory")),
        _ => Err(Error::new(Code::NotFound, format!("/bin{path}: /bin has no directories"))),
    }
}

#[cfg(test)]
mod tests;
