//! The embedded store by its calls, without a kernel.

mod calls;
mod disk;
mod durable;
mod plans;

use super::Embedded;
use bson::{Document, doc};
use bytes::Bytes;
use sigma_abi::Result;
use sigmaos::mongo::stub::Mongo;
use sigmaos::proto::mongo as proto;
use sigmaos::rpc::{Request, Response};
use std::sync::Arc;

/// A store, and one caller of it.
struct Store(Embedded);

/// How documents are asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    sort: Document,
    skip: u64,
    limit: u64,
    batch: u32,
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(story)
}

fn request<T>(message: T, payload: impl Into<Bytes>) -> Request<T> {
    let caller = sigmaos::proto::Caller { pid: "m1-1-1".into(), ..Default::default() };
    Request { message, payload: payload.into(), caller: Arc::new(caller) }
}

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn documents(mut payload: &[u8]) -> Vec<Document> {
    let mut all = Vec::new();
    while !payload.is_empty() {
        let length = i32::from_le_bytes(payload[..4].try_into().unwrap()) as usize;
        all.push(bson::deserialize_from_slice(&payload[..length]).unwrap());
        payload = &payload[length..];
    }
    all
}

impl Store {
    fn in_memory() -> Self {
        Self(Embedded::over(redb::backends::InMemoryBackend::new(), |error| panic!("{error}")))
    }

    async fn insert(&self, collection: &str, documents: &[Document]) -> Result<u64> {
        let payload: Vec<u8> = documents.iter().flat_map(bytes).collect();
        let message = proto::InsertRequest { collection: collection.into() };
        Ok(self.0.insert(request(message, payload)).await?.message.count)
    }

    async fn find(&self, collection: &str, filter: Document, asked: Asked) -> Result<Vec<Document>> {
        let Asked { sort, skip, limit, batch } = asked;
        let (filter, sort) = (bytes(&filter).into(), bytes(&sort).into());
        let message = proto::FindRequest {
            collection: collection.into(),
            filter,
            sort,
            skip,
            limit,
            batch,
            projection: Bytes::new(),
        };
        let mut reply: Response<proto::Batch> = self.0.find(request(message, "")).await?;
        let mut all = documents(&reply.payload);
        while reply.message.cursor != 0 {
            let more = proto::MoreRequest { cursor: reply.message.cursor, batch };
            reply = self.0.more(request(more, "")).await?;
            assert_eq!(documents(&reply.payload).len(), reply.message.count as usize);
            all.extend(documents(&reply.payload));
        }
        Ok(all)
    }

    async fn update(
        &self,
        collection: &str,
        filter: Document,
        update: Document,
        many: bool,
        upsert: bool,
    ) -> Result<proto::Updated> {
        let message = proto::UpdateRequest {
            collection: collection.into(),
            filter: bytes(&filter).into(),
            many,
            upsert,
        };
        Ok(self.0.update(request(message, bytes(&update))).await?.message)
    }

    async fn delete(&self, collection: &str, filter: Document, many: bool) -> Result<u64> {
        let message =
            proto::DeleteRequest { collection: collection.into(), filter: bytes(&filter).into(), many };
        Ok(self.0.delete(request(message, "")).await?.message.count)
    }

    async fn index(&self, collection: &str, keys: Document, unique: bool) -> Result<String> {
        let (collection, keys) = (collection.into(), bytes(&keys).into());
        let message = proto::CreateIndexRequest { collection, keys, unique, name: String::new() };
        Ok(self.0.create_index(request(message, "")).await?.message.name)
    }

    async fn count(&self, collection: &str, filter: Document) -> Result<u64> {
        let (collection, filter) = (collection.into(), bytes(&filter).into());
        let message = proto::CountRequest { collection, filter, skip: 0, limit: 0 };
        Ok(self.0.count(request(message, "")).await?.message.count)
    }
}

/// Documents with an `_id` and a number that is not in its order.
fn numbered(count: i32) -> Vec<Document> {
    (0..count).map(|id| doc! { "_id": id, "n": (id * 7919) % count, "even": id % 2 == 0 }).collect()
}
