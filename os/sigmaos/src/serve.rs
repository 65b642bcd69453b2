//! Serving: connections that the kernel hands over, and what answers their calls.

mod bounds;

use crate::published::Arrivals;
use crate::rpc::{Answer, Call, Service};
use crate::sigma::Sigma;
use crate::wire::{BusyPoll, Connection, Greeter, Session, read_hello};
use crate::{Code, Error, Path, Result, proto, rpc};
use bounds::{Bounded, Places};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::{MAX_FENCES, MAX_HANDLES, MAX_SERVER_IN_FLIGHT};
use slab::Slab;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A server: makes a session for each connection that is handed to it.
pub trait Accept: Send + Sync + 'static {
    /// `caller` is written by the kernel, so it can be trusted.
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn Session>;

    /// Calls that it works on at a time, over all of its connections; more are refused with `Busy`.
    fn in_flight(&self) -> usize {
        MAX_SERVER_IN_FLIGHT
    }
}

/// A session that offers services by name, to one known caller.
pub struct Services {
    caller: Arc<proto::Caller>,
    services: Vec<Box<dyn Service>>,
}

impl Services {
    pub fn new(caller: Arc<proto::Caller>, services: Vec<Box<dyn Service>>) -> Self {
        Self { caller, services }
    }
}

impl Session for Services {
    fn call(&self, call: Call) -> Answer {
        match self.services.iter().find(|service| service.name() == call.service()) {
            Some(service) => service.call(call.from_caller(&self.caller)),
            None => rpc::unknown_method(&call),
        }
    }

    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        drop(fds);
        take_notice(self.call(Call::new(frame)));
        Ok(())
    }
}

/// A notice is a call whose answer nobody waits for; it must be one that can be answered at once.
pub fn take_notice(mut answer: Answer) {
    let waker = std::task::Waker::noop();
    let _ = answer.as_mut().poll(&mut std::task::Context::from_waker(waker));
}

/// The elections that a change rests on: the fenced path of each, and its epoch.
///
/// # Errors
/// `TooLarge` past [`MAX_FENCES`]; `Invalid` for what is no path.
pub fn parse_fences(fences: &[proto::Fence]) -> Result<Vec<(Path, u64)>> {
    if fences.len() > MAX_FENCES {
        let text = format!("a change rests on {} elections: at most {MAX_FENCES} are allowed", fences.len());
        return Err(Error::new(Code::TooLarge, text));
    }
    fences.iter().map(|fence| Ok((Path::parse(&fence.path)?, fence.epoch))).collect()
}

/// Refuses a change that rests on an election, at a server that does not know who was elected: to carry it out could undo what a
/// later leader did.
///
/// # Errors
/// `Unsupported` where there is a fence.
pub fn refuse_fences(fences: &[proto::Fence]) -> Result<()> {
    match fences.first() {
        None => Ok(()),
        Some(fence) => {
            let text = format!("no fence holds here, that of {} neither: change it as no leader", fence.path);
            Err(Error::new(Code::Unsupported, text))
        }
    }
}

/// What one connection holds open at a server, by number. 0 is never given out.
#[derive(Debug)]
pub struct Handles<T>(Mutex<Slab<Arc<T>>>);

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self(Mutex::new(Slab::new()))
    }
}

impl<T> Handles<T> {
    /// # Errors
    /// `Busy` past [`MAX_HANDLES`].
    pub fn insert(&self, object: T) -> Result<u32> {
        let mut handles = self.lock();
        if handles.len() >= MAX_HANDLES {
            let text = format!("{MAX_HANDLES} objects are open on this connection; close some");
            return Err(Error::new(Code::Busy, text));
        }
        Ok(handles.insert(Arc::new(object)) as u32 + 1)
    }

    /// # Errors
    /// `Closed` for a number that is not open on this connection.
    pub fn get(&self, handle: u32) -> Result<Arc<T>> {
        let place = (handle as usize).wrapping_sub(1);
        self.lock().get(place).cloned().ok_or_else(|| closed(handle))
    }

    /// # Errors
    /// As [`Handles::get`].
    pub fn remove(&self, handle: u32) -> Result<Arc<T>> {
        let place = (handle as usize).wrapping_sub(1);
        self.lock().try_remove(place).ok_or_else(|| closed(handle))
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed(handle: u32) -> Error {
    Error::new(Code::Closed, format!("handle {handle} is not open on this connection"))
}

/// The session of a door: learns who this proc is, and takes the connections that the kernel hands over.
pub(crate) struct Doorkeeper {
    me: watch::Sender<Option<Arc<proto::Caller>>>,
    /// By the path of the call that mounted; a rename of the mount does not change it.
    exports: Mutex<HashMap<Option<Path>, Exported>>,
    connections: Places,
    pub(crate) arrivals: Arrivals,
    /// For the connections that are handed over, and those that this proc dials.
    pub(crate) busy: BusyPoll,
}

/// A server, and what is left of the calls that it works on.
#[derive(Clone)]
struct Exported {
    server: Arc<dyn Accept>,
    in_flight: Places,
}

impl Default for Doorkeeper {
    fn default() -> Self {
        let connections = Places::for_connections();
        let (me, exports, arrivals) = (watch::Sender::default(), Mutex::default(), Arrivals::default());
        Self { me, exports, connections, arrivals, busy: BusyPoll::default() }
    }
}

impl fmt::Debug for Doorkeeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Doorkeeper").finish_non_exhaustive()
    }
}

impl Doorkeeper {
    pub(crate) fn greeter(keeper: &Arc<Self>) -> Greeter {
        let keeper = Arc::clone(keeper);
        Box::new(move |frame| {
            let hello = read_hello(frame)?;
            keeper.me.send_replace(hello.caller.map(Arc::new));
            Ok(keeper as Arc<dyn Session>)
        })
    }

    pub(crate) async fn me(&self) -> Result<Arc<proto::Caller>> {
        let mut me = self.me.subscribe();
        let known = me.wait_for(Option::is_some).await;
        known
            .ok()
            .and_then(|known| known.clone())
            .ok_or_else(|| Error::new(Code::Unreachable, "the kernel has gone before it said who this is"))
    }

    /// Offers a server; returns the one in whose place it is.
    fn export(&self, mount: Option<Path>, server: Arc<dyn Accept>) -> Option<Exported> {
        let exported = Exported { in_flight: Places::new(server.in_flight()), server };
        self.exports.lock().unwrap_or_else(PoisonError::into_inner).insert(mount, exported)
    }

    /// Offers a server for whatever this proc has not mounted.
    pub(crate) fn export_all(&self, server: Arc<dyn Accept>) {
        self.export(None, server);
    }

    /// Takes back an export that came to nothing.
    fn withdraw(&self, mount: Path, before: Option<Exported>) {
        let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        match before {
            Some(before) => exports.insert(Some(mount), before),
            None => exports.remove(&Some(mount)),
        };
    }

    fn accept(&self, mount: &str, socket: OwnedFd) -> Result<()> {
        let exported = {
            let exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
            let exported = exports.get(&Some(Path::parse(mount)?)).or_else(|| exports.get(&None));
            exported.cloned()
        };
        // A connection to what was withdrawn in the meantime ends here: its socket is closed.
        let Some(Exported { server, in_flight }) = exported else { return Ok(()) };
        let Some(place) = self.connections.take() else {
            return refuse(socket, mount, self.connections.all());
        };
        let (connection, driver) = Connection::polling(
            socket,
            false,
            Box::new(move |frame| {
                let caller = read_hello(frame)?.caller.unwrap_or_default();
                Ok(Arc::new(Bounded { session: server.accept(Arc::new(caller)), in_flight }))
            }),
            self.busy.clone(),
        )?;
        // The task ends with its connection, which the caller or the end of this process closes.
        tokio::spawn(async move {
            driver.await;
            drop((connection, place));
        });
        Ok(())
    }
}

/// Closes a connection that nobody has spoken on, and says why.
fn refuse(socket: OwnedFd, mount: &str, most: usize) -> Result<()> {
    let text = format!("the server of {mount} holds {most} connections, the most it takes; try again later");
    let failure = proto::Failure::from(Error::new(Code::Busy, text));
    let mut socket = UnixStream::from(socket);
    let bye = Frame::new(Kind::Bye, 0, "", &failure).encode();
    // The first bytes that are written into a socket find room; a caller that has gone needs none.
    let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(&bye));
    Ok(())
}

impl Session for Doorkeeper {
    fn call(&self, call: Call) -> Answer {
        rpc::unknown_method(&call)
    }

    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        let protocol = |text: &str| Error::new(Code::Protocol, text);
        let socket = fds.into_iter().next().ok_or_else(|| protocol("a connection without its descriptor"));
        let malformed = |error: sigma_abi::frame::Malformed| protocol(&error.to_string());
        match frame.method() {
            "Link.Accept" => {
                let accept: proto::Accept = frame.message().map_err(malformed)?;
                self.accept(&accept.mount, socket?)
            }
            "Link.Published" => self.arrivals.arrived(&frame.message().map_err(malformed)?, socket?),
            _ => Err(protocol("an unknown notice on the door")),
        }
    }
}

impl Sigma {
    /// Advertises `server` at `path` (the thesis' `Mount`), for as long as this proc lives: whoever opens a path below it
    /// is connected to it, also when the mount is renamed. Mounting by the same path again changes the server for both.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.mount("/tips", sigmaos::Export::new().file("first", "look twice")?).await?;
    /// assert_eq!(sigma.get_file("/tips/first").await?, "look twice");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Exists` where the name is taken by something else, `NotFound` where the directory is missing, `Denied`,
    /// `Quota`, `Unreachable`.
    pub async fn mount(&self, path: &str, server: impl Accept) -> Result<()> {
        let parsed = Path::parse(path).map_err(|error| error.context(format!("mount {path}")))?;
        let before = self.inner.keeper.export(Some(parsed.clone()), Arc::new(server));
        let mounted =
            self.change("mount", path, crate::mounts::Last::Entry, |namespace, rest, mark| async move {
                let request = proto::MountRequest {
                    path: rest,
                    stamp: mark.stamp,
                    fences: mark.fences,
                    ..Default::default()
                };
                namespace.mount(request).await.map(drop)
            });
        let mounted = mounted.await;
        if mounted.is_err() {
            self.inner.keeper.withdraw(parsed, before);
        }
        mounted
    }
}
