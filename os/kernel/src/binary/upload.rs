//! A program on its way in.

use super::blob::{self, Blobs};
use super::{Entry, MAX_BINARY, broken};
use crate::elf::{self, Program};
use crate::realm::disk::Disk;
use sigma_abi::{Code, Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A program on its way in. Dropped before it is kept, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Upload {
    name: String,
    path: PathBuf,
    file: Option<File>,
    hash: Box<blake3::Hasher>,
    size: u64,
    disk: Arc<Disk>,
    /// The bytes are a kept program's, and no longer this upload's to give back.
    kept: bool,
    _permit: OwnedSemaphorePermit,
}

impl Upload {
    pub(super) fn begin(
        blobs: &Blobs,
        disk: &Arc<Disk>,
        name: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self> {
        let path = blobs.draft();
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o700)
            .open(&path)
            .map_err(|error| broken("upload", name, &error))?;
        let disk = Arc::clone(disk);
        let (name, file) = (name.to_owned(), Some(file));
        Ok(Self { name, path, file, hash: Box::default(), size: 0, disk, kept: false, _permit: permit })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends.
    ///
    /// # Errors
    /// `Invalid` where `offset` is not the end, `TooLarge` past [`MAX_BINARY`], `Quota` past the realm's share of the disk.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset != self.size {
            return Err(Error::new(Code::Invalid, "a program is written from its beginning to its end"));
        }
        let length = bytes.len() as u64;
        if self.size + length > MAX_BINARY {
            return Err(Error::new(Code::TooLarge, format!("a program of more than {MAX_BINARY} bytes")));
        }
        let named = |error: Error| error.context(format!("/bin/{}", self.name));
        self.disk.take(length).map_err(named)?;
        self.size += length;
        let mut file = self.file.as_ref().ok_or_else(|| Error::new(Code::Closed, "this upload is closed"))?;
        file.write_all(bytes).map_err(|error| broken("write", &self.name, &error))?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Puts it among the programs, with one name to come.
    pub(super) fn keep(mut self, blobs: &Blobs) -> Result<Entry> {
        let (digest, program) = self.finish()?;
        blobs.take_in(&self.path, &digest).map_err(|error| broken("keep", &self.name, &error))?;
        self.kept = true;
        Ok(Entry { digest, program, size: self.size })
    }

    /// Opens it as it is; its name on the disk goes with this.
    pub(super) fn open(mut self) -> Result<(String, File, Program, u64)> {
        let (digest, program) = self.finish()?;
        let file = blob::open(&self.path).map_err(|error| broken("open", &self.name, &error))?;
        Ok((digest, file, program, self.size))
    }

    /// The digest of what was written, which is a program that can run here.
    fn finish(&mut self) -> Result<(String, Program)> {
        // It is closed for writing: a program that is open for writing cannot be executed.
        let file = self.file.take().ok_or_else(|| Error::new(Code::Closed, "this upload is closed"))?;
        let written = file.sync_all().and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o555)));
        drop(file);
        written.map_err(|error| broken("keep", &self.name, &error))?;
        let contents = fs::read(&self.path).map_err(|error| broken("read", &self.name, &error))?;
        let program =
            elf::inspect(&contents).map_err(|error| error.context(format!("{:?} cannot run", self.name)))?;
        Ok((self.hash.finalize().to_hex().to_string(), program))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            // A draft that cannot be removed now is removed at the next boot.
            let _ = fs::remove_file(&self.path);
            self.disk.give_back(self.size);
        }
    }
}
