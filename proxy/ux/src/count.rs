//! What is in the realm's directory when ux starts, in bytes.
//!
//! Directories may be nested deeper than any path can say and than descriptors last. So this holds one directory open at a
//! time, and goes back up by `..`, which leads where it came from: nobody is served yet.

use crate::account::ENTRY;
use crate::root::{BENEATH, DRAFTS};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, openat2, statat};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Bytes of all that is below `top`, drafts excepted, as the account counts them.
pub(crate) fn count(top: impl AsFd) -> io::Result<u64> {
    let mut total = 0;
    let mut here = openat(top, ".", DIRECTORY, Mode::empty())?;
    // The directories that are still to be entered, level by level.
    let mut levels = vec![look(&here, &mut total)?];
    if let Some(drafts) = levels[0].iter().position(|name| name.to_bytes() == DRAFTS.as_bytes()) {
        levels[0].swap_remove(drafts);
        total -= ENTRY;
    }
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.pop() {
            match openat2(&here, name.as_c_str(), DIRECTORY, Mode::empty(), BENEATH) {
                Ok(directory) => {
                    here = directory;
                    levels.push(look(&here, &mut total)?);
                }
                // A mount, or what the operator closed to ux: it cannot be used, so it does not count.
                Err(error) => tracing::warn!(?name, %error, "a directory is not counted"),
            }
        } else {
            levels.pop();
            if !levels.is_empty() {
                here = openat(&here, "..", DIRECTORY, Mode::empty())?;
            }
        }
    }
    Ok(total)
}

/// Counts the entries of a directory, and gives the names of those that are directories.
fn look(directory: &OwnedFd, total: &mut u64) -> io::Result<Vec<CString>> {
    let mut directories = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        *total += ENTRY;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => directories.push(name.to_owned()),
            FileType::RegularFile => *total += u64::try_from(stat.st_size).unwrap_or(0),
            _ => {}
        }
    }
    Ok(directories)
}
