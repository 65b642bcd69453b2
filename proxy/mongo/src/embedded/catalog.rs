//! Which collections there are, and which indexes they have.

use crate::document::{Kept, check};
use crate::keys::Keys;
use crate::limits::{MAX_COLLECTIONS, MAX_INDEXES};
use crate::plan::Candidate;
use bson::{Document, doc};
use sigma_abi::{Code, Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The collections by their names.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    pub(super) collections: Arc<BTreeMap<String, Arc<Collection>>>,
    /// The next number for a collection or an index; none is ever given twice.
    pub(super) next: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) number: u32,
    /// The first is that of `_id`, which is the documents themselves.
    pub(super) indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) keys: Keys,
    /// As it was asked for.
    pub(super) asked: Vec<u8>,
    pub(super) unique: bool,
    /// Some document has, or had, several keys in it.
    pub(super) multikey: bool,
}

/// The name of the index that every collection has.
pub(super) const ID_INDEX: &str = "_id_";

impl Default for Catalog {
    fn default() -> Self {
        Self { collections: Arc::default(), next: 1 }
    }
}

impl Catalog {
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Collection>> {
        self.collections.get(name)
    }

    /// The collection, which is made where it is missing; whether it was.
    ///
    /// # Errors
    /// `Quota` past [`MAX_COLLECTIONS`].
    pub(super) fn make(&mut self, name: &str) -> Result<bool> {
        if self.collections.contains_key(name) {
            return Ok(false);
        }
        if self.collections.len() >= MAX_COLLECTIONS {
            let text = format!("there are {MAX_COLLECTIONS} collections already: drop what is not needed");
            return Err(Error::new(Code::Quota, text));
        }
        let number = self.number();
        let id = Index::new(number, ID_INDEX.to_owned(), &id_keys(), true)?;
        Arc::make_mut(&mut self.collections)
            .insert(name.to_owned(), Arc::new(Collection { number, indexes: vec![id] }));
        Ok(true)
    }

    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

impl Collection {
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        self.indexes.iter().map(|index| Candidate { keys: &index.keys, multikey: index.multikey }).collect()
    }

    /// The indexes that are kept beside the documents.
    pub(super) fn beside(&self) -> &[Index] {
        &self.indexes[1..]
    }

    /// Whether an index is there already.
    ///
    /// # Errors
    /// `Exists` where one of that name, or of these keys, is another; `Quota` past [`MAX_INDEXES`].
    pub(super) fn has(&self, wanted: &Index) -> Result<Option<&Index>> {
        for index in &self.indexes {
            let same = index.keys == wanted.keys;
            if same && (index.unique == wanted.unique || index.name == ID_INDEX) {
                return Ok(Some(index));
            }
            if same || index.name == wanted.name {
                let text = format!(
                    "index {} is there already, and is not what is asked for: drop it first",
                    index.name
                );
                return Err(Error::new(Code::Exists, text));
            }
        }
        if self.indexes.len() > MAX_INDEXES {
            return Err(Error::new(Code::Quota, format!("the collection has {MAX_INDEXES} indexes already")));
        }
        Ok(None)
    }

    /// As it is kept in the file.
    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let mut indexes = Vec::new();
        for index in self.beside() {
            let keys = crate::update::owned(check(&index.asked, Kept::Here)?)?;
            indexes.push(doc! {
                "number": i64::from(index.number), "name": &index.name, "keys": keys, "unique": index.unique, "multikey": index.multikey,
            });
        }
        let written = doc! { "number": i64::from(self.number), "indexes": indexes };
        bson::serialize_to_vec(&written).map_err(|error| Error::new(Code::Internal, error.to_string()))
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::new(Code::Internal, "the description of a collection is damaged");
        let document: Document = bson::deserialize_from_slice(bytes).map_err(|_| damaged())?;
        let number = |document: &Document| {
            document.get_i64("number").ok().and_then(|number| u32::try_from(number).ok())
        };
        let own = number(&document).ok_or_else(damaged)?;
        let mut indexes = vec![Index::new(own, ID_INDEX.to_owned(), &id_keys(), true)?];
        for index in document.get_array("indexes").map_err(|_| damaged())? {
            let index = index.as_document().ok_or_else(damaged)?;
            let (name, keys) = (index.get_str("name"), index.get_document("keys"));
            let (name, keys) = (name.map_err(|_| damaged())?, keys.map_err(|_| damaged())?);
            let unique = index.get_bool("unique").map_err(|_| damaged())?;
            let read = Index::new(number(index).ok_or_else(damaged)?, name.to_owned(), keys, unique)?;
            indexes.push(Index { multikey: index.get_bool("multikey").map_err(|_| damaged())?, ..read });
        }
        Ok(Self { number: own, indexes })
    }
}

impl Index {
    pub(super) fn new(number: u32, name: String, keys: &Document, unique: bool) -> Result<Self> {
        let asked = crate::update::encoded(keys)?;
        let keys = Keys::parse(check(&asked, Kept::Here)?)?;
        Ok(Self { number, name, keys, asked, unique, multikey: false })
    }
}

fn id_keys() -> Document {
    doc! { "_id": 1 }
}
