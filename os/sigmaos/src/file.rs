//! Open files.

use crate::mounts::{Again, Last, Place};
use crate::rpc::{Bytes, Device};
use crate::sigma::Sigma;
use crate::stub::NamespaceClient;
use crate::{Code, Error, Path, Result, proto};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::MAX_PAYLOAD;
use std::sync::Arc;

/// Bytes of a whole file that go in one frame; larger ones are written in pieces.
pub(crate) const PIECE: usize = MAX_PAYLOAD / 4;

/// Bytes that go into a pipe at a time.
const MAX_PIPE_WRITE: usize = 32 << 10;

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

/// An open file or pipe, with its offset. A file stays open when its named starts again, unless it was removed; then, as
/// with every pipe, the next call fails and says so.
#[derive(Debug)]
pub struct File {
    sigma: Sigma,
    /// The global path of the server.
    mount: Path,
    object: Opened,
    stat: proto::Stat,
    /// What its changes carry.
    fences: Vec<proto::Fence>,
    read: bool,
    write: bool,
    offset: u64,
}

impl File {
    pub(crate) fn new(
        sigma: Sigma,
        place: Place,
        request: &proto::OpenRequest,
        opened: proto::Opened,
    ) -> Self {
        let stat = opened.stat.unwrap_or_default();
        let fences = sigma.fences_at(&place);
        // A pipe's other side may take any time.
        let device = match stat.kind() {
            proto::Kind::Pipe => place.device.deadline(None),
            _ => place.device,
        };
        let object = Opened::new(device, opened.handle);
        let (read, write) = (request.read, request.write);
        Self { sigma, mount: place.mount, object, stat, fences, read, write, offset: 0 }
    }

    /// What the file was when it was opened.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello").await?;
    /// assert_eq!(sigma.open("/greeting").await?.stat().size, 5);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn stat(&self) -> &proto::Stat {
        &self.stat
    }

    /// Reads from the offset on, and moves it. Empty at the end; of a pipe, when its last writer has closed it.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello world").await?;
    /// let mut file = sigma.open("/greeting").await?;
    /// assert_eq!(file.read(5).await?, "hello");
    /// assert_eq!(file.read(100).await?, " world");
    /// assert!(file.read(100).await?.is_empty());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Denied` where it was not opened for reading, `Closed`, `Unreachable`.
    pub async fn read(&mut self, length: usize) -> Result<Bytes> {
        let length = length.min(PIECE) as u32;
        let bytes = loop {
            let request = proto::ReadRequest { handle: self.object.handle, offset: self.offset, length };
            match self.namespace().read_with(request, Bytes::new()).await {
                Ok(reply) => break reply.payload,
                Err(error) => self.survive(error).await?,
            }
        };
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// Reads all that is left.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello world").await?;
    /// let mut file = sigma.open("/greeting").await?;
    /// file.read(6).await?;
    /// assert_eq!(file.read_to_end().await?, "world");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
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
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::OpenRequest;
    /// let how = OpenRequest { write: true, create: true, ..Default::default() };
    /// let mut file = sigma.open_with("/log", how).await?;
    /// file.write("one\n").await?;
    /// file.write("two\n").await?;
    /// file.close().await?;
    /// assert_eq!(sigma.get_file("/log").await?, "one\ntwo\n");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Denied` where it was not opened for writing, `TooLarge`, `Quota`, `Stale`, `Closed` for a pipe that nobody reads,
    /// `Unreachable`.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut left = bytes.into();
        let most = if self.stat.kind() == proto::Kind::Pipe { MAX_PIPE_WRITE } else { PIECE };
        while !left.is_empty() {
            let piece = left.split_to(most.min(left.len()));
            self.write_piece(&piece).await?;
            self.offset += piece.len() as u64;
        }
        Ok(())
    }

    async fn write_piece(&mut self, piece: &Bytes) -> Result<()> {
        let inner = Arc::clone(&self.sigma.inner);
        let number = inner.changes.number();
        loop {
            let request = proto::WriteRequest {
                handle: self.object.handle,
                offset: self.offset,
                stamp: Some(number.stamp()),
                fences: self.fences.clone(),
            };
            match self.namespace().write_with(request, piece.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => self.survive(error).await?,
            }
        }
    }

    /// Opens the file again where its named has started again.
    ///
    /// # Errors
    /// The error itself, where that is not why the call failed.
    async fn survive(&mut self, error: Error) -> Result<()> {
        let broken = error.code == Code::Unreachable && self.object.device.connection().closed().is_some();
        if !broken || !self.mount.is_root() || self.stat.entry == 0 {
            return Err(error);
        }
        if self.stat.kind() == proto::Kind::Pipe {
            let text = "the pipe ended: what was in it is lost when its server starts again";
            return Err(Error { maybe_done: error.maybe_done, ..Error::new(Code::Closed, text) });
        }
        let (read, write) = (self.read, self.write);
        let request = proto::OpenRequest { entry: self.stat.entry, read, write, ..Default::default() };
        let opened = self.sigma.at("open again", self.mount.as_str(), Last::Follow, Again::Read, |place| {
            let request = request.clone();
            async move {
                let opened = NamespaceClient(place.device.clone()).open(request).await?;
                Ok(Opened::new(place.device, opened.handle))
            }
        });
        self.object = opened.await?;
        Ok(())
    }

    /// Moves the offset (the thesis' `Lseek`). Pipes have none.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello world").await?;
    /// let mut file = sigma.open("/greeting").await?;
    /// file.lseek(6);
    /// assert_eq!(file.read_to_end().await?, "world");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn lseek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Closes, and says whether all that was written is kept. Dropping closes too, and says nothing; what was opened to be
    /// created and truncated may then not be kept at all.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::OpenRequest;
    /// let how = OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
    /// let mut file = sigma.open_with("/ux/~local/report", how).await?;
    /// file.write("all of it").await?;
    /// // There, a file that is made anew is seen when it is closed, and whole.
    /// assert!(sigma.stat("/ux/~local/report").await.is_err());
    /// file.close().await?;
    /// assert_eq!(sigma.get_file("/ux/~local/report").await?, "all of it");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
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
