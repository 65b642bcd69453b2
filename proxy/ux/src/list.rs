//! What is in a directory, and what is told of an entry.

use crate::errno::failed;
use crate::root::{DRAFTS, Root};
use rustix::fs::{Dir, FileType, OFlags, Stat};
use rustix::io::Errno;
use sigmaos::limits::DIR_PAGE;
use sigmaos::{Code, Path, Result, proto};
use std::collections::BinaryHeap;
use std::ffi::CStr;

/// The perm of files and directories: within a realm, ux is open to all. What ux does not open has none.
const PERM: u32 = 0o66;

/// Entries of a directory that are counted to tell its size.
const MOST_COUNTED: usize = 1000;

/// One page of a directory: its names in order, from the first after `after`. Names that are not UTF-8 cannot be said
/// in a path and are left out. The memory that it takes is bounded by the page, not by the directory.
///
/// # Errors
/// `NotFound`, `NotDir`, `Denied`.
pub(crate) fn page(root: &Root, path: &Path, after: &str, limit: usize) -> Result<proto::DirPage> {
    let limit = if limit == 0 { DIR_PAGE } else { limit.min(DIR_PAGE) };
    let mut after = after.to_owned();
    loop {
        let mut names = first_names(root, path, &after, limit + 1)?;
        let more = names.len() > limit;
        names.truncate(limit);
        let mut entries = Vec::with_capacity(names.len());
        for name in &names {
            let entry = path.join(name)?;
            match root.stat(&entry).and_then(|stat| describe(root, &entry, &stat)) {
                // Removed since it was read.
                Err(error) if error.code == Code::NotFound => {}
                described => entries.push(described?),
            }
        }
        match names.pop() {
            // All of the page is gone; a page that says that more follows must not be empty.
            Some(last) if more && entries.is_empty() => after = last,
            _ => return Ok(proto::DirPage { entries, more }),
        }
    }
}

fn first_names(root: &Root, path: &Path, after: &str, most: usize) -> Result<Vec<String>> {
    let mut names = BinaryHeap::with_capacity(most + 1);
    each_name(root, path, |name| {
        if name > after {
            names.push(name.to_owned());
            if names.len() > most {
                names.pop();
            }
        }
        true
    })?;
    Ok(names.into_sorted_vec())
}

fn each_name(root: &Root, path: &Path, mut visit: impl FnMut(&str) -> bool) -> Result<()> {
    let directory = root.walk(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let broken = |errno: Errno| failed(path, errno);
    for entry in Dir::new(directory).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = speakable(entry.file_name()).filter(|name| !path.is_root() || *name != DRAFTS);
        if name.is_some_and(|name| !visit(name)) {
            break;
        }
    }
    Ok(())
}

fn speakable(name: &CStr) -> Option<&str> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}

/// What a client is told of an entry.
///
/// # Errors
/// As [`page`], where a directory can no longer be counted.
pub(crate) fn describe(root: &Root, path: &Path, stat: &Stat) -> Result<proto::Stat> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let (kind, size, perm) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (proto::Kind::File, size, PERM),
        FileType::Directory => (proto::Kind::Directory, count(root, path)?, PERM),
        FileType::Symlink => (proto::Kind::Symlink, size, 0),
        FileType::Fifo => (proto::Kind::Pipe, 0, 0),
        _ => (proto::Kind::File, 0, 0),
    };
    let nanoseconds = |seconds: i64, rest: u64| {
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(rest)
    };
    Ok(proto::Stat {
        name: path.name().unwrap_or_default().to_owned(),
        kind: kind.into(),
        size,
        perm,
        // The file system stamps each change of an entry.
        version: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        modified_ms: nanoseconds(stat.st_mtime, stat.st_mtime_nsec) / 1_000_000,
        ..Default::default()
    })
}

fn count(root: &Root, path: &Path) -> Result<u64> {
    let mut count = 0;
    let counted = each_name(root, path, |_| {
        count += 1;
        count < MOST_COUNTED
    });
    match counted {
        // It can be told of, though not be opened.
        Err(error) if error.code == Code::Denied => Ok(0),
        _ => counted.map(|()| count as u64),
    }
}
