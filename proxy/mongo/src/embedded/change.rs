//! The changes that callers ask for, each carried out within a transaction.

use super::catalog::{Collection, ID_INDEX, Index};
use super::tables::{Fault, Result, id_key};
use super::walk::{Step, Walk};
use super::write::Writing;
use crate::document::{Raw, check::raw, fields};
use crate::filter::Filter;
use crate::keys::Keys;
use crate::limits::MAX_CHANGED_BYTES;
use crate::plan::plan;
use crate::projection::Projection;
use crate::update::{Update, encoded, owned};
use bson::{Bson, Document, oid::ObjectId};
use bytes::Bytes;
use sigma_abi::{Code, Error};
use std::sync::Arc;
use std::time::Instant;

/// Documents that are looked at between two looks at the clock.
const LOOK_AT_CLOCK: usize = 128;

/// A change of one collection.
#[derive(Debug)]
pub(super) enum Change {
    Insert(Vec<Bytes>),
    Update { filter: Filter, update: Update, many: bool, upsert: bool },
    Delete { filter: Filter, many: bool },
    Modify(Modify),
    CreateIndex(Index),
    DropIndex(String),
    Drop,
}

/// A change of one document that also gives it.
#[derive(Debug)]
pub(super) struct Modify {
    pub(super) filter: Filter,
    pub(super) sort: Option<Keys>,
    pub(super) projection: Option<Projection>,
    /// None: it is removed.
    pub(super) update: Option<Update>,
    pub(super) upsert: bool,
    pub(super) new: bool,
}

/// What a change did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) matched: u64,
    pub(super) modified: u64,
    pub(super) upserted: bool,
    /// `{_id: …}` of what was added by an update, or the document that was asked for.
    pub(super) document: Vec<u8>,
}

impl Change {
    /// It leaves less than there was, so that it must go on where there is no room.
    pub(super) fn frees(&self) -> bool {
        matches!(
            self,
            Self::Delete { .. } | Self::DropIndex(_) | Self::Drop | Self::Modify(Modify { update: None, .. })
        )
    }

    /// Carries it out. Several documents are changed one after the other: what fails leaves those before it changed, and says so.
    pub(super) fn run(self, name: &str, writing: &mut Writing<'_>, until: Instant) -> Result<Done, Fault> {
        let mut run = Run { name, writing, until, looks: 0, done: Done::default() };
        match self {
            Self::Insert(documents) => run.insert(documents)?,
            Self::Update { filter, update, many, upsert } => run.update(&filter, &update, many, upsert)?,
            Self::Delete { filter, many } => run.delete(&filter, many)?,
            Self::Modify(modify) => run.modify(&modify)?,
            Self::CreateIndex(index) => run.create_index(index)?,
            Self::DropIndex(index) => run.drop_index(&index)?,
            Self::Drop => run.writing.drop_collection(name)?,
        }
        Ok(run.done)
    }
}

struct Run<'a, 't> {
    name: &'a str,
    writing: &'a mut Writing<'t>,
    until: Instant,
    looks: usize,
    done: Done,
}

impl Run<'_, '_> {
    fn insert(&mut self, documents: Vec<Bytes>) -> Result<(), Fault> {
        self.writing.make(self.name)?;
        let count = documents.len();
        for (place, document) in documents.into_iter().enumerate() {
            let added = self.add(&document).map(drop);
            added.map_err(|fault| part(fault, place > 0, format!("document {} of {count}", place + 1)))?;
            self.done.matched += 1;
        }
        Ok(())
    }

    /// Adds one document; gives it as it is kept.
    fn add(&mut self, document: &[u8]) -> Result<Vec<u8>, Fault> {
        let document = normal(raw(document)?)?;
        let id = id_key(raw(&document)?)?;
        let collection = self.writing.make(self.name)?;
        if self.writing.get(&collection, &id)?.is_some() {
            return Err(
                Error::new(Code::Exists, "duplicate key: another document has the same _id already").into()
            );
        }
        self.writing.put(self.name, &id, None, Some(&document))?;
        Ok(document)
    }

    fn update(&mut self, filter: &Filter, update: &Update, many: bool, upsert: bool) -> Result<(), Fault> {
        if many && matches!(update, Update::Replace(_)) {
            return Err(Error::new(Code::Invalid, "one document cannot take the place of many").into());
        }
        let ids = self.find(filter, None, many)?;
        for (place, id) in ids.iter().enumerate() {
            let changed = self.change(id, update).map(drop);
            changed.map_err(|fault| {
                part(fault, place > 0, format!("document {} of {}", place + 1, ids.len()))
            })?;
        }
        if ids.is_empty() && upsert {
            let added = self.upsert(filter, update)?;
            let id = owned(raw(&added)?)?.get("_id").cloned().unwrap_or(Bson::Null);
            self.done.document = encoded(&Document::from_iter([("_id".to_owned(), id)]))?;
        }
        Ok(())
    }

    /// Changes one document; gives it as it was and as it is.
    fn change(&mut self, id: &[u8], update: &Update) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        self.look()?;
        let missing = || Error::new(Code::Internal, "a document that was found is missing");
        let collection = self.collection().ok_or_else(missing)?;
        let old = self.writing.get(&collection, id)?.ok_or_else(missing)?;
        let new = encoded(&update.apply(raw(&old)?)?)?;
        fields_are_plain(raw(&new)?)?;
        self.done.matched += 1;
        if new != old {
            self.writing.put(self.name, id, Some(&old), Some(&new))?;
            self.done.modified += 1;
        }
        Ok((old, new))
    }

    fn upsert(&mut self, filter: &Filter, update: &Update) -> Result<Vec<u8>, Fault> {
        let document = encoded(&update.insert(filter)?)?;
        let added = self.add(&document)?;
        self.done.upserted = true;
        Ok(added)
    }

    fn delete(&mut self, filter: &Filter, many: bool) -> Result<(), Fault> {
        for id in self.find(filter, None, many)? {
            let removed = self.remove(&id).map(drop);
            removed.map_err(|fault| part(fault, self.done.matched > 0, "not all were removed"))?;
        }
        Ok(())
    }

    fn remove(&mut self, id: &[u8]) -> Result<Vec<u8>, Fault> {
        self.look()?;
        let missing = || Error::new(Code::Internal, "a document that was found is missing");
        let old =
            self.collection().map(|collection| self.writing.get(&collection, id)).transpose()?.flatten();
        let old = old.ok_or_else(missing)?;
        self.writing.put(self.name, id, Some(&old), None)?;
        self.done.matched += 1;
        Ok(old)
    }

    fn modify(&mut self, modify: &Modify) -> Result<(), Fault> {
        let found = self.find(&modify.filter, modify.sort.as_ref(), false)?;
        let given = match (found.first(), &modify.update) {
            (Some(id), None) => Some(self.remove(id)?),
            (Some(id), Some(update)) => {
                let (old, new) = self.change(id, update)?;
                Some(if modify.new { new } else { old })
            }
            (None, Some(update)) if modify.upsert => {
                let added = self.upsert(&modify.filter, update)?;
                modify.new.then_some(added)
            }
            (None, _) => None,
        };
        self.done.document = match (given, &modify.projection) {
            (None, _) => Vec::new(),
            (Some(document), None) => document,
            (Some(document), Some(projection)) => projection.apply(raw(&document)?)?,
        };
        Ok(())
    }

    /// The ids of what matches: all, or the first by the sort.
    fn find(&mut self, filter: &Filter, sort: Option<&Keys>, many: bool) -> Result<Vec<Vec<u8>>, Fault> {
        let Some(collection) = self.collection() else { return Ok(Vec::new()) };
        let plan = plan(filter, sort, &collection.candidates());
        let sorted = plan.sorted;
        let (mut ids, mut bytes, mut first) = (Vec::new(), 0, None::<(Vec<u8>, Vec<u8>)>);
        let (until, writing) = (self.until, &*self.writing);
        Walk::new(&collection, plan).go(writing, &mut |id, document| {
            look(&mut self.looks, until)?;
            if !filter.matches(document) {
                return Ok(Step::Next);
            }
            match sort {
                Some(sort) if !sorted => {
                    let key = sort.sort_key(document);
                    if first.as_ref().is_none_or(|(least, _)| key < *least) {
                        first = Some((key, id.to_vec()));
                    }
                    return Ok(Step::Next);
                }
                _ => ids.push(id.to_vec()),
            }
            bytes += id.len() + size_of::<Vec<u8>>();
            if bytes > MAX_CHANGED_BYTES {
                return Err(Error::new(
                    Code::TooLarge,
                    "more documents match than one call changes: change them in parts",
                )
                .into());
            }
            Ok(if many { Step::Next } else { Step::Stop })
        })?;
        ids.extend(first.map(|(_, id)| id));
        Ok(ids)
    }

    fn create_index(&mut self, mut index: Index) -> Result<(), Fault> {
        let collection = self.writing.make(self.name)?;
        if let Some((path, _)) = index.keys.0.iter().find(|(path, _)| path.has_numbers()) {
            let text = format!("{path}: an index over one element of an array");
            return Err(Error::new(Code::Unsupported, text).into());
        }
        if index.name.is_empty() {
            index.name = index.keys.name();
        }
        let name = match collection.has(&index)? {
            Some(there) => there.name.clone(),
            None => {
                let name = index.name.clone();
                self.writing.add_index(self.name, index)?;
                name
            }
        };
        self.done.document = name.into_bytes();
        Ok(())
    }

    fn drop_index(&mut self, name: &str) -> Result<(), Fault> {
        if name == ID_INDEX {
            return Err(Error::new(Code::Invalid, "the index of _id cannot be dropped").into());
        }
        let number = self.collection().and_then(|collection| {
            collection.beside().iter().find(|index| index.name == name).map(|index| index.number)
        });
        let missing = || Error::new(Code::NotFound, format!("there is no index {name}"));
        self.writing.drop_index(self.name, number.ok_or_else(missing)?)
    }

    fn collection(&self) -> Option<Arc<Collection>> {
        self.writing.catalog.find(self.name).cloned()
    }

    fn look(&mut self) -> Result<()> {
        look(&mut self.looks, self.until)
    }
}

/// Looks at the clock from time to time.
fn look(looks: &mut usize, until: Instant) -> Result<()> {
    *looks += 1;
    if looks.is_multiple_of(LOOK_AT_CLOCK) && Instant::now() > until {
        return Err(Error::new(
            Code::Deadline,
            "the embedded store took longer than a call may: make an index, or ask for less",
        ));
    }
    Ok(())
}

/// Says of a fault that something was done before it, and where it was.
fn part(fault: Fault, after_others: bool, place: impl std::fmt::Display) -> Fault {
    match fault {
        Fault::Wrong(error) if after_others => Fault::Wrong(Error {
            maybe_done: true,
            ..error.context(format!("{place}, and those before it are done"))
        }),
        other => other,
    }
}

/// A document as it is kept: with an `_id`, and that in front.
fn normal(document: &Raw) -> Result<Vec<u8>> {
    fields_are_plain(document)?;
    if fields(document).next().is_some_and(|(name, _)| name == "_id") {
        return Ok(document.as_bytes().to_vec());
    }
    let mut whole = owned(document)?;
    let id = whole.remove("_id").unwrap_or_else(|| Bson::ObjectId(ObjectId::new()));
    let mut normal = Document::new();
    normal.insert("_id", id);
    normal.extend(whole);
    encoded(&normal)
}

/// No field is named like an operator.
fn fields_are_plain(document: &Raw) -> Result<()> {
    match fields(document).find(|(name, _)| name.starts_with('$')) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::new(Code::Invalid, format!("{name} is no name of a field: it begins with $")))
        }
    }
}
