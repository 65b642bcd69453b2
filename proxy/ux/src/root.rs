//! The realm's directory, and the one way to what is in it.

use crate::account::{Account, Ask, NewEntry};
use crate::count;
use crate::errno::{failed, refused};
use anyhow::Context;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, open, openat2, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;
use sigmaos::{Code, Error, Path, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each walk from the directory down keeps to.
pub(crate) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Where files are until they are whole. The name is in the top directory; tenants neither see nor use it.
pub(crate) const DRAFTS: &str = ".sigma-drafts";

/// Who may do what with what ux makes on the disk: ux.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: Mode = Mode::RWXU;

/// The realm's directory.
#[derive(Debug)]
pub(crate) struct Root {
    top: OwnedFd,
    drafts: OwnedFd,
    last_draft: AtomicU64,
    account: Arc<Account>,
    /// Held while names and the account change together.
    names: Mutex<()>,
}

/// Where an entry is or will be: an open directory and a name in it. What is done with the two stays in that directory,
/// since the system follows no link at a last name that it makes, removes or renames.
#[derive(Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) directory: OwnedFd,
    pub(crate) name: &'a str,
    path: &'a Path,
}

impl Root {
    /// Opens the directory, and removes what a ux that crashed left half-written.
    ///
    /// # Errors
    /// Where the directory is missing, or something else has the name of the drafts.
    pub(crate) fn open(directory: &std::path::Path, ask: Ask, reserve: u64) -> anyhow::Result<Self> {
        let shown = directory.display();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(directory, flags, Mode::empty()).with_context(|| format!("cannot open {shown}"))?;
        let drafts = || -> std::result::Result<OwnedFd, Errno> {
            match mkdirat(&top, DRAFTS, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => openat2(&top, DRAFTS, flags, Mode::empty(), BENEATH),
                Err(error) => Err(error),
            }
        };
        let drafts = drafts().with_context(|| format!("cannot use {shown}/{DRAFTS} as a directory"))?;
        empty(&drafts).with_context(|| format!("cannot empty {shown}/{DRAFTS}"))?;
        let account = Account::new(top.try_clone().context("out of descriptors")?, ask, reserve);
        Ok(Self { top, drafts, last_draft: AtomicU64::new(0), account, names: Mutex::new(()) })
    }

    /// Counts what is there, before anybody is served.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn count(&self) -> std::io::Result<()> {
        self.account.found(count::count(&self.top)?);
        Ok(())
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Holds names where they are, so that what is changed is what is counted.
    pub(crate) fn hold_names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    pub(crate) fn drafts(&self) -> BorrowedFd<'_> {
        self.drafts.as_fd()
    }

    /// A name for a draft that no other has.
    pub(crate) fn draft_name(&self) -> String {
        self.last_draft.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Opens what is at `path`.
    ///
    /// # Errors
    /// `Denied` for what leads out, else as the system says.
    pub(crate) fn walk(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let below = below_top(path)?;
        let mode = if flags.contains(OFlags::CREATE) { FILE_MODE } else { Mode::empty() };
        openat2(&self.top, below, flags | OFlags::CLOEXEC, mode, BENEATH).map_err(|errno| failed(path, errno))
    }

    /// The directory and the name of an entry that is there or will be.
    ///
    /// # Errors
    /// `Invalid` for the top itself; as [`Root::walk`] for the directory.
    pub(crate) fn spot<'a>(&self, path: &'a Path) -> Result<Spot<'a>> {
        below_top(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(Code::Invalid, "this is the top directory of ux, which always is"));
        };
        let directory = self.walk(&parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Spot { directory, name, path })
    }

    /// What the system knows of an entry; a link's own.
    ///
    /// # Errors
    /// As [`Root::walk`].
    pub(crate) fn stat(&self, path: &Path) -> Result<Stat> {
        match path.is_root() {
            true => fstat(&self.top).map_err(|errno| failed(path, errno)),
            false => self.spot(path)?.stat(),
        }
    }

    /// Makes a directory; without an `entry` one has to be there.
    ///
    /// # Errors
    /// `Exists`, unless a directory is there and it need not be `exclusive`; as [`Root::walk`].
    pub(crate) fn make_directory(&self, path: &Path, exclusive: bool, entry: Option<NewEntry>) -> Result<()> {
        if path.is_root() {
            return if exclusive { Err(failed(path, Errno::EXIST)) } else { Ok(()) };
        }
        let spot = self.spot(path)?;
        let made = entry.map_or(Err(Errno::EXIST), |entry| {
            mkdirat(&spot.directory, spot.name, DIRECTORY_MODE).map(|()| entry.made())
        });
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if !exclusive && spot.kind()? == FileType::Directory => Ok(()),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    /// Removes an entry: a link itself, a directory only when it is empty.
    ///
    /// # Errors
    /// `NotEmpty`; as [`Root::walk`].
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        let spot = self.spot(path)?;
        let _names = self.hold_names();
        let stat = spot.stat()?;
        let removed = match unlinkat(&spot.directory, spot.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(&spot.directory, spot.name, AtFlags::REMOVEDIR),
            done => done,
        };
        removed.map_err(|errno| failed(path, errno))?;
        self.lost(&stat);
        Ok(())
    }

    /// Renames an entry; what was at the new place is replaced.
    ///
    /// # Errors
    /// `Invalid` where it would go below itself, `NotEmpty`; as [`Root::walk`].
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (source, target) = (self.spot(from)?, self.spot(to)?);
        let _names = self.hold_names();
        let moved = source.stat()?;
        let replaced = target.stat().ok().filter(|there| there.st_ino != moved.st_ino);
        match renameat(&source.directory, source.name, &target.directory, target.name) {
            Ok(()) => {
                if let Some(replaced) = replaced {
                    self.lost(&replaced);
                }
                Ok(())
            }
            Err(Errno::INVAL) => {
                Err(Error::new(Code::Invalid, format!("{from} cannot go below itself, to {to}")))
            }
            Err(errno) => Err(failed(to, errno)),
        }
    }

    /// An entry has lost its name.
    pub(crate) fn lost(&self, stat: &Stat) {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                self.account.remove_file(stat.st_ino, u64::try_from(stat.st_size).unwrap_or(0));
            }
            _ => self.account.remove(),
        }
    }
}

impl Spot<'_> {
    /// # Errors
    /// `NotFound`; as the system says.
    pub(crate) fn stat(&self) -> Result<Stat> {
        statat(&self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(self.path, errno))
    }

    fn kind(&self) -> Result<FileType> {
        Ok(FileType::from_raw_mode(self.stat()?.st_mode))
    }

    /// Whether a whole file may take this place: a file is there, or nothing.
    ///
    /// # Errors
    /// `IsDir`, `Denied` for links, fifos and devices; `NotFound` where nothing is there and it `must_be`.
    pub(crate) fn check_replaceable(&self, must_be: bool) -> Result<()> {
        match self.kind() {
            Ok(FileType::RegularFile) => Ok(()),
            Ok(other) => Err(refused(self.path, other)),
            Err(error) if error.code == Code::NotFound && !must_be => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A path as the system takes it, relative to the top.
fn below_top(path: &Path) -> Result<&str> {
    if path.names().next() == Some(DRAFTS) {
        let text = format!("/{DRAFTS} is where ux keeps files until they are whole: choose another name");
        return Err(Error::new(Code::Denied, text));
    }
    Ok(if path.is_root() { "." } else { &path.as_str()[1..] })
}

fn empty(directory: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if let Err(error) = unlinkat(directory, entry.file_name(), AtFlags::empty()) {
            tracing::warn!(name = ?entry.file_name(), %error, "an old draft stays");
        }
    }
    Ok(())
}
