//! An open object: read at any offset, without fetching the whole.
//!
//! A file of the embedded store is read in place. From S3 comes a range: what a read wants; for who reads on, one stream of all that
//! follows. Each is asked for of the object that was opened, by its tag, and the answer is looked at: where it was
//! replaced meanwhile, reading ends with `Version`, and never gives parts of two objects.

use crate::bounds::{Bounds, within};
use crate::failure::{disk, failed, replaced};
use crate::place::Object;
use crate::plain::{Bare, Given, Taken};
use crate::store::Store;
use crate::stream::{Source as Answer, Stream};
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
use tokio::sync::{Mutex, OwnedSemaphorePermit};

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
    /// Where the last read ended; the first is expected at the start.
    next: u64,
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

    /// At most `length` bytes from `offset` on, and the room that they have in memory; none at the end, and there alone.
    ///
    /// # Errors
    /// `Version` where the object was replaced, `Busy`, and as the store says.
    pub(crate) async fn read(&self, offset: u64, length: usize) -> Result<(Given, OwnedSemaphorePermit)> {
        let length = self.meta.size.saturating_sub(offset).min(length.min(MAX_PAYLOAD) as u64) as usize;
        let room = self.bounds.to_read(length).await?;
        let given = match &self.source {
            _ if length == 0 => Given::default(),
            Source::File(file) => self.read_file(Arc::clone(file), offset, length).await?.into(),
            Source::Remote { opened, state } => {
                let read = async { self.read_remote(opened, &mut *state.lock().await, offset, length).await };
                within(&self.system, &self.object, read).await?
            }
        };
        Ok((given, room))
    }

    async fn read_file(&self, file: Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
        let read = aside(move || {
            let mut bytes = vec![0; length];
            Ok(file.read_exact_at(&mut bytes, offset).map(|()| bytes).map_err(|error| error.kind()))
        });
        Ok(read.await?.map_err(|kind| disk(&self.system, &self.object, kind))?.into())
    }

    async fn read_remote(
        &self,
        opened: &Arc<Opened>,
        state: &mut State,
        offset: u64,
        length: usize,
    ) -> Result<Given> {
        // Where this is given up half-way, the stream is at no place that is known.
        let stream = state.stream.take().filter(|stream| stream.at() == offset);
        // Who reads on is expected to read to the end; who reads here and there costs the store what it reads.
        let until = if offset == state.next { self.meta.size } else { offset + length as u64 };
        let mut stream = stream.unwrap_or_else(|| Stream::new(opened, offset..until));
        let given = stream.read(length).await?;
        state.next = stream.at();
        // At its end it has a connection, and nothing more to give.
        state.stream = Some(stream).filter(|stream| !stream.is_empty());
        Ok(given)
    }
}

impl Opened {
    /// Asks for some bytes of it, and of nothing else.
    pub(crate) async fn ask(&self, range: Range<u64>) -> Result<Answer> {
        let mut options =
            GetOptions { range: Some(range.into()), if_match: self.meta.e_tag.clone(), ..Default::default() };
        options.extensions.insert(Bare);
        let found = self.store.get_opts(&self.key, options).await.map_err(|error| self.told(&error))?;
        // Not every S3 heeds the condition.
        if (&found.meta.e_tag, found.meta.size) != (&self.meta.e_tag, self.meta.size) {
            return Err(replaced(&self.object));
        }
        let bare = found.extensions.get::<Taken>().and_then(Taken::take);
        Ok(bare.map_or_else(|| Answer::Pieces(found.into_stream(), Bytes::new()), Answer::Flow))
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
