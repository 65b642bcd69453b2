//! The file in which a realm's records are: entries, one after the other.
//!
//! ```text
//!   length u32 │ checksum, 8 bytes │ a ProcInfo      as it was spawned: state QUEUED, with its spec
//!   length u32 │ checksum, 8 bytes │ a ProcInfo      as it ended: state EXITED, with its status
//! ```
//!
//! Numbers are little-endian; the checksum is the beginning of BLAKE3 of the message. Guarantees: what was appended is there
//! when the kernel is killed; an entry that was cut off by that is dropped, and anything else that is damaged is told apart
//! from it. Nothing is flushed to the disk at each entry, so a machine that loses power may lose the last seconds.

use bytes::Bytes;
use prost::Message;
use sigma_abi::proto;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Length and checksum.
const PREFIX: usize = 12;

/// The longest entry: a spec has at most 128 KiB of arguments and of environment each, and a status 64 KiB of data.
const MAX_ENTRY: usize = 1 << 20;

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    length: u32,
}

impl Place {
    /// Bytes on the disk.
    pub(super) fn size(self) -> u64 {
        PREFIX as u64 + u64::from(self.length)
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
}

/// What a journal holds when it is opened.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) entries: Vec<(Place, proto::ProcInfo)>,
    /// Where it cannot be read further, and why; what was cut off at the end is not damage.
    pub(super) damaged: Option<String>,
}

impl Journal {
    /// Opens a journal, or begins it, and reads all of it. What follows the last whole entry is dropped; the file of a damaged
    /// one is kept beside it for whoever looks into it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Replay)> {
        let file = options().create(true).truncate(false).open(path)?;
        let (length, replay) = replay(&file)?;
        if replay.damaged.is_some() {
            fs::copy(path, aside(path))?;
        }
        file.set_len(length)?;
        Ok((Self { path: path.to_owned(), file, length }, replay))
    }

    /// # Errors
    /// What the system says; the journal is then as it was.
    pub(super) fn append(&mut self, info: &proto::ProcInfo) -> io::Result<Place> {
        let entry = encode(info);
        // One that fails half way is written over by the next.
        self.file.write_all_at(&entry, self.length)?;
        let place = Place { offset: self.length, length: (entry.len() - PREFIX) as u32 };
        self.length += entry.len() as u64;
        Ok(place)
    }

    /// # Errors
    /// `InvalidData` where it is not what was written.
    pub(super) fn read(&self, place: Place) -> io::Result<proto::ProcInfo> {
        let mut entry = vec![0; place.size() as usize];
        self.file.read_exact_at(&mut entry, place.offset)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "an entry of the journal is damaged");
        decode(&entry).ok_or_else(damaged)
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Begins to write a journal anew with the entries at `places` alone. What takes long is in [`Draft::copy`].
    pub(super) fn draft(&self, places: Vec<Place>) -> io::Result<Draft> {
        let path = self.path.with_extension("draft");
        let file = options().create(true).truncate(true).open(&path)?;
        Ok(Draft { from: self.file.try_clone()?, file, path, places, length: 0, seen: self.length })
    }

    /// Goes on with a draft, to which comes what was appended since it was begun. Tells where each entry is now.
    pub(super) fn adopt(&mut self, draft: Draft) -> io::Result<impl Fn(Place) -> Option<Place> + use<>> {
        let Draft { file, path, places, length, seen, .. } = draft;
        let mut since = vec![0; (self.length - seen) as usize];
        self.file.read_exact_at(&mut since, seen)?;
        file.write_all_at(&since, length)?;
        fs::rename(&path, &self.path)?;
        (self.file, self.length) = (file, length + since.len() as u64);
        let mut moved = std::collections::HashMap::new();
        let mut offset = 0;
        for place in places {
            moved.insert(place.offset, offset);
            offset += place.size();
        }
        Ok(move |place: Place| {
            let offset = if place.offset >= seen {
                place.offset - seen + length
            } else {
                *moved.get(&place.offset)?
            };
            Some(Place { offset, ..place })
        })
    }
}

/// A journal that is being written anew.
#[derive(Debug)]
pub(super) struct Draft {
    from: File,
    file: File,
    path: PathBuf,
    places: Vec<Place>,
    length: u64,
    /// How long the old one was when this was begun.
    seen: u64,
}

impl Draft {
    /// Copies the entries. It may be called on another thread, and takes as long as the disk does.
    ///
    /// # Errors
    /// What the system says; the journal is then as it was.
    pub(super) fn copy(&mut self) -> io::Result<()> {
        let mut out = io::BufWriter::new(&self.file);
        for place in &self.places {
            let mut entry = vec![0; place.size() as usize];
            self.from.read_exact_at(&mut entry, place.offset)?;
            out.write_all(&entry)?;
            self.length += place.size();
        }
        out.flush()?;
        drop(out);
        // Once it has the name of the journal, nothing else holds what it holds.
        self.file.sync_all()
    }
}

fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Where a damaged journal is kept.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("damaged")
}

fn encode(info: &proto::ProcInfo) -> Vec<u8> {
    let mut entry = vec![0; PREFIX];
    entry.reserve(info.encoded_len());
    info.encode(&mut entry).expect("a vector grows as needed");
    let length = (entry.len() - PREFIX) as u32;
    let sum = checksum(&entry[PREFIX..]);
    entry[..4].copy_from_slice(&length.to_le_bytes());
    entry[4..PREFIX].copy_from_slice(&sum);
    entry
}

fn decode(entry: &[u8]) -> Option<proto::ProcInfo> {
    let (prefix, message) = entry.split_at_checked(PREFIX)?;
    (prefix[4..] == checksum(message))
        .then(|| proto::ProcInfo::decode(Bytes::copy_from_slice(message)).ok())?
}

fn checksum(message: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(message).as_bytes()[..8]);
    sum
}

/// All entries, and how long the file is up to the last whole one.
fn replay(file: &File) -> io::Result<(u64, Replay)> {
    let size = file.metadata()?.len();
    let mut input = io::BufReader::new(file);
    let mut replay = Replay::default();
    let mut offset = 0;
    while size - offset >= PREFIX as u64 {
        let mut prefix = [0; PREFIX];
        input.read_exact(&mut prefix)?;
        let [a, b, c, d, ..] = prefix;
        let length = u32::from_le_bytes([a, b, c, d]);
        let place = Place { offset, length };
        if length as usize > MAX_ENTRY {
            replay.damaged = Some(format!("at byte {offset}: an entry of {length} bytes"));
            break;
        }
        if place.size() > size - offset {
            break;
        }
        let mut entry = prefix.to_vec();
        entry.resize(place.size() as usize, 0);
        input.read_exact(&mut entry[PREFIX..])?;
        let Some(info) = decode(&entry) else {
            replay.damaged = Some(format!("at byte {offset}: the checksum of an entry is wrong"));
            break;
        };
        replay.entries.push((place, info));
        offset += place.size();
    }
    Ok((offset, replay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(number: usize) -> proto::ProcInfo {
        proto::ProcInfo { pid: format!("m00000001-1-{number}"), ..Default::default() }
    }

    fn filled(count: usize) -> (tempfile::TempDir, PathBuf, Vec<Place>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, replay) = Journal::open(&path).unwrap();
        assert!(replay.entries.is_empty());
        let places = (0..count).map(|number| journal.append(&info(number)).unwrap()).collect();
        (dir, path, places)
    }

    fn numbers(path: &Path) -> (usize, Option<String>) {
        let (_, replay) = Journal::open(path).unwrap();
        for (number, (_, entry)) in replay.entries.iter().enumerate() {
            assert_eq!(*entry, info(number));
        }
        (replay.entries.len(), replay.damaged)
    }

    #[test]
    fn wherever_it_is_cut_off_all_whole_entries_are_there() {
        let (_dir, path, places) = filled(3);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let expect = places.iter().filter(|place| place.offset + place.size() <= cut as u64).count();
            assert_eq!(numbers(&path), (expect, None), "cut at {cut}");
        }
    }

    #[test]
    fn wherever_a_byte_is_changed_what_lies_before_it_is_there_and_nothing_wrong() {
        let (_dir, path, places) = filled(3);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            fs::write(&path, &changed).unwrap();
            let intact = places.iter().filter(|place| place.offset + place.size() <= at as u64).count();
            assert_eq!(numbers(&path).0, intact, "changed at {at}");
            // It can be used again, and is whole from then on.
            assert_eq!(numbers(&path), (intact, None));
        }
    }

    #[test]
    fn a_damaged_one_is_kept_aside() {
        let (dir, path, _) = filled(2);
        let mut changed = fs::read(&path).unwrap();
        changed[PREFIX] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(numbers(&path).1.is_some_and(|why| why.contains("at byte 0")));
        assert_eq!(fs::read(dir.path().join("journal.damaged")).unwrap(), changed);
    }

    #[test]
    fn a_new_draft_holds_what_is_kept_and_what_came_meanwhile() {
        let (_dir, path, _) = filled(0);
        let (mut journal, _) = Journal::open(&path).unwrap();
        let old: Vec<_> = (0..10).map(|number| journal.append(&info(number)).unwrap()).collect();
        let mut draft = journal.draft(vec![old[7], old[2]]).unwrap();
        draft.copy().unwrap();
        let late = journal.append(&info(10)).unwrap();
        let moved = journal.adopt(draft).unwrap();
        assert_eq!(moved(old[3]), None);
        for (place, number) in [(old[7], 7), (old[2], 2), (late, 10)] {
            assert_eq!(journal.read(moved(place).unwrap()).unwrap(), info(number));
        }
        assert_eq!(journal.length(), fs::metadata(&path).unwrap().len());
        let (_, replay) = Journal::open(&path).unwrap();
        assert_eq!(replay.entries.len(), 3);
    }
}
