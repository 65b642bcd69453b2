//! An open object: read at any offset, without fetching the whole.
//!
//! A file of the embedded store is read in place. From S3 comes a range: what a read wants; for who reads on, one stream of all that
//! follows, as far ahead as [`Ahead`] says. Each is asked for of the object that was opened, by its tag, and the answer is looked at: where it was
//! replaced meanwhile, reading ends with `Version`, and never gives parts of two objects.

use crate::ahead::Ahead;
use crate::bounds::{Bounds, held, within};
use crate::failure::{disk, failed, replaced};
use crate::place::Object;
use crate::store::Store;
use crate::stream::Stream;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore};
use sigma_proxy::aside;
use sigmaos::limits::MAX_PAYLOAD;
use sigmaos::{Code, Error, Result};
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
    Remote { opened: Arc<Opened>, state: Mutex<State> },
}

/// What was opened, at S3.
#[derive(Debug)]
pub(crate) struct Opened {
    store: Arc<dyn ObjectStore>,
    key: Key,
    system: String,
    object: Object,
    meta: ObjectMeta,
}

/// One read after the other.
#[derive(Debug, Default)]
struct State {
    ahead: Ahead,
    stream: Option<Stream>,
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
        let GetResult { payload, meta, .. } = within(&system, &object, ask).await?;
        let source = match payload {
            GetResultPayload::File(file, _) => Source::File(Arc::new(file)),
            GetResultPayload::Stream(_) => {
                let (system, object, meta) = (system.clone(), object.clone(), meta.clone());
                let opened = Opened { store: place, key, system, object, meta };
                Source::Remote { opened: Arc::new(opened), state: Mutex::default() }
            }
        };
        Ok(Self { object, meta, system, bounds, source })
    }

    /// At most `length` bytes from `offset` on; empty at the end, and there alone.
    ///
    /// # Errors
    /// `Version` where the object was replaced, `Busy`, and as the store says.
    pub(crate) async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let length = self.meta.size.saturating_sub(offset).min(length.min(MAX_PAYLOAD) as u64) as usize;
        if length == 0 {
            return Ok(Bytes::new());
        }
        match &self.source {
            Source::File(file) => self.read_file(Arc::clone(file), offset, length).await,
            Source::Remote { opened, state } => {
                let read = async { self.read_remote(opened, &mut *state.lock().await, offset, length).await };
                within(&self.system, &self.object, read).await
            }
        }
    }

    async fn read_file(&self, file: Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
        let permit = self.bounds.to_read(length).await?;
        let read = aside(move || {
            let mut bytes = vec![0; length];
            Ok(file.read_exact_at(&mut bytes, offset).map(|()| bytes).map_err(|error| error.kind()))
        });
        let bytes = read.await?.map_err(|kind| disk(&self.system, &self.object, kind))?;
        Ok(held(bytes.into(), permit))
    }

    async fn read_remote(
        &self,
        opened: &Arc<Opened>,
        state: &mut State,
        offset: u64,
        length: usize,
    ) -> Result<Bytes> {
        let until = state.ahead.plan(offset, length as u64, self.meta.size);
        // Where this is given up half-way, the stream is at no place that is known.
        let stream = state.stream.take();
        let bytes = match until {
            None => {
                let permit = self.bounds.to_read(length).await?;
                held(opened.range(offset..offset + length as u64).await?, permit)
            }
            Some(until) => {
                let stream = stream.filter(|stream| stream.at() == offset);
                let mut stream = stream.unwrap_or_else(|| Stream::new(opened, offset));
                let bytes = stream.read(length, until, &self.bounds).await?;
                // At its end it has a connection, and nothing more to give.
                state.stream = Some(stream).filter(|stream| stream.at() < self.meta.size);
                bytes
            }
        };
        state.ahead.ended(offset + bytes.len() as u64);
        Ok(bytes)
    }
}

impl Opened {
    pub(crate) fn size(&self) -> u64 {
        self.meta.size
    }

    /// Some bytes of it.
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let bytes = self.ask(range).await?.bytes().await.map_err(|error| self.told(&error))?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(replaced(&self.object)) }
    }

    /// Asks for some bytes of it, and of nothing else.
    pub(crate) async fn ask(&self, range: Range<u64>) -> Result<GetResult> {
        let if_match = self.meta.e_tag.clone();
        let options = GetOptions { range: Some(range.into()), if_match, ..Default::default() };
        let found = self.store.get_opts(&self.key, options).await.map_err(|error| self.told(&error))?;
        // Not every S3 heeds the condition.
        if (&found.meta.e_tag, found.meta.size) != (&self.meta.e_tag, self.meta.size) {
            return Err(replaced(&self.object));
        }
        Ok(found)
    }

    pub(crate) fn told(&self, error: &StoreError) -> Error {
        match failed(&self.system, &self.object, error) {
            gone if gone.code == Code::NotFound => replaced(&self.object),
            other => other,
        }
    }

    /// It ended before its end.
    pub(crate) fn cut(&self) -> Error {
        replaced(&self.object)
    }
}
