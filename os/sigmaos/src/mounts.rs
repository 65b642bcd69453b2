//! From a path to the server behind it: connections by mount, dialled at first use and kept.

use crate::rpc::Device;
use crate::sigma::stream;
use crate::stub::{LinkClient, NamespaceClient};
use crate::wire::{Connection, Session, read_hello};
use crate::{Code, Error, Path, Result, proto};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Servers that one walk may lead through.
const MAX_HOPS: usize = 16;

/// Connections that a client keeps; past that all are dropped and dialled again when needed.
const MAX_KEPT: usize = 1024;

#[derive(Debug)]
pub(crate) struct Mounts {
    link: LinkClient,
    kept: Mutex<HashMap<Path, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    /// The global path of the mount; the key may be another name of it, with `~local`.
    mount: Path,
    device: Device,
}

/// Where an operation goes: a server, and the path from its root.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) device: Device,
    pub(crate) rest: String,
}

impl Place {
    pub(crate) fn namespace(&self) -> NamespaceClient {
        NamespaceClient(self.device.clone())
    }
}

impl Mounts {
    pub(crate) fn new(link: LinkClient) -> Self {
        Self { link, kept: Mutex::default() }
    }

    /// Runs `operation` at the server of `path`, following it from server to server.
    pub(crate) async fn at<T, F: Future<Output = Result<T>>>(
        &self,
        path: &Path,
        operation: impl Fn(Place) -> F,
    ) -> Result<T> {
        let (mut mount, mut rest) = self.nearest(path);
        for _ in 0..MAX_HOPS {
            let device = self.dial(&mount).await?;
            match operation(Place { device, rest: rest.to_string() }).await {
                Err(Error { moved: Some(moved), .. }) => {
                    let (to, below) = (Path::parse(&moved.mount)?, Path::parse(&moved.rest)?);
                    if to == mount {
                        return Err(Error::new(Code::Loop, format!("{path}: {mount} leads to itself")));
                    }
                    self.alias(path, &to, &below).await?;
                    (mount, rest) = (to, below);
                }
                done => return done,
            }
        }
        Err(Error::new(Code::Loop, format!("{path}: leads through more than {MAX_HOPS} servers")))
    }

    /// The longest prefix of `path` whose server is connected, and what is left below it.
    fn nearest(&self, path: &Path) -> (Path, Path) {
        let mut kept = self.lock();
        kept.retain(|_, kept| kept.device.connection().closed().is_none());
        let mut prefix = Some(path.clone());
        while let Some(at) = prefix {
            if let (Some(found), Some(rest)) = (kept.get(&at), path.below(&at)) {
                return (found.mount.clone(), rest);
            }
            prefix = at.parent();
        }
        (Path::root(), path.clone())
    }

    /// The realm's named.
    pub(crate) async fn dial_root(&self) -> Result<Device> {
        self.dial(&Path::root()).await
    }

    async fn dial(&self, mount: &Path) -> Result<Device> {
        if let Some(kept) = self.lock().get(mount)
            && kept.device.connection().closed().is_none()
        {
            return Ok(kept.device.clone());
        }
        let request = proto::DialRequest { path: mount.to_string() };
        let reply = self.link.dial_with(request, crate::rpc::Bytes::new()).await?;
        // Whoever serves what is left of the path when a mount has gone is another server, with other entries.
        if reply.message.mount != mount.as_str() {
            return Err(Error::new(Code::Unreachable, format!("the server of {mount} has ended")));
        }
        let socket = reply.fds.into_iter().next().ok_or_else(|| {
            Error::new(Code::Internal, format!("dial {mount}: the kernel sent no connection"))
        })?;
        let (connection, driver) = Connection::new(
            stream(socket)?,
            false,
            Box::new(|frame| {
                read_hello(frame)?;
                Ok(Arc::new(Silent) as Arc<dyn Session>)
            }),
        );
        // The driver ends with the last handle of its connection.
        tokio::spawn(driver);
        let device = Device::new(connection);
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
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(path, entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Path, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of a dialled connection that only calls.
struct Silent;

impl Session for Silent {
    fn call(&self, call: crate::rpc::Call) -> crate::rpc::Answer {
        crate::rpc::unknown_method(&call)
    }
}
