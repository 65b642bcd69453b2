//! The tables of the file, and the keys of their records.
//!
//! A document lies at its collection's number and the key of its `_id`. An entry of an index lies at the index's number, the key that
//! the document makes, the key of its `_id`, and the length of that.

use crate::document::{Raw, Value, key};
use crate::limits::MAX_ID_KEY;
use redb::{ReadableTable, TableDefinition};
use sigma_abi::{Code, Error};

/// Mostly of an error that callers see.
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

/// What tables map: bytes to bytes.
pub(super) type Bytes = &'static [u8];

pub(super) const DOCUMENTS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("documents");
pub(super) const ENTRIES: TableDefinition<'_, Bytes, ()> = TableDefinition::new("entries");
pub(super) const COLLECTIONS: TableDefinition<'_, &str, Bytes> = TableDefinition::new("collections");

/// Facts about the file: its format, and the next number.
pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// One state of documents and entries: one that is durable, or one that is being changed.
pub(super) trait Tables {
    type Documents: ReadableTable<Bytes, Bytes>;
    type Entries: ReadableTable<Bytes, ()>;
    fn documents(&self) -> &Self::Documents;
    fn entries(&self) -> &Self::Entries;
}

/// Where the records of a collection or an index begin.
pub(super) fn prefix(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The key that an `_id` makes.
///
/// # Errors
/// `Invalid` for what can be no `_id`; `TooLarge` past [`MAX_ID_KEY`].
pub(super) fn id_key(document: &Raw) -> Result<Vec<u8>> {
    let id =
        crate::update::id_of(document).ok_or_else(|| Error::new(Code::Internal, "a document has no _id"))?;
    if matches!(id, Value::Array(_) | Value::RegularExpression(_)) {
        return Err(Error::new(Code::Invalid, "an _id is no array, and no regular expression"));
    }
    let mut made = Vec::new();
    key::push(id, &mut made);
    if made.len() > MAX_ID_KEY {
        let text = format!("an _id whose key has {} bytes: the limit is {MAX_ID_KEY}", made.len());
        return Err(Error::new(Code::TooLarge, text));
    }
    Ok(made)
}

pub(super) fn document_key(collection: u32, id: &[u8]) -> Vec<u8> {
    [&prefix(collection)[..], id].concat()
}

pub(super) fn entry_key(index: u32, key: &[u8], id: &[u8]) -> Vec<u8> {
    // An id's key is at most MAX_ID_KEY bytes.
    let length = (id.len() as u16).to_be_bytes();
    [&prefix(index)[..], key, id, &length].concat()
}

/// The key and the id of an entry.
///
/// # Errors
/// `Internal` where it is none.
pub(super) fn entry_parts(entry: &[u8]) -> Result<(&[u8], &[u8])> {
    let parts = || {
        let (rest, length) = entry.get(4..)?.split_last_chunk::<2>()?;
        let id = usize::from(u16::from_be_bytes(*length));
        rest.split_at_checked(rest.len().checked_sub(id)?)
    };
    parts().ok_or_else(|| Error::new(Code::Internal, "an entry of an index is damaged"))
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A caller's doing; the store is as it was.
    #[error(transparent)]
    Wrong(#[from] Error),
    /// The store's own: what was being changed is lost.
    #[error("{0}")]
    Store(Error),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Wrong(error) | Fault::Store(error) => error,
        }
    }
}

/// What the store itself says.
pub(super) fn broken(error: impl Into<redb::Error>) -> Fault {
    Fault::Store(super::store::told(error.into()))
}
