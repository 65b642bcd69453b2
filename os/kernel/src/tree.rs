//! Deleting a directory with all below it, however deep it is and whoever made it.
//!
//! A tenant may nest directories without end, so nothing here goes down into them: each directory that is not empty is
//! moved to the top first, and then deleted from there. That takes one open directory and no stack, links are never
//! followed, and whoever is interrupted goes on where it was.

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a directory that are gone through at a time, so that memory is bounded.
const PASS: usize = 4096;

/// Deletes a directory and what is in it, but for the names to `keep` at its top; with those, the directory stays. Counts what
/// is `deleted`. What does not exist is deleted already.
///
/// # Errors
/// What the system says.
pub(crate) fn delete(directory: &Path, keep: &[&str], deleted: &AtomicU64) -> io::Result<()> {
    let top = match open(CWD, directory) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0;
    loop {
        let names = entries(&top)?;
        let doomed = names.iter().filter(|name| !keep.iter().any(|keep| keep.as_bytes() == name.to_bytes()));
        let mut any = false;
        for name in doomed {
            any = true;
            delete_entry(&top, name, &mut moved, deleted)?;
        }
        if !any {
            break;
        }
    }
    match keep {
        [] => std::fs::remove_dir(directory),
        _ => Ok(()),
    }
}

/// Deletes a file, or empties a directory of the top: its files are deleted, its directories moved up.
fn delete_entry(top: &OwnedFd, name: &CString, moved: &mut u64, deleted: &AtomicU64) -> io::Result<()> {
    if unlink(top, name, deleted)? {
        return Ok(());
    }
    let directory = open(top, name.as_c_str())?;
    loop {
        let children = entries(&directory)?;
        for child in &children {
            if !unlink(&directory, child, deleted)? {
                move_up(&directory, child, top, moved)?;
            }
        }
        if children.is_empty() {
            return unlink(top, name, deleted).map(drop);
        }
    }
}

/// Removes a file or an empty directory; false for a directory that is not empty.
fn unlink(directory: &OwnedFd, name: &CString, deleted: &AtomicU64) -> io::Result<bool> {
    let removed = match unlinkat(directory, name.as_c_str(), AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(directory, name.as_c_str(), AtFlags::REMOVEDIR),
        other => other,
    };
    match removed {
        Ok(()) => {
            deleted.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        }
        Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Moves a directory to the top, under a name that nothing has there.
fn move_up(from: &OwnedFd, name: &CString, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        let free = format!(".deleting-{moved}");
        *moved += 1;
        match renameat_with(from, name.as_c_str(), top, free, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return Ok(done?),
        }
    }
}

fn open(at: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Some of the names in a directory; none where it is empty.
fn entries(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == PASS {
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_is_deeper_than_any_path_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let doomed = dir.path().join("doomed");
        fs::create_dir(&doomed).unwrap();
        // 300 × 100 levels, of which no path can name the last: each hundred is moved below the one before.
        let hundred = dir.path().join("hundred");
        for _ in 0..300 {
            fs::create_dir_all(hundred.join("d/".repeat(100))).unwrap();
            let old = doomed.join("top");
            if old.exists() {
                fs::rename(&old, hundred.join("d/".repeat(100)).join("top")).unwrap();
            }
            fs::rename(&hundred, &old).unwrap();
        }
        let deleted = AtomicU64::new(0);
        delete(&doomed, &[], &deleted).unwrap();
        assert!(!doomed.exists() && deleted.load(Ordering::Relaxed) >= 300 * 100);
    }

    #[test]
    fn links_are_deleted_and_not_followed_and_what_is_kept_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (doomed, other) = (dir.path().join("doomed"), dir.path().join("other"));
        fs::create_dir_all(doomed.join("sub")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("precious"), "x").unwrap();
        fs::write(doomed.join("keep"), "x").unwrap();
        for link in ["link", "sub/link"] {
            std::os::unix::fs::symlink(&other, doomed.join(link)).unwrap();
        }
        // A name that it would use itself.
        fs::create_dir_all(doomed.join(".deleting-0/sub")).unwrap();
        delete(&doomed, &["keep"], &AtomicU64::new(0)).unwrap();
        assert_eq!(fs::read_dir(&doomed).unwrap().count(), 1);
        delete(&doomed, &[], &AtomicU64::new(0)).unwrap();
        assert!(!doomed.exists() && other.join("precious").exists());
    }
}
