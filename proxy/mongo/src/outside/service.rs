//! The calls, passed on.

use super::{Open, Outside};
use crate::document::{Kept, check, split};
use crate::limits::{BATCH_BYTES, BATCH_DOCUMENTS};
use crate::request;
use bson::{Bson, Document, RawDocumentBuf, doc};
use bytes::Bytes;
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Result};
use sigmaos::mongo::stub::Mongo;
use sigmaos::proto::Caller;
use sigmaos::proto::mongo as proto;
use sigmaos::rpc::{Request, Response};

impl Outside {
    fn collection(&self, caller: &Caller, name: &str) -> Result<Collection<RawDocumentBuf>> {
        Ok(self.database(caller).collection(request::collection(name)?))
    }

    /// Fills a reply; gives the number of the cursor where something may be left.
    async fn go(&self, owner: &str, mut open: Open, most: u32) -> Result<Response<proto::Batch>> {
        let most = if most == 0 { BATCH_DOCUMENTS as u32 } else { most.min(BATCH_DOCUMENTS as u32) };
        let (mut bytes, mut count) = (Vec::new(), 0);
        let is_left = loop {
            let document = match open.next.take() {
                Some(document) => document,
                None if self.ask(false, open.cursor.advance()).await? => {
                    open.cursor.current().as_bytes().to_vec()
                }
                None => break false,
            };
            if document.len() > MAX_PAYLOAD {
                let text = format!(
                    "{}: a document of {} bytes: a reply holds {MAX_PAYLOAD}",
                    self.system,
                    document.len()
                );
                return Err(Error::new(Code::TooLarge, text));
            }
            if count > 0 && (count == most || bytes.len() + document.len() > BATCH_BYTES) {
                open.next = Some(document);
                break true;
            }
            bytes.extend(document);
            count += 1;
        };
        let cursor = if is_left { self.cursors.keep(owner, open, 0)? } else { 0 };
        Ok(Response::new(proto::Batch { cursor, count }).payload(request::reply(bytes)?))
    }
}

impl Mongo for Outside {
    async fn insert(&self, request: Request<proto::InsertRequest>) -> Result<Response<proto::Inserted>> {
        let collection = self.collection(&request.caller, &request.message.collection)?;
        let documents = split(request::required(&request.payload)?, Kept::Anywhere)?;
        let documents = documents.iter().map(raw).collect::<Result<Vec<_>>>()?;
        let inserted = self.ask(true, collection.insert_many(documents)).await?;
        Ok(proto::Inserted { count: inserted.inserted_ids.len() as u64 }.into())
    }

    async fn find(&self, request: Request<proto::FindRequest>) -> Result<Response<proto::Batch>> {
        let message = request.message;
        let collection = self.collection(&request.caller, &message.collection)?;
        let batch = if message.batch == 0 { BATCH_DOCUMENTS as u32 } else { message.batch };
        let mut find = collection.find(document("the filter", &message.filter)?).batch_size(batch);
        if let Some(sort) = part("the sort", &message.sort)? {
            find = find.sort(sort);
        }
        if let Some(projection) = part("the projection", &message.projection)? {
            find = find.projection(projection);
        }
        if message.skip > 0 {
            find = find.skip(message.skip);
        }
        if message.limit > 0 {
            find = find.limit(signed(message.limit)?);
        }
        let cursor = self.ask(false, find).await?;
        self.go(&request.caller.pid, Open { cursor, next: None }, message.batch).await
    }

    async fn more(&self, request: Request<proto::MoreRequest>) -> Result<Response<proto::Batch>> {
        let open = self.cursors.take(&request.caller.pid, request.message.cursor)?;
        self.go(&request.caller.pid, open, request.message.batch).await
    }

    async fn close_cursor(&self, request: Request<proto::CursorRequest>) -> Result<Response<proto::Done>> {
        // One that is closed already is as it should be. The driver tells the server of one that it drops.
        drop(self.cursors.take(&request.caller.pid, request.message.cursor));
        Ok(proto::Done {}.into())
    }

    async fn update(&self, request: Request<proto::UpdateRequest>) -> Result<Response<proto::Updated>> {
        let proto::UpdateRequest { collection, filter, many, upsert } = request.message;
        let collection = self.collection(&request.caller, &collection)?;
        let filter = document("the filter", &filter)?;
        let update = document("the update", request::required(&request.payload)?)?;
        let operators = update.keys().next().is_some_and(|name| name.starts_with('$'));
        let done = match (operators, many) {
            (true, true) => self.ask(true, collection.update_many(filter, update).upsert(upsert)).await?,
            (true, false) => self.ask(true, collection.update_one(filter, update).upsert(upsert)).await?,
            (false, true) => {
                return Err(Error::new(Code::Invalid, "one document cannot take the place of many"));
            }
            (false, false) => {
                let new = raw(&request.payload)?;
                self.ask(true, collection.replace_one(filter, new).upsert(upsert)).await?
            }
        };
        let (matched, modified, upserted) =
            (done.matched_count, done.modified_count, done.upserted_id.is_some());
        let added = done.upserted_id.map(|id| bytes(&doc! { "_id": id })).transpose()?;
        let payload = request::reply(added.unwrap_or_default())?;
        Ok(Response::new(proto::Updated { matched, modified, upserted }).payload(payload))
    }

    async fn delete(&self, request: Request<proto::DeleteRequest>) -> Result<Response<proto::Deleted>> {
        let proto::DeleteRequest { collection, filter, many } = request.message;
        let collection = self.collection(&request.caller, &collection)?;
        let filter = document("the filter", &filter)?;
        let done = match many {
            true => self.ask(true, collection.delete_many(filter)).await?,
            false => self.ask(true, collection.delete_one(filter)).await?,
        };
        Ok(proto::Deleted { count: done.deleted_count }.into())
    }

    async fn find_and_modify(
        &self,
        request: Request<proto::FindAndModifyRequest>,
    ) -> Result<Response<proto::Updated>> {
        let message = request.message;
        let mut command = doc! {
            "findAndModify": request::collection(&message.collection)?,
            "query": document("the filter", &message.filter)?,
        };
        if let Some(sort) = part("the sort", &message.sort)? {
            command.insert("sort", sort);
        }
        if let Some(projection) = part("the projection", &message.projection)? {
            command.insert("fields", projection);
        }
        match message.remove {
            true => drop(command.insert("remove", true)),
            false => {
                command.insert("update", document("the update", request::required(&request.payload)?)?);
                command.insert("upsert", message.upsert);
                command.insert("new", message.new);
            }
        }
        let reply = self.ask(true, self.database(&request.caller).run_command(command)).await?;
        let told = reply.get_document("lastErrorObject").ok();
        let upserted = told.is_some_and(|told| told.contains_key("upserted"));
        let count = told.and_then(|told| number(told.get("n"))).unwrap_or(0);
        let matched = if upserted { 0 } else { count };
        let document = match reply.get("value") {
            Some(Bson::Document(document)) if !document.is_empty() => bytes(document)?,
            _ => Vec::new(),
        };
        let updated = proto::Updated { matched, modified: matched, upserted };
        Ok(Response::new(updated).payload(request::reply(document)?))
    }

    async fn count(&self, request: Request<proto::CountRequest>) -> Result<Response<proto::Counted>> {
        let message = request.message;
        let collection = self.collection(&request.caller, &message.collection)?;
        let mut count = collection.count_documents(document("the filter", &message.filter)?);
        if message.skip > 0 {
            count = count.skip(message.skip);
        }
        if message.limit > 0 {
            count = count.limit(message.limit);
        }
        Ok(proto::Counted { count: self.ask(false, count).await? }.into())
    }

    async fn create_index(
        &self,
        request: Request<proto::CreateIndexRequest>,
    ) -> Result<Response<proto::Index>> {
        let proto::CreateIndexRequest { collection, keys, unique, name } = request.message;
        request::index(&name)?;
        let collection = self.collection(&request.caller, &collection)?;
        let asked = document("the index", &keys)?;
        if asked.is_empty() {
            return Err(Error::new(Code::Invalid, "an index has at least one path"));
        }
        let options = IndexOptions::builder()
            .unique(unique.then_some(true))
            .name((!name.is_empty()).then_some(name))
            .build();
        let index = IndexModel::builder().keys(asked).options(options).build();
        let made = self.ask(true, collection.create_index(index)).await?;
        Ok(proto::Index { name: made.index_name, keys, unique }.into())
    }

    async fn drop_index(&self, request: Request<proto::DropIndexRequest>) -> Result<Response<proto::Done>> {
        let proto::DropIndexRequest { collection, name } = request.message;
        request::index(&name)?;
        self.ask(true, self.collection(&request.caller, &collection)?.drop_index(name)).await?;
        Ok(proto::Done {}.into())
    }

    async fn list_indexes(
        &self,
        request: Request<proto::CollectionRequest>,
    ) -> Result<Response<proto::Indexes>> {
        let collection = self.collection(&request.caller, &request.message.collection)?;
        let mut cursor = match self.ask(false, collection.list_indexes()).await {
            Ok(cursor) => cursor,
            Err(error) if error.code == Code::NotFound => return Ok(proto::Indexes::default().into()),
            Err(error) => return Err(error),
        };
        let mut indexes = Vec::new();
        while self.ask(false, cursor.advance()).await? {
            let index = cursor.deserialize_current();
            let index = index.map_err(|error| super::errors::told(&self.system, false, &error))?;
            let options = index.options.unwrap_or_default();
            let (name, unique) = (options.name.unwrap_or_default(), options.unique == Some(true));
            let unique = unique || name == "_id_";
            indexes.push(proto::Index { name, keys: bytes(&index.keys)?.into(), unique });
        }
        Ok(proto::Indexes { indexes }.into())
    }

    async fn drop_collection(
        &self,
        request: Request<proto::CollectionRequest>,
    ) -> Result<Response<proto::Done>> {
        let dropped =
            self.ask(true, self.collection(&request.caller, &request.message.collection)?.drop()).await;
        match dropped {
            Err(error) if error.code != Code::NotFound => Err(error),
            _ => Ok(proto::Done {}.into()),
        }
    }

    async fn list_collections(
        &self,
        request: Request<proto::ListCollectionsRequest>,
    ) -> Result<Response<proto::Collections>> {
        let mut names = self.ask(false, self.database(&request.caller).list_collection_names()).await?;
        names.retain(|name| !name.starts_with("system."));
        names.sort();
        Ok(proto::Collections { names }.into())
    }
}

fn document(what: &str, bytes: &[u8]) -> Result<Document> {
    let checked = check(bytes, Kept::Anywhere).and_then(crate::update::owned);
    checked.map_err(|error| error.context(what))
}

/// A document that need not be there.
fn part(what: &str, bytes: &Bytes) -> Result<Option<Document>> {
    Ok(Some(document(what, bytes)?).filter(|document| !document.is_empty()))
}

fn raw(bytes: &Bytes) -> Result<RawDocumentBuf> {
    let broken = |error| Error::new(Code::Internal, format!("a document that was checked is none: {error}"));
    RawDocumentBuf::from_bytes(bytes.to_vec()).map_err(broken)
}

fn bytes(document: &Document) -> Result<Vec<u8>> {
    let broken =
        |error| Error::maybe_done(Code::Internal, format!("a document of the answer is none: {error}"));
    bson::serialize_to_vec(document).map_err(broken)
}

fn number(value: Option<&Bson>) -> Option<u64> {
    let number = match value? {
        Bson::Int32(number) => i64::from(*number),
        Bson::Int64(number) => *number,
        Bson::Double(number) => *number as i64,
        _ => return None,
    };
    u64::try_from(number).ok()
}

fn signed(limit: u64) -> Result<i64> {
    i64::try_from(limit).map_err(|_| Error::new(Code::Invalid, format!("a limit of {limit} is too large")))
}
