//! One client's connection: its calls become reads and changes of the tree, and its open entries are let go when it ends.

use crate::server::Server;
use crate::tree::{Action, Caller, Id, Reply};
use bytes::Bytes;
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Path, Pid, Result, proto};
use sigmaos::rpc::{Request, Response};
use sigmaos::serve::Handles;
use sigmaos::stub::{NamedControl, Namespace};
use std::sync::Arc;

pub(crate) struct Session {
    server: Server,
    caller: Arc<proto::Caller>,
    open: Handles<Open>,
}

/// An open file. It stays readable when it is removed, until this is dropped.
struct Open {
    server: Server,
    id: Id,
    read: bool,
    write: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.tree().unpin(self.id);
    }
}

impl Session {
    pub(crate) fn new(server: Server, caller: Arc<proto::Caller>) -> Self {
        Self { server, caller, open: Handles::default() }
    }

    fn by(&self) -> Caller {
        self.server.caller(&self.caller)
    }

    fn apply(&self, action: Action) -> Result<Reply> {
        self.server.apply(self.by(), action)
    }

    /// Keeps an entry open under a new handle.
    fn keep_open(&self, id: Id, read: bool, write: bool) -> Result<Response<proto::Opened>> {
        let stat = {
            let mut tree = self.server.tree();
            tree.pin(id)?;
            tree.stat_open(id)?
        };
        let open = Open { server: self.server.clone(), id, read, write };
        Ok(proto::Opened { handle: self.open.insert(open)?, stat: Some(stat) }.into())
    }
}

/// What a change says of the entry that it made.
fn entry(reply: Reply) -> Result<(Id, proto::Stat)> {
    match reply {
        Reply::Entry { id, stat } => Ok((id, stat)),
        Reply::Done => Err(Error::new(Code::Internal, "a change made no entry")),
    }
}

impl Namespace for Session {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let path = Path::parse(&request.message.path)?;
        let (stat, contents) = self.server.tree().get(&path, &self.by())?;
        Ok(Response::new(stat).payload(contents))
    }

    async fn put(&self, request: Request<proto::PutRequest>) -> Result<Response<proto::Stat>> {
        let proto::PutRequest { path, perm, exclusive, .. } = request.message;
        let path = Path::parse(&path)?;
        let reply = self.apply(Action::Put { path, perm, exclusive, contents: request.payload })?;
        Ok(entry(reply)?.1.into())
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let path = Path::parse(&request.message.path)?;
        Ok(self.server.tree().stat(&path, &self.by())?.into())
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> Result<Response<proto::Opened>> {
        let kind = request.message.kind();
        let proto::CreateRequest { path, perm, exclusive, target, .. } = request.message;
        let path = Path::parse(&path)?;
        let reply = self.apply(Action::Create { path, kind, perm, exclusive, target })?;
        let (id, stat) = entry(reply)?;
        match kind {
            proto::Kind::File => self.keep_open(id, true, true),
            // Only files can be held open; handle 0 says that there is none to close.
            _ => Ok(proto::Opened { handle: 0, stat: Some(stat) }.into()),
        }
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let proto::OpenRequest { path, read, write, create, truncate, perm, .. } = request.message;
        let path = Path::parse(&path)?;
        let id = if create {
            let kind = proto::Kind::File;
            let action = Action::Create { path, kind, perm, exclusive: false, target: String::new() };
            entry(self.apply(action)?)?.0
        } else {
            let tree = self.server.tree();
            let id = tree.open(&path, &self.by())?;
            if tree.stat_open(id)?.kind() != proto::Kind::File {
                return Err(Error::new(Code::IsDir, format!("{path} is a directory: list it")));
            }
            id
        };
        if truncate && write {
            self.apply(Action::SetLength { id, length: 0 })?;
        }
        self.keep_open(id, read, write)
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let open = self.open.get(handle)?;
        if !open.read {
            return Err(Error::new(Code::Denied, "this file was not opened for reading"));
        }
        let bytes = self.server.tree().read(open.id, offset, (length as usize).min(MAX_PAYLOAD))?;
        Ok(Response::new(proto::Empty {}).payload(bytes))
    }

    async fn write(&self, request: Request<proto::WriteRequest>) -> Result<Response<proto::Written>> {
        let proto::WriteRequest { handle, offset, .. } = request.message;
        let open = self.open.get(handle)?;
        if !open.write {
            return Err(Error::new(Code::Denied, "this file was not opened for writing"));
        }
        let data: Bytes = request.payload;
        let length = data.len() as u32;
        self.apply(Action::Write { id: open.id, offset, data })?;
        Ok(proto::Written { length }.into())
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        self.open.remove(request.message.handle)?;
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        let path = Path::parse(&request.message.path)?;
        self.apply(Action::Remove { path })?;
        Ok(proto::Empty {}.into())
    }

    async fn rename(&self, request: Request<proto::RenameRequest>) -> Result<Response<proto::Empty>> {
        let proto::RenameRequest { from, to, .. } = request.message;
        self.apply(Action::Rename { from: Path::parse(&from)?, to: Path::parse(&to)? })?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let path = Path::parse(&path)?;
        Ok(self.server.tree().read_dir(&path, &self.by(), &after, limit as usize)?.into())
    }

    async fn read_link(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LinkTarget>> {
        let path = Path::parse(&request.message.path)?;
        let target = self.server.tree().read_link(&path, &self.by())?;
        Ok(proto::LinkTarget { target }.into())
    }

    async fn mount(&self, request: Request<proto::MountRequest>) -> Result<Response<proto::Empty>> {
        let proto::MountRequest { path, perm, endpoint, .. } = request.message;
        let own = proto::Endpoint {
            machine: self.caller.machine.clone(),
            pid: self.caller.pid.clone(),
            generation: 0,
        };
        // Only the kernel speaks for others; what anybody else says of itself is what the kernel wrote.
        let endpoint = endpoint.filter(|_| self.caller.kernel).unwrap_or(own);
        let pid: Pid = endpoint.pid.parse()?;
        self.apply(Action::Mount { path: Path::parse(&path)?, perm, endpoint, pid })?;
        Ok(proto::Empty {}.into())
    }

    async fn resolve(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Resolved>> {
        let path = Path::parse(&request.message.path)?;
        let mut resolved = self.server.tree().resolve(&path, &self.by())?;
        if !self.caller.kernel {
            resolved.endpoint = None;
        }
        Ok(resolved.into())
    }
}

impl NamedControl for Session {
    async fn ended(&self, request: Request<proto::EndedRequest>) -> Result<Response<proto::Empty>> {
        if !self.caller.kernel {
            return Err(Error::new(Code::Denied, "only the kernel says who has ended"));
        }
        self.apply(Action::Ended { pid: request.message.pid.parse()? })?;
        Ok(proto::Empty {}.into())
    }

    async fn alive(&self, request: Request<proto::AliveRequest>) -> Result<Response<proto::Empty>> {
        if !self.caller.kernel {
            return Err(Error::new(Code::Denied, "only the kernel says who lives"));
        }
        let proto::AliveRequest { machine, pids } = request.message;
        let alive: Vec<Pid> = pids.iter().map(|pid| pid.parse()).collect::<Result<_>>()?;
        let dead: Vec<Pid> = self.server.tree().holders().filter(|pid| !alive.contains(pid)).collect();
        for pid in dead.into_iter().filter(|pid| pid.home.to_string() == machine) {
            self.apply(Action::Ended { pid })?;
        }
        Ok(proto::Empty {}.into())
    }
}
