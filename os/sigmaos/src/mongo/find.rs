//! Finding documents, page by page.

use super::collection::{Collection, reply_broken};
use super::link::{Again, Link};
use super::{Document, invalid, proto, stub};
use crate::{Error, Result};
use bson::RawDocument;
use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// A question to a collection, and in which order and how much of the answer is wanted.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked until the documents are asked for"]
pub struct Find<T> {
    collection: Collection<T>,
    filter: Document,
    sort: Option<Document>,
    projection: Option<Document>,
    skip: u64,
    limit: u64,
    batch: u32,
}

impl<T> Find<T> {
    pub(super) fn new(collection: Collection<T>, filter: Document) -> Self {
        Self { collection, filter, sort: None, projection: None, skip: 0, limit: 0, batch: 0 }
    }

    /// `{path: 1 or -1, …}`, the most important first.
    pub fn sort(self, keys: Document) -> Self {
        Self { sort: Some(keys), ..self }
    }

    /// Leaves out the first so many.
    pub fn skip(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// At most so many; 0: all.
    pub fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// `{path: 1, …}` or `{path: 0, …}`: only these parts of each document, or all but these.
    pub fn projection(self, paths: Document) -> Self {
        Self { projection: Some(paths), ..self }
    }

    /// Documents that one call brings at most; 0: the server decides.
    pub fn batch(self, batch: u32) -> Self {
        Self { batch, ..self }
    }

    /// All that match, in memory.
    ///
    /// # Errors
    /// `Invalid` where one is no `T`; see [the table](super#errors).
    pub async fn all(self) -> Result<Vec<T>>
    where
        T: DeserializeOwned,
    {
        let mut cursor = self.cursor().await?;
        let mut all = Vec::new();
        while let Some(document) = cursor.next().await? {
            all.push(document);
        }
        Ok(all)
    }

    /// The first that matches.
    ///
    /// # Errors
    /// As [`Find::all`].
    pub async fn first(self) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        self.limit(1).cursor().await?.next().await
    }

    /// What matches, to be asked for one after the other; memory holds one batch.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn cursor(self) -> Result<Cursor<T>> {
        let collection = &self.collection;
        let request = proto::FindRequest {
            collection: collection.name.to_string(),
            filter: collection.encode("the filter", &self.filter)?,
            sort: self.part("the sort", self.sort.as_ref())?,
            skip: self.skip,
            limit: self.limit,
            projection: self.part("the projection", self.projection.as_ref())?,
            batch: self.batch,
        };
        let find = |client: stub::MongoClient| {
            let request = request.clone();
            async move { client.find_with(request, Bytes::new()).await }
        };
        let reply = collection.said("find in", collection.link.call(Again::Always, find).await)?;
        Ok(Cursor {
            link: collection.link.clone(),
            name: collection.name.to_string(),
            rest: reply.payload,
            cursor: reply.message.cursor,
            batch: self.batch,
            documents: PhantomData,
        })
    }

    /// How many match, of those that are not skipped and up to the limit.
    ///
    /// # Errors
    /// See [the table](super#errors).
    pub async fn count(self) -> Result<u64> {
        let collection = &self.collection;
        let filter = collection.encode("the filter", &self.filter)?;
        let count = |client: stub::MongoClient| {
            let (collection, filter) = (collection.name.to_string(), filter.clone());
            let request = proto::CountRequest { collection, filter, skip: self.skip, limit: self.limit };
            async move { client.count_with(request, Bytes::new()).await }
        };
        let reply = collection.said("count in", collection.link.call(Again::Always, count).await)?;
        Ok(reply.message.count)
    }

    fn part(&self, what: &str, document: Option<&Document>) -> Result<Bytes> {
        document.map_or(Ok(Bytes::new()), |document| self.collection.encode(what, document))
    }
}

/// Documents that were found. Dropping it tells the server that nobody wants the rest.
#[derive(Debug)]
pub struct Cursor<T> {
    link: Link,
    name: String,
    rest: Bytes,
    cursor: u64,
    batch: u32,
    documents: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Cursor<T> {
    /// The next document; `None` after the last.
    ///
    /// # Errors
    /// `Invalid` where it is no `T`, which does not end the cursor; `Closed` where nobody has asked for a minute or the server
    /// was started anew: find again.
    pub async fn next(&mut self) -> Result<Option<T>> {
        while self.rest.is_empty() && self.cursor != 0 {
            let more = |client: stub::MongoClient| {
                let request = proto::MoreRequest { cursor: self.cursor, batch: self.batch };
                async move { client.more_with(request, Bytes::new()).await }
            };
            // What a reply that was lost has brought is gone, so it is not asked for again.
            let reply = self.link.call(Again::Undone, more).await.map_err(|error| self.said(error))?;
            (self.rest, self.cursor) = (reply.payload, reply.message.cursor);
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let document = first(&mut self.rest).map_err(|error| self.said(error))?;
        let read = bson::deserialize_from_slice(&document);
        read.map(Some).map_err(|error| self.said(invalid("a document of the type that is asked for", &error)))
    }

    fn said(&self, error: Error) -> Error {
        error.context(format!("find in {} in /mongo", self.name))
    }
}

impl<T> Drop for Cursor<T> {
    fn drop(&mut self) {
        if self.cursor != 0 {
            self.link.close(self.cursor);
        }
    }
}

/// Takes the first document off a payload.
fn first(payload: &mut Bytes) -> Result<Bytes> {
    let length = payload.get(..4).map_or(0, |mut length| length.get_i32_le().max(0) as usize);
    if length < 5 || length > payload.len() {
        return Err(reply_broken(&format!("a document of {length} bytes in {}", payload.len())));
    }
    let document = payload.split_to(length);
    RawDocument::from_bytes(&document).map_err(|error| reply_broken(&error))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn a_payload_is_taken_apart_and_a_broken_one_is_an_error() {
        let documents = [doc! { "a": 1 }, doc! {}, doc! { "b": "two" }];
        let bytes = documents.iter().flat_map(|document| bson::serialize_to_vec(document).unwrap());
        let mut payload = Bytes::from_iter(bytes);
        for document in documents {
            let read: Document = bson::deserialize_from_slice(&first(&mut payload).unwrap()).unwrap();
            assert_eq!(read, document);
        }
        assert!(payload.is_empty());
        for broken in [&b"\x05"[..], b"\x04\0\0\0", b"\xff\xff\xff\xff\0", b"\x06\0\0\0\0", b"\x05\0\0\0\x01"]
        {
            assert!(first(&mut Bytes::from_static(broken)).is_err(), "{broken:?}");
        }
    }
}
