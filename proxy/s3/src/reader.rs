//! An open object: read at any offset, without fetching the whole.
//!
//! A file of the embedded store is read in place. From S3 come ranges: what a read wants, and for who reads on what comes next (see
//! [`Ahead`]). Each range is asked for of the object that was opened, by its tag: where it was replaced meanwhile, reading
//! ends with `Version`, and never gives parts of two objects.

use crate::ahead::{Ahead, CHUNK, Plan};
use crate::bounds::{Bounds, held, within};
use crate::failure::{disk, failed, replaced};
use crate::place::Object;
use crate::store::Store;
use crate::task::Task;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore};
use sigma_proxy::aside;
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::{Code, Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::Mutex;

/// An object that is open for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) object: Object,
    pub(crate) meta: ObjectMeta,
    system: String,
    bounds: Bounds,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(Arc<File>),
    Ranges(Remote),
}

#[derive(Debug)]
struct Remote {
    store: Arc<dyn ObjectStore>,
    key: Key,
    state: Mutex<Fetched>,
}

/// What was fetched, or is on its way: parts that follow one another.
#[derive(Debug, Default)]
struct Fetched {
    ahead: Ahead,
    chunks: VecDeque<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    range: Range<u64>,
    task: Task<Bytes>,
    bytes: Option<Bytes>,
}

impl Reader {
    /// # Errors
    /// `NotFound`, and as the store says.
    pub(crate) async fn open(store: &impl Store, object: Object, bounds: Bounds) -> Result<Self> {
        let system = store.system().to_owned();
        let (place, key) = store.locate(&object)?;
        let ask = async {
            let options = GetOptions { head: true, ..Default::default() };
            place.get_opts(&key, options).await.map_err(|error| failed(&system, &object, &error))
        };
        let found = within(&system, &object, ask).await?;
        let source = match found.payload {
            GetResultPayload::File(file, _) => Source::File(Arc::new(file)),
            GetResultPayload::Stream(_) => {
                Source::Ranges(Remote { store: place, key, state: Mutex::default() })
            }
        };
        Ok(Self { object, meta: found.meta, system, bounds, source })
    }

    /// At most `length` bytes from `offset` on; empty at the end, and there alone.
    ///
    /// # Errors
    /// `Version` where the object was replaced, and as the store says.
    pub(crate) async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let size = self.meta.size;
        let length = size.saturating_sub(offset).min(length.min(MAX_PAYLOAD) as u64);
        if length == 0 {
            return Ok(Bytes::new());
        }
        match &self.source {
            Source::File(file) => self.read_file(Arc::clone(file), offset, length as usize).await,
            Source::Ranges(remote) => self.read_ranges(remote, offset, length).await,
        }
    }

    async fn read_file(&self, file: Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
        let permit = self.bounds.memory(length).await?;
        let read = aside(move || {
            let mut bytes = vec![0; length];
            Ok(file.read_exact_at(&mut bytes, offset).map(|()| bytes).map_err(|error| error.kind()))
        });
        let bytes = read.await?.map_err(|kind| disk(&self.system, &self.object, kind))?;
        Ok(held(bytes.into(), permit))
    }

    async fn read_ranges(&self, remote: &Remote, offset: u64, length: u64) -> Result<Bytes> {
        let mut fetched = remote.state.lock().await;
        let plan = fetched.ahead.plan(offset, length, self.meta.size);
        let read = within(
            &self.system,
            &self.object,
            self.fetch(remote, &mut fetched, offset..offset + length, plan),
        );
        let bytes = read.await.inspect_err(|_| fetched.chunks.clear())?;
        fetched.ahead.ended(offset + bytes.len() as u64);
        Ok(bytes)
    }

    async fn fetch(
        &self,
        remote: &Remote,
        fetched: &mut Fetched,
        want: Range<u64>,
        plan: Plan,
    ) -> Result<Bytes> {
        let chunks = &mut fetched.chunks;
        if !plan.keep {
            chunks.clear();
        }
        while chunks.front().is_some_and(|chunk| chunk.range.end <= want.start) {
            chunks.pop_front();
        }
        if chunks.front().is_none_or(|chunk| chunk.range.start > want.start) {
            chunks.clear();
            let permit = self.bounds.memory((want.end - want.start) as usize).await?;
            chunks.push_back(self.chunk(remote, want.clone(), permit));
        }
        let mut at = chunks.back().map_or(want.end, |chunk| chunk.range.end);
        while at + CHUNK <= plan.until || (plan.until == self.meta.size && at < plan.until) {
            let end = plan.until.min(at + CHUNK);
            // Reading ahead is a favour: where memory is short it waits until it is wanted.
            let Some(permit) = self.bounds.spare_memory((end - at) as usize) else { break };
            chunks.push_back(self.chunk(remote, at..end, permit));
            at = end;
        }
        let Some(first) = chunks.front_mut() else {
            return Err(Error::new(Code::Internal, format!("{}: nothing was fetched", self.object)));
        };
        let bytes = match &first.bytes {
            Some(bytes) => bytes.clone(),
            None => first.bytes.insert(first.task.join().await?).clone(),
        };
        let start = (want.start - first.range.start) as usize;
        let end = (want.end.min(first.range.end) - first.range.start) as usize;
        Ok(bytes.slice(start..end))
    }

    fn chunk(&self, remote: &Remote, range: Range<u64>, permit: impl Send + 'static) -> Chunk {
        let (store, key) = (Arc::clone(&remote.store), remote.key.clone());
        let (system, object, tag) = (self.system.clone(), self.object.clone(), self.meta.e_tag.clone());
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), if_match: tag, ..Default::default() };
        let length = range.end - range.start;
        let task = Task::spawn(async move {
            let tell = |error: StoreError| match failed(&system, &object, &error) {
                gone if gone.code == Code::NotFound => replaced(&object),
                other => other,
            };
            let bytes = store.get_opts(&key, options).await.map_err(tell)?.bytes().await.map_err(tell)?;
            match bytes.len() as u64 == length {
                true => Ok(held(bytes, permit)),
                false => Err(replaced(&object)),
            }
        });
        Chunk { range, task, bytes: None }
    }
}
