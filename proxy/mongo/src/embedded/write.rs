//! The state that is being changed: one document at a time, with its entries in all indexes, or not at all.

use super::catalog::{Catalog, Collection, Index};
use super::tables::{
    Bytes, COLLECTIONS, DOCUMENTS, ENTRIES, FACTS, Fault, Result, Tables, broken, document_key, entry_key,
    entry_parts, prefix,
};
use crate::document::check::raw;
use crate::plan::{Range, after, bounds};
use redb::{ReadableTable, Table, WriteTransaction};
use sigma_abi::{Code, Error};
use std::ops::Bound;
use std::sync::Arc;

/// Tables that are being changed within one transaction.
pub(super) struct Writing<'t> {
    documents: Table<'t, Bytes, Bytes>,
    entries: Table<'t, Bytes, ()>,
    collections: Table<'t, &'static str, Bytes>,
    facts: Table<'t, &'static str, u64>,
    pub(super) catalog: Catalog,
    /// Something is different.
    pub(super) changed: bool,
}

impl<'t> Tables for Writing<'t> {
    type Documents = Table<'t, Bytes, Bytes>;
    type Entries = Table<'t, Bytes, ()>;

    fn documents(&self) -> &Self::Documents {
        &self.documents
    }

    fn entries(&self) -> &Self::Entries {
        &self.entries
    }
}

/// What one index has to do for a document.
struct Entries<'a> {
    index: &'a Index,
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
    multikey: bool,
}

impl<'t> Writing<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, catalog: &Catalog) -> Result<Self, Fault> {
        Ok(Self {
            documents: transaction.open_table(DOCUMENTS).map_err(broken)?,
            entries: transaction.open_table(ENTRIES).map_err(broken)?,
            collections: transaction.open_table(COLLECTIONS).map_err(broken)?,
            facts: transaction.open_table(FACTS).map_err(broken)?,
            catalog: catalog.clone(),
            changed: false,
        })
    }

    /// The collection, which is made where it is missing.
    pub(super) fn make(&mut self, name: &str) -> Result<Arc<Collection>, Fault> {
        if self.catalog.make(name)? {
            self.keep_collection(name)?;
        }
        let missing = || Error::new(Code::Internal, "a collection that was made is missing");
        Ok(Arc::clone(self.catalog.find(name).ok_or_else(missing)?))
    }

    pub(super) fn get(&self, collection: &Collection, id: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let found = self.documents.get(&document_key(collection.number, id)[..]).map_err(broken)?;
        Ok(found.map(|found| found.value().to_vec()))
    }

    /// Puts a document in the place of `old`, adds it where there is none, or removes it.
    ///
    /// # Errors
    /// `Exists` for a key that another document has in a unique index; what a key of an index can be wrong by. Nothing has
    /// changed then.
    pub(super) fn put(
        &mut self,
        name: &str,
        id: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Some(collection) = self.catalog.find(name).cloned() else { return Ok(()) };
        let mut all = Vec::with_capacity(collection.beside().len());
        for index in collection.beside() {
            let keys = |document: Option<&[u8]>| {
                document.map_or(Ok((Vec::new(), false)), |it| index.keys.of(raw(it)?))
            };
            let ((old, _), (new, multikey)) = (keys(old)?, keys(new)?);
            all.push(Entries { index, old, new, multikey });
        }
        for entries in all.iter().filter(|entries| entries.index.unique) {
            for key in entries.new.iter().filter(|key| !entries.old.contains(key)) {
                self.alone(entries.index, key, id)?;
            }
        }
        self.changed = true;
        for entries in &all {
            for key in entries.old.iter().filter(|key| !entries.new.contains(key)) {
                self.entries.remove(&entry_key(entries.index.number, key, id)[..]).map_err(broken)?;
            }
            for key in entries.new.iter().filter(|key| !entries.old.contains(key)) {
                self.entries.insert(&entry_key(entries.index.number, key, id)[..], ()).map_err(broken)?;
            }
        }
        let key = document_key(collection.number, id);
        match new {
            Some(new) => drop(self.documents.insert(&key[..], new).map_err(broken)?),
            None => drop(self.documents.remove(&key[..]).map_err(broken)?),
        }
        let multikey: Vec<u32> = all
            .iter()
            .filter(|entries| entries.multikey && !entries.index.multikey)
            .map(|entries| entries.index.number)
            .collect();
        if !multikey.is_empty() {
            self.change_collection(name, |collection| {
                let indexes = collection.indexes.iter_mut();
                indexes
                    .filter(|index| multikey.contains(&index.number))
                    .for_each(|index| index.multikey = true);
            })?;
        }
        Ok(())
    }

    /// Whether nobody else has this key.
    fn alone(&self, index: &Index, key: &[u8], id: &[u8]) -> Result<(), Fault> {
        let range = Range { from: key.to_vec(), to: after(key), exact: true };
        let (from, to) = bounds(&prefix(index.number), &range);
        for entry in self.entries.range::<&[u8]>(slices(&from, &to)).map_err(broken)? {
            let entry = entry.map_err(broken)?.0;
            if entry_parts(entry.value())?.1 != id {
                let text = format!("duplicate key: another document has the same {} already", shown(index));
                return Err(Error::new(Code::Exists, text).into());
            }
        }
        Ok(())
    }

    /// Adds an index over what is there.
    ///
    /// # Errors
    /// `Exists` where a unique one has a key twice; what a key can be wrong by. There is no index then.
    pub(super) fn add_index(&mut self, name: &str, mut index: Index) -> Result<(), Fault> {
        let collection = self.make(name)?;
        index.number = self.catalog.number();
        self.changed = true;
        if let Err(fault) = self.fill(&collection, &mut index) {
            self.remove_entries(index.number)?;
            return Err(fault);
        }
        self.change_collection(name, |collection| collection.indexes.push(index))
    }

    fn fill(&mut self, collection: &Collection, index: &mut Index) -> Result<(), Fault> {
        let (from, to) = bounds(&prefix(collection.number), &Range::all());
        for document in self.documents.range::<&[u8]>(slices(&from, &to)).map_err(broken)? {
            let (key, document) = document.map_err(broken)?;
            let id = &key.value()[4..];
            let (keys, multikey) = index.keys.of(raw(document.value())?)?;
            index.multikey |= multikey;
            for key in keys {
                if index.unique {
                    self.alone(index, &key, id)?;
                }
                self.entries.insert(&entry_key(index.number, &key, id)[..], ()).map_err(broken)?;
            }
        }
        Ok(())
    }

    pub(super) fn drop_index(&mut self, name: &str, index: u32) -> Result<(), Fault> {
        self.changed = true;
        self.remove_entries(index)?;
        self.change_collection(name, |collection| collection.indexes.retain(|other| other.number != index))
    }

    pub(super) fn drop_collection(&mut self, name: &str) -> Result<(), Fault> {
        let Some(collection) = Arc::make_mut(&mut self.catalog.collections).remove(name) else {
            return Ok(());
        };
        self.changed = true;
        for index in collection.beside() {
            self.remove_entries(index.number)?;
        }
        let (from, to) = bounds(&prefix(collection.number), &Range::all());
        self.documents.retain_in::<&[u8], _>(slices(&from, &to), |_, _| false).map_err(broken)?;
        self.collections.remove(name).map_err(broken)?;
        Ok(())
    }

    fn remove_entries(&mut self, index: u32) -> Result<(), Fault> {
        let (from, to) = bounds(&prefix(index), &Range::all());
        self.entries.retain_in::<&[u8], _>(slices(&from, &to), |_, ()| false).map_err(broken)
    }

    fn change_collection(&mut self, name: &str, change: impl FnOnce(&mut Collection)) -> Result<(), Fault> {
        if let Some(collection) = Arc::make_mut(&mut self.catalog.collections).get_mut(name) {
            change(Arc::make_mut(collection));
        }
        self.keep_collection(name)
    }

    fn keep_collection(&mut self, name: &str) -> Result<(), Fault> {
        self.changed = true;
        if let Some(collection) = self.catalog.find(name) {
            self.collections.insert(name, &collection.write()?[..]).map_err(broken)?;
        }
        self.facts.insert("next", u64::from(self.catalog.next)).map_err(broken)?;
        Ok(())
    }
}

fn slices<'a>(from: &'a Bound<Vec<u8>>, to: &'a Bound<Vec<u8>>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]))
}

/// An index, for people: its paths.
fn shown(index: &Index) -> String {
    index.keys.0.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>().join(", ")
}
