//! What follows of an object that somebody reads on: one answer of S3, of which so much is fetched as may lie here, and no more.
//!
//! The rest waits at the store. A store that does not wait for ever breaks the connection, and then the rest is asked for anew.

use crate::bounds::{Bounds, held};
use crate::reader::Opened;
use crate::task::Task;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use sigmaos::Result;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// An object from some byte on.
#[derive(Debug)]
pub(crate) struct Stream {
    opened: Arc<Opened>,
    /// The next byte that is given.
    at: u64,
    /// Room in memory from there on.
    room: Option<OwnedSemaphorePermit>,
    /// Came, and was not given yet.
    here: VecDeque<Bytes>,
    source: Source,
    /// Something came from this source.
    flows: bool,
}

/// One answer of the store. Pieces of it are as large as they come from the connection.
#[derive(Debug)]
struct Source {
    /// Up to where it may fetch; it goes past that by less than one piece.
    until: watch::Sender<u64>,
    pieces: UnboundedReceiver<Bytes>,
    task: Task<()>,
}

impl Source {
    fn open(opened: &Arc<Opened>, at: u64, until: u64) -> Self {
        let (until, allowed) = watch::channel(until);
        let (given, pieces) = unbounded_channel();
        let task = Task::spawn(fetch(Arc::clone(opened), at, allowed, given));
        Self { until, pieces, task }
    }
}

async fn fetch(
    opened: Arc<Opened>,
    mut at: u64,
    mut allowed: watch::Receiver<u64>,
    given: UnboundedSender<Bytes>,
) -> Result<()> {
    let mut pieces = opened.ask(at..opened.size()).await?.into_stream();
    // Each wait ends with the stream, at the latest.
    while allowed.wait_for(|until| at < *until).await.is_ok() {
        let Some(piece) = pieces.try_next().await.map_err(|error| opened.told(&error))? else { break };
        at += piece.len() as u64;
        if given.send(piece).is_err() {
            break;
        }
    }
    Ok(())
}

impl Stream {
    pub(crate) fn new(opened: &Arc<Opened>, at: u64) -> Self {
        let (opened, source) = (Arc::clone(opened), Source::open(opened, at, 0));
        Self { opened, at, room: None, here: VecDeque::new(), source, flows: false }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next `length` bytes, which are there; meanwhile, and then, it fetches up to `until`, if there is memory for that.
    ///
    /// # Errors
    /// As the store says, and where there is no memory. It is of no use then, nor where this is dropped before it ends.
    pub(crate) async fn read(&mut self, length: usize, until: u64, bounds: &Bounds) -> Result<Bytes> {
        self.make_room(length, until, bounds).await?;
        while self.here_bytes() < length {
            self.more().await?;
        }
        self.at += length as u64;
        let room = self.room.as_mut().and_then(|room| room.split(length));
        Ok(held(self.cut(length), room))
    }

    async fn make_room(&mut self, length: usize, until: u64, bounds: &Bounds) -> Result<()> {
        if let needed @ 1.. = length.saturating_sub(self.has()) {
            let more = bounds.to_read(needed).await?;
            self.add(more);
        }
        let ahead = ((until - self.at) as usize).saturating_sub(self.has());
        // Reading ahead is a favour: where memory is short it waits until it is wanted.
        if let Some(more) = bounds.to_read_ahead(ahead) {
            self.add(more);
        }
        self.source.until.send_replace(self.at + self.has() as u64);
        Ok(())
    }

    fn here_bytes(&self) -> usize {
        self.here.iter().map(Bytes::len).sum()
    }

    fn has(&self) -> usize {
        self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
    }

    /// Waits for the next piece.
    async fn more(&mut self) -> Result<()> {
        if let Some(piece) = self.source.pieces.recv().await {
            self.flows = true;
            self.here.push_back(piece);
            return Ok(());
        }
        let ended = self.source.task.join().await;
        if !self.flows {
            // It never began.
            return Err(ended.err().unwrap_or_else(|| self.opened.cut()));
        }
        let came = self.at + self.here_bytes() as u64;
        let until = *self.source.until.borrow();
        self.source = Source::open(&self.opened, came, until);
        self.flows = false;
        Ok(())
    }

    /// The first `length` bytes of what is here: copied only where they came in several pieces.
    fn cut(&mut self, length: usize) -> Bytes {
        if let Some(first) = self.here.front_mut()
            && first.len() > length
        {
            return first.split_to(length);
        }
        if let Some(whole) = self.here.pop_front_if(|first| first.len() == length) {
            return whole;
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length
            && let Some(mut piece) = self.here.pop_front()
        {
            let left = piece.split_off(piece.len().min(length - bytes.len()));
            bytes.extend_from_slice(&piece);
            if !left.is_empty() {
                self.here.push_front(left);
            }
        }
        bytes.freeze()
    }
}
