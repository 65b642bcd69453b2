//! Programs by content, and how many names each of them has in all realms of the machine.

use super::{Entry, broken};
use crate::elf;
use rustix::fs::{Mode, OFlags};
use sigma_abi::Result;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What begins the name of an upload that is not whole.
const DRAFT: &str = "draft-";

/// The programs of this machine.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(super) dir: PathBuf,
    names: Mutex<HashMap<String, usize>>,
    drafts: AtomicU64,
}

impl Blobs {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, names: Mutex::default(), drafts: AtomicU64::new(0) }
    }

    /// A place for an upload.
    pub(super) fn draft(&self) -> PathBuf {
        self.dir.join(format!("{DRAFT}{}", self.drafts.fetch_add(1, Ordering::Relaxed)))
    }

    /// Reads what a program is.
    ///
    /// # Errors
    /// Where it is gone, damaged, or none that can run here.
    pub(super) fn load(&self, digest: &str) -> Result<Entry> {
        let contents = fs::read(self.dir.join(digest)).map_err(|error| broken("read", digest, &error))?;
        let program = elf::inspect(&contents)?;
        Ok(Entry { digest: digest.to_owned(), program, size: contents.len() as u64 })
    }

    pub(super) fn open(&self, digest: &str) -> Result<File> {
        open(&self.dir.join(digest)).map_err(|error| broken("open", digest, &error))
    }

    /// One more name for a program that is there.
    pub(super) fn name(&self, digest: &str) {
        *self.lock().entry(digest.to_owned()).or_default() += 1;
    }

    /// Takes a draft in as the program of a name.
    pub(super) fn take_in(&self, draft: &Path, digest: &str) -> std::io::Result<()> {
        let mut names = self.lock();
        fs::rename(draft, self.dir.join(digest))?;
        *names.entry(digest.to_owned()).or_default() += 1;
        Ok(())
    }

    /// One name less; the program of none is deleted.
    pub(super) fn unname(&self, digest: &str) {
        let mut names = self.lock();
        let Some(count) = names.get_mut(digest) else { return };
        *count -= 1;
        if *count == 0 {
            names.remove(digest);
            if let Err(error) = fs::remove_file(self.dir.join(digest)) {
                tracing::warn!(digest, %error, "a program that nobody names stays until the next boot");
            }
        }
    }

    /// Deletes what no realm names, and what uploads left that were interrupted. For when all realms are up.
    pub(crate) fn sweep(&self) -> std::io::Result<()> {
        let names = self.lock();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !names.contains_key(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a program to be executed.
pub(super) fn open(path: &Path) -> std::io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
}
