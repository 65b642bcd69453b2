//! From a path to the server behind it: connections by mount, dialled at first use and kept.

use crate::rpc::Device;
use crate::stub::LinkClient;
use crate::wire::{BusyPoll, Connection, Session, read_hello};
use crate::{Code, Error, Path, Result, proto};
use futures_util::future::{FutureExt, Shared};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Servers that one walk may lead through.
const MAX_HOPS: usize = 16;

/// How long an operation is sent again while connections break. A server keeps its answers for twice as long.
const RESEND_FOR: Duration = Duration::from_secs(30);

/// From a broken connection to the next attempt.
const RESEND_PAUSE: Duration = Duration::from_millis(5);

/// Connections that a client keeps; past that all are dropped and dialled again when needed.
const MAX_KEPT: usize = 1024;

#[derive(Debug)]
pub(crate) struct Mounts {
    link: LinkClient,
    kept: Mutex<HashMap<Path, Kept>>,
    /// Dials on their way: whoever wants the same server meanwhile waits for the same connection.
    dialling: Mutex<HashMap<Path, Dialling>>,
    busy: BusyPoll,
}

type Dialling = Shared<Pin<Box<dyn Future<Output = Result<Device>> + Send>>>;

#[derive(Clone, Debug)]
struct Kept {
    /// The global path of the mount; the key may be another name of it, with `~local`.
    mount: Path,
    device: Device,
}

/// Where an operation goes: a server, and the path from its root.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) device: Device,
    /// The global path of the server.
    pub(crate) mount: Path,
    pub(crate) rest: String,
}

/// What may be sent again after a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It only looks, so it can be asked of any server again.
    Read,
    /// The realm's named knows it by its number; at other servers it may have been carried out.
    Change,
}

/// What an operation does with the last name of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// It is for the server behind a mount there.
    Follow,
    /// It is for the entry itself, also where that is a mount: the server in whose tree that lies is asked.
    Entry,
}

/// A failure, and at which server; none where none was reached.
struct Failed {
    error: Error,
    place: Option<Place>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, place: None }
    }
}

impl Mounts {
    pub(crate) fn new(link: LinkClient, busy: BusyPoll) -> Self {
        Self { link, kept: Mutex::default(), dialling: Mutex::default(), busy }
    }

    /// Runs `operation` at the server of `path`, following it from server to server, and again where a connection broke
    /// and that does no harm.
    pub(crate) async fn at<T, F: Future<Output = Result<T>>>(
        &self,
        path: &Path,
        last: Last,
        again: Again,
        operation: impl Fn(Place) -> F,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            let (error, place) = match self.follow(path, last, &operation).await {
                Ok(done) => return Ok(done),
                Err(Failed { error, place: None }) => return Err(error),
                Err(Failed { error, place: Some(place) }) => (error, place),
            };
            let broken = error.code == Code::Unreachable && place.device.connection().closed().is_some();
            let harmless = !error.maybe_done || again == Again::Read || place.mount.is_root();
            if !broken || !harmless || begun.elapsed() > RESEND_FOR {
                return Err(error);
            }
            // A server that keeps dying is not asked without end.
            tokio::time::sleep(RESEND_PAUSE).await;
        }
    }

    async fn follow<T, F: Future<Output = Result<T>>>(
        &self,
        path: &Path,
        last: Last,
        operation: &impl Fn(Place) -> F,
    ) -> std::result::Result<T, Failed> {
        let (mut mount, mut rest) = self.nearest(path, last);
        for _ in 0..MAX_HOPS {
            let device = self.dial(&mount).await?;
            let place = Place { device, mount: mount.clone(), rest: rest.to_string() };
            match operation(place.clone()).await {
                Err(Error { moved: Some(moved), .. }) => {
                    let (to, below) = (Path::parse(&moved.mount)?, Path::parse(&moved.rest)?);
                    if to == mount {
                        let text = format!("{path}: {mount} leads to itself");
                        return Err(Error::new(Code::Loop, text).into());
                    }
                    self.alias(path, &to, &below).await?;
                    (mount, rest) = (to, below);
                }
                Err(error) => return Err(Failed { error, place: Some(place) }),
                Ok(done) => return Ok(done),
            }
        }
        Err(Error::new(Code::Loop, format!("{path}: leads through more than {MAX_HOPS} servers")).into())
    }

    /// The longest prefix of `path` whose server is connected, and what is left of the path below it; not `path` itself where its
    /// entry is meant.
    fn nearest(&self, path: &Path, last: Last) -> (Path, Path) {
        let kept = self.lock();
        let above = |path: &str| path.rfind('/').unwrap_or(0);
        let mut end = if last == Last::Entry { above(path.as_str()) } else { path.as_str().len() };
        while end > 0 {
            let (prefix, rest) = path.as_str().split_at(end);
            let found = kept.get(prefix).filter(|kept| kept.device.connection().closed().is_none());
            if let Some(found) = found {
                return (found.mount.clone(), Path::parse(rest).unwrap_or_else(|_| Path::root()));
            }
            end = above(prefix);
        }
        (Path::root(), path.clone())
    }

    pub(crate) async fn dial(&self, mount: &Path) -> Result<Device> {
        if let Some(kept) = self.lock().get(mount)
            && kept.device.connection().closed().is_none()
        {
            return Ok(kept.device.clone());
        }
        let dialling = {
            let mut dialling = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || {
                let dial: Pin<Box<dyn Future<Output = _> + Send>> =
                    Box::pin(dial(self.link.clone(), mount.clone(), self.busy.clone()));
                dial.shared()
            };
            dialling.entry(mount.clone()).or_insert_with(new).clone()
        };
        let dialled = dialling.clone().await;
        let mut others = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
        if others.get(mount).is_some_and(|other| other.ptr_eq(&dialling)) {
            others.remove(mount);
        }
        drop(others);
        let device = dialled?;
        self.keep(mount.clone(), Kept { mount: mount.clone(), device: device.clone() });
        Ok(device)
    }

    /// Remembers that `path` above `rest` is another name of `mount`, where that cannot change while the server lives.
    async fn alias(&self, path: &Path, mount: &Path, rest: &Path) -> Result<()> {
        let above = match rest.is_root() {
            true => path.as_str(),
            false => path.as_str().strip_suffix(rest.as_str()).unwrap_or(""),
        };
        let Ok(above) = Path::parse(above) else { return Ok(()) };
        if above.name() == Some("~local") && above.parent() == mount.parent() {
            let device = self.dial(mount).await?;
            self.keep(above, Kept { mount: mount.clone(), device });
        }
        Ok(())
    }

    fn keep(&self, path: Path, entry: Kept) {
        let mut kept = self.lock();
        kept.retain(|_, kept| kept.device.connection().closed().is_none());
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(path, entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Path, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to the server of a mount.
async fn dial(link: LinkClient, mount: Path, busy: BusyPoll) -> Result<Device> {
    let request = proto::DialRequest { path: mount.to_string() };
    let reply = link.dial_with(request, crate::rpc::Bytes::new()).await?;
    // Whoever serves what is left of the path when a mount has gone is another server, with other entries.
    if reply.message.mount != mount.as_str() {
        return Err(Error::new(Code::Unreachable, format!("the server of {mount} has ended")));
    }
    let missing = || Error::new(Code::Internal, format!("dial {mount}: the kernel sent no connection"));
    let socket = reply.fds.into_iter().next().ok_or_else(missing)?;
    let (connection, driver) = Connection::polling(
        socket,
        false,
        Box::new(|frame| {
            read_hello(frame)?;
            Ok(Arc::new(Silent) as Arc<dyn Session>)
        }),
        busy,
    )?;
    // The driver ends with the last handle of its connection.
    tokio::spawn(driver);
    Ok(Device::new(connection))
}

/// The side of a dialled connection that only calls.
struct Silent;

impl Session for Silent {
    fn call(&self, call: crate::rpc::Call) -> crate::rpc::Answer {
        crate::rpc::unknown_method(&call)
    }
}
