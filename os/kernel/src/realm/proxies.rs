//! The proxies of a realm: where each is mounted, and that it starts at first use with what the operator set for it.

use super::Root;
use super::disk::Disk;
use super::settings::Settings;
use crate::kernel::Kernel;
use crate::state::make_dir;
use crate::supervise::{Passed, Program, Server};
use sigma_abi::{Code, Error, Realm, Result, proto};
use sigmaos::rpc::{Request, Response};
use sigmaos::stub::{Elections, NamedControlClient, Room};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A kind of proxy. A realm has one of each on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proxy {
    Ux,
    S3,
    Db,
    Mongo,
}

impl Proxy {
    pub(crate) const ALL: [Self; 4] = [Self::Ux, Self::S3, Self::Db, Self::Mongo];

    /// As its program, the first part of its settings, and its directory in the realm's are called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ux => "ux",
            Self::S3 => "s3",
            Self::Db => "db",
            Self::Mongo => "mongo",
        }
    }

    /// Where it is mounted: by machine, where each machine shows something else or is another way to the same.
    pub(crate) fn mount(self, machine: &str) -> String {
        match self {
            Self::Ux | Self::S3 => format!("/{}/{machine}", self.name()),
            Self::Db | Self::Mongo => format!("/{}", self.name()),
        }
    }
}

/// What the kernel answers a proxy: how much of the disk it may take, and who was elected in its realm.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    proxy: Proxy,
    disk: Arc<Disk>,
    root: watch::Receiver<Option<Root>>,
}

impl Room for Desk {
    async fn take(&self, request: Request<proto::RoomRequest>) -> Result<Response<proto::RoomReply>> {
        let proto::RoomRequest { used, wanted } = request.message;
        Ok(proto::RoomReply { granted: self.disk.grant(self.proxy, used, wanted) }.into())
    }
}

impl Elections for Desk {
    async fn last(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::LastElection>> {
        let root = Root::living(&self.root).await?;
        Ok(NamedControlClient(root.device).election(request.message).await?.into())
    }
}

/// Those of one realm.
#[derive(Debug)]
pub(crate) struct Proxies {
    realm: Realm,
    dir: PathBuf,
    disk: Arc<Disk>,
    root: watch::Receiver<Option<Root>>,
    running: Mutex<BTreeMap<Proxy, Arc<Server>>>,
}

impl Proxies {
    /// Of the realm whose directory is `dir`.
    pub(super) fn new(
        realm: Realm,
        dir: PathBuf,
        disk: Arc<Disk>,
        root: watch::Receiver<Option<Root>>,
    ) -> Self {
        Self { realm, dir, disk, root, running: Mutex::default() }
    }

    /// The proxy, started at first use with the `settings` of then.
    ///
    /// # Errors
    /// `Busy` where it cannot be started. Whether it serves says its door.
    pub(super) fn get(
        &self,
        kernel: &Kernel,
        proxy: Proxy,
        settings: impl FnOnce() -> Settings,
    ) -> Result<Arc<Server>> {
        let mut running = self.lock();
        if let Some(server) = running.get(&proxy) {
            return Ok(Arc::clone(server));
        }
        let program = self.program(kernel, proxy, &settings()).map_err(|error| {
            Error::new(
                Code::Busy,
                format!("cannot start {} of realm {}: {error:#}", proxy.name(), self.realm),
            )
        })?;
        let server = Arc::new(Server::start(program));
        running.insert(proxy, Arc::clone(&server));
        Ok(server)
    }

    fn program(&self, kernel: &Kernel, proxy: Proxy, settings: &Settings) -> anyhow::Result<Program> {
        let dir = self.dir.join(proxy.name());
        make_dir(&dir)?;
        let mount = proxy.mount(&kernel.capacity.id.to_string());
        let args = ["--dir", &dir.display().to_string(), "--mount", &mount].map(str::to_owned).to_vec();
        let program = kernel.program_of(&self.realm, proxy.name(), args)?;
        let passed = toml::to_string(&settings.of(proxy.name()))?;
        let desk = Desk { proxy, disk: Arc::clone(&self.disk), root: self.root.clone() };
        Ok(Program { passed: Some(Passed(passed)), desk: Some(desk), ..program })
    }

    /// Ends those for which something else is set now; the next use starts them with that.
    pub(super) fn changed(&self, before: &Settings, now: &Settings) {
        self.lock().retain(|proxy, server| {
            let same = before.of(proxy.name()) == now.of(proxy.name());
            if !same {
                server.stop();
            }
            same
        });
    }

    /// Tells all of them to end.
    pub(super) fn stop(&self) {
        self.lock().values().for_each(|server| server.stop());
    }

    /// Waits until those that were told to end are gone.
    pub(super) async fn gone(&self) {
        let running: Vec<_> = self.lock().values().cloned().collect();
        for server in running {
            server.gone().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Proxy, Arc<Server>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
