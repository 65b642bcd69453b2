//! Where the output of a realm's procs is kept: two files a proc at most, made when it first writes, within one budget.
//!
//! Guarantees: the files of a realm never take more than [`MOST`], nor more than what its share of the disk has left for them; the output of
//! procs that have ended goes first, the oldest of it; the directory is held open, so that a realm that was removed is never written to
//! under its name.

use super::file;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use sigma_abi::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of output that are kept for a realm.
pub(crate) const MOST: u64 = 256 << 20;

/// Which of a proc's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Stdout,
    Stderr,
}

impl Which {
    pub(crate) const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The kept output of one realm.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: OwnedFd,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    /// The most that may be used, whatever else the realm has on the disk.
    most: u64,
    /// What the realm's share of the disk has for it.
    allowed: u64,
    used: u64,
    /// What of it is of procs that have ended.
    of_ended: u64,
    sizes: BTreeMap<(Pid, Which), u64>,
    /// Procs that have ended and wrote something, in that order.
    ended: VecDeque<Pid>,
}

impl Books {
    fn new(most: u64) -> Self {
        let (sizes, ended) = Default::default();
        Self { most, allowed: u64::MAX, used: 0, of_ended: 0, sizes, ended }
    }

    fn size(&self, pid: Pid) -> Option<u64> {
        let sizes = Which::BOTH.into_iter().filter_map(|which| self.sizes.get(&(pid, which)));
        sizes.copied().reduce(|one, other| one + other)
    }

    fn end(&mut self, pid: Pid) {
        if let Some(size) = self.size(pid) {
            self.of_ended += size;
            self.ended.push_back(pid);
        }
    }

    /// The next that makes room, where more than may be used would be used with `more`.
    fn in_the_way(&mut self, more: u64) -> Option<Pid> {
        let full = self.used + more > self.most.min(self.allowed);
        let oldest = full.then(|| self.ended.pop_front()).flatten()?;
        self.of_ended -= self.size(oldest).unwrap_or(0);
        Some(oldest)
    }
}

impl Shelf {
    /// Opens the shelf at a directory that exists. What belongs to none of the procs that are `kept` is removed.
    pub(crate) fn open(dir: &Path, kept: &[Pid], most: u64) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(dir, flags, Mode::empty())?;
        let mut books = Books::new(most);
        let known: std::collections::HashSet<_> = kept.iter().collect();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(parse) {
                Some((pid, which)) if known.contains(&pid) => {
                    let size = entry.metadata()?.len();
                    books.used += size;
                    books.sizes.insert((pid, which), size);
                }
                _ => std::fs::remove_file(entry.path())?,
            }
        }
        kept.iter().for_each(|pid| books.end(*pid));
        Ok(Self { dir: handle, books: Mutex::new(books) })
    }

    /// Bytes that are used, and those of them that do not make room for anything: of procs that live.
    pub(crate) fn used(&self) -> (u64, u64) {
        let books = self.lock();
        (books.used, books.used - books.of_ended)
    }

    /// So much may be used of the realm's share of the disk. What is past it goes where its proc has ended.
    pub(crate) fn allow(&self, bytes: u64) {
        let mut books = self.lock();
        books.allowed = bytes;
        self.make_room(&mut books, 0);
    }

    /// Appends to a stream of `total` bytes.
    ///
    /// # Errors
    /// `StorageFull` where the procs that live take the realm's whole budget; what the system says.
    pub(super) fn append(&self, pid: Pid, which: Which, total: u64, bytes: &[u8]) -> io::Result<()> {
        self.reserve(pid, which, (total + bytes.len() as u64).min(file::MOST))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&self.dir, name(pid, which), flags, Mode::RUSR | Mode::WUSR)?;
        file::append(&File::from(file), total, bytes)
    }

    /// What is kept from `offset` on: see [`file::read`]. `None`: nothing is kept at all.
    pub(super) fn read(
        &self,
        pid: Pid,
        which: Which,
        offset: u64,
    ) -> io::Result<Option<(u64, bytes::Bytes)>> {
        let Some(file) = self.file(pid, which)? else { return Ok(None) };
        file::read(&file, file::total(&file)?, offset).map(Some)
    }

    /// All that is kept, as people read it.
    pub(crate) fn whole(&self, pid: Pid, which: Which) -> io::Result<Vec<u8>> {
        self.file(pid, which)?.map_or(Ok(Vec::new()), |file| file::whole(&file))
    }

    /// A proc has ended: its output may make room for others'.
    pub(crate) fn ended(&self, pid: Pid) {
        let mut books = self.lock();
        books.end(pid);
        // It may be past what is allowed since it ended.
        self.make_room(&mut books, 0);
    }

    /// The record of a proc is kept no longer.
    pub(crate) fn forget(&self, pid: Pid) {
        let mut books = self.lock();
        let before = books.ended.len();
        books.ended.retain(|ended| *ended != pid);
        if books.ended.len() < before {
            books.of_ended -= books.size(pid).unwrap_or(0);
        }
        self.remove(&mut books, pid);
    }

    fn file(&self, pid: Pid, which: Which) -> io::Result<Option<File>> {
        match openat(&self.dir, name(pid, which), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts what a stream will take, and makes room for it.
    fn reserve(&self, pid: Pid, which: Which, size: u64) -> io::Result<()> {
        let mut books = self.lock();
        let before = books.sizes.get(&(pid, which)).copied().unwrap_or(0);
        let more = size.saturating_sub(before);
        self.make_room(&mut books, more);
        if more > 0 {
            if books.used + more > books.most.min(books.allowed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            books.used += more;
            books.sizes.insert((pid, which), size);
        }
        Ok(())
    }

    fn make_room(&self, books: &mut Books, more: u64) {
        while let Some(oldest) = books.in_the_way(more) {
            self.remove(books, oldest);
        }
    }

    fn remove(&self, books: &mut Books, pid: Pid) {
        for which in Which::BOTH {
            if let Some(size) = books.sizes.remove(&(pid, which)) {
                books.used -= size;
                // One that is not there takes no room either.
                let _ = unlinkat(&self.dir, name(pid, which), AtFlags::empty());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(pid: Pid, which: Which) -> String {
    format!("{pid}.{}", which.name())
}

fn parse(name: &str) -> Option<(Pid, Which)> {
    let (pid, stream) = name.split_once('.')?;
    let which = Which::BOTH.into_iter().find(|which| which.name() == stream)?;
    Some((pid.parse().ok()?, which))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigma_abi::MachineId;

    fn pid(number: u64) -> Pid {
        Pid { home: MachineId(1), epoch: 1, number }
    }

    #[test]
    fn a_realm_keeps_no_more_than_its_budget_and_the_oldest_that_ended_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path(), &[], 100).unwrap();
        for number in 1..=3 {
            shelf.append(pid(number), Which::Stdout, 0, &[b'x'; 40]).unwrap();
            shelf.ended(pid(number));
        }
        assert_eq!(shelf.whole(pid(1), Which::Stdout).unwrap(), b"", "it made room");
        assert_eq!(shelf.whole(pid(2), Which::Stdout).unwrap().len(), 40);
        // What lives is never taken away.
        shelf.append(pid(4), Which::Stderr, 0, &[b'y'; 100]).unwrap();
        let full = shelf.append(pid(5), Which::Stdout, 0, b"z").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        shelf.forget(pid(4));
        shelf.append(pid(5), Which::Stdout, 0, b"z").unwrap();
        let on_disk: u64 =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert_eq!((on_disk, shelf.lock().used), (1, 1));
    }

    #[test]
    fn what_the_disk_has_left_bounds_it_and_what_lives_stays() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path(), &[], 100).unwrap();
        for number in 1..=4 {
            shelf.append(pid(number), Which::Stdout, 0, &[b'x'; 20]).unwrap();
        }
        shelf.ended(pid(2));
        shelf.ended(pid(1));
        assert_eq!(shelf.used(), (80, 40));
        shelf.allow(70);
        assert_eq!(shelf.used(), (60, 40), "the one that ended first makes room");
        let full = shelf.append(pid(3), Which::Stdout, 20, &[b'x'; 40]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(shelf.used(), (40, 40));
        shelf.allow(10);
        assert_eq!(shelf.used(), (40, 40), "nothing is taken from what lives");
        // What is there may be written over, and nothing grows.
        shelf.append(pid(3), Which::Stdout, 0, &[b'y'; 20]).unwrap();
        assert!(shelf.append(pid(3), Which::Stderr, 0, b"z").is_err());
        shelf.ended(pid(3));
        assert_eq!(shelf.used(), (20, 20), "which it is no longer");
        shelf.forget(pid(4));
        shelf.forget(pid(3));
        assert_eq!(shelf.used(), (0, 0));
        // Where it is found again it counts as that of procs that have ended.
        shelf.allow(u64::MAX);
        shelf.append(pid(5), Which::Stdout, 0, &[b'x'; 20]).unwrap();
        let again = Shelf::open(dir.path(), &[pid(5)], 100).unwrap();
        assert_eq!(again.used(), (20, 0));
        again.allow(19);
        assert_eq!((again.used(), std::fs::read_dir(dir.path()).unwrap().count()), ((0, 0), 0));
    }

    #[test]
    fn what_is_kept_is_found_again_and_the_rest_removed() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path(), &[], 100).unwrap();
        shelf.append(pid(1), Which::Stdout, 0, b"kept").unwrap();
        shelf.append(pid(2), Which::Stdout, 0, b"not kept").unwrap();
        std::fs::write(dir.path().join("stranger"), "").unwrap();
        let again = Shelf::open(dir.path(), &[pid(1)], 100).unwrap();
        assert_eq!(again.whole(pid(1), Which::Stdout).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(again.lock().used, 4);
    }

    #[test]
    fn a_realm_that_was_removed_is_written_to_no_more() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("output");
        std::fs::create_dir(&dir).unwrap();
        let shelf = Shelf::open(&dir, &[], 100).unwrap();
        std::fs::remove_dir(&dir).unwrap();
        std::fs::create_dir(&dir).unwrap();
        assert!(shelf.append(pid(1), Which::Stdout, 0, b"x").is_err());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    }
}
