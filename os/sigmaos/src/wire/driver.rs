//! The one task of a connection.

use super::busy::Lookout;
use super::connection::Shared;
use super::piped::Piped;
use super::socket::{Incoming, Taken};
use super::{MAX_IN_FLIGHT_BYTES, MAX_QUEUED};
use crate::rpc::{Call, Reply};
use crate::{Code, Error, Result};
use bytes::BytesMut;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::{MAX_HEAD, MAX_IN_FLIGHT, MAX_PAYLOAD};
use sigma_abi::proto;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Frames handled before other tasks get a turn.
const TURN: usize = 64;

/// What a server does with the calls of one connection. It lives as long as the connection.
pub trait Session: Send + Sync + 'static {
    /// Answers a call.
    fn call(&self, call: Call) -> crate::rpc::Answer;

    /// Takes a frame that wants no reply, with its descriptors.
    ///
    /// # Errors
    /// An error closes the connection.
    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        drop(fds);
        Err(Error::new(Code::Protocol, format!("nobody takes the notice {:?} here", frame.method())))
    }

    /// Takes a frame as [`Session::notice`] does, whose descriptors were lost, since this process has as many as it may have: whoever
    /// is at their other ends sees them closed.
    ///
    /// # Errors
    /// An error closes the connection.
    fn bereft(&self, frame: Frame) -> Result<()> {
        drop(frame);
        Ok(())
    }
}

/// Reads the first frame of the other side and says who answers its calls.
pub type Greeter = Box<dyn FnOnce(&Frame) -> Result<Arc<dyn Session>> + Send>;

type Running = Abortable<Pin<Box<dyn Future<Output = Finished> + Send>>>;

struct Finished {
    tag: u32,
    bytes: usize,
    answer: Result<Reply>,
}

/// The task of a connection; as a future it ends with the reason why the connection ended.
pub struct Driver {
    shared: Arc<Shared>,
    greeter: Option<Greeter>,
    session: Option<Arc<dyn Session>>,
    buffer: BytesMut,
    fds: Incoming,
    running: FuturesUnordered<Running>,
    aborts: HashMap<u32, (AbortHandle, usize)>,
    bytes_in_flight: usize,
    lookout: Lookout,
    /// A frame came in this turn.
    was_busy: bool,
    /// The last call that this has seen sent.
    last_call: u16,
    /// The other side has said why it goes; it listens no more.
    dismissed: bool,
    /// The other side has closed. What it said before is read to the end, for it may say why.
    left: bool,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, greeter: Greeter) -> Self {
        Self {
            shared,
            greeter: Some(greeter),
            session: None,
            buffer: BytesMut::new(),
            fds: Incoming::default(),
            running: FuturesUnordered::new(),
            aborts: HashMap::new(),
            bytes_in_flight: 0,
            lookout: Lookout::default(),
            was_busy: false,
            last_call: 0,
            dismissed: false,
            left: false,
        }
    }

    /// Writes what waits. `Pending` while a peer that does not read holds more than [`MAX_QUEUED`] bytes.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let mut state = self.shared.lock();
            if let Some(error) = &state.closed {
                return Poll::Ready(Err(error.clone()));
            }
            match self.shared.flush(&mut state) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.left = true,
                flushed => flushed.map_err(lost)?,
            }
            if self.left {
                return Poll::Ready(Ok(()));
            }
            let left = state.out.len();
            drop(state);
            if left == 0 {
                self.shared.socket.has_room(cx).map_err(lost)?;
                return Poll::Ready(Ok(()));
            }
            match self.shared.socket.poll_room(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(error))),
                Poll::Pending if left > MAX_QUEUED => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Result<()> {
        while let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx) {
            // What was cancelled has no answer.
            if let Ok(finished) = done {
                self.finish(finished)?;
            }
            if self.shared.lock().out.len() > MAX_QUEUED {
                cx.waker().wake_by_ref();
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self, finished: Finished) -> Result<()> {
        self.aborts.remove(&finished.tag);
        self.bytes_in_flight -= finished.bytes;
        self.reply(finished.tag, finished.answer)
    }

    fn reply(&self, tag: u32, answer: Result<Reply>) -> Result<()> {
        let answer = answer.and_then(|reply| {
            let payload = reply.payload.len() + reply.piped.as_ref().map_or(0, Piped::len);
            if reply.head.len() <= MAX_HEAD && payload <= MAX_PAYLOAD {
                return Ok(reply);
            }
            let text = format!("a reply of {} and {payload} bytes is past the limits", reply.head.len());
            Err(Error::maybe_done(Code::TooLarge, text))
        });
        let (kind, reply) = match answer {
            Ok(reply) => (Kind::Reply, reply),
            Err(error) => (Kind::Failure, Reply::message(&proto::Failure::from(error))),
        };
        let frame = Frame {
            kind,
            tag,
            handle: 0,
            method: bytes::Bytes::new(),
            head: reply.head,
            payload: reply.payload,
            fds: 0,
        };
        if reply.fds.is_empty() {
            // Written with all others that this turn of the driver makes.
            return self.shared.queue(frame, reply.piped);
        }
        match self.shared.send(frame, reply.fds) {
            // A peer that does not take what it is sent gets the reason in the place of the descriptor.
            Err(error) if error.code == Code::Busy => self.reply(tag, Err(error)),
            sent => sent,
        }
    }

    /// Reads and handles frames until the socket is empty or the turn is over.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        for _ in 0..TURN {
            if self.is_full() {
                return Poll::Pending;
            }
            if !self.left && self.shared.lock().out.len() > MAX_QUEUED {
                break;
            }
            match Frame::decode(&mut self.buffer) {
                Ok(Some(frame)) => {
                    self.was_busy = true;
                    self.frame(cx, frame)?;
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Error::new(Code::Protocol, error.to_string()))),
            }
            let read = ready!(self.shared.socket.poll_read(cx, &mut self.buffer, &mut self.fds));
            if read.map_err(lost)? == 0 {
                return Poll::Ready(Err(Error::new(Code::Unreachable, "the other side has gone")));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn frame(&mut self, cx: &mut Context<'_>, frame: Frame) -> Result<()> {
        let fds = match self.fds.take(frame.fds.into()) {
            Taken::All(fds) => fds,
            Taken::Lost => return self.bereft(frame),
            Taken::Missing => {
                let text = "a frame announces descriptors that did not come with it";
                return Err(Error::new(Code::Protocol, text));
            }
        };
        if let Some(greeter) = self.greeter.take() {
            self.session = Some(greeter(&frame)?);
            return Ok(());
        }
        match frame.kind {
            Kind::Call => self.call(cx, frame),
            Kind::Reply => {
                self.shared.complete(frame.tag, Ok((frame, fds)));
                Ok(())
            }
            Kind::Failure => {
                let failure: proto::Failure = frame.message().map_err(malformed)?;
                self.shared.complete(frame.tag, Err(failure.into()));
                Ok(())
            }
            Kind::Cancel => {
                if let Some((abort, bytes)) = self.aborts.remove(&frame.tag) {
                    self.bytes_in_flight -= bytes;
                    abort.abort();
                }
                Ok(())
            }
            Kind::Notice => match &self.session {
                Some(session) => session.notice(frame, fds),
                None => Ok(()),
            },
            Kind::Bye => {
                self.dismissed = true;
                let failure: proto::Failure = frame.message().map_err(malformed)?;
                Err(Error::from(failure).context("the other side closed the connection"))
            }
            Kind::Hello => Err(Error::new(Code::Protocol, "a second Hello")),
        }
    }

    /// This process has as many descriptors as it may have, and those of a frame were lost. That costs what they were for, and not the
    /// connection.
    fn bereft(&self, frame: Frame) -> Result<()> {
        match (frame.kind, &self.session) {
            (Kind::Reply, _) => {
                let text = "this process has as many descriptors as it may have: close some and try again";
                self.shared.complete(frame.tag, Err(Error::new(Code::Busy, text)));
                Ok(())
            }
            (Kind::Notice, Some(session)) => session.bereft(frame),
            _ => Err(Error::new(Code::Protocol, "a frame that carries no descriptors announces some")),
        }
    }

    /// Answers a call at once where it can be, so that light calls never wait for a task switch.
    fn call(&mut self, cx: &mut Context<'_>, frame: Frame) -> Result<()> {
        let tag = frame.tag;
        if self.aborts.contains_key(&tag) {
            return Err(Error::new(Code::Protocol, format!("tag {tag} is already in flight")));
        }
        if self.aborts.len() >= MAX_IN_FLIGHT {
            let text = format!("{MAX_IN_FLIGHT} calls of this connection are in flight");
            return self.reply(tag, Err(Error::new(Code::Busy, text)));
        }
        let Some(session) = &self.session else { return Ok(()) };
        let bytes = frame.head.len() + frame.payload.len();
        let mut answer = session.call(Call::new(frame));
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return self.reply(tag, answer);
        }
        let (abort, registration) = AbortHandle::new_pair();
        let finished: Pin<Box<dyn Future<Output = Finished> + Send>> =
            Box::pin(async move { Finished { tag, bytes, answer: answer.await } });
        self.running.push(Abortable::new(finished, registration));
        self.aborts.insert(tag, (abort, bytes));
        self.bytes_in_flight += bytes;
        // The set that now owns it polls it at the end of this turn, or nobody would wake it.
        Ok(())
    }

    /// The calls of the other side hold as much as they may.
    fn is_full(&self) -> bool {
        self.bytes_in_flight > MAX_IN_FLIGHT_BYTES
    }

    /// Writes what was answered in this turn: a peer that has said its last may still read.
    fn last_words(&self) {
        // One that has gone altogether has lost nothing.
        let _ = self.shared.flush(&mut self.shared.lock());
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.shared.driver.register(cx.waker());
        let (released, last_call) = {
            let state = self.shared.lock();
            (state.released, state.generation)
        };
        if released && self.running.is_empty() {
            return Poll::Ready(Error::new(Code::Closed, "this side closed the connection"));
        }
        self.was_busy = self.last_call != last_call;
        self.last_call = last_call;
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Pending => return Poll::Pending,
        }
        if let Poll::Ready(Err(error)) = self.poll_read(cx) {
            return Poll::Ready(error);
        }
        let full = self.is_full();
        if let Err(error) = self.poll_running(cx) {
            return Poll::Ready(error);
        }
        if full && !self.is_full() {
            // What was not read for want of room can be read now.
            cx.waker().wake_by_ref();
        }
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            _ => {
                self.lookout.look_on(&self.shared.busy, self.was_busy, cx);
                Poll::Pending
            }
        }
    }
}

impl Future for Driver {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let this = &mut *self;
        let Poll::Ready(error) = this.poll_once(cx) else { return Poll::Pending };
        if !this.dismissed && !matches!(error.code, Code::Unreachable | Code::Closed) {
            let failure = proto::Failure::from(error.clone());
            // The reason is a courtesy; a peer that does not read it has lost nothing.
            let _ = this.shared.send(Frame::new(Kind::Bye, 0, "", &failure), Vec::new());
        }
        this.last_words();
        this.shared.close(error.clone());
        Poll::Ready(error)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // An owner may cancel it: nobody waits on a connection without its driver.
        self.shared.close(Error::new(Code::Unreachable, "the connection has ended"));
    }
}

fn lost(error: io::Error) -> Error {
    Error::new(Code::Unreachable, format!("the connection broke: {error}"))
}

fn malformed(error: sigma_abi::frame::Malformed) -> Error {
    Error::new(Code::Protocol, error.to_string())
}
