//! One connection: the tree of databases, a directory each with an rpc device, and the calls on the devices that it has open.

use crate::base::Limits;
use crate::desk::{Desk, Opened};
use crate::names::Names;
use sigma_proxy::{Fences, to_its_end};
use sigmaos::db::DESCRIPTOR;
use sigmaos::db::stub::DbServer;
use sigmaos::rpc::{Answer, Call, Request, Response, Service, unknown_method};
use sigmaos::serve::{Accept, Handles, Services};
use sigmaos::stub::{Namespace, NamespaceServer};
use sigmaos::{Code, DESCRIPTOR_SUFFIX, Error, Path, Result, proto, wire};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The device of a database.
const DEVICE: &str = "rpc";

/// The server of a realm's databases.
pub(crate) struct Server {
    pub(crate) names: Arc<Names>,
    pub(crate) fences: Arc<Fences>,
}

impl Accept for Server {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn wire::Session> {
        let tree = Arc::new(Tree {
            names: Arc::clone(&self.names),
            fences: Arc::clone(&self.fences),
            devices: Handles::default(),
            opened: Arc::default(),
        });
        let services = Services::new(Arc::clone(&caller), vec![Box::new(NamespaceServer(Arc::clone(&tree)))]);
        Arc::new(Session { tree, services, caller })
    }

    fn in_flight(&self) -> usize {
        Limits::IN_FLIGHT
    }
}

/// Calls on handle 0 are for the tree; others are for the database whose device the handle names.
struct Session {
    tree: Arc<Tree>,
    services: Services,
    caller: Arc<proto::Caller>,
}

impl wire::Session for Session {
    fn call(&self, call: Call) -> Answer {
        if call.handle() == 0 {
            return self.services.call(call);
        }
        match self.tree.devices.get(call.handle()) {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(device) if device.name() == call.service() => device.call(call.from_caller(&self.caller)),
            Ok(_) => unknown_method(&call),
        }
    }

    fn notice(&self, frame: sigma_abi::frame::Frame, fds: Vec<OwnedFd>) -> Result<()> {
        drop(fds);
        sigmaos::serve::take_notice(self.call(Call::new(frame)));
        Ok(())
    }
}

/// The databases as one connection sees them.
struct Tree {
    names: Arc<Names>,
    fences: Arc<Fences>,
    devices: Handles<DbServer<Desk>>,
    opened: Arc<Opened>,
}

/// What a path names.
enum Entry {
    Top,
    Database,
    Device(String),
    /// What the device's service looks like.
    Descriptor,
}

impl Tree {
    fn find(&self, path: &str) -> Result<(Entry, Path)> {
        let path = Path::parse(path)?;
        let missing = || Error::new(Code::NotFound, format!("/db has no {path}"));
        let words: Vec<&str> = path.as_str().split('/').filter(|word| !word.is_empty()).collect();
        let entry = match words[..] {
            [] => Entry::Top,
            [_] => Entry::Database,
            [name, DEVICE] => Entry::Device(name.to_owned()),
            [_, file] if file.strip_suffix(DESCRIPTOR_SUFFIX) == Some(DEVICE) => Entry::Descriptor,
            _ => return Err(missing()),
        };
        if let Some(name) = words.first() {
            self.names.ensure(name)?;
        }
        Ok((entry, path))
    }

    /// What it looks like.
    fn describe(&self, entry: &Entry, path: &Path) -> Result<proto::Stat> {
        let name = path.name().unwrap_or_default().to_owned();
        let (kind, size) = match entry {
            Entry::Top => (proto::Kind::Directory, self.names.list()?.len() as u64),
            Entry::Database => (proto::Kind::Directory, 2),
            Entry::Device(_) => (proto::Kind::RpcDevice, 0),
            Entry::Descriptor => (proto::Kind::File, DESCRIPTOR.len() as u64),
        };
        let perm = if matches!(entry, Entry::Descriptor) { 0o44 } else { 0o66 };
        Ok(proto::Stat { name, kind: kind.into(), size, perm, ..Default::default() })
    }

    /// The one name of a path, of what is made or removed.
    fn database(path: &str) -> Result<String> {
        let path = Path::parse(path)?;
        match (path.name(), path.parent()) {
            (Some(name), Some(parent)) if parent.is_root() => Ok(name.to_owned()),
            _ => {
                let text = format!("/db{path}: only databases are made and removed here, directories in /db");
                Err(Error::new(Code::Unsupported, text))
            }
        }
    }
}

impl Namespace for Tree {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let (entry, path) = self.find(&request.message.path)?;
        let stat = self.describe(&entry, &path)?;
        match entry {
            Entry::Descriptor => Ok(Response::new(stat).payload(DESCRIPTOR.into())),
            Entry::Device(_) => {
                Err(Error::new(Code::Invalid, format!("/db{path} is an rpc device: call it")))
            }
            _ => Err(Error::new(Code::IsDir, format!("/db{path} is a directory"))),
        }
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let (entry, path) = self.find(&request.message.path)?;
        Ok(self.describe(&entry, &path)?.into())
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let (entry, path) = self.find(&request.message.path)?;
        let stat = self.describe(&entry, &path)?;
        let name = match entry {
            Entry::Device(name) => name,
            Entry::Descriptor => {
                return Err(Error::new(Code::Unsupported, format!("/db{path} is small: read it whole")));
            }
            _ => return Err(Error::new(Code::IsDir, format!("/db{path} is a directory"))),
        };
        let base = self.names.get(&name).await?;
        let (fences, opened) = (Arc::clone(&self.fences), Arc::clone(&self.opened));
        let at = Path::root().join(&name)?;
        let desk = Desk { base, at, fences, opened, idle: Limits::IDLE };
        let handle = self.devices.insert(DbServer(Arc::new(desk)))?;
        Ok(proto::Opened { handle, stat: Some(stat) }.into())
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> Result<Response<proto::Opened>> {
        let kind = request.message.kind();
        let proto::CreateRequest { path, exclusive, ephemeral, fences, .. } = request.message;
        if kind != proto::Kind::Directory || ephemeral {
            let text = format!("/db{path}: a database is made as a directory, and stays");
            return Err(Error::new(Code::Unsupported, text));
        }
        let (name, names) = (Self::database(&path)?, Arc::clone(&self.names));
        let held = self.fences.hold(&fences, &[&Path::parse(&path)?], false).await?;
        to_its_end(async move { names.create(&name, exclusive).await.map(|()| drop(held)) }).await??;
        let (entry, path) = self.find(&path)?;
        Ok(proto::Opened { handle: 0, stat: Some(self.describe(&entry, &path)?) }.into())
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        self.devices.remove(request.message.handle)?;
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        let proto::RemoveRequest { path, fences, .. } = request.message;
        let (name, names) = (Self::database(&path)?, Arc::clone(&self.names));
        let held = self.fences.hold(&fences, &[&Path::parse(&path)?], true).await?;
        to_its_end(async move { names.remove(&name).await.map(|()| drop(held)) }).await??;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, .. } = request.message;
        let (entry, path) = self.find(&path)?;
        let names: Vec<String> = match entry {
            Entry::Top => self.names.list()?.into_iter().collect(),
            Entry::Database => vec![DEVICE.to_owned(), format!("{DEVICE}{DESCRIPTOR_SUFFIX}")],
            _ => return Err(Error::new(Code::NotDir, format!("/db{path} is not a directory"))),
        };
        let later = names.into_iter().filter(|name| *name > after);
        let entries = later.map(|name| {
            let path = path.join(&name)?;
            let (entry, path) = self.find(path.as_str())?;
            self.describe(&entry, &path)
        });
        Ok(proto::DirPage { entries: entries.collect::<Result<_>>()?, more: false }.into())
    }
}
