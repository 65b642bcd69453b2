//! Files that somebody holds open.

use crate::account::{Counted, NewEntry};
use crate::draft::Draft;
use crate::errno::{failed, failed_io, refused};
use crate::pieces;
use crate::root::Root;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::{Code, Error, Path, Result, proto};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// An open file: in its place, or a draft of what will take that place.
#[derive(Debug)]
pub(crate) struct Open {
    path: Path,
    body: Body,
    read: bool,
    write: bool,
    /// The elections that it was opened under.
    fences: Vec<proto::Fence>,
    /// Its share of the descriptors.
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Body {
    InPlace(Counted),
    /// For one read, within a call; not counted.
    Briefly(File),
    Draft(Draft),
}

impl Open {
    /// Opens as a client asked: to read, to write in place, or, to write and truncate, a draft that [`Open::keep`] puts
    /// into its place.
    ///
    /// # Errors
    /// `NotFound`, `IsDir`, `Denied`; `Invalid` for a request that makes no sense.
    pub(crate) fn new(
        root: &Arc<Root>,
        path: &Path,
        how: &proto::OpenRequest,
        permit: OwnedSemaphorePermit,
        mut entry: Option<NewEntry>,
    ) -> Result<Self> {
        let proto::OpenRequest { read, write, create, truncate, .. } = *how;
        if !write && (!read || create || truncate) {
            let text = format!(
                "{path}: open it to read, to write, or both; only what is written can be created or truncated"
            );
            return Err(Error::new(Code::Invalid, text));
        }
        let body = if let Some(entry) = entry.take_if(|_| truncate) {
            root.spot(path)?.check_replaceable(!create)?;
            Body::Draft(Draft::new(root, path, entry)?)
        } else {
            let access = match (read, write) {
                (true, true) => OFlags::RDWR,
                (false, true) => OFlags::WRONLY,
                _ => OFlags::RDONLY,
            };
            in_place(root, path, access, false, entry)?
        };
        Ok(Self { path: path.clone(), body, read, write, fences: how.fences.clone(), _permit: Some(permit) })
    }

    /// Makes a file in place, empty, or opens the one that is there where it need not be `exclusive`. Without an `entry` none is made.
    ///
    /// # Errors
    /// `Exists`, and as [`Open::new`].
    pub(crate) fn create(
        root: &Root,
        path: &Path,
        exclusive: bool,
        permit: OwnedSemaphorePermit,
        entry: Option<NewEntry>,
    ) -> Result<Self> {
        let body = in_place(root, path, OFlags::RDWR, exclusive, entry)?;
        Ok(Self {
            path: path.clone(),
            body,
            read: true,
            write: true,
            fences: Vec::new(),
            _permit: Some(permit),
        })
    }

    /// Opens for one read, within a call.
    ///
    /// # Errors
    /// As [`Open::new`].
    pub(crate) fn briefly(root: &Root, path: &Path) -> Result<Self> {
        let body = Body::Briefly(regular(root, path, OFlags::RDONLY)?);
        Ok(Self { path: path.clone(), body, read: true, write: false, fences: Vec::new(), _permit: None })
    }

    pub(crate) fn stat(&self) -> Result<rustix::fs::Stat> {
        fstat(self.file()).map_err(|errno| failed(&self.path, errno))
    }

    /// How many bytes a read can give.
    ///
    /// # Errors
    /// `Denied` where it was not opened for reading.
    pub(crate) fn readable(&self, offset: u64, length: usize) -> Result<usize> {
        if !self.read {
            return Err(self.denied("reading"));
        }
        let left = u64::try_from(self.stat()?.st_size).unwrap_or(0).saturating_sub(offset);
        Ok(length.min(MAX_PAYLOAD).min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Reads `length` bytes, fewer where the file has become shorter.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        pieces::read_at(self.file(), offset, length).map_err(|error| failed_io(&self.path, &error))
    }

    /// Counts what a write makes the file longer, before it is written.
    ///
    /// # Errors
    /// `Denied` where it was not opened for writing; `TooLarge` past what the disk allows; `Quota`.
    pub(crate) async fn make_room(&self, offset: u64, length: usize) -> Result<()> {
        if !self.write {
            return Err(self.denied("writing"));
        }
        let end = self.end(offset, length)?;
        match self.counted() {
            Some(counted) => counted.extend(&self.path, end).await,
            None => Ok(()),
        }
    }

    /// Writes all of `bytes`, after [`Open::make_room`].
    ///
    /// # Errors
    /// `Quota` on a full disk; as the system says. Part may have been written.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        pieces::write_at(self.file(), bytes, offset).map_err(|error| failed_io(&self.path, &error))
    }

    /// Closes; a draft takes its place.
    ///
    /// # Errors
    /// What keeps the draft from its place; it is gone then.
    pub(crate) fn keep(self) -> Result<()> {
        match self.body {
            Body::InPlace(_) | Body::Briefly(_) => Ok(()),
            Body::Draft(draft) => draft.keep(&self.path, false),
        }
    }

    pub(crate) fn is_draft(&self) -> bool {
        matches!(self.body, Body::Draft(_))
    }

    pub(crate) fn fences(&self) -> &[proto::Fence] {
        &self.fences
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn end(&self, offset: u64, length: usize) -> Result<u64> {
        let end = offset.checked_add(length as u64).filter(|end| i64::try_from(*end).is_ok());
        end.ok_or_else(|| failed(&self.path, Errno::FBIG))
    }

    fn counted(&self) -> Option<&Counted> {
        match &self.body {
            Body::InPlace(counted) => Some(counted),
            Body::Briefly(_) => None,
            Body::Draft(draft) => Some(&draft.counted),
        }
    }

    fn file(&self) -> &File {
        match &self.body {
            Body::InPlace(counted) => &counted.file,
            Body::Briefly(file) => file,
            Body::Draft(draft) => &draft.counted.file,
        }
    }

    fn denied(&self, what: &str) -> Error {
        Error::new(Code::Denied, format!("{} was not opened for {what}", self.path))
    }
}

/// Opens a file in its place, or makes it where there is an `entry` for it.
fn in_place(
    root: &Root,
    path: &Path,
    access: OFlags,
    exclusive: bool,
    entry: Option<NewEntry>,
) -> Result<Body> {
    let _names = root.hold_names();
    let made = entry.map(|entry| -> Result<File> {
        let file = regular(root, path, access | OFlags::CREATE | OFlags::EXCL)?;
        entry.made();
        Ok(file)
    });
    let file = match made {
        Some(Ok(made)) => made,
        Some(Err(error)) if exclusive || error.code != Code::Exists => return Err(error),
        None if exclusive => return Err(failed(path, Errno::EXIST)),
        _ => regular(root, path, access)?,
    };
    root.account().open(file).map(Body::InPlace).map_err(|errno| failed(path, errno))
}

/// Opens a regular file in its place. Nothing else is waited for: a fifo or a device is opened without blocking, looked
/// at, and refused.
fn regular(root: &Root, path: &Path, flags: OFlags) -> Result<File> {
    let file = root.walk(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = fstat(&file).map_err(|errno| failed(path, errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        other => Err(refused(path, other)),
    }
}
