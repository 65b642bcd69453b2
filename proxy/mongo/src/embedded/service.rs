//! The calls, as the embedded store answers them.

use super::catalog::Index;
use super::change::{Change, Done, Modify};
use super::room::Room;
use super::search::{Batch, Progress, Search, Wanted};
use super::store::{self, Snapshot};
use super::writer::{Job, Shared, start};
use crate::cursors::Cursors;
use crate::document::{Kept, check, split};
use crate::filter::Filter;
use crate::keys::Keys;
use crate::limits::{INLINE_DOCUMENTS, LONGEST_CALL, MAX_SEARCHES, MAX_WAITING_BYTES};
use crate::projection::Projection;
use crate::request;
use crate::update::Update;
use bytes::Bytes;
use sigma_abi::{Code, Error, Result};
use sigmaos::mongo::stub::Mongo;
use sigmaos::proto::mongo as proto;
use sigmaos::rpc::{Request, Response};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{Semaphore, oneshot};

/// Bytes that a change takes beside its documents.
const BYTES_OF_CHANGE: usize = 1 << 10;

/// Documents that a search on a thread of its own looks at between two looks at whether anybody waits for it.
const LOOK_AROUND: usize = 256;

/// The embedded store of a realm.
pub struct Embedded {
    shared: Arc<Shared>,
    cursors: Cursors<Search>,
    searches: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    room: Option<Room>,
}

impl Embedded {
    /// Opens the file, or makes it. `failed` is told when it can no longer be written.
    ///
    /// # Errors
    /// What is wrong with the file, naming it.
    pub fn open(file: &Path, room: Option<Room>, failed: impl Fn(&Error) + Send + 'static) -> Result<Self> {
        let (database, catalog) = store::open(file)?;
        Self::with(database, catalog, room, failed)
    }

    #[cfg(test)]
    pub(super) fn over(backend: impl redb::StorageBackend, failed: impl Fn(&Error) + Send + 'static) -> Self {
        let (database, catalog) = store::over(backend);
        Self::with(database, catalog, None, failed).unwrap()
    }

    fn with(
        database: redb::Database,
        catalog: super::catalog::Catalog,
        room: Option<Room>,
        failed: impl Fn(&Error) + Send + 'static,
    ) -> Result<Self> {
        let snapshot = Snapshot::take(&database, Arc::new(catalog)).map_err(Error::from)?;
        let shared = Arc::new(Shared::new(snapshot));
        // It ends with the last clone of the store, having answered; whoever waits for nothing needs not wait for it.
        drop(start(Arc::clone(&shared), database, failed));
        let (searches, waiting) =
            (Arc::new(Semaphore::new(MAX_SEARCHES)), Arc::new(Semaphore::new(MAX_WAITING_BYTES)));
        Ok(Self { shared, cursors: Cursors::default(), searches, waiting, room })
    }

    async fn change(&self, name: &str, bytes: usize, change: Change) -> Result<Done> {
        let collection = request::collection(name)?.to_owned();
        let bytes = bytes + BYTES_OF_CHANGE;
        let waiting = Arc::clone(&self.waiting).try_acquire_many_owned(bytes as u32);
        let waiting =
            waiting.map_err(|_| Error::new(Code::Busy, "too many changes wait for the embedded store"))?;
        if let Some(room) = self.room.as_ref().filter(|_| !change.frees()) {
            room.make(bytes as u64).await?;
        }
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + LONGEST_CALL;
        self.shared.ask(Job { collection, change, bytes, until, answer, _waiting: waiting });
        let failed = |_| Error::maybe_done(Code::Unreachable, "the embedded store can no longer be written");
        answered.await.map_err(failed)?
    }

    /// Goes on with a search until a batch is full; gives the number of the cursor where something may be left.
    async fn go(&self, owner: &str, search: Search, most: u32) -> Result<Response<proto::Batch>> {
        let (mut search, mut batch) = (search, Batch::of(most));
        let snapshot = self.shared.snapshot();
        search.resume(&snapshot.catalog)?;
        let mut progress = search.go(&*snapshot, &mut batch, INLINE_DOCUMENTS).map_err(Error::from)?;
        if progress == Progress::Paused {
            (search, batch, progress) = self.go_aside(snapshot, search, batch).await?;
        }
        let cursor = match progress {
            Progress::Done => 0,
            Progress::Full | Progress::Paused => {
                let held = search.held();
                self.cursors.keep(owner, search, held)?
            }
        };
        let message = proto::Batch { cursor, count: batch.count };
        Ok(Response::new(message).payload(request::reply(batch.bytes)?))
    }

    /// Goes on with a long search on a thread of its own, for as long as somebody waits for it.
    async fn go_aside(
        &self,
        snapshot: Arc<Snapshot>,
        search: Search,
        batch: Batch,
    ) -> Result<(Search, Batch, Progress)> {
        let until = Instant::now() + LONGEST_CALL;
        let turn = Arc::clone(&self.searches).acquire_owned();
        let turn = tokio::time::timeout_at(until.into(), turn).await;
        let turn =
            turn.map_err(|_| late())?.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let wanted = Wanting::default();
        let still = Arc::clone(&wanted.0);
        let work = move || {
            let (mut search, mut batch, _turn) = (search, batch, turn);
            loop {
                let progress = search.go(&*snapshot, &mut batch, LOOK_AROUND).map_err(Error::from)?;
                if progress != Progress::Paused {
                    return Ok((search, batch, progress));
                }
                if !still.load(Ordering::Relaxed) || Instant::now() > until {
                    return Err(late());
                }
            }
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::new(Code::Internal, format!("a search ended: {error}")))?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Whether somebody still waits.
struct Wanting(Arc<AtomicBool>);

impl Default for Wanting {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn late() -> Error {
    Error::new(
        Code::Deadline,
        "the embedded store took longer than a call may: make an index, or ask for less",
    )
}

fn filter(bytes: &[u8]) -> Result<Filter> {
    let parsed = check(bytes, Kept::Here).and_then(Filter::parse);
    parsed.map_err(|error| error.context("the filter"))
}

fn sort(bytes: &[u8]) -> Result<Option<Keys>> {
    let parsed = check(bytes, Kept::Here).and_then(Keys::parse);
    let keys = parsed.map_err(|error| error.context("the sort"))?;
    Ok((!keys.0.is_empty()).then_some(keys))
}

fn projection(bytes: &[u8]) -> Result<Option<Projection>> {
    let parsed = check(bytes, Kept::Here).and_then(Projection::parse);
    let projection = parsed.map_err(|error| error.context("the projection"))?;
    Ok((projection != Projection::default()).then_some(projection))
}

fn update(payload: &Bytes) -> Result<Update> {
    let parsed = check(request::required(payload)?, Kept::Here).and_then(Update::parse);
    parsed.map_err(|error| error.context("the update"))
}

impl Mongo for Embedded {
    async fn insert(&self, request: Request<proto::InsertRequest>) -> Result<Response<proto::Inserted>> {
        let documents = split(request::required(&request.payload)?, Kept::Here)?;
        // What came with a frame would keep the whole buffer that it was read into.
        let documents: Vec<Bytes> =
            documents.iter().map(|document| Bytes::copy_from_slice(document)).collect();
        let bytes = request.payload.len();
        drop(request.payload);
        let done = self.change(&request.message.collection, bytes, Change::Insert(documents)).await?;
        Ok(proto::Inserted { count: done.matched }.into())
    }

    async fn find(&self, request: Request<proto::FindRequest>) -> Result<Response<proto::Batch>> {
        let message = request.message;
        let name = request::collection(&message.collection)?;
        let wanted = Wanted {
            filter: filter(&message.filter)?,
            sort: sort(&message.sort)?,
            skip: message.skip,
            limit: message.limit,
            projection: projection(&message.projection)?,
        };
        match self.shared.snapshot().catalog.find(name) {
            None => Ok(proto::Batch::default().into()),
            Some(collection) => {
                let search = Search::new(collection, wanted);
                self.go(&request.caller.pid, search, message.batch).await
            }
        }
    }

    async fn more(&self, request: Request<proto::MoreRequest>) -> Result<Response<proto::Batch>> {
        let search = self.cursors.take(&request.caller.pid, request.message.cursor)?;
        self.go(&request.caller.pid, search, request.message.batch).await
    }

    async fn close_cursor(&self, request: Request<proto::CursorRequest>) -> Result<Response<proto::Done>> {
        // One that is closed already is as it should be.
        drop(self.cursors.take(&request.caller.pid, request.message.cursor));
        Ok(proto::Done {}.into())
    }

    async fn update(&self, request: Request<proto::UpdateRequest>) -> Result<Response<proto::Updated>> {
        let proto::UpdateRequest { collection, filter: meant, many, upsert } = request.message;
        let change =
            Change::Update { filter: filter(&meant)?, update: update(&request.payload)?, many, upsert };
        let done = self.change(&collection, meant.len() + request.payload.len(), change).await?;
        updated(done)
    }

    async fn delete(&self, request: Request<proto::DeleteRequest>) -> Result<Response<proto::Deleted>> {
        let proto::DeleteRequest { collection, filter: meant, many } = request.message;
        let change = Change::Delete { filter: filter(&meant)?, many };
        let done = self.change(&collection, meant.len(), change).await?;
        Ok(proto::Deleted { count: done.matched }.into())
    }

    async fn find_and_modify(
        &self,
        request: Request<proto::FindAndModifyRequest>,
    ) -> Result<Response<proto::Updated>> {
        let message = request.message;
        if message.remove && (message.upsert || message.new || !request.payload.is_empty()) {
            let text = "a document that is removed is neither changed nor added, and is given as it was";
            return Err(Error::new(Code::Invalid, text));
        }
        let modify = Modify {
            filter: filter(&message.filter)?,
            sort: sort(&message.sort)?,
            projection: projection(&message.projection)?,
            update: if message.remove { None } else { Some(update(&request.payload)?) },
            upsert: message.upsert,
            new: message.new,
        };
        let bytes = message.filter.len() + request.payload.len();
        updated(self.change(&message.collection, bytes, Change::Modify(modify)).await?)
    }

    async fn count(&self, request: Request<proto::CountRequest>) -> Result<Response<proto::Counted>> {
        let message = request.message;
        let name = request::collection(&message.collection)?;
        let proto::CountRequest { skip, limit, .. } = message;
        let wanted = Wanted { filter: filter(&message.filter)?, sort: None, skip, limit, projection: None };
        let snapshot = self.shared.snapshot();
        let Some(collection) = snapshot.catalog.find(name) else {
            return Ok(proto::Counted { count: 0 }.into());
        };
        let mut search = Search::new(collection, wanted);
        let mut batch = Batch::counting();
        if search.go(&*snapshot, &mut batch, INLINE_DOCUMENTS).map_err(Error::from)? == Progress::Paused {
            (_, batch, _) = self.go_aside(snapshot, search, batch).await?;
        }
        Ok(proto::Counted { count: u64::from(batch.count) }.into())
    }

    async fn create_index(
        &self,
        request: Request<proto::CreateIndexRequest>,
    ) -> Result<Response<proto::Index>> {
        let proto::CreateIndexRequest { collection, keys, unique, name } = request.message;
        request::index(&name)?;
        let asked = check(&keys, Kept::Here).and_then(crate::update::owned)?;
        // Its number is given when it is made.
        let index = Index::new(0, name, &asked, unique)?;
        if index.keys.0.is_empty() {
            return Err(Error::new(Code::Invalid, "an index has at least one path"));
        }
        let done = self.change(&collection, keys.len(), Change::CreateIndex(index)).await?;
        let name = String::from_utf8_lossy(&done.document).into_owned();
        Ok(proto::Index { name, keys, unique }.into())
    }

    async fn drop_index(&self, request: Request<proto::DropIndexRequest>) -> Result<Response<proto::Done>> {
        let proto::DropIndexRequest { collection, name } = request.message;
        self.change(&collection, 0, Change::DropIndex(name)).await?;
        Ok(proto::Done {}.into())
    }

    async fn list_indexes(
        &self,
        request: Request<proto::CollectionRequest>,
    ) -> Result<Response<proto::Indexes>> {
        let snapshot = self.shared.snapshot();
        let collection = snapshot.catalog.find(request::collection(&request.message.collection)?);
        let described = |index: &Index| proto::Index {
            name: index.name.clone(),
            keys: index.asked.clone().into(),
            unique: index.unique,
        };
        let indexes = collection.map(|collection| collection.indexes.iter().map(described).collect());
        Ok(proto::Indexes { indexes: indexes.unwrap_or_default() }.into())
    }

    async fn drop_collection(
        &self,
        request: Request<proto::CollectionRequest>,
    ) -> Result<Response<proto::Done>> {
        self.change(&request.message.collection, 0, Change::Drop).await?;
        Ok(proto::Done {}.into())
    }

    async fn list_collections(
        &self,
        _: Request<proto::ListCollectionsRequest>,
    ) -> Result<Response<proto::Collections>> {
        let names = self.shared.snapshot().catalog.collections.keys().cloned().collect();
        Ok(proto::Collections { names }.into())
    }
}

fn updated(done: Done) -> Result<Response<proto::Updated>> {
    let Done { matched, modified, upserted, document } = done;
    Ok(Response::new(proto::Updated { matched, modified, upserted }).payload(request::reply(document)?))
}
