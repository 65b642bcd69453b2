//! Files that are not whole yet.
//!
//! ```text
//!   new ──write, write, …──▶ keep ──▶ renamed into its place, in one step; what was there is replaced
//!            └── dropped, or ux crashes ──▶ gone; what was there stays as it was
//! ```
//!
//! A draft lies in a directory of its own that tenants cannot name, on the same file system, so that an unfinished
//! file never shows up in a listing nor keeps a directory from being removed, and so that a ux that starts finds all
//! that a crashed one left in one place.

use crate::account::{Counted, NewEntry};
use crate::errno::{failed, failed_io};
use crate::pieces;
use crate::root::{FILE_MODE, Root};
use rustix::fs::{AtFlags, OFlags, RenameFlags, fstat, openat, renameat, renameat_with, unlinkat};
use sigmaos::{Path, Result};
use std::fs::File;
use std::sync::Arc;

/// A file in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    root: Arc<Root>,
    name: String,
    pub(crate) counted: Counted,
}

impl Draft {
    /// # Errors
    /// `Quota` on a full disk; as the system says. `path` is where it shall go, and `entry` its place in the account.
    pub(crate) fn new(root: &Arc<Root>, path: &Path, entry: NewEntry) -> Result<Self> {
        let name = root.draft_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(root.drafts(), name.as_str(), flags, FILE_MODE);
        let file = File::from(file.map_err(|errno| failed(path, errno))?);
        let counted = root.account().open(file).map_err(|errno| {
            // What cannot be counted cannot stay.
            let _ = unlinkat(root.drafts(), name.as_str(), AtFlags::empty());
            failed(path, errno)
        })?;
        entry.made();
        Ok(Self { root: Arc::clone(root), name, counted })
    }

    /// Writes all of `bytes`, which are counted already.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        pieces::write_at(&self.counted.file, bytes, 0).map_err(|error| failed_io(path, &error))
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// `Exists` where something is there and it shall be `exclusive`; `IsDir` and `Denied` for what a file does not
    /// replace; `NotFound` where the directory has gone.
    pub(crate) fn keep(mut self, path: &Path, exclusive: bool) -> Result<()> {
        let spot = self.root.spot(path)?;
        let (from, to) = (self.root.drafts(), &spot.directory);
        let _names = self.root.hold_names();
        let mut replaced = None;
        let kept = if exclusive {
            renameat_with(from, self.name.as_str(), to, spot.name, RenameFlags::NOREPLACE)
        } else {
            spot.check_replaceable(false)?;
            replaced = spot.stat().ok();
            renameat(from, self.name.as_str(), to, spot.name)
        };
        kept.map_err(|errno| failed(path, errno))?;
        self.name.clear();
        if let Some(replaced) = replaced {
            self.root.lost(&replaced);
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once kept it has another name, and there is nothing to remove.
        if !self.name.is_empty() {
            if let Ok(stat) = fstat(&self.counted.file) {
                self.root.lost(&stat);
            }
            // A draft that stays is removed, and counted no more, when ux starts again.
            let _ = unlinkat(self.root.drafts(), self.name.as_str(), AtFlags::empty());
        }
    }
}
