//! One collection: adding, changing, removing and counting its documents, and its indexes.

use super::link::{Again, Link};
use super::{Bson, Document, Find, FindAndModify, ObjectId, doc, encode, invalid, proto};
use crate::limits::MAX_PAYLOAD;
use crate::rpc::Response;
use crate::{Code, Error, Result};
use bson::RawDocument;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Documents that are a `T` each. Cheap to clone.
pub struct Collection<T> {
    pub(super) link: Link,
    pub(super) name: Arc<str>,
    documents: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self::new(self.link.clone(), Arc::clone(&self.name))
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Collection").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an update did.
#[derive(Clone, Debug, PartialEq)]
pub struct Updated {
    pub matched: u64,
    /// Of those that matched, the ones that are different now.
    pub modified: u64,
    /// The `_id` of the document that was added, where none matched.
    pub upserted: Option<Bson>,
}

impl<T> Collection<T> {
    pub(super) fn new(link: Link, name: Arc<str>) -> Self {
        Self { link, name, documents: PhantomData }
    }

    /// The same collection, its documents seen as another type; for projections.
    pub fn with_type<U>(&self) -> Collection<U> {
        Collection::new(self.link.clone(), Arc::clone(&self.name))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a document, and gives its `_id`: its own, or an [`ObjectId`] that it gets.
    ///
    /// # Errors
    /// `Exists` for a duplicate key; see [the table](super#errors).
    pub async fn insert_one(&self, document: &T) -> Result<Bson>
    where
        T: Serialize,
    {
        let (bytes, id) = self.said("insert into", with_id(encode("the document", document)?))?;
        self.insert(&Bytes::from(bytes)).await?;
        Ok(id)
    }

    /// Adds documents in their order, in as many calls as their size asks for, and gives their `_id`s.
    ///
    /// # Errors
    /// As [`Collection::insert_one`]. The documents before the first that cannot be added are there, and the error is
    /// `maybe_done` where there are any.
    pub async fn insert_many<'a>(&self, documents: impl IntoIterator<Item = &'a T>) -> Result<Vec<Bson>>
    where
        T: Serialize + 'a,
    {
        let (mut ids, mut batch, mut sent) = (Vec::new(), Vec::new(), false);
        for document in documents {
            let (bytes, id) = self.said("insert into", with_id(encode("a document", document)?))?;
            if !batch.is_empty() && batch.len() + bytes.len() > MAX_PAYLOAD {
                self.insert_after(sent, std::mem::take(&mut batch)).await?;
                sent = true;
            }
            batch.extend(bytes);
            ids.push(id);
        }
        if !batch.is_empty() {
            self.insert_after(sent, batch).await?;
        }
        Ok(ids)
    }

    async fn insert_after(&self, sent: bool, documents: Vec<u8>) -> Result<()> {
        let inserted = self.insert(&Bytes::from(documents)).await;
        inserted.map_err(|error| Error { maybe_done: error.maybe_done || sent, ..error })
    }

    async fn insert(&self, documents: &Bytes) -> Result<()> {
        let insert = |client: super::stub::MongoClient| {
            let (request, documents) =
                (proto::InsertRequest { collection: self.name.to_string() }, documents.clone());
            async move { client.insert_with(request, documents).await }
        };
        self.said("insert into", self.link.call(Again::Undone, insert).await).map(drop)
    }

    /// The documents that match: to be sorted, skipped, limited and projected, then asked for.
    pub fn find(&self, filter: Document) -> Find<T> {
        Find::new(self.clone(), filter)
    }

    /// The first document that matches.
    ///
    /// # Errors
    /// `Invalid` where it is no `T`; see [the table](super#errors).
    pub async fn find_one(&self, filter: Document) -> Result<Option<T>>
    where
        T: serde::de::DeserializeOwned,
    {
        self.find(filter).first().await
    }

    /// Changes the first document that matches.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn update_one(&self, filter: Document, update: Document) -> Result<Updated> {
        self.update(filter, &update, false, false).await
    }

    /// Changes all documents that match.
    ///
    /// # Errors
    /// As [`Collection::update_one`]. The documents before the first that cannot be changed stay changed.
    pub async fn update_many(&self, filter: Document, update: Document) -> Result<Updated> {
        self.update(filter, &update, true, false).await
    }

    /// Changes the first document that matches, or adds one, made of the filter's equalities and the update.
    ///
    /// # Errors
    /// As [`Collection::update_one`]; `Exists` where somebody else added the same at the same time.
    pub async fn upsert(&self, filter: Document, update: Document) -> Result<Updated> {
        self.update(filter, &update, false, true).await
    }

    /// Puts a document in the place of the first that matches, whose `_id` stays.
    ///
    /// # Errors
    /// As [`Collection::update_one`].
    pub async fn replace_one(&self, filter: Document, document: &T) -> Result<Updated>
    where
        T: Serialize,
    {
        self.update(filter, document, false, false).await
    }

    /// Puts a document in the place of the first that matches, or adds it.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub async fn upsert_one(&self, filter: Document, document: &T) -> Result<Updated>
    where
        T: Serialize,
    {
        self.update(filter, document, false, true).await
    }

    async fn update(
        &self,
        filter: Document,
        update: &impl Serialize,
        many: bool,
        upsert: bool,
    ) -> Result<Updated> {
        let filter = self.encode("the filter", &filter)?;
        let update = self.encode("the update", update)?;
        let update = |client: super::stub::MongoClient| {
            let collection = self.name.to_string();
            let request = proto::UpdateRequest { collection, filter: filter.clone(), many, upsert };
            let update = update.clone();
            async move { client.update_with(request, update).await }
        };
        let reply = self.said("update", self.link.call(Again::Undone, update).await)?;
        updated(reply)
    }

    /// Changes one document and gives it; see [`FindAndModify`].
    pub fn find_and_modify(&self, filter: Document, update: Document) -> FindAndModify<T> {
        FindAndModify::new(self.clone(), filter, Some(update))
    }

    /// Removes one document and gives it; see [`FindAndModify`].
    pub fn find_and_remove(&self, filter: Document) -> FindAndModify<T> {
        FindAndModify::new(self.clone(), filter, None)
    }

    /// Removes the first document that matches; whether there was one.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn delete_one(&self, filter: Document) -> Result<bool> {
        Ok(self.delete(filter, false).await? > 0)
    }

    /// Removes all documents that match; how many there were.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn delete_many(&self, filter: Document) -> Result<u64> {
        self.delete(filter, true).await
    }

    async fn delete(&self, filter: Document, many: bool) -> Result<u64> {
        let filter = self.encode("the filter", &filter)?;
        let delete = |client: super::stub::MongoClient| {
            let collection = self.name.to_string();
            let request = proto::DeleteRequest { collection, filter: filter.clone(), many };
            async move { client.delete_with(request, Bytes::new()).await }
        };
        let reply = self.said("delete from", self.link.call(Again::Undone, delete).await)?;
        Ok(reply.message.count)
    }

    /// How many documents match.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn count(&self, filter: Document) -> Result<u64> {
        self.find(filter).count().await
    }

    /// Makes an index over the keys, `{path: 1 or -1, …}`, where there is none; its name. A unique one refuses a second
    /// document with the same key, a missing value being null.
    ///
    /// # Errors
    /// `Exists` where documents have the same key already, or where an index with these keys is not as asked for.
    pub async fn create_index(&self, keys: Document, unique: bool) -> Result<String> {
        let keys = self.encode("the index", &keys)?;
        let create = |client: super::stub::MongoClient| {
            let (collection, name) = (self.name.to_string(), String::new());
            let request = proto::CreateIndexRequest { collection, keys: keys.clone(), unique, name };
            // Once made it is made: sending it again does no harm.
            async move { client.create_index_with(request, Bytes::new()).await }
        };
        let reply = self.said("make an index of", self.link.call(Again::Always, create).await)?;
        Ok(reply.message.name)
    }

    /// Removes an index by its name.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        let drop_it = |client: super::stub::MongoClient| {
            let request =
                proto::DropIndexRequest { collection: self.name.to_string(), name: name.to_owned() };
            async move { client.drop_index_with(request, Bytes::new()).await }
        };
        self.said("drop an index of", self.link.call(Again::Undone, drop_it).await).map(drop)
    }

    /// The indexes: names, keys, and whether they are unique; none for a collection that is not there.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn indexes(&self) -> Result<Vec<(String, Document, bool)>> {
        let list = |client: super::stub::MongoClient| {
            let request = proto::CollectionRequest { collection: self.name.to_string() };
            async move { client.list_indexes_with(request, Bytes::new()).await }
        };
        let reply = self.said("list the indexes of", self.link.call(Again::Always, list).await)?;
        let read = |index: proto::Index| {
            let keys = bson::deserialize_from_slice(&index.keys);
            Ok((index.name, keys.map_err(|error| reply_broken(&error))?, index.unique))
        };
        reply.message.indexes.into_iter().map(read).collect()
    }

    /// Removes the collection, its documents and its indexes, if it is there.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn drop_collection(&self) -> Result<()> {
        let drop_it = |client: super::stub::MongoClient| {
            let request = proto::CollectionRequest { collection: self.name.to_string() };
            async move { client.drop_collection_with(request, Bytes::new()).await }
        };
        self.said("drop", self.link.call(Again::Undone, drop_it).await).map(drop)
    }

    pub(super) fn encode(&self, what: &str, value: &impl Serialize) -> Result<Bytes> {
        self.said("call", encode(what, value)).map(Bytes::from)
    }

    /// Puts what was attempted before an error.
    pub(super) fn said<R>(&self, attempted: &str, result: Result<R>) -> Result<R> {
        result.map_err(|error| error.context(format!("{attempted} {} in /mongo", self.name)))
    }
}

pub(super) fn updated(reply: Response<proto::Updated>) -> Result<Updated> {
    let proto::Updated { matched, modified, upserted } = reply.message;
    let id = || {
        let document: Document =
            bson::deserialize_from_slice(&reply.payload).map_err(|error| reply_broken(&error))?;
        Ok::<_, Error>(document.get("_id").cloned().unwrap_or(Bson::Null))
    };
    Ok(Updated { matched, modified, upserted: if upserted { Some(id()?) } else { None } })
}

pub(super) fn reply_broken(error: &dyn fmt::Display) -> Error {
    Error::maybe_done(Code::Protocol, format!("the reply is no BSON: {error}"))
}

/// The document with an `_id`, which is given beside it.
fn with_id(bytes: Vec<u8>) -> Result<(Vec<u8>, Bson)> {
    let broken = |error: bson::error::Error| invalid("the document", &error);
    let document = RawDocument::from_bytes(&bytes).map_err(broken)?;
    if let Some(id) = document.get("_id").map_err(broken)? {
        let id = Bson::try_from(id).map_err(broken)?;
        return Ok((bytes, id));
    }
    let id = ObjectId::new();
    let first = encode("the document", &doc! { "_id": id })?;
    // The length counts itself and the zero at the end, of which there is one too many.
    let length = (first.len() + bytes.len() - 5) as i32;
    let mut all = Vec::with_capacity(first.len() + bytes.len());
    all.extend(length.to_le_bytes());
    all.extend(&first[4..first.len() - 1]);
    all.extend(&bytes[4..]);
    Ok((all, Bson::ObjectId(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_an_id_gets_one_in_front() {
        let (bytes, id) = with_id(encode("it", &doc! { "a": 1, "b": { "c": [1, "x"] } }).unwrap()).unwrap();
        let read: Document = bson::deserialize_from_slice(&bytes).unwrap();
        assert_eq!(read, doc! { "_id": id, "a": 1, "b": { "c": [1, "x"] } });
        let own = encode("it", &doc! { "a": 1, "_id": "mine" }).unwrap();
        assert_eq!(with_id(own.clone()).unwrap(), (own, Bson::String("mine".into())));
    }
}
