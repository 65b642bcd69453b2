//! What follows of an object from some byte on: one answer of the store, from which as much is taken as is read.
//!
//! The rest waits at the store. A store that does not wait for ever breaks the connection, and then the rest is asked for anew.

use crate::plain::{Flow, Given};
use crate::reader::Opened;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use sigmaos::Result;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Some bytes of an object.
#[derive(Debug)]
pub(crate) struct Stream {
    opened: Arc<Opened>,
    /// Those that were not given yet.
    left: Range<u64>,
    source: Option<Source>,
    /// Something came from this source.
    flows: bool,
}

/// One answer of the store.
pub(crate) enum Source {
    /// As it lies at the connection.
    Flow(Flow),
    /// As the library gives it, and what was not taken of its last piece.
    Pieces(BoxStream<'static, object_store::Result<Bytes>>, Bytes),
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flow(_) => "Flow",
            Self::Pieces(..) => "Pieces",
        })
    }
}

impl Source {
    /// At most `length` bytes; none where it broke off. What came before an error is given first.
    async fn read(&mut self, length: usize) -> object_store::Result<Given> {
        match self {
            Self::Flow(flow) => flow.read(length).await.map_err(broken),
            Self::Pieces(pieces, last) => Ok(gathered(pieces, last, length).await?.into()),
        }
    }
}

fn broken(error: std::io::Error) -> object_store::Error {
    let source = Box::new(HttpError::new(HttpErrorKind::Interrupted, error));
    object_store::Error::Generic { store: "S3", source }
}

/// The next `length` bytes of pieces: copied only where they came in several.
async fn gathered(
    pieces: &mut BoxStream<'static, object_store::Result<Bytes>>,
    last: &mut Bytes,
    length: usize,
) -> object_store::Result<Bytes> {
    let mut bytes = BytesMut::new();
    loop {
        let piece = last.split_to(last.len().min(length - bytes.len()));
        if piece.len() == length {
            return Ok(piece);
        }
        if bytes.is_empty() && !piece.is_empty() {
            bytes.reserve(length);
        }
        bytes.extend_from_slice(&piece);
        if bytes.len() == length {
            return Ok(bytes.freeze());
        }
        *last = match pieces.try_next().await {
            Ok(Some(piece)) => piece,
            Err(error) if bytes.is_empty() => return Err(error),
            _ => return Ok(bytes.freeze()),
        };
    }
}

impl Stream {
    /// The bytes of `range`, of which there are some.
    pub(crate) fn new(opened: &Arc<Opened>, range: Range<u64>) -> Self {
        Self { opened: Arc::clone(opened), left: range, source: None, flows: false }
    }

    /// The next byte that is given.
    pub(crate) fn at(&self) -> u64 {
        self.left.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// At most the next `length` bytes, and one at least.
    ///
    /// # Errors
    /// As the store says. It is of no use then, nor where this is dropped before it ends.
    pub(crate) async fn read(&mut self, length: usize) -> Result<Given> {
        let length = length.min(usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX));
        loop {
            let source = match &mut self.source {
                Some(source) => source,
                none => {
                    self.flows = false;
                    none.insert(self.opened.ask(self.left.clone()).await?)
                }
            };
            match source.read(length).await {
                Ok(given) if given.len() > 0 => {
                    self.left.start += given.len() as u64;
                    self.flows = true;
                    return Ok(given);
                }
                // Where it once began it is asked for anew.
                _ if self.flows => self.source = None,
                Ok(_) => return Err(self.opened.cut()),
                Err(error) => return Err(self.opened.told(&error)),
            }
        }
    }
}
