//! The calling side of a connection.

use super::outbox::Outbox;
use super::socket::Socket;
use super::{Driver, Greeter, MAX_QUEUED, MAX_QUEUED_BEFORE_DESCRIPTORS};
use crate::{Code, Error, Result};
use futures_util::task::AtomicWaker;
use rustix::net::{Shutdown, shutdown};
use sigma_abi::frame::{Frame, Kind};
use slab::Slab;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

/// A reply with the descriptors that came with it.
pub(super) type Answered = Result<(Frame, Vec<OwnedFd>)>;

/// Calls that one connection may wait for at a time: a tag has 16 bits for its place.
const MAX_PENDING: usize = 1 << 16;

/// What a connection's handles and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) socket: Socket,
    pub(crate) state: Mutex<State>,
    /// Wakes the driver.
    pub(crate) driver: AtomicWaker,
    /// Wakes callers that wait for room in the outbox.
    pub(crate) room: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) out: Outbox,
    pending: Slab<(u16, oneshot::Sender<Answered>)>,
    generation: u16,
    /// Why the connection has ended.
    pub(crate) closed: Option<Error>,
    /// The last handle is gone.
    pub(crate) released: bool,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; a poisoned lock would still guard a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame and writes what the socket takes at once; the driver writes the rest.
    pub(crate) fn send(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        if !fds.is_empty() && state.out.len() > MAX_QUEUED_BEFORE_DESCRIPTORS {
            return Err(Error::new(Code::Busy, "the other side does not take what it is sent"));
        }
        state.out.push(frame, fds);
        let flushed = state.out.flush(&self.socket);
        if flushed.is_err() || state.out.len() > 0 {
            self.driver.wake();
        }
        Ok(())
    }

    pub(crate) fn complete(&self, tag: u32, answer: Answered) {
        let mut state = self.lock();
        let place = (tag & 0xffff) as usize;
        let generation = (tag >> 16) as u16;
        if state.pending.get(place).is_some_and(|(waiting, _)| *waiting == generation) {
            let (_, waiting) = state.pending.remove(place);
            drop(state);
            // The caller may have gone in the meantime; its answer goes with it.
            let _ = waiting.send(answer);
        }
    }

    pub(crate) fn close(&self, reason: Error) {
        let pending = {
            let mut state = self.lock();
            if state.closed.is_none() {
                state.closed = Some(Error { maybe_done: false, ..reason.clone() });
            }
            std::mem::take(&mut state.pending)
        };
        // Who refuses a whole connection has carried out nothing.
        let maybe_done = reason.code != Code::Busy;
        for (_, (_, waiting)) in pending {
            let _ = waiting.send(Err(Error { maybe_done, ..reason.clone() }));
        }
        self.room.notify_waiters();
        self.driver.wake();
        // Handles may live on; the other side must see the end now. It may have gone before, which is no error.
        let _ = shutdown(&self.socket.stream, Shutdown::Both);
    }
}

/// The calling side of a connection. Cheap to clone; when the last clone is gone the connection is closed.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().released = true;
        self.0.driver.wake();
    }
}

/// A connection that is not kept open by this.
#[derive(Clone, Debug)]
pub struct WeakConnection(Weak<Handle>);

impl WeakConnection {
    /// The connection, where somebody still holds it.
    pub fn upgrade(&self) -> Option<Connection> {
        self.0.upgrade().map(Connection)
    }
}

/// A call in flight; dropping it cancels the call.
#[derive(Debug)]
pub struct Tag {
    shared: Arc<Shared>,
    tag: u32,
    done: bool,
}

impl Drop for Tag {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.shared.lock().pending.try_remove((self.tag & 0xffff) as usize);
        let cancel = Frame::new(Kind::Cancel, self.tag, "", &sigma_abi::proto::Empty {});
        // Where the connection has ended there is nothing left to cancel.
        let _ = self.shared.send(cancel, Vec::new());
    }
}

impl Connection {
    /// A connection over `stream`, and the task that drives it. Descriptors are received where `receives` says so.
    pub fn new(stream: UnixStream, receives: bool, greeter: Greeter) -> (Self, Driver) {
        let shared = Arc::new(Shared {
            socket: Socket { stream, receives },
            state: Mutex::default(),
            driver: AtomicWaker::new(),
            room: Notify::new(),
        });
        (Self(Arc::new(Handle(Arc::clone(&shared)))), Driver::new(shared, greeter))
    }

    /// Sends a frame that asks for no reply.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub fn send(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        self.0.0.send(frame, fds)
    }

    /// Sends a call and waits for its reply. Dropping the future cancels the call.
    ///
    /// # Errors
    /// What the server answers; `Unreachable` when the connection ends; `Busy` past 65,536 calls in flight.
    pub async fn call(&self, mut frame: Frame) -> Answered {
        let shared = &self.0.0;
        while shared.lock().out.len() > MAX_QUEUED {
            let room = shared.room.notified();
            if shared.lock().out.len() > MAX_QUEUED {
                room.await;
            }
        }
        let (sender, receiver) = oneshot::channel();
        let mut waiting = {
            let mut state = shared.lock();
            if let Some(error) = &state.closed {
                return Err(error.clone());
            }
            if state.pending.len() >= MAX_PENDING {
                return Err(Error::new(Code::Busy, format!("{MAX_PENDING} calls are already in flight")));
            }
            state.generation = state.generation.wrapping_add(1);
            let generation = state.generation;
            let place = state.pending.insert((generation, sender));
            Tag { shared: Arc::clone(shared), tag: (u32::from(generation) << 16) | place as u32, done: false }
        };
        frame.tag = waiting.tag;
        shared.send(frame, Vec::new())?;
        let answer = receiver.await;
        waiting.done = true;
        answer.unwrap_or_else(|_| Err(Error::maybe_done(Code::Unreachable, "the connection has ended")))
    }

    /// Waits until the socket takes bytes at once, which it does not before the runtime has looked at it.
    pub async fn writable(&self) {
        // A broken socket fails the next send, which says why.
        let _ = self.0.0.socket.stream.writable().await;
    }

    /// The same connection, for somebody who does not keep it open.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.0))
    }

    /// Why the connection has ended; `None` while it lives.
    pub fn closed(&self) -> Option<Error> {
        self.0.0.lock().closed.clone()
    }

    /// Ends the connection: calls in flight fail with `reason`.
    pub fn close(&self, reason: Error) {
        self.0.0.close(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Answer, Call, unknown_method};
    use crate::wire::{Session, hello};
    use sigma_abi::proto;

    /// A server that mounts itself and never reads its door once took every descriptor of its kernel.
    #[tokio::test]
    async fn a_peer_that_does_not_read_is_sent_few_descriptors() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (connection, _driver) = Connection::new(ours, false, Box::new(|_| panic!("nobody speaks")));
        let accept = || Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept { mount: "/a".into() });
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let refused = (0..5000)
            .find_map(|sent| connection.send(accept(), vec![null()]).err().map(|error| (sent, error)));
        let (sent, error) = refused.expect("a peer that does not read is refused at some time");
        assert_eq!(error.code, Code::Busy, "after {sent}: {error}");
        assert_eq!(connection.closed(), None, "the connection itself goes on");
    }

    /// The side of a connection that only calls.
    struct Nobody;

    impl Session for Nobody {
        fn call(&self, call: Call) -> Answer {
            unknown_method(&call)
        }
    }

    /// Who had written to a server that closed the connection once heard of a broken pipe, and not why.
    #[tokio::test]
    async fn what_was_said_before_the_end_is_heard() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let failure = proto::Failure::from(Error::new(Code::Busy, "too many connections"));
        for frame in [hello(None), Frame::new(Kind::Bye, 0, "", &failure)] {
            theirs.writable().await.unwrap();
            theirs.try_write(&frame.encode()).unwrap();
        }
        drop(theirs);
        let (connection, driver) = Connection::new(ours, false, Box::new(|_| Ok(Arc::new(Nobody))));
        tokio::spawn(driver);
        let call = Frame::new(Kind::Call, 0, "Echo.Say", &proto::Empty {});
        let error = connection.call(call).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
        assert!(error.message.contains("too many connections"), "{error}");
    }
}
