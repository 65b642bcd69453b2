//! An object in the making: written from its start to its end, seen when it is closed, and whole.
//!
//! ```text
//!   new ──write, write, …──▶ close ──▶ up to one PART: put at once     past it: the last part, then complete
//!              └── past PART: parts go to the store, IN_FLIGHT at a time, while the writer writes on
//!              └── dropped, or the connection ends ──▶ parts are removed; what was there stays as it was
//! ```

use crate::bounds::{Bounds, within};
use crate::place::Object;
use crate::store::Store;
use crate::task::Task;
use bytes::Bytes;
use object_store::PutPayload;
use sigmaos::{Code, Error, Result};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Bytes of a part; an object with no more is put in one request. All parts but the last are as large.
pub(crate) const PART: usize = 8 << 20;

/// Parts of one object that are on their way at a time; a writer waits for one of them before the next.
const IN_FLIGHT: usize = 4;

/// Parts of an object, as S3 has it.
const MOST_PARTS: u64 = 10_000;

/// The longest that a part may be on its way.
const PART_DEADLINE: Duration = Duration::from_secs(120);

/// An object that is open for writing.
pub(crate) struct Writer<S: Store> {
    store: Arc<S>,
    pub(crate) object: Object,
    exclusive: bool,
    bounds: Bounds,
    length: u64,
    /// What has no part yet, with its room in memory.
    pending: Vec<(Bytes, OwnedSemaphorePermit)>,
    pending_bytes: usize,
    /// Dropped before the parts that they belong to.
    on_their_way: VecDeque<Task<()>>,
    parts: Option<S::Parts>,
    /// Room at the store that was taken, and given back where the object is not made.
    room: u64,
    failed: Option<Error>,
}

impl<S: Store> Writer<S> {
    /// # Errors
    /// `NotFound` where the bucket is missing.
    pub(crate) async fn new(store: Arc<S>, object: Object, exclusive: bool, bounds: Bounds) -> Result<Self> {
        within(store.system(), &object, store.find_bucket(&object.bucket)).await?;
        store.locate(&object)?;
        Ok(Self {
            store,
            object,
            exclusive,
            bounds,
            length: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            on_their_way: VecDeque::new(),
            parts: None,
            room: 0,
            failed: None,
        })
    }

    /// Takes all of `bytes`, which follow what was written before.
    ///
    /// # Errors
    /// `Unsupported` at another offset, `TooLarge`, `Quota`, `Busy`, and what became of the parts before. After that it cannot be
    /// closed either.
    pub(crate) async fn write(&mut self, offset: u64, bytes: Bytes) -> Result<()> {
        self.check()?;
        if offset != self.length {
            let text = format!(
                "{}: an object is written from its start to its end: the next byte is {}, and not {offset}",
                self.object, self.length
            );
            return Err(Error::new(Code::Unsupported, text));
        }
        // Whoever gives up waiting does not know whether it was taken.
        self.failed = Some(Error::new(Code::Deadline, "a write was given up before it was taken"));
        let taken = self.take(bytes).await;
        self.failed = taken.as_ref().err().cloned();
        taken
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        if self.length + bytes.len() as u64 > MOST_PARTS * PART as u64 {
            let text = format!("{} would have more than {MOST_PARTS} parts of {PART} bytes", self.object);
            return Err(Error::new(Code::TooLarge, text));
        }
        let permit = self.bounds.to_write(bytes.len()).await?;
        self.store.take_room(&self.object, bytes.len() as u64).await?;
        self.room += bytes.len() as u64;
        self.length += bytes.len() as u64;
        self.pending_bytes += bytes.len();
        self.pending.push((bytes, permit));
        while self.pending_bytes > PART {
            self.send_part(PART).await?;
        }
        Ok(())
    }

    /// Sends the first `length` pending bytes, once there is a place for a part on its way.
    async fn send_part(&mut self, length: usize) -> Result<()> {
        if self.parts.is_none() {
            let begun = within(self.store.system(), &self.object, self.store.begin(&self.object)).await?;
            self.parts = Some(begun);
        }
        while self.on_their_way.len() >= IN_FLIGHT {
            self.finish_part().await?;
        }
        let (payload, permits) = self.cut(length);
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let (system, object) = (self.store.system().to_owned(), self.object.clone());
        let sent = self.store.part(&self.object, parts, payload);
        self.on_their_way.push_back(Task::spawn(async move {
            let sent = timeout(PART_DEADLINE, sent).await;
            drop(permits);
            sent.unwrap_or_else(|_| {
                let seconds = PART_DEADLINE.as_secs();
                let text = format!("{object}: {system} did not take a part within {seconds} s");
                Err(Error::new(Code::Deadline, text))
            })
        }));
        Ok(())
    }

    /// Waits for the oldest part.
    async fn finish_part(&mut self) -> Result<()> {
        let Some(oldest) = self.on_their_way.front_mut() else { return Ok(()) };
        within(self.store.system(), &self.object, oldest.join()).await?;
        self.on_their_way.pop_front();
        Ok(())
    }

    /// The first `length` pending bytes, none of them copied.
    fn cut(&mut self, length: usize) -> (PutPayload, Vec<OwnedSemaphorePermit>) {
        let (mut payload, mut permits, mut left) = (Vec::new(), Vec::new(), length);
        let mut pending = mem::take(&mut self.pending).into_iter();
        while left > 0
            && let Some((mut bytes, mut permit)) = pending.next()
        {
            if bytes.len() > left {
                let rest = bytes.split_off(left);
                self.pending.extend(permit.split(rest.len()).map(|permit| (rest, permit)));
            }
            left -= bytes.len();
            payload.push(bytes);
            permits.push(permit);
        }
        self.pending.extend(pending);
        self.pending_bytes -= length - left;
        (payload.into_iter().collect(), permits)
    }

    /// All is written: the object is seen from now on. To be waited for to its end.
    ///
    /// # Errors
    /// What kept it from that; it is gone then.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.check()?;
        let store = Arc::clone(&self.store);
        if self.parts.is_none() {
            let (payload, permits) = self.cut(self.pending_bytes);
            store.put(&self.object, payload, self.exclusive).await?;
            drop(permits);
        } else {
            self.send_part(self.pending_bytes).await?;
            while let Some(mut part) = self.on_their_way.pop_front() {
                part.join().await?;
            }
            if let Some(parts) = self.parts.take() {
                store.complete(&self.object, parts, self.exclusive).await?;
            }
        }
        self.room = 0;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone().context(format!("{} cannot be made", self.object))),
        }
    }
}

impl<S: Store> Drop for Writer<S> {
    fn drop(&mut self) {
        self.store.give_room(self.room);
    }
}

impl<S: Store> std::fmt::Debug for Writer<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("object", &self.object).finish_non_exhaustive()
    }
}
