//! The realms of this machine: their state, their named, jail and proxies.
//!
//! ```text
//!   made on disk ──named serves──▶ its directories and mounts are there ──▶ Ready ──rm──▶ being removed ──▶ gone
//! ```
//!
//! A realm that is being removed takes no new work; see [`removal`].

pub(crate) mod disk;
mod fetch;
mod layout;
pub(crate) mod proxies;
mod removal;
mod set;
pub(crate) mod settings;
mod store;

use crate::binary::{Binaries, Binary};
use crate::handed::Handed;
use crate::jail::Jail;
use crate::kernel::Kernel;
use crate::record::Records;
use crate::supervise::{START_DEADLINE, Server};
use disk::Disk;
use proxies::{Proxies, Proxy};
use removal::Removal;
use sigma_abi::layer::Layer;
use sigma_abi::{Code, Error, Path, Pid, Realm, Result, proto};
use sigma_schedd::Event;
use sigmaos::rpc::Device;
use sigmaos::stub::{NamedControlClient, NamespaceClient};
use sigmaos::wire::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Realms of one machine.
const MAX_REALMS: usize = 1000;

/// What named keeps the namespace in, below the realm's directory.
pub(crate) const NAMESPACE_FILE: &str = "named.redb";

/// The realms of this machine.
#[derive(Debug, Default)]
pub(crate) struct Realms(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    up: BTreeMap<Realm, Arc<Tenant>>,
    /// Those on their way out, with what still runs of them.
    removing: BTreeMap<Realm, (Arc<Removal>, Option<Arc<Tenant>>)>,
}

/// A realm on this machine.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Realm,
    pub(crate) jail: Arc<Jail>,
    pub(crate) named: Server,
    /// What is kept of its procs.
    pub(crate) records: Arc<Records>,
    pub(crate) disk: Arc<Disk>,
    /// Doors on which connections wait to be taken.
    pub(crate) handed: Handed,
    record: Mutex<store::Record>,
    binaries: Arc<Binaries>,
    proxies: Proxies,
    /// The life of named, once the realm's top is laid out.
    root: watch::Receiver<Option<Root>>,
    layout: AbortHandle,
}

/// A named that serves its realm, whose top is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Its door: where others are introduced to it.
    pub(crate) door: Connection,
    /// The kernel's own connection.
    device: Device,
}

impl Root {
    /// The one that serves, once it does.
    ///
    /// # Errors
    /// `Unreachable` where none comes up.
    async fn living(root: &watch::Receiver<Option<Self>>) -> Result<Self> {
        let mut root = root.clone();
        let lives = |root: &Option<Self>| root.as_ref().is_some_and(|root| root.door.closed().is_none());
        let unreachable = |why: &str| Error::new(Code::Unreachable, why);
        match tokio::time::timeout(START_DEADLINE, root.wait_for(lives)).await {
            Ok(Ok(root)) => root.clone().ok_or_else(|| unreachable("it has just ended")),
            Ok(Err(_)) => Err(unreachable("the realm is being removed")),
            Err(_) => Err(late()),
        }
    }
}

impl Realms {
    /// A realm that takes work.
    ///
    /// # Errors
    /// `NotFound`, saying how to make it; `Busy` for one that is being removed, saying how far it is.
    pub(crate) fn find(&self, name: &Realm) -> Result<Arc<Tenant>> {
        let all = self.lock();
        all.check_removing(name)?;
        all.up.get(name).cloned().ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format!("there is no realm {name}: 'sigma realm create {name}' makes it"),
            )
        })
    }

    /// A realm whose processes run, also where it is being removed: for what ends in it.
    pub(crate) fn reach(&self, name: &Realm) -> Option<Arc<Tenant>> {
        let all = self.lock();
        let removing = || all.removing.get(name).and_then(|(_, tenant)| tenant.as_ref());
        all.up.get(name).or_else(removing).cloned()
    }

    pub(crate) fn list(&self) -> Vec<Arc<Tenant>> {
        self.lock().up.values().cloned().collect()
    }

    /// The realms that are being removed, and how far each is.
    pub(crate) fn removing(&self) -> Vec<(Realm, String)> {
        let all = self.lock();
        all.removing.iter().map(|(name, (removal, _))| (name.clone(), removal.to_string())).collect()
    }

    /// Makes a realm, durably, and brings it up.
    ///
    /// # Errors
    /// `Exists`, `Quota`; `Busy` while one of this name is being removed.
    pub(crate) async fn create(&self, kernel: &Arc<Kernel>, name: &Realm) -> Result<Arc<Tenant>> {
        {
            let all = self.lock();
            all.check_removing(name)?;
            if all.up.contains_key(name) {
                return Err(Error::new(Code::Exists, format!("realm {name} exists")));
            }
            if all.up.len() + all.removing.len() >= MAX_REALMS {
                return Err(Error::new(Code::Quota, format!("this machine has {MAX_REALMS} realms")));
            }
        }
        let record = store::create(&kernel.state, name).map_err(internal)?;
        let tenant = self.bring_up(kernel, record)?;
        tenant.root().await?;
        Ok(tenant)
    }

    /// Brings up the realms that are on disk, finishes removals that were interrupted, and clears what is nobody's.
    pub(crate) fn load(&self, kernel: &Arc<Kernel>) -> anyhow::Result<()> {
        store::clear_garbage(&kernel.state)?;
        for record in store::load(&kernel.state)? {
            match record.removing {
                true => drop(self.begin_removal(kernel, record, None)),
                false => drop(self.bring_up(kernel, record)?),
            }
        }
        // Now every name is known.
        Ok(kernel.blobs.sweep()?)
    }

    /// Ends a realm: its procs, its processes, its files. What was begun goes on whatever happens to the caller or to the kernel.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where it takes long, saying how far it is.
    pub(crate) async fn remove(&self, kernel: &Arc<Kernel>, name: &Realm) -> Result<()> {
        let under_way = self.lock().removing.get(name).map(|(removal, _)| Arc::clone(removal));
        let removal = match under_way {
            Some(removal) => removal,
            None => {
                let tenant = self.find(name)?;
                let record = tenant.mark_removed()?;
                self.begin_removal(kernel, record, Some(tenant))
            }
        };
        removal.wait().await
    }

    fn begin_removal(
        &self,
        kernel: &Arc<Kernel>,
        record: store::Record,
        tenant: Option<Arc<Tenant>>,
    ) -> Arc<Removal> {
        let name = record.name.clone();
        let removal = Removal::new(&name);
        {
            let mut all = self.lock();
            all.up.remove(&name);
            all.removing.insert(name.clone(), (Arc::clone(&removal), tenant.clone()));
        }
        let running = Arc::clone(&removal).run(Arc::clone(kernel), tenant, Arc::new(record));
        let kernel = Arc::clone(kernel);
        // It ends by itself, or with the kernel, whose next boot goes on.
        tokio::spawn(async move {
            running.await;
            kernel.realms.lock().removing.remove(&name);
        });
        removal
    }

    fn bring_up(&self, kernel: &Arc<Kernel>, record: store::Record) -> Result<Arc<Tenant>> {
        let (realm, limits) = (record.name.clone(), record.settings.limits());
        let tenant = Arc::new(Tenant::start(kernel, record).map_err(internal)?);
        kernel.schedule(Event::Limits { realm, limits });
        self.lock().up.insert(tenant.name.clone(), Arc::clone(&tenant));
        if tenant.settings().disk_bytes().is_some() {
            // It says what files there are, so that programs do not take their room.
            tenant.proxy(kernel, Proxy::Ux)?;
        }
        Ok(tenant)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn check_removing(&self, name: &Realm) -> Result<()> {
        match self.removing.get(name) {
            Some((removal, _)) => Err(Error::new(Code::Busy, format!("realm {name} is {removal}"))),
            None => Ok(()),
        }
    }
}

impl Tenant {
    fn start(kernel: &Arc<Kernel>, record: store::Record) -> anyhow::Result<Self> {
        let name = record.name.clone();
        let records = Arc::new(Records::open(&record.dir.join("proc"))?);
        let (limit, output) = (record.settings.disk_bytes(), Arc::clone(&records.shelf));
        let disk = Arc::new(Disk::new(name.clone(), record.dir.clone(), limit, output));
        let binaries = Binaries::open(record.dir.join("bin"), Arc::clone(&kernel.blobs), Arc::clone(&disk))?;
        let jail = kernel.program(&format!("jail of {name}"), "jail", jail_args(kernel, &record))?;
        let named = Server::start(kernel.program_of(&name, "named", named_args(&record))?);
        let (laid_out, root) = watch::channel(None);
        let layout = layout::Layout::new(kernel, &name, laid_out);
        let layout = tokio::spawn(layout.run(named.doors())).abort_handle();
        Ok(Self {
            jail: Jail::start(kernel, &name, jail),
            name,
            named,
            records,
            proxies: Proxies::new(record.name.clone(), record.dir.clone(), Arc::clone(&disk), root.clone()),
            disk,
            handed: Handed::default(),
            record: Mutex::new(record),
            binaries: Arc::new(binaries),
            root,
            layout,
        })
    }

    /// The program at a path: from `/bin`, or read from wherever it is.
    pub(crate) async fn binary(&self, kernel: &Arc<Kernel>, path: &Path) -> Result<Binary> {
        let named = |error: Error| error.context(format!("binary {path}"));
        if let Some(below) = path.below(&bin()) {
            return crate::binary::name_in_bin(&below)
                .and_then(|name| self.binaries.find(&name))
                .map_err(named);
        }
        self.fetch(kernel, path).await.map_err(named)
    }

    /// Where a path leads.
    pub(crate) async fn resolve(&self, path: &Path) -> Result<proto::Resolved> {
        if path.is_root() {
            return Ok(proto::Resolved { mount: "/".into(), rest: "/".into(), endpoint: None });
        }
        let request = proto::PathRequest { path: path.to_string() };
        NamespaceClient(self.root().await?.device).resolve(request).await
    }

    /// The realm's named, once it serves.
    ///
    /// # Errors
    /// What named says it fails by; `Unreachable` where it does not come up.
    pub(crate) async fn root(&self) -> Result<Root> {
        // What named fails by is known before it is too late for its top to be laid out.
        let up = async {
            self.named.door().await?;
            Root::living(&self.root).await
        };
        let waited = tokio::time::timeout(START_DEADLINE, up).await.unwrap_or_else(|_| Err(late()));
        waited.map_err(|error| error.context(format!("the namespace of realm {}", self.name)))
    }

    /// Tells named that a proc or tool has ended; false where it could not be told. One that dies now is told at its next start
    /// who lives.
    pub(crate) async fn ended(&self, pid: Pid) -> bool {
        let told = async {
            let root = self.root().await?;
            NamedControlClient(root.device).ended(proto::EndedRequest { pid: pid.to_string() }).await
        };
        let told = told.await;
        if let Err(error) = &told {
            tracing::warn!(realm = %self.name, %pid, %error, "named was not told of an end");
        }
        told.is_ok()
    }

    /// The programs.
    pub(crate) fn binaries(&self) -> Arc<Binaries> {
        Arc::clone(&self.binaries)
    }

    /// The proxy that is mounted at `mount`.
    pub(crate) fn proxy_at(kernel: &Kernel, mount: &Path) -> Option<Proxy> {
        let machine = kernel.capacity.id.to_string();
        Proxy::ALL.into_iter().find(|proxy| proxy.mount(&machine) == mount.as_str())
    }

    /// A proxy of the realm, started at first use.
    ///
    /// # Errors
    /// `Busy` where it cannot be started.
    pub(crate) fn proxy(&self, kernel: &Kernel, proxy: Proxy) -> Result<Arc<Server>> {
        self.proxies.get(kernel, proxy, || self.settings())
    }

    /// Tells what runs for the realm to end.
    pub(crate) fn stop(&self, kernel: &Arc<Kernel>) {
        self.records.close();
        self.jail.stop(kernel);
        self.named.stop();
        self.proxies.stop();
        self.layout.abort();
    }

    /// Waits until what was told to end is gone.
    pub(crate) async fn gone(&self) {
        self.jail.gone().await;
        self.named.gone().await;
        self.proxies.gone().await;
    }

    fn record(&self) -> MutexGuard<'_, store::Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.layout.abort();
    }
}

fn late() -> Error {
    Error::new(Code::Unreachable, "it does not come up; the kernel's log says why")
}

fn jail_args(kernel: &Kernel, record: &store::Record) -> Vec<String> {
    let base = match rustix::process::geteuid().is_root() {
        true => record.uid_base().to_string(),
        false => "none".to_owned(),
    };
    let mut args = vec!["--uid-base".to_owned(), base];
    let without: Vec<_> =
        kernel.without.iter().filter(|layer| **layer != Layer::Cgroup).map(|layer| layer.name()).collect();
    if !without.is_empty() {
        args.extend(["--without".to_owned(), without.join(",")]);
    }
    args
}

fn named_args(record: &store::Record) -> Vec<String> {
    let store = record.dir.join(NAMESPACE_FILE).display().to_string();
    vec!["--store".to_owned(), store]
}

fn bin() -> Path {
    Path::parse("/bin").expect("a constant path is right")
}

fn internal(error: anyhow::Error) -> Error {
    Error::new(Code::Internal, format!("{error:#}"))
}
