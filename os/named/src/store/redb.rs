//! A store in one file on the local disk, by redb: a batch is a transaction, on disk before it is answered.

use super::Store;
use crate::tree::Batch;
use bytes::Bytes;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use rustix::fs::statvfs;
use rustix::io::Errno;
use sigma_abi::{Code, Error};
use std::path::{Path, PathBuf};

/// The namespace itself.
const NAMESPACE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("namespace");

/// Facts about the file: its format, and the epoch of its last owner.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// The format of the records that this build reads and writes.
const FORMAT: u64 = 2;

/// Bytes of the file that redb keeps in memory; the tree itself is in memory already.
const CACHE_BYTES: usize = 4 << 20;

/// What the system says where there is no room: on the disk, for this user, for this file.
const NO_ROOM: [Errno; 3] = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];

/// A namespace in a file.
#[derive(Debug)]
pub struct Redb {
    /// None where it could not be opened again.
    database: Option<Database>,
    path: PathBuf,
    epoch: u64,
    /// A write has failed. The library then refuses all further ones, until the file is opened again.
    failed: bool,
}

impl Redb {
    /// Opens the file and takes it over, or makes it.
    ///
    /// # Errors
    /// `Version` where a newer build has written it; `Busy` where somebody has it open; `Quota` without room; `Internal` where
    /// it is damaged. Each names the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut store = Self { database: None, path: path.to_owned(), epoch: 0, failed: false };
        store.epoch =
            store.open_file().and_then(|()| store.take_over()).map_err(|error| store.named(error))?;
        Ok(store)
    }

    fn open_file(&mut self) -> Result<(), Error> {
        // The file is locked by who has it open, which may be this.
        self.database = None;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&self.path);
        let mut database = database.map_err(opening)?;
        // All of it is read at each start, so all of it is held against its checksums: what is damaged is not served.
        if !database.check_integrity().map_err(opening)? {
            tracing::warn!(path = %self.path.display(), "the file was not as it should be, and was repaired");
        }
        self.database = Some(database);
        Ok(())
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or_else(|| Error::new(Code::Internal, "it could not be opened again"))
    }

    fn named(&self, error: Error) -> Error {
        error.context(format!("the namespace in {}", self.path.display()))
    }

    fn take_over(&mut self) -> Result<u64, Error> {
        let mut transaction = self.database()?.begin_write().map_err(broken)?;
        transaction.set_durability(Durability::Immediate).map_err(broken)?;
        let epoch = {
            let mut facts = transaction.open_table(FACTS).map_err(broken)?;
            let format = facts.get("format").map_err(broken)?.map(|format| format.value());
            if let Some(format) = format.filter(|format| *format > FORMAT) {
                let text = format!(
                    "it has format {format}, and this build reads up to {FORMAT}: run the newer build"
                );
                return Err(Error::new(Code::Version, text));
            }
            let epoch = facts.get("epoch").map_err(broken)?.map_or(0, |epoch| epoch.value()) + 1;
            facts.insert("format", FORMAT).map_err(broken)?;
            facts.insert("epoch", epoch).map_err(broken)?;
            transaction.open_table(NAMESPACE).map_err(broken)?;
            epoch
        };
        transaction.commit().map_err(broken)?;
        Ok(epoch)
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let mut transaction = self.database()?.begin_write().map_err(broken)?;
        transaction.set_durability(Durability::Immediate).map_err(broken)?;
        {
            let facts = transaction.open_table(FACTS).map_err(broken)?;
            let epoch = facts.get("epoch").map_err(broken)?.map_or(0, |epoch| epoch.value());
            if epoch != self.epoch {
                return Err(Error::new(Code::Stale, "another named has taken it over"));
            }
            let mut namespace = transaction.open_table(NAMESPACE).map_err(broken)?;
            for (key, value) in batch {
                match value {
                    Some(value) => drop(namespace.insert(key.as_slice(), value.as_ref()).map_err(broken)?),
                    None => drop(namespace.remove(key.as_slice()).map_err(broken)?),
                }
            }
        }
        transaction.commit().map_err(broken)
    }
}

impl Redb {
    fn read(&self) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
        let transaction = self.database()?.begin_read().map_err(broken)?;
        let namespace = transaction.open_table(NAMESPACE).map_err(broken)?;
        let mut records = Vec::new();
        for record in namespace.iter().map_err(broken)? {
            let (key, value) = record.map_err(broken)?;
            records.push((key.value().to_vec(), Bytes::copy_from_slice(value.value())));
        }
        Ok(records)
    }
}

impl Store for Redb {
    fn load(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
        if std::mem::take(&mut self.failed) {
            self.open_file().map_err(|error| self.named(error))?;
        }
        self.read().map_err(|error| self.named(error))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        let written = self.write(batch);
        self.failed |= written.is_err();
        written.map_err(|error| self.named(error))
    }

    fn room(&self) -> Option<u64> {
        let room = statvfs(&self.path).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn is_slow(&self) -> bool {
        true
    }
}

fn opening(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::new(Code::Busy, "another process has it open"),
        DatabaseError::UpgradeRequired(version) => {
            let text = format!("it is a file of version {version} that this build cannot read");
            Error::new(Code::Version, text)
        }
        other => broken(other),
    }
}

fn broken(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error)
            if Errno::from_io_error(&error).is_some_and(|errno| NO_ROOM.contains(&errno)) =>
        {
            Error::new(Code::Quota, "the disk is full")
        }
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            Error::new(Code::Internal, format!("cannot be read or written: {error}"))
        }
        other => {
            let text = format!("it is damaged ({other}): put back a copy, or remove the file to begin anew");
            Error::new(Code::Internal, text)
        }
    }
}
