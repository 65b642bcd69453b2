//! The document database of a realm, `/mongo`: a typed client.
//!
//! Where the operator has said nothing it is an embedded store on the machine, and with `mongo.url` a MongoDB; a proc sees no
//! difference but those that os/abi/PROTOCOL.md names. A collection is made by its first document or index.
//!
//! ```
//! # sigma_test::example(async |sigma| {
//! use sigmaos::mongo::{Mongo, doc};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct User {
//!     #[serde(rename = "_id")]
//!     id: i64,
//!     name: String,
//!     visits: i64,
//! }
//!
//! let users = Mongo::open(&sigma).await?.collection::<User>("users");
//! users.create_index(doc! { "name": 1 }, true).await?;
//! users.insert_one(&User { id: 1, name: "ada".into(), visits: 0 }).await?;
//! users.update_one(doc! { "name": "ada" }, doc! { "$inc": { "visits": 1 } }).await?;
//! let busiest = users.find(doc! {}).sort(doc! { "visits": -1 }).limit(10).all().await?;
//! assert_eq!((busiest.len(), busiest[0].visits), (1, 1));
//! # sigmaos::Result::Ok(())
//! # });
//! ```
//!
//! # Errors
//! Each says what was attempted on which collection. Programs branch on the code:
//!
//! | code | means |
//! |---|---|
//! | `Exists` | a duplicate key: of `_id`, of a unique index, or among the documents that a unique index is made over |
//! | `Invalid` | a filter, an update, a name or a document that is none; what the operators say, by their names |
//! | `TooLarge` | a document of more than [`MAX_DOCUMENT`] bytes or [`MAX_DEPTH`] levels; a key of an index, or a sort, that is too large |
//! | `Unsupported` | an operator or a type that this store does not have |
//! | `Quota` | the realm has too many collections, indexes or bytes |
//! | `Busy` | more calls or cursors than are served at a time; surely not done |
//! | `Closed` | a cursor of which nobody asked for a minute, or whose server has ended: find again |
//! | `NotFound` | an index that is to be dropped is not there |
//! | `Denied` | a MongoDB refused the operator's password, or what its user may not do |
//! | `Deadline`, `Unreachable` | no answer in time, or none at all; the text names the system that was waited for |
//!
//! # What may have been done
//! A call is not carried out exactly once: where its answer is lost, nobody knows whether it was, and
//! [`Error::maybe_done`](crate::Error::maybe_done) says so. Reads, and changes that surely were not carried out, are sent again by this
//! client while the server restarts; a change that may have been is the caller's to decide about. Write changes so that doing them
//! twice does no harm, and send them again:
//! - **add by upsert**, with an `_id` of your own: [`Collection::upsert`] of `{_id: …}` with `$set`, or with `$setOnInsert` where
//!   what is there already stays. An insert that is sent again finds `Exists`, which does not say whose document it is.
//! - **set, do not count**: `$set` and `$addToSet` may be done twice, `$inc` and `$push` may not.
//! - **guard** what may not: let the filter name what the change takes away, `{_id: 7, version: 3}` with
//!   `{$inc: {balance: -5, version: 1}}` or `{_id: 7, done: {$ne: "op-19"}}` with `{$inc: …, $push: {done: "op-19"}}`.
//!
//! A document is changed wholly or not at all. Several documents are changed one after the other: an error in the middle leaves
//! those before it changed, and is `maybe_done`.

mod collection;
mod find;
mod link;
mod modify;

pub use bson::{self, Bson, Document, doc, oid::ObjectId};
pub use collection::{Collection, Updated};
pub use find::{Cursor, Find};
pub use modify::FindAndModify;
pub use sigma_abi::limits::{MAX_DOCUMENT, MAX_DOCUMENT_DEPTH as MAX_DEPTH};

use crate::{Code, Error, Result, Sigma};
use bytes::Bytes;
use link::{Again, Link};
use serde::Serialize;
use sigma_abi::proto::mongo as proto;
use std::sync::Arc;
use std::time::Duration;

/// The server's side and the client of the service itself, by its messages.
#[allow(clippy::all)]
pub mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/sigma.mongo.rs"));
}

/// Where it is served.
pub const PATH: &str = "/mongo/rpc";

/// The document database of a realm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mongo(Link);

impl Mongo {
    /// That of this proc's realm. Its server is started by this, where it does not run.
    ///
    /// # Errors
    /// As [`Sigma::open_rpc`]; what keeps the server from serving, such as a setting that is wrong.
    pub async fn open(sigma: &Sigma) -> Result<Self> {
        Self::open_at(sigma, PATH).await
    }

    /// One that is served elsewhere.
    ///
    /// # Errors
    /// As [`Mongo::open`].
    pub async fn open_at(sigma: &Sigma, path: &str) -> Result<Self> {
        Link::open(sigma, path).await.map(Self)
    }

    /// The same with another deadline for each call; `None` waits for as long as the server lives.
    #[must_use]
    pub fn deadline(&self, deadline: Option<Duration>) -> Self {
        Self(self.0.deadline(deadline))
    }

    /// A collection of documents that are a `T` each. It need not be there yet.
    pub fn collection<T>(&self, name: &str) -> Collection<T> {
        Collection::new(self.0.clone(), Arc::from(name))
    }

    /// The names of the collections, in order.
    ///
    /// # Errors
    /// As any call.
    pub async fn collections(&self) -> Result<Vec<String>> {
        let list = |client: stub::MongoClient| async move {
            client.list_collections_with(proto::ListCollectionsRequest {}, Bytes::new()).await
        };
        let listed = self.0.call(Again::Always, list).await;
        Ok(listed.map_err(|error| error.context("list collections"))?.message.names)
    }
}

/// A value as the bytes of a BSON document.
fn encode(what: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    bson::serialize_to_vec(value).map_err(|error| invalid(what, &error))
}

fn invalid(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Invalid, format!("{what} is no BSON document: {error}"))
}
