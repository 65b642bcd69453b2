//! A small tree in memory that a proc exports: rpc devices, and files that it rewrites at will.

use crate::rpc::{Answer, Call, Request, Response, Service};
use crate::serve::{Accept, Handles, Services, take_notice};
use crate::stub::{Namespace, NamespaceServer};
use crate::wire::Session;
use crate::{Code, Error, Path, Result, proto, rpc};
use bytes::Bytes;
use sigma_abi::frame::Frame;
use sigma_abi::limits::MAX_SERVER_IN_FLIGHT;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What the name of a device ends with where its descriptors are.
pub const DESCRIPTOR_SUFFIX: &str = ".descriptor";

/// A tree of rpc devices and read-only files, all in its top directory.
#[derive(Clone)]
pub struct Export {
    entries: BTreeMap<String, Entry>,
    in_flight: usize,
}

impl Default for Export {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), in_flight: MAX_SERVER_IN_FLIGHT }
    }
}

#[derive(Clone)]
enum Entry {
    Device(Arc<dyn Service>),
    File(Bytes),
}

impl Export {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an rpc device, and beside it what its service looks like: the file `NAME.descriptor`, by which `sigma rpc` and
    /// others call a service whose `.proto` they have never seen.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::stub::NamespaceServer;
    /// # struct Voice;
    /// # impl sigmaos::stub::Namespace for Voice {}
    /// // Any service that a `.proto` defines.
    /// let service = NamespaceServer(std::sync::Arc::new(Voice));
    /// sigma.mount("/voice", sigmaos::Export::new().device("rpc", service)?).await?;
    /// assert_eq!(sigma.stat("/voice/rpc").await?.kind(), sigmaos::proto::Kind::RpcDevice);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Invalid` where `name` is not a single name.
    pub fn device(self, name: &str, service: impl Service) -> Result<Self> {
        let descriptor = service.descriptor();
        let tree = self.entry(name, Entry::Device(Arc::new(service)))?;
        match descriptor {
            [] => Ok(tree),
            _ => tree.file(&format!("{name}{DESCRIPTOR_SUFFIX}"), descriptor),
        }
    }

    /// Adds a file.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let tips = sigmaos::Export::new().file("first", "look twice")?.file("second", "measure")?;
    /// sigma.mount("/tips", tips).await?;
    /// assert_eq!(sigma.read_dir("/tips").await?.len(), 2);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Invalid` where `name` is not a single name.
    pub fn file(self, name: &str, contents: impl Into<Bytes>) -> Result<Self> {
        self.entry(name, Entry::File(contents.into()))
    }

    /// How many calls it works on at a time, over all connections of all callers; more are refused with `Busy`, surely not
    /// done. [`MAX_SERVER_IN_FLIGHT`] where nothing is said.
    #[must_use]
    pub fn in_flight(self, most: usize) -> Self {
        Self { in_flight: most, ..self }
    }

    fn entry(mut self, name: &str, entry: Entry) -> Result<Self> {
        Path::root().join(name)?;
        self.entries.insert(name.to_owned(), entry);
        Ok(self)
    }

    fn find(&self, path: &str) -> Result<(String, &Entry)> {
        let path = Path::parse(path)?;
        let missing = || Error::new(Code::NotFound, format!("{path} does not exist at this server"));
        let name =
            path.name().ok_or_else(|| Error::new(Code::IsDir, "this is the server's top directory"))?;
        let entry = self.entries.get(path.as_str().trim_start_matches('/')).ok_or_else(missing)?;
        Ok((name.to_owned(), entry))
    }
}

impl Accept for Export {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn Session> {
        let tree = Arc::new(ExportSession { export: self.clone(), open: Handles::default() });
        let services = Services::new(Arc::clone(&caller), vec![Box::new(NamespaceServer(Arc::clone(&tree)))]);
        Arc::new(Routes { tree, services, caller })
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// Calls on handle 0 are for the tree; others are for the device that the handle names.
struct Routes {
    tree: Arc<ExportSession>,
    services: Services,
    caller: Arc<proto::Caller>,
}

impl Session for Routes {
    fn call(&self, call: Call) -> Answer {
        if call.handle() == 0 {
            return self.services.call(call);
        }
        match self.tree.open.get(call.handle()) {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(entry) => match &*entry {
                Entry::Device(service) if service.name() == call.service() => {
                    service.call(call.from_caller(&self.caller))
                }
                _ => rpc::unknown_method(&call),
            },
        }
    }

    fn notice(&self, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        drop(fds);
        take_notice(self.call(Call::new(frame)));
        Ok(())
    }
}

/// The open entries of one connection.
struct ExportSession {
    export: Export,
    open: Handles<Entry>,
}

impl Namespace for ExportSession {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        match self.export.find(&request.message.path)? {
            (name, Entry::File(bytes)) => Ok(Response::new(stat(name, bytes)).payload(bytes.clone())),
            (name, Entry::Device(_)) => {
                Err(Error::new(Code::Invalid, format!("{name} is an rpc device: call it")))
            }
        }
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        if Path::parse(&request.message.path)?.is_root() {
            let size = self.export.entries.len() as u64;
            let kind = proto::Kind::Directory.into();
            return Ok(proto::Stat { size, kind, ..Default::default() }.into());
        }
        let (name, entry) = self.export.find(&request.message.path)?;
        Ok(describe(name, entry).into())
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let (name, entry) = self.export.find(&request.message.path)?;
        let handle = self.open.insert(entry.clone())?;
        Ok(proto::Opened { handle, stat: Some(describe(name, entry)) }.into())
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let entry = self.open.get(handle)?;
        let Entry::File(bytes) = &*entry else {
            return Err(Error::new(Code::Invalid, "an rpc device cannot be read: call it"));
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length as usize).min(bytes.len());
        Ok(Response::new(proto::Empty {}).payload(bytes.slice(start..end)))
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        self.open.remove(request.message.handle)?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, .. } = request.message;
        if !Path::parse(&path)?.is_root() {
            self.export.find(&path)?;
            return Err(Error::new(Code::NotDir, format!("{path} is not a directory")));
        }
        let later = self.export.entries.iter().filter(|(name, _)| **name > after);
        let entries = later.map(|(name, entry)| describe(name.clone(), entry)).collect();
        Ok(proto::DirPage { entries, more: false }.into())
    }
}

fn describe(name: String, entry: &Entry) -> proto::Stat {
    match entry {
        Entry::File(bytes) => stat(name, bytes),
        Entry::Device(_) => {
            proto::Stat { name, kind: proto::Kind::RpcDevice.into(), perm: 0o66, ..Default::default() }
        }
    }
}

fn stat(name: String, bytes: &Bytes) -> proto::Stat {
    proto::Stat { name, size: bytes.len() as u64, perm: 0o44, ..Default::default() }
}
