//! Open files.

use crate::rpc::{Bytes, Device};
use crate::stub::NamespaceClient;
use crate::{Result, proto};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::MAX_PAYLOAD;

/// Bytes of a whole file that go in one frame; larger ones are written in pieces.
pub(crate) const PIECE: usize = MAX_PAYLOAD / 4;

/// An object that is open at a server; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) device: Device,
    pub(crate) handle: u32,
}

impl Opened {
    pub(crate) fn new(device: Device, handle: u32) -> Self {
        Self { device, handle }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Closed already: the server may have given the number to another.
        if self.handle == 0 {
            return;
        }
        let close = proto::CloseRequest { handle: self.handle, discard: true };
        let frame = Frame::new(Kind::Notice, 0, "Namespace.Close", &close);
        // A server that has gone has closed it already.
        let _ = self.device.connection().send(frame, Vec::new());
    }
}

/// An open file with its offset.
#[derive(Debug)]
pub struct File {
    object: Opened,
    offset: u64,
}

impl File {
    pub(crate) fn new(device: Device, handle: u32) -> Self {
        Self { object: Opened::new(device, handle), offset: 0 }
    }

    /// Reads from the offset on, and moves it. Empty at the end.
    ///
    /// # Errors
    /// `Denied` where it was not opened for reading, `Closed`, `Unreachable`.
    pub async fn read(&mut self, length: usize) -> Result<Bytes> {
        let length = length.min(PIECE);
        let request =
            proto::ReadRequest { handle: self.object.handle, offset: self.offset, length: length as u32 };
        let bytes = self.namespace().read_with(request, Bytes::new()).await?.payload;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// Reads all that is left.
    ///
    /// # Errors
    /// As [`File::read`].
    pub async fn read_to_end(&mut self) -> Result<Bytes> {
        let mut all = Vec::new();
        loop {
            let piece = self.read(PIECE).await?;
            if piece.is_empty() {
                return Ok(all.into());
            }
            all.extend_from_slice(&piece);
        }
    }

    /// Writes all of `bytes` at the offset, and moves it.
    ///
    /// # Errors
    /// `Denied` where it was not opened for writing, `TooLarge`, `Quota`, `Closed`, `Unreachable`.
    pub async fn write_all(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut left = bytes.into();
        while !left.is_empty() {
            let piece = left.split_to(PIECE.min(left.len()));
            let request =
                proto::WriteRequest { handle: self.object.handle, offset: self.offset, ..Default::default() };
            let length = piece.len() as u64;
            self.namespace().write_with(request, piece).await?;
            self.offset += length;
        }
        Ok(())
    }

    /// Moves the offset (the thesis' `Lseek`).
    pub fn lseek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Closes, and says whether all that was written is kept. Dropping closes too, and says nothing; what was opened to be
    /// created and truncated may then not be kept at all.
    ///
    /// # Errors
    /// What the server could not keep.
    pub async fn close(mut self) -> Result<()> {
        let request = proto::CloseRequest { handle: self.object.handle, discard: false };
        let closed = self.namespace().close(request).await;
        self.object.handle = 0;
        closed.map(drop)
    }

    fn namespace(&self) -> NamespaceClient {
        NamespaceClient(self.object.device.clone())
    }
}
