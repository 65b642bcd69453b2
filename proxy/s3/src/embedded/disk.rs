//! The store's files: where they are, what they take, and how they come and go.

use crate::page::{Entry, Meta};
use crate::place::{Bucket, Object};
use object_store::path::{Path as Key, PathPart};
use rustix::fs::{RenameFlags, renameat_with};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What each name of a key takes of the disk beside the object's bytes: empty objects and directories are not free.
pub(super) const ENTRY: u64 = 4096;

/// What an object takes beside its bytes.
pub(super) fn entry(key: &Key) -> u64 {
    ENTRY * key.parts_count() as u64
}

/// Where an object's file is. `LocalFileSystem` keeps names such as `a#1` to itself, so they have one more character there.
pub(super) fn place(object: &Object) -> Key {
    let bucket = Key::from(object.bucket.as_str());
    let parent = object.key.parent().unwrap_or_default();
    let name = escaped(object.name());
    bucket
        .parts()
        .chain(parent.parts())
        .chain(PathPart::parse(&name))
        .fold(Key::ROOT, |key, part| key.join(part))
}

fn escaped(name: &str) -> Cow<'_, str> {
    if is_taken(name.trim_end_matches('_')) { format!("{name}_").into() } else { name.into() }
}

fn unescaped(name: &str) -> &str {
    name.strip_suffix('_').filter(|shorter| is_taken(shorter.trim_end_matches('_'))).unwrap_or(name)
}

/// Whether a name is one that `LocalFileSystem` keeps to itself.
fn is_taken(name: &str) -> bool {
    let suffix = name.split_once('#').map_or("", |(_, suffix)| suffix);
    !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first `most` entries of a directory whose names are `wanted` and come after `after`. The memory that it takes is bounded by that, and not by the
/// directory.
pub(super) fn list(
    dir: &Path,
    after: &str,
    most: usize,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<Entry>> {
    let mut first: BTreeMap<String, fs::DirEntry> = BTreeMap::new();
    for found in fs::read_dir(dir)? {
        let found = found?;
        let Ok(on_disk) = found.file_name().into_string() else { continue };
        let name = if found.file_type()?.is_dir() { &on_disk } else { unescaped(&on_disk) };
        if name > after
            && wanted(name)
            && first.last_key_value().is_none_or(|(last, _)| first.len() < most || name < last.as_str())
        {
            first.insert(name.to_owned(), found);
            if first.len() > most {
                first.pop_last();
            }
        }
    }
    let described = first.into_iter().filter_map(|(name, found)| match found.metadata() {
        Ok(meta) if meta.is_dir() => Some(Ok(Entry { name, object: None })),
        Ok(meta) if meta.is_file() => Some(Ok(Entry { name, object: Some(described(&meta)) })),
        // Neither, or removed since.
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    });
    described.collect()
}

fn described(meta: &fs::Metadata) -> Meta {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Meta { size: meta.len(), modified_ms: modified.map_or(0, |time| time.as_millis() as u64) }
}

/// Whether an error says no more than that nothing is there.
pub(super) fn is_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Bytes of the file at `place`; none where nothing is.
///
/// # Errors
/// `IsADirectory`, `NotADirectory` on the way, and as the system says.
pub(super) fn size(place: &Path) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(place) {
        Ok(meta) if meta.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames a file that is on the disk to its place in `bucket`; what was there is replaced. The rename is on the disk when this returns.
///
/// # Errors
/// As the system says.
pub(super) fn place_file(from: &Path, to: &Path, bucket: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(bucket);
    let made = !parent.is_dir();
    if made {
        fs::create_dir_all(parent).map_err(|error| match error.kind() {
            // A file is where a directory would have to be.
            ErrorKind::AlreadyExists => ErrorKind::NotADirectory.into(),
            _ => error,
        })?;
    }
    renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::empty())?;
    let above = parent.ancestors().take_while(|above| made && *above != bucket).skip(1);
    above.chain(made.then_some(bucket)).try_for_each(sync)?;
    sync(parent)
}

/// Removes a file, and the directories in `bucket` that are empty without it.
///
/// # Errors
/// As the system says.
pub(super) fn remove_file(file: &Path, bucket: &Path) -> io::Result<()> {
    fs::remove_file(file)?;
    let mut above = file.parent();
    while let Some(dir) = above.filter(|dir| *dir != bucket) {
        if fs::remove_dir(dir).is_err() {
            break;
        }
        above = dir.parent();
    }
    above.map_or(Ok(()), sync)
}

/// What was done to the names in a directory is on the disk.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Bytes that the store in `dir` takes, what is not in a bucket left out. Directories that an end by force has left empty are removed.
///
/// # Errors
/// As the system says.
pub(super) fn count(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for bucket in fs::read_dir(dir)? {
        let bucket = bucket?;
        let is_bucket = bucket.file_name().to_str().is_some_and(|name| Bucket::parse(name).is_ok());
        if bucket.file_type()?.is_dir() && is_bucket {
            bytes += ENTRY + count_below(&bucket.path(), 1)?;
        }
    }
    Ok(bytes)
}

fn count_below(dir: &Path, depth: u64) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += count_below(&entry.path(), depth + 1)?;
            // One with something in it stays.
            let _ = fs::remove_dir(entry.path());
        } else {
            bytes += entry.metadata()?.len() + ENTRY * depth;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Place, speakable};

    #[test]
    fn names_that_the_library_keeps_to_itself_are_free_to_tenants() {
        for name in ["a#1", "a#1_", "a#1__", "#7", "a#", "a#b", "a##1", "a_", "_"] {
            let on_disk = escaped(name);
            assert!(!is_taken(&on_disk), "{name} is {on_disk}");
            assert_eq!(unescaped(&on_disk), name);
            let object = Place::object(&format!("/shop/d#1/{name}")).unwrap();
            assert_eq!(place(&object).as_ref(), format!("shop/d#1/{on_disk}"));
        }
    }

    #[test]
    fn the_memory_of_a_listing_is_bounded_by_its_page() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::write(dir.path().join(format!("n{number:02}")), "x").unwrap();
        }
        fs::create_dir(dir.path().join("n10d")).unwrap();
        let names = |after: &str| -> Vec<String> {
            list(dir.path(), after, 3, speakable).unwrap().into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(""), ["n00", "n01", "n02"]);
        assert_eq!(names("n10"), ["n10d", "n11", "n12"]);
        assert_eq!(names("n49"), [""; 0]);
    }
}
