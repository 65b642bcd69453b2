//! The calling side of a connection.

use super::busy::BusyPoll;
use super::outbox::Outbox;
use super::socket::Socket;
use super::{Driver, Greeter, MAX_QUEUED, MAX_QUEUED_BEFORE_DESCRIPTORS, MAX_UNREAD_BEFORE_DESCRIPTORS};
use crate::{Code, Error, Result, door};
use futures_util::task::AtomicWaker;
use rustix::net::{Shutdown, shutdown};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto;
use slab::Slab;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, oneshot};

/// A reply with the descriptors that came with it.
pub(super) type Answered = Result<(Frame, Vec<OwnedFd>)>;

/// Calls that one connection may wait for at a time: a tag has 16 bits for its place.
const MAX_PENDING: usize = 1 << 16;

/// Methods whose replies name an object that is open from then on, at the same place of their messages.
const OPENING: [&str; 3] = ["Namespace.Open", "Namespace.Create", "Namespace.Watch"];

/// Cancelled calls of which a reply may still come that names an open object. The oldest are forgotten first: their replies
/// are the least likely to be still on the way.
const MAX_CANCELLED: usize = 1024;

/// What a connection's handles and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) socket: Socket,
    pub(crate) state: Mutex<State>,
    /// Wakes the driver.
    pub(crate) driver: AtomicWaker,
    /// Wakes callers that wait for room in the outbox.
    pub(crate) room: Notify,
    pub(crate) busy: BusyPoll,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) out: Outbox,
    pending: Slab<Pending>,
    /// Counts the calls; the driver sees by it that there was another one.
    pub(crate) generation: u16,
    /// See [`MAX_CANCELLED`].
    cancelled: VecDeque<u32>,
    /// Why the connection has ended.
    pub(crate) closed: Option<Error>,
    /// The last handle is gone.
    pub(crate) released: bool,
}

/// A call that waits for its reply.
#[derive(Debug)]
struct Pending {
    generation: u16,
    /// Its reply names an open object.
    opens: bool,
    waiting: oneshot::Sender<Answered>,
}

impl State {
    /// Takes a call off the list, where its reply has not come yet.
    fn take(&mut self, tag: u32) -> Option<Pending> {
        let place = (tag & 0xffff) as usize;
        let generation = (tag >> 16) as u16;
        let waits = self.pending.get(place).is_some_and(|waiting| waiting.generation == generation);
        waits.then(|| self.pending.remove(place))
    }

    /// Whether a call that opens something was cancelled and not forgotten.
    fn forget_cancelled(&mut self, tag: u32) -> bool {
        let place = self.cancelled.iter().position(|cancelled| *cancelled == tag);
        place.is_some_and(|place| self.cancelled.remove(place).is_some())
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; a poisoned lock would still guard a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame and writes what the socket takes at once; the driver writes the rest.
    pub(crate) fn send(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        let mut state = self.queued(frame, fds)?;
        let before = state.out.len();
        let flushed = state.out.flush(&self.socket);
        if before > MAX_QUEUED && state.out.len() <= MAX_QUEUED {
            self.room.notify_waiters();
        }
        if flushed.is_err() || state.out.len() > 0 {
            self.driver.wake();
        }
        Ok(())
    }

    /// Queues a frame that the driver writes at the end of its turn.
    pub(crate) fn queue(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        self.queued(frame, fds).map(drop)
    }

    fn queued(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        if !fds.is_empty() && !self.takes_descriptors(&state) {
            return Err(Error::new(Code::Busy, "the other side does not take what it is sent"));
        }
        state.out.push(frame, fds);
        Ok(state)
    }

    /// Whether the other side has taken most of what it was sent.
    fn takes_descriptors(&self, state: &State) -> bool {
        state.out.len() <= MAX_QUEUED_BEFORE_DESCRIPTORS
            && door::unread(&self.socket) <= MAX_UNREAD_BEFORE_DESCRIPTORS
    }

    pub(crate) fn complete(&self, tag: u32, answer: Answered) {
        let mut state = self.lock();
        let Some(Pending { opens, waiting, .. }) = state.take(tag) else {
            let opened = state.forget_cancelled(tag);
            drop(state);
            if opened {
                self.disown(&answer);
            }
            return;
        };
        drop(state);
        // The caller may have gone in the meantime; its answer goes with it.
        if let Err(answer) = waiting.send(answer)
            && opens
        {
            self.disown(&answer);
        }
    }

    /// Closes what a reply has opened that nobody takes.
    fn disown(&self, answer: &Answered) {
        let opened = answer.as_ref().ok().and_then(|(frame, _)| frame.message::<proto::Opened>().ok());
        let Some(proto::Opened { handle, .. }) = opened.filter(|opened| opened.handle != 0) else { return };
        let close = proto::CloseRequest { handle, discard: true };
        // A server that has gone has closed it already.
        let _ = self.send(Frame::new(Kind::Notice, 0, "Namespace.Close", &close), Vec::new());
    }

    pub(crate) fn close(&self, reason: Error) {
        let pending = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(Error { maybe_done: false, ..reason.clone() });
            std::mem::take(&mut state.pending)
        };
        // Who refuses a whole connection has carried out nothing.
        let maybe_done = reason.code != Code::Busy;
        for (_, Pending { waiting, .. }) in pending {
            let _ = waiting.send(Err(Error { maybe_done, ..reason.clone() }));
        }
        self.room.notify_waiters();
        self.driver.wake();
        // Handles may live on; the other side must see the end now. It may have gone before, which is no error.
        let _ = shutdown(&self.socket, Shutdown::Both);
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
    /// Whether it is this connection.
    pub fn is(&self, connection: &Connection) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&connection.0))
    }

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
    opens: bool,
    answer: oneshot::Receiver<Answered>,
    done: bool,
}

impl Drop for Tag {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // From here on whoever completes it sees that nobody waits.
        self.answer.close();
        if let Ok(answer) = self.answer.try_recv() {
            if self.opens {
                self.shared.disown(&answer);
            }
            return;
        }
        {
            let mut state = self.shared.lock();
            if state.take(self.tag).is_none() {
                return;
            }
            if self.opens {
                if state.cancelled.len() >= MAX_CANCELLED {
                    state.cancelled.pop_front();
                }
                state.cancelled.push_back(self.tag);
            }
        }
        let cancel = Frame::new(Kind::Cancel, self.tag, "", &proto::Empty {});
        // Where the connection has ended there is nothing left to cancel.
        let _ = self.shared.send(cancel, Vec::new());
    }
}

impl Connection {
    /// A connection over a unix stream socket, and the task that drives it. Descriptors are received where `receives` says so.
    ///
    /// # Errors
    /// `Internal` where the runtime cannot watch the socket.
    pub fn new(socket: impl Into<OwnedFd>, receives: bool, greeter: Greeter) -> Result<(Self, Driver)> {
        Self::polling(socket.into(), receives, greeter, BusyPoll::default())
    }

    /// As [`Connection::new`], with a driver that looks on as `busy` says.
    pub(crate) fn polling(
        socket: OwnedFd,
        receives: bool,
        greeter: Greeter,
        busy: BusyPoll,
    ) -> Result<(Self, Driver)> {
        let broken = |error| Error::new(Code::Internal, format!("cannot use a socket: {error}"));
        let shared = Arc::new(Shared {
            socket: Socket::new(socket, receives).map_err(broken)?,
            state: Mutex::default(),
            driver: AtomicWaker::new(),
            room: Notify::new(),
            busy,
        });
        Ok((Self(Arc::new(Handle(Arc::clone(&shared)))), Driver::new(shared, greeter)))
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
        let opens = OPENING.contains(&frame.method());
        let (sender, receiver) = oneshot::channel();
        let (mut waiting, alone) = {
            let mut state = shared.lock();
            if let Some(error) = &state.closed {
                return Err(error.clone());
            }
            if state.pending.len() >= MAX_PENDING {
                return Err(Error::new(Code::Busy, format!("{MAX_PENDING} calls are already in flight")));
            }
            state.generation = state.generation.wrapping_add(1);
            let generation = state.generation;
            let place = state.pending.insert(Pending { generation, opens, waiting: sender });
            let tag = (u32::from(generation) << 16) | place as u32;
            let waiting = Tag { shared: Arc::clone(shared), tag, opens, answer: receiver, done: false };
            (waiting, state.pending.len() == 1)
        };
        frame.tag = waiting.tag;
        if alone {
            shared.send(frame, Vec::new())?;
            if shared.busy.is_on() {
                // It looks for the reply from now on.
                shared.driver.wake();
            }
        } else {
            // Who calls while others wait is rarely alone: the driver writes all that have gathered when it gets its turn.
            shared.queue(frame, Vec::new())?;
            shared.driver.wake();
        }
        let answer = (&mut waiting.answer).await;
        waiting.done = true;
        answer.unwrap_or_else(|_| Err(Error::maybe_done(Code::Unreachable, "the connection has ended")))
    }

    /// The same connection, for somebody who does not keep it open.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.0))
    }

    /// Whether the other side has read all that it was sent.
    pub fn is_read(&self) -> bool {
        self.0.0.lock().out.len() == 0 && door::unread(&self.0.0.socket) == 0
    }

    /// Whether a frame with descriptors would be sent now, and not refused with `Busy`.
    pub fn takes_descriptors(&self) -> bool {
        let state = self.0.0.lock();
        self.0.0.takes_descriptors(&state)
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
    use std::pin::pin;
    use std::task::{Context, Waker};
    use tokio::net::UnixStream;

    /// A socket of ours, and the other side of it.
    fn pair() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours.into(), UnixStream::from_std(theirs).unwrap())
    }

    /// A server that mounts itself and never reads its door once took every descriptor of its kernel.
    #[tokio::test]
    async fn a_peer_that_does_not_read_is_sent_few_descriptors() {
        let (ours, _theirs) = pair();
        let (connection, _driver) =
            Connection::new(ours, false, Box::new(|_| panic!("nobody speaks"))).unwrap();
        let accept = || Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept { mount: "/a".into() });
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let refused = (0..5000)
            .find_map(|sent| connection.send(accept(), vec![null()]).err().map(|error| (sent, error)));
        let (sent, error) = refused.expect("a peer that does not read is refused at some time");
        assert_eq!(error.code, Code::Busy, "after {sent}: {error}");
        assert!((8..100).contains(&sent), "{sent}: enough for a burst, and no more");
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
        let (ours, theirs) = pair();
        let failure = proto::Failure::from(Error::new(Code::Busy, "too many connections"));
        for frame in [hello(None), Frame::new(Kind::Bye, 0, "", &failure)] {
            theirs.writable().await.unwrap();
            theirs.try_write(&frame.encode()).unwrap();
        }
        drop(theirs);
        let (connection, driver) = Connection::new(ours, false, Box::new(|_| Ok(Arc::new(Nobody)))).unwrap();
        tokio::spawn(driver);
        let call = Frame::new(Kind::Call, 0, "Echo.Say", &proto::Empty {});
        let error = connection.call(call).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
        assert!(error.message.contains("too many connections"), "{error}");
    }

    /// A connection, and what its peer would read of it.
    fn alone() -> (Connection, Driver, UnixStream) {
        let (ours, theirs) = pair();
        let (connection, driver) =
            Connection::new(ours, false, Box::new(|_| panic!("nobody speaks"))).unwrap();
        (connection, driver, theirs)
    }

    /// Polls a call once, so that it is sent.
    fn begin(call: std::pin::Pin<&mut impl Future<Output = Answered>>) {
        assert!(call.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn answered(connection: &Connection, tag: u32, message: &impl prost::Message) {
        connection.0.0.complete(tag, Ok((Frame::new(Kind::Reply, tag, "", message), Vec::new())));
    }

    /// The tag of the only call that waits.
    fn tag_of(connection: &Connection) -> u32 {
        let state = connection.0.0.lock();
        let (place, pending) = state.pending.iter().next_back().unwrap();
        (u32::from(pending.generation) << 16) | place as u32
    }

    fn sent(theirs: &UnixStream) -> Vec<Frame> {
        let mut buffer = bytes::BytesMut::new();
        while theirs.try_read_buf(&mut buffer).is_ok_and(|count| count > 0) {}
        std::iter::from_fn(|| Frame::decode(&mut buffer).unwrap()).collect()
    }

    /// A call that was dropped with its answer already there once took the place of the next one from it, which then failed
    /// although its connection lived.
    #[tokio::test]
    async fn dropping_an_answered_call_harms_no_other() {
        let (connection, _driver, _theirs) = alone();
        let call = || connection.call(Frame::new(Kind::Call, 0, "Echo.Say", &proto::Empty {}));
        let mut second = {
            let mut first = Box::pin(call());
            begin(first.as_mut());
            answered(&connection, tag_of(&connection), &proto::Empty {});
            let mut second = Box::pin(call());
            begin(second.as_mut());
            drop(first);
            second
        };
        answered(&connection, tag_of(&connection), &proto::Empty {});
        assert!(second.as_mut().await.is_ok());
    }

    /// Whenever the caller of an open goes, what the server has opened is closed.
    #[tokio::test]
    async fn what_nobody_takes_is_closed() {
        let opened = proto::Opened { handle: 7, stat: None };
        for answered_before in [true, false] {
            let (connection, _driver, theirs) = alone();
            let open = Frame::new(Kind::Call, 0, "Namespace.Open", &proto::Empty {});
            let mut call = Box::pin(connection.call(open));
            begin(call.as_mut());
            let tag = tag_of(&connection);
            if answered_before {
                answered(&connection, tag, &opened);
            }
            drop(call);
            if !answered_before {
                answered(&connection, tag, &opened);
                answered(&connection, tag, &opened);
            }
            theirs.readable().await.unwrap();
            let closed: Vec<_> =
                sent(&theirs).into_iter().filter(|frame| frame.method() == "Namespace.Close").collect();
            assert_eq!(closed.len(), 1, "answered before: {answered_before}");
            assert_eq!(closed[0].message::<proto::CloseRequest>().unwrap().handle, 7);
        }
    }

    #[tokio::test]
    async fn a_dropped_call_is_cancelled_and_what_it_does_not_open_needs_no_close() {
        let (connection, _driver, theirs) = alone();
        {
            let mut call =
                pin!(connection.call(Frame::new(Kind::Call, 0, "Namespace.Get", &proto::Empty {})));
            begin(call.as_mut());
        }
        theirs.readable().await.unwrap();
        let kinds: Vec<_> = sent(&theirs).iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds, [Kind::Call, Kind::Cancel]);
        let state = connection.0.0.lock();
        assert!(state.pending.is_empty() && state.cancelled.is_empty());
    }
}
