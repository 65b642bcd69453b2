//! Remote calls: a method's name, a protobuf message and raw bytes beside it, both ways.
//!
//! Services are defined once, in a `.proto`; `sigma-rpcgen` makes of each a trait to implement, a server and a client.

use crate::file::Opened;
use crate::wire::Connection;
use crate::{Code, Error};
use prost::Message;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::{DEFAULT_DEADLINE, MAX_HEAD, MAX_METHOD, MAX_PAYLOAD};
use sigma_abi::proto::Caller;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use crate::wire::Piped;
pub use bytes::Bytes;
pub use sigma_abi::Result;

/// What a service gives for a call.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

/// One of the services that a server offers.
pub trait Service: Send + Sync + 'static {
    /// The service's name: what stands before the dot of a method.
    fn name(&self) -> &'static str;

    /// What its messages look like: an encoded `google.protobuf.FileDescriptorSet` with this one service. Empty: nobody is told.
    fn descriptor(&self) -> &'static [u8] {
        &[]
    }

    fn call(&self, call: Call) -> Answer;
}

/// A call as it came in, its message not yet decoded.
#[derive(Debug)]
pub struct Call {
    frame: Frame,
    /// Who calls: written by the kernel, not by the caller.
    pub caller: Arc<Caller>,
}

impl Call {
    /// The call of a frame, of nobody who is known.
    pub fn new(frame: Frame) -> Self {
        Self { frame, caller: Arc::default() }
    }

    /// The same call, of a known caller.
    #[must_use]
    pub fn from_caller(self, caller: &Arc<Caller>) -> Self {
        Self { caller: Arc::clone(caller), ..self }
    }

    /// `Service.Method`.
    pub fn method(&self) -> &str {
        self.frame.method()
    }

    /// What stands before the dot.
    pub fn service(&self) -> &str {
        self.method().split('.').next().unwrap_or("")
    }

    /// The rpc device that is called; 0: the server itself.
    pub fn handle(&self) -> u32 {
        self.frame.handle
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// `Invalid` where the bytes are not the message that the method takes.
    pub fn request<T: Message + Default>(self) -> Result<Request<T>> {
        let message = self
            .frame
            .message()
            .map_err(|error| Error::new(Code::Invalid, format!("{}: {error}", self.frame.method())))?;
        Ok(Request { message, payload: self.frame.payload, caller: self.caller })
    }
}

/// A decoded call.
#[derive(Clone, Debug)]
pub struct Request<T> {
    pub message: T,
    /// Raw bytes beside the message.
    pub payload: Bytes,
    /// Who calls: written by the kernel, not by the caller.
    pub caller: Arc<Caller>,
}

/// What a method gives back.
#[derive(Debug)]
pub struct Response<T> {
    pub message: T,
    /// Raw bytes beside the message.
    pub payload: Bytes,
    /// The end of the payload, where it is in no memory of this process. What comes in a reply never is.
    pub piped: Option<Piped>,
    /// Descriptors. Only the kernel can send any.
    pub fds: Vec<OwnedFd>,
}

impl<T> Response<T> {
    pub fn new(message: T) -> Self {
        Self { message, payload: Bytes::new(), piped: None, fds: Vec::new() }
    }

    #[must_use]
    pub fn payload(self, payload: Bytes) -> Self {
        Self { payload, ..self }
    }

    /// With more of the payload, which lies in a pipe. A reply with descriptors has none.
    #[must_use]
    pub fn piped(self, piped: Option<Piped>) -> Self {
        Self { piped, ..self }
    }

    #[must_use]
    pub fn fd(mut self, fd: OwnedFd) -> Self {
        self.fds.push(fd);
        self
    }
}

impl<T: Message> Response<T> {
    /// The reply on its way to the wire.
    pub fn encode(self) -> Reply {
        Reply { payload: self.payload, piped: self.piped, fds: self.fds, ..Reply::message(&self.message) }
    }
}

impl<T> From<T> for Response<T> {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

/// An encoded reply.
#[derive(Debug)]
pub struct Reply {
    pub head: Bytes,
    pub payload: Bytes,
    /// As [`Response::piped`].
    pub piped: Option<Piped>,
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    pub fn message(message: &impl Message) -> Self {
        Self { head: message.encode_to_vec().into(), payload: Bytes::new(), piped: None, fds: Vec::new() }
    }
}

/// Something that takes calls: an rpc device, or a server itself. Cheap to clone; many calls may be in flight.
#[derive(Clone, Debug)]
pub struct Device {
    connection: Connection,
    handle: u32,
    deadline: Option<Duration>,
    /// Closes the device with its last clone; none for a server itself.
    _open: Option<Arc<Opened>>,
}

impl Device {
    /// The server at the other end of a connection, with the default deadline.
    pub fn new(connection: Connection) -> Self {
        Self { connection, handle: 0, deadline: Some(DEFAULT_DEADLINE), _open: None }
    }

    /// A device that a server has opened.
    pub(crate) fn opened(open: Opened) -> Self {
        let (connection, handle) = (open.device.connection.clone(), open.handle);
        Self { connection, handle, deadline: Some(DEFAULT_DEADLINE), _open: Some(Arc::new(open)) }
    }

    /// The same device with another deadline for each call; `None` waits for as long as the server lives.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::{Stat, WaitRequest};
    /// let named = sigma.server("/").await?.deadline(Some(std::time::Duration::from_millis(1)));
    /// let request = WaitRequest { path: "/never".into(), ..Default::default() };
    /// let late = named.call::<Stat>("Namespace.Wait", &request, Default::default()).await;
    /// assert_eq!(late.unwrap_err().code, sigmaos::Code::Deadline);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn deadline(&self, deadline: Option<Duration>) -> Self {
        Self { deadline, ..self.clone() }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Calls a method. Dropping the future cancels the call at the server.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::{Kind, PathRequest, Stat};
    /// let named = sigma.server("/").await?;
    /// let request = PathRequest { path: "/".into() };
    /// let top = named.call::<Stat>("Namespace.Stat", &request, Default::default()).await?;
    /// assert_eq!(top.message.kind(), Kind::Directory);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// What the service answers; `Deadline`; `Unreachable`, which says whether the call may have been carried out;
    /// `TooLarge` past [`MAX_HEAD`] or [`MAX_PAYLOAD`].
    pub async fn call<T: Message + Default>(
        &self,
        method: &'static str,
        message: &impl Message,
        payload: Bytes,
    ) -> Result<Response<T>> {
        // An oversized message is not encoded first.
        fits(method, message.encoded_len(), payload.len())?;
        let frame = Frame { handle: self.handle, payload, ..Frame::new(Kind::Call, 0, method, message) };
        let reply = self.send(method, frame).await?;
        let message = T::decode(reply.head)
            .map_err(|error| Error::maybe_done(Code::Protocol, format!("the reply to {method}: {error}")))?;
        Ok(Response { message, payload: reply.payload, piped: None, fds: reply.fds })
    }

    /// Calls a method that is known only now, `Service.Method`, with a message that is encoded already.
    ///
    /// # Errors
    /// As [`Device::call`].
    pub async fn call_encoded(&self, method: &str, head: Bytes, payload: Bytes) -> Result<Reply> {
        fits(method, head.len(), payload.len())?;
        let empty = Frame::new(Kind::Call, 0, "", &sigma_abi::proto::Empty {});
        let name = Bytes::copy_from_slice(method.as_bytes());
        self.send(method, Frame { handle: self.handle, method: name, head, payload, ..empty }).await
    }

    /// Calls a method whose answer nobody waits for. A server that has gone does not hear of it.
    pub(crate) fn notify(&self, method: &'static str, message: &impl Message) {
        let frame = Frame { handle: self.handle, ..Frame::new(Kind::Notice, 0, method, message) };
        let _ = self.connection.send(frame, Vec::new());
    }

    async fn send(&self, method: &str, frame: Frame) -> Result<Reply> {
        let reply = self.connection.call(frame);
        let answered = match self.deadline {
            None => reply.await,
            Some(deadline) => tokio::time::timeout(deadline, reply).await.unwrap_or_else(|_| {
                let text = format!("{method}: no reply within {} ms", deadline.as_millis());
                Err(Error::maybe_done(Code::Deadline, text))
            }),
        };
        let (frame, fds) = answered?;
        Ok(Reply { head: frame.head, payload: frame.payload, piped: None, fds })
    }
}

/// Whether a call fits into a frame.
fn fits(method: &str, head: usize, payload: usize) -> Result<()> {
    if method.len() > MAX_METHOD || head > MAX_HEAD || payload > MAX_PAYLOAD {
        let text = format!(
            "{method}: a name of {}, a message of {head} and a payload of {payload} bytes: the limits are {MAX_METHOD}, \
             {MAX_HEAD} and {MAX_PAYLOAD}",
            method.len()
        );
        return Err(Error::new(Code::TooLarge, text));
    }
    Ok(())
}

/// What generated code answers for a method that its service leaves out.
pub fn unsupported(method: &str) -> Error {
    Error::new(Code::Unsupported, format!("this server does not implement {method}"))
}

/// What generated code answers for a method that its service does not have.
pub fn unknown_method(call: &Call) -> Answer {
    let error = unsupported(call.method());
    Box::pin(std::future::ready(Err(error)))
}
