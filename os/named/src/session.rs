//! One client's connection: its calls become reads and changes of the tree, and what it holds open is let go when it ends.

use crate::pipe;
use crate::server::Server;
use crate::tree::{Access, Action, Caller, Id, New, Reply, Tree};
use crate::watch::Watching;
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Path, Pid, Result, proto};
use sigmaos::rpc::{Request, Response};
use sigmaos::serve::{Handles, parse_fences};
use sigmaos::stub::{NamedControl, Namespace};
use std::sync::Arc;

pub(crate) struct Session {
    server: Server,
    caller: Arc<proto::Caller>,
    open: Handles<Open>,
}

/// What a client holds open.
enum Open {
    File(OpenFile),
    Pipe(pipe::End),
    Watch(Watching),
}

struct OpenFile {
    entry: Pinned,
    access: Access,
}

/// An entry that is held open: it can be read when it is removed, until this is dropped. Not to be dropped by who has the core.
struct Pinned {
    server: Server,
    id: Id,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.server.shared.core().state.tree.unpin(self.id);
    }
}

impl Session {
    pub(crate) fn new(server: Server, caller: Arc<proto::Caller>) -> Self {
        Self { server, caller, open: Handles::default() }
    }

    fn by(&self) -> Result<Caller> {
        self.server.caller(&self.caller)
    }

    async fn change(
        &self,
        fences: Vec<proto::Fence>,
        stamp: Option<proto::Stamp>,
        action: Action,
    ) -> Result<Reply> {
        self.server.apply(self.by()?, parse_fences(&fences)?, stamp.as_ref(), action).await
    }

    fn kernel_only(&self) -> Result<()> {
        if self.caller.kernel {
            return Ok(());
        }
        Err(Error::new(
            Code::Denied,
            "only the kernel says who lives and who has ended, and what the limits are",
        ))
    }

    /// What the kernel alone may say.
    async fn control(&self, action: Action) -> Result<Response<proto::Empty>> {
        self.kernel_only()?;
        self.change(Vec::new(), None, action).await?;
        Ok(proto::Empty {}.into())
    }

    /// Keeps an entry open under a new handle.
    async fn keep_open(
        &self,
        entry: Pinned,
        stat: proto::Stat,
        access: Access,
    ) -> Result<Response<proto::Opened>> {
        let open = match stat.kind() {
            proto::Kind::Pipe => Open::Pipe(self.server.shared.pipes.open(entry.id, access).await),
            _ => Open::File(OpenFile { entry, access }),
        };
        Ok(proto::Opened { handle: self.open.insert(open)?, stat: Some(stat) }.into())
    }

    /// Holds what a change made or found; none where it was found before, and is gone since.
    async fn change_and_hold(
        &self,
        fences: Vec<proto::Fence>,
        stamp: Option<proto::Stamp>,
        action: Action,
    ) -> Result<(proto::Stat, Option<Pinned>)> {
        let hold = |tree: &mut Tree, reply: &Reply| match reply {
            Reply::Entry { id, .. } => tree.pin(*id).is_ok().then(|| self.pinned(*id)),
            Reply::Done => None,
        };
        let fences = parse_fences(&fences)?;
        let (reply, held) = self.server.apply_and(self.by()?, fences, stamp.as_ref(), action, hold).await?;
        Ok((entry(reply)?, held))
    }

    fn pinned(&self, id: Id) -> Pinned {
        Pinned { server: self.server.clone(), id }
    }

    /// Finds what is to be opened, without any change, and holds it.
    async fn find_to_open(&self, path: &str, entry: u64, access: Access) -> Result<(proto::Stat, Pinned)> {
        let by = self.by()?;
        let path = Path::parse(path)?;
        loop {
            let found = self.server.look(|tree| {
                let (id, path) = match entry {
                    0 => (tree.open(&path, &by)?, path.clone()),
                    entry => (Id(entry), tree.path_of_open(Id(entry))?),
                };
                tree.may_open(id, &by, access, &path)?;
                Ok((id, tree.stat_open(id)?))
            });
            let (id, stat) = found.await?;
            let held = self.server.shared.core().state.tree.pin(id);
            match held {
                Ok(()) => return Ok((stat, self.pinned(id))),
                // It was removed since it was found: something else may be at the path, or nothing.
                Err(_) if entry == 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn watching(&self, handle: u32) -> Result<Arc<Open>> {
        self.open.get(handle)
    }
}

/// What a change says of the entry that it made or found.
fn entry(reply: Reply) -> Result<proto::Stat> {
    match reply {
        Reply::Entry { stat, .. } => Ok(stat),
        Reply::Done => Err(Error::new(Code::Invalid, "the number of this change was used by another one")),
    }
}

fn not_a(what: &str) -> Error {
    Error::new(Code::Invalid, format!("this handle is not {what}"))
}

impl Namespace for Session {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let (path, by) = (Path::parse(&request.message.path)?, self.by()?);
        let (stat, contents) = self.server.look(|tree| tree.get(&path, &by)).await?;
        Ok(Response::new(stat).payload(contents))
    }

    async fn put(&self, request: Request<proto::PutRequest>) -> Result<Response<proto::Stat>> {
        let proto::PutRequest { path, perm, exclusive, ephemeral, fences, stamp } = request.message;
        let (path, new) = (Path::parse(&path)?, New { perm, ephemeral });
        let action = Action::Put { path, new, exclusive, contents: request.payload };
        Ok(entry(self.change(fences, stamp, action).await?)?.into())
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let (path, by) = (Path::parse(&request.message.path)?, self.by()?);
        Ok(self.server.look(|tree| tree.stat(&path, &by)).await?.into())
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> Result<Response<proto::Opened>> {
        let kind = request.message.kind();
        let proto::CreateRequest { path, perm, exclusive, target, ephemeral, fences, stamp, .. } =
            request.message;
        let (path, new) = (Path::parse(&path)?, New { perm, ephemeral });
        let action = Action::Create { path, kind, new, exclusive, target };
        let (stat, held) = self.change_and_hold(fences, stamp, action).await?;
        match held {
            Some(held) if kind == proto::Kind::File => {
                self.keep_open(held, stat, Access { read: true, write: true }).await
            }
            // Only files are held open by whoever makes them; handle 0 says that there is none to close.
            _ => Ok(proto::Opened { handle: 0, stat: Some(stat) }.into()),
        }
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let message = request.message;
        let access = Access { read: message.read, write: message.write };
        let truncate = message.truncate && message.write;
        if message.entry != 0 || !(message.create || truncate) {
            let path = if message.entry == 0 { message.path.as_str() } else { "/" };
            let (stat, held) = self.find_to_open(path, message.entry, access).await?;
            return self.keep_open(held, stat, access).await;
        }
        let (path, create) = (Path::parse(&message.path)?, message.create);
        let new = New { perm: message.perm, ephemeral: message.ephemeral };
        let action = Action::Open { path, create, truncate, access, new };
        let (stat, held) = self.change_and_hold(message.fences, message.stamp, action).await?;
        let gone = || Error::new(Code::Closed, "the file was opened before, and is gone since");
        self.keep_open(held.ok_or_else(gone)?, stat, access).await
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        let length = (length as usize).min(MAX_PAYLOAD);
        let bytes = match &*self.open.get(handle)? {
            Open::File(file) if file.access.read => {
                self.server.look(|tree| tree.read(file.entry.id, offset, length)).await?
            }
            Open::File(_) => return Err(Error::new(Code::Denied, "this file was not opened for reading")),
            Open::Pipe(end) => end.read(length).await?,
            Open::Watch(_) => return Err(not_a("a file: ask for its events")),
        };
        Ok(Response::new(proto::Empty {}).payload(bytes))
    }

    async fn write(&self, request: Request<proto::WriteRequest>) -> Result<Response<proto::Written>> {
        let proto::WriteRequest { handle, offset, fences, stamp } = request.message;
        let data = request.payload;
        let length = data.len() as u32;
        match &*self.open.get(handle)? {
            Open::File(file) if file.access.write => {
                self.change(fences, stamp, Action::Write { id: file.entry.id, offset, data }).await?;
            }
            Open::File(_) => return Err(Error::new(Code::Denied, "this file was not opened for writing")),
            Open::Pipe(end) => end.write(data).await?,
            Open::Watch(_) => return Err(not_a("a file")),
        }
        Ok(proto::Written { length }.into())
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        self.open.remove(request.message.handle)?;
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        let proto::RemoveRequest { path, entry, fences, stamp } = request.message;
        let entry = (entry != 0).then_some(Id(entry));
        self.change(fences, stamp, Action::Remove { path: Path::parse(&path)?, entry }).await?;
        Ok(proto::Empty {}.into())
    }

    async fn rename(&self, request: Request<proto::RenameRequest>) -> Result<Response<proto::Empty>> {
        let proto::RenameRequest { from, to, fences, stamp } = request.message;
        let action = Action::Rename { from: Path::parse(&from)?, to: Path::parse(&to)? };
        self.change(fences, stamp, action).await?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let (path, by) = (Path::parse(&path)?, self.by()?);
        Ok(self.server.look(|tree| tree.read_dir(&path, &by, &after, limit as usize)).await?.into())
    }

    async fn read_link(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LinkTarget>> {
        let (path, by) = (Path::parse(&request.message.path)?, self.by()?);
        let target = self.server.look(|tree| tree.read_link(&path, &by)).await?;
        Ok(proto::LinkTarget { target }.into())
    }

    async fn mount(&self, request: Request<proto::MountRequest>) -> Result<Response<proto::Empty>> {
        let proto::MountRequest { path, perm, endpoint, fences, stamp } = request.message;
        let path = Path::parse(&path)?;
        let own = proto::Endpoint {
            machine: self.caller.machine.clone(),
            pid: self.caller.pid.clone(),
            generation: self.caller.generation,
            mount: path.to_string(),
        };
        // Only the kernel speaks for others; what anybody else says of itself is what the kernel wrote.
        let endpoint = endpoint.filter(|_| self.caller.kernel).unwrap_or(own);
        let pid: Pid = endpoint.pid.parse()?;
        let action = Action::Mount { path, perm, endpoint, pid };
        self.change(fences, stamp, action).await?;
        Ok(proto::Empty {}.into())
    }

    async fn resolve(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Resolved>> {
        let (path, by) = (Path::parse(&request.message.path)?, self.by()?);
        let mut resolved = self.server.look(|tree| tree.resolve(&path, &by)).await?;
        if !self.caller.kernel {
            resolved.endpoint = None;
        }
        Ok(resolved.into())
    }

    async fn wait(&self, request: Request<proto::WaitRequest>) -> Result<Response<proto::Stat>> {
        let proto::WaitRequest { path, removed, entry } = request.message;
        let (path, by) = (Path::parse(&path)?, self.by()?);
        loop {
            let (found, version, watching) = {
                let mut core = self.server.shared.core();
                let (found, version) = core.state.tree.look(|tree| match removed {
                    false => tree.stat(&path, &by),
                    true => tree.entry_at(&path, &by),
                });
                let found = match found {
                    Err(error) if error.code == Code::NotFound => removed.then(proto::Stat::default),
                    Ok(stat) if removed && stat.entry == entry => None,
                    found => Some(found?),
                };
                // A way that does not change leads to what was just found.
                let way = core.state.tree.way(&path, &by, !removed);
                let watching = core.watchers.add(&self.server, way, 0);
                (found, version, watching)
            };
            match found {
                Some(stat) => {
                    drop(watching);
                    if self.server.settled(version).await.is_ok() {
                        return Ok(stat.into());
                    }
                }
                None => watching?.changed().await,
            }
        }
    }

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<proto::Watching>> {
        let proto::WatchRequest { path, after, entry } = request.message;
        let (path, by) = (Path::parse(&path)?, self.by()?);
        let (watching, stat) = {
            let mut core = self.server.shared.core();
            let tree = &core.state.tree;
            let (dir, stat) = (tree.open(&path, &by)?, tree.stat(&path, &by)?);
            tree.may_watch(dir, &by, &path)?;
            if after != 0 && entry != dir.0 {
                return Err(Error::new(Code::Version, format!("{path} is another directory now")));
            }
            let since = if after == 0 { stat.version } else { after };
            let watching = core.watchers.add(&self.server, vec![dir], since);
            if after != 0
                && let Ok(watching) = &watching
                && let Err(error) = core.watchers.catch_up(watching, dir, after, stat.version)
            {
                drop(core);
                return Err(error.context(path));
            }
            (watching, stat)
        };
        let watching = watching?;
        self.server.settled(stat.version).await?;
        let handle = self.open.insert(Open::Watch(watching))?;
        Ok(proto::Watching { handle, stat: Some(stat) }.into())
    }

    async fn events(&self, request: Request<proto::EventsRequest>) -> Result<Response<proto::EventPage>> {
        let proto::EventsRequest { handle, seen } = request.message;
        match &*self.watching(handle)? {
            Open::Watch(watching) => Ok(watching.events(seen).await?.into()),
            _ => Err(not_a("a watch")),
        }
    }

    async fn elect(&self, request: Request<proto::ElectRequest>) -> Result<Response<proto::Elected>> {
        let proto::ElectRequest { path, perm, fence, stamp } = request.message;
        let fence = if fence.is_empty() { None } else { Some(Path::parse(&fence)?) };
        let action = Action::Elect { path: Path::parse(&path)?, perm, fence, contents: request.payload };
        let stat = entry(self.change(Vec::new(), stamp, action).await?)?;
        Ok(proto::Elected { epoch: stat.version, stat: Some(stat) }.into())
    }
}

impl NamedControl for Session {
    async fn ended(&self, request: Request<proto::EndedRequest>) -> Result<Response<proto::Empty>> {
        self.control(Action::Ended { pid: request.message.pid.parse()? }).await
    }

    async fn alive(&self, request: Request<proto::AliveRequest>) -> Result<Response<proto::Empty>> {
        let proto::AliveRequest { machine, pids } = request.message;
        let pids = pids.iter().map(|pid| pid.parse()).collect::<Result<_>>()?;
        self.control(Action::Alive { machine, pids }).await
    }

    async fn limit(&self, request: Request<proto::LimitRequest>) -> Result<Response<proto::NamespaceUsage>> {
        self.kernel_only()?;
        let mut core = self.server.shared.core();
        if let Some(entries) = request.message.entries {
            core.state.tree.limit_entries(entries);
        }
        Ok(proto::NamespaceUsage { entries: core.state.tree.usage().entries }.into())
    }

    async fn election(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LastElection>> {
        self.kernel_only()?;
        let fence = Path::parse(&request.message.path)?;
        let epoch = self.server.look(|tree| Ok(tree.last_election(&fence))).await?;
        Ok(proto::LastElection { epoch: epoch.unwrap_or(0) }.into())
    }
}
