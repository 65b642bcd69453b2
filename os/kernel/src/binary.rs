//! Programs: stored by content, named in the realm's `/bin`, checked when they arrive.

use crate::elf::{self, Program};
use crate::state;
use rustix::fs::{Mode, OFlags};
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Path, Result, proto};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of one program.
pub(crate) const MAX_BINARY: u64 = 256 << 20;

/// Programs that one realm may name.
const MAX_NAMES: usize = 10_000;

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

/// The programs of one realm on this machine.
#[derive(Debug)]
pub(crate) struct Binaries {
    /// One file a name, which holds the digest.
    names_dir: PathBuf,
    blobs: PathBuf,
    names: Mutex<BTreeMap<String, Binary>>,
}

static DRAFTS: AtomicU64 = AtomicU64::new(0);

impl Binaries {
    /// Reads the names that are there. One whose program is gone or damaged is left out, and logged.
    pub(crate) fn open(names_dir: PathBuf, blobs: PathBuf) -> std::io::Result<Self> {
        state::make_dir(&names_dir)?;
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&names_dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let loaded = fs::read_to_string(entry.path())
                .map_err(|error| Error::new(Code::Internal, error.to_string()))
                .and_then(|digest| load(&blobs.join(digest.trim()), digest.trim()));
            match loaded {
                Ok(binary) => drop(names.insert(name, binary)),
                Err(error) => tracing::warn!(name, %error, "a program is left out"),
            }
        }
        Ok(Self { names_dir, blobs, names: Mutex::new(names) })
    }

    /// # Errors
    /// `NotFound`, saying how to upload.
    pub(crate) fn find(&self, name: &str) -> Result<Binary> {
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
        let entries = later.by_ref().take(limit).map(|(name, binary)| stat(name, binary)).collect();
        proto::DirPage { entries, more: later.next().is_some() }
    }

    /// # Errors
    /// As [`Binaries::find`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.find(name)?;
        fs::remove_file(self.names_dir.join(name)).map_err(|error| broken("remove", name, &error))?;
        self.lock().remove(name);
        Ok(())
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `Quota` where the disk is full or the realm names too many.
    pub(crate) fn upload(&self, name: &str) -> Result<Upload> {
        if self.lock().len() >= MAX_NAMES && !self.lock().contains_key(name) {
            return Err(Error::new(Code::Quota, format!("/bin holds {MAX_NAMES} programs: remove some")));
        }
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let path = self.blobs.join(format!("draft-{number}"));
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o700)
            .open(&path)
            .map_err(|error| broken("upload", name, &error))?;
        Ok(Upload { name: name.to_owned(), path, file, hash: Box::default(), size: 0 })
    }

    /// Keeps a finished upload under its name.
    ///
    /// # Errors
    /// `Invalid` where it is no program that can run here.
    pub(crate) fn commit(&self, upload: Upload) -> Result<Binary> {
        let name = upload.name.clone();
        let binary = self.store(upload)?;
        state::write_durably(&self.names_dir.join(&name), &binary.digest)
            .map_err(|error| Error::new(Code::Internal, format!("{error:#}")))?;
        self.lock().insert(name, binary.clone());
        Ok(binary)
    }

    /// Keeps a program by its content alone.
    ///
    /// # Errors
    /// As [`Binaries::commit`].
    pub(crate) fn store(&self, upload: Upload) -> Result<Binary> {
        let digest = upload.hash.finalize().to_hex().to_string();
        let blob = self.blobs.join(&digest);
        let kept = (|| {
            upload.file.sync_all()?;
            fs::set_permissions(&upload.path, fs::Permissions::from_mode(0o555))?;
            fs::rename(&upload.path, &blob)
        })();
        kept.map_err(|error| broken("keep", &upload.name, &error))?;
        // The descriptor for writing is closed first: a program that is open for writing cannot be executed.
        let name = upload.name.clone();
        drop(upload);
        load(&blob, &digest).map_err(|error| {
            // What cannot run is under no name, so nobody misses it.
            let _ = fs::remove_file(&blob);
            error.context(format!("{name:?} cannot run"))
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Binary>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(blob: &std::path::Path, digest: &str) -> Result<Binary> {
    let opened = rustix::fs::open(blob, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let file = File::from(opened.map_err(|error| broken("open", digest, &error.into()))?);
    let contents = fs::read(blob).map_err(|error| broken("read", digest, &error))?;
    let program = elf::inspect(&contents)?;
    let size = contents.len() as u64;
    Ok(Binary { file: Arc::new(file), program, size, digest: digest.to_owned() })
}

fn broken(attempted: &str, name: &str, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::Quota,
        _ => Code::Internal,
    };
    Error::new(code, format!("cannot {attempted} the program {name:?}: {error}"))
}

pub(crate) fn stat(name: &str, binary: &Binary) -> proto::Stat {
    proto::Stat { name: name.to_owned(), size: binary.size, perm: 0o66, ..Default::default() }
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

/// A program on its way in. Dropped before it is committed, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Upload {
    name: String,
    path: PathBuf,
    file: File,
    hash: Box<blake3::Hasher>,
    size: u64,
}

impl Upload {
    /// Appends.
    ///
    /// # Errors
    /// `Invalid` where `offset` is not the end, `TooLarge` past [`MAX_BINARY`], `Quota` on a full disk.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset != self.size {
            return Err(Error::new(Code::Invalid, "a program is written from its beginning to its end"));
        }
        if self.size + bytes.len() as u64 > MAX_BINARY {
            return Err(Error::new(Code::TooLarge, format!("a program of more than {MAX_BINARY} bytes")));
        }
        self.file.write_all(bytes).map_err(|error| broken("write", &self.name, &error))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After a commit the draft has its final name, and there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
