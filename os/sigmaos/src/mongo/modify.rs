//! Changing one document and getting it, in one step.

use super::collection::Collection;
use super::link::Again;
use super::{Document, invalid, proto, stub};
use crate::Result;
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A change of one document that also gives it: as it was before, unless it is asked for as it is after.
#[derive(Clone, Debug)]
#[must_use = "nothing is changed until it is run"]
pub struct FindAndModify<T> {
    collection: Collection<T>,
    filter: Document,
    /// None: remove it.
    update: Option<Document>,
    sort: Option<Document>,
    projection: Option<Document>,
    upsert: bool,
    new: bool,
}

impl<T> FindAndModify<T> {
    pub(super) fn new(collection: Collection<T>, filter: Document, update: Option<Document>) -> Self {
        Self { collection, filter, update, sort: None, projection: None, upsert: false, new: false }
    }

    /// Which one, where several match: the first by `{path: 1 or -1, …}`.
    pub fn sort(self, keys: Document) -> Self {
        Self { sort: Some(keys), ..self }
    }

    /// Only these parts of the document, as in [`Find::projection`](super::Find::projection).
    pub fn projection(self, paths: Document) -> Self {
        Self { projection: Some(paths), ..self }
    }

    /// Adds a document where none matches.
    pub fn upsert(self) -> Self {
        Self { upsert: true, ..self }
    }

    /// Gives the document as it is after the change.
    pub fn after(self) -> Self {
        Self { new: true, ..self }
    }

    /// Changes it; `None` where none matched, or where the one that was added is asked for as it was before.
    ///
    /// # Errors
    /// As [`Collection::upsert`]; `Invalid` and `maybe_done` where the document is no `T`.
    pub async fn run(self) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        let collection = &self.collection;
        let part = |what: &str, document: Option<&Document>| match document {
            Some(document) => collection.encode(what, document),
            None => Ok(Bytes::new()),
        };
        let request = proto::FindAndModifyRequest {
            collection: collection.name.to_string(),
            filter: collection.encode("the filter", &self.filter)?,
            sort: part("the sort", self.sort.as_ref())?,
            projection: part("the projection", self.projection.as_ref())?,
            remove: self.update.is_none(),
            upsert: self.upsert,
            new: self.new,
        };
        let update = part("the update", self.update.as_ref())?;
        let modify = |client: stub::MongoClient| {
            let (request, update) = (request.clone(), update.clone());
            async move { client.find_and_modify_with(request, update).await }
        };
        let reply = collection.said("modify", collection.link.call(Again::Undone, modify).await)?;
        if reply.payload.is_empty() {
            return Ok(None);
        }
        let read = bson::deserialize_from_slice(&reply.payload).map(Some).map_err(|error| crate::Error {
            maybe_done: true,
            ..invalid("a document of the type that is asked for", &error)
        });
        collection.said("modify", read)
    }
}
