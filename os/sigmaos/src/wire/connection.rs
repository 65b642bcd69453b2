//! The calling side of a connection.

use super::busy::BusyPoll;
use super::outbox::Outbox;
use super::piped::Piped;
use super::socket::Socket;
use super::{Driver, Greeter, MAX_QUEUED, MAX_QUEUED_BEFORE_DESCRIPTORS, MAX_UNREAD_BEFORE_DESCRIPTORS};
use crate::{Code, Error, Result, door};
use futures_util::task::AtomicWaker;
use rustix::net::{Shutdown, shutdown};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
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
        let mut state = self.queued(frame, fds, None)?;
        let flushed = self.flush(&mut state);
        if flushed.is_err() || state.out.len() > 0 {
            self.driver.wake();
        }
        Ok(())
    }

    /// Writes what the socket takes at once, and lets those go on who waited for room.
    ///
    /// # Errors
    /// As [`Outbox::flush`](super::outbox::Outbox::flush).
    pub(crate) fn flush(&self, state: &mut State) -> io::Result<()> {
        let before = state.out.len();
        let flushed = state.out.flush(&self.socket);
        if before > MAX_QUEUED && state.out.len() <= MAX_QUEUED {
            self.room.notify_waiters();
        }
        flushed
    }

    /// Queues a frame that the driver writes at the end of its turn.
    pub(crate) fn queue(&self, frame: Frame, piped: Option<Piped>) -> Result<()> {
        self.queued(frame, Vec::new(), piped).map(drop)
    }

    fn queued(&self, frame: Frame, fds: Vec<OwnedFd>, piped: Option<Piped>) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        if !fds.is_empty() && !self.takes_descriptors(&state) {
            return Err(Error::new(Code::Busy, "the other side does not take what it is sent"));
        }
        state.out.push(frame, fds, piped);
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
            shared.queue(frame, None)?;
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
mod tests;
