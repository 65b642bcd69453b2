//! The file: opening it, and the state of it that readers share.

use super::catalog::{Catalog, Collection};
use super::tables::{Bytes, COLLECTIONS, DOCUMENTS, ENTRIES, FACTS, Fault, Result, Tables, broken};
use redb::{Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable};
use rustix::io::Errno;
use sigma_abi::{Code, Error};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The format of the records that this build reads and writes.
const FORMAT: u64 = 1;

/// Bytes of the file that are kept in memory.
const CACHE_BYTES: usize = 128 << 20;

/// A file of no more bytes is held against its checksums when it is opened; a larger one would keep its callers waiting.
const CHECKED_BYTES: u64 = 1 << 30;

/// What the system says where there is no room: on the disk, for this user, for this file.
const NO_ROOM: [Errno; 3] = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];

/// A durable state. It does not change.
pub(super) struct Snapshot {
    pub(super) catalog: Arc<Catalog>,
    documents: ReadOnlyTable<Bytes, Bytes>,
    entries: ReadOnlyTable<Bytes, ()>,
}

impl Tables for Snapshot {
    type Documents = ReadOnlyTable<Bytes, Bytes>;
    type Entries = ReadOnlyTable<Bytes, ()>;

    fn documents(&self) -> &Self::Documents {
        &self.documents
    }

    fn entries(&self) -> &Self::Entries {
        &self.entries
    }
}

impl Snapshot {
    /// The state that is durable now.
    pub(super) fn take(database: &Database, catalog: Arc<Catalog>) -> Result<Self, Fault> {
        let transaction = database.begin_read().map_err(broken)?;
        let documents = transaction.open_table(DOCUMENTS).map_err(broken)?;
        let entries = transaction.open_table(ENTRIES).map_err(broken)?;
        Ok(Self { catalog, documents, entries })
    }
}

/// Opens the file, or makes it.
///
/// # Errors
/// `Version` where a newer build has written it; `Busy` where somebody has it open; `Quota` without room; `Internal` where it is
/// damaged. Each names the file.
pub(super) fn open(path: &Path) -> Result<(Database, Catalog)> {
    let open = || {
        let mut database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(opening)?;
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        if length <= CHECKED_BYTES && !database.check_integrity().map_err(opening)? {
            tracing::warn!(path = %path.display(), "the file was not as it should be, and was repaired");
        }
        let catalog = prepare(&database)?;
        Ok::<_, Error>((database, catalog))
    };
    open().map_err(|error| error.context(format!("the documents in {}", path.display())))
}

/// A database over what a test gives in the place of a file.
#[cfg(test)]
pub(super) fn over(backend: impl redb::StorageBackend) -> (Database, Catalog) {
    let database = Database::builder().create_with_backend(backend).unwrap();
    let catalog = prepare(&database).unwrap();
    (database, catalog)
}

/// Looks whether this build can read the file, makes the tables that are missing, and reads what there is.
fn prepare(database: &Database) -> Result<Catalog> {
    let prepared = || {
        let mut transaction = database.begin_write().map_err(broken)?;
        transaction.set_durability(Durability::Immediate).map_err(broken)?;
        let catalog = {
            let mut facts = transaction.open_table(FACTS).map_err(broken)?;
            let format = facts.get("format").map_err(broken)?.map(|format| format.value());
            if let Some(format) = format.filter(|format| *format > FORMAT) {
                let text = format!(
                    "it has format {format}, and this build reads up to {FORMAT}: run the newer build"
                );
                return Err(Error::new(Code::Version, text).into());
            }
            facts.insert("format", FORMAT).map_err(broken)?;
            let next = facts.get("next").map_err(broken)?.map(|next| next.value());
            transaction.open_table(DOCUMENTS).map_err(broken)?;
            transaction.open_table(ENTRIES).map_err(broken)?;
            let mut collections = BTreeMap::new();
            for collection in transaction.open_table(COLLECTIONS).map_err(broken)?.iter().map_err(broken)? {
                let (name, description) = collection.map_err(broken)?;
                collections.insert(name.value().to_owned(), Arc::new(Collection::read(description.value())?));
            }
            let next = next.and_then(|next| u32::try_from(next).ok()).unwrap_or(Catalog::default().next);
            Catalog { collections: Arc::new(collections), next }
        };
        transaction.commit().map_err(broken)?;
        Ok::<_, Fault>(catalog)
    };
    prepared().map_err(Error::from)
}

fn opening(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::new(Code::Busy, "another process has it open"),
        DatabaseError::UpgradeRequired(version) => Error::new(
            Code::Version,
            format!("it is a file of version {version} that this build cannot read"),
        ),
        other => told(other.into()),
    }
}

/// What is wrong with the file, for people.
pub(super) fn told(error: redb::Error) -> Error {
    match error {
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
