//! The realms of this machine: their state, their named, jail and proxies.
//!
//! ```text
//!   made on disk ──named serves──▶ its directories and mounts are there ──▶ Ready ──rm──▶ moved aside ──▶ gone
//! ```

mod fetch;
mod layout;
mod store;

use crate::binary::{Binaries, Binary};
use crate::jail::Jail;
use crate::kernel::Kernel;
use crate::record::Records;
use crate::state;
use crate::supervise::{START_DEADLINE, Server};
use sigma_abi::layer::Layer;
use sigma_abi::{Code, Error, Path, Pid, Realm, Result, proto};
use sigmaos::rpc::Device;
use sigmaos::stub::{NamedControlClient, NamespaceClient};
use sigmaos::wire::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Realms of one machine.
const MAX_REALMS: usize = 1000;

/// The realms that are up.
#[derive(Debug, Default)]
pub(crate) struct Realms(Mutex<BTreeMap<Realm, Arc<Tenant>>>);

/// A realm on this machine.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Realm,
    pub(crate) jail: Arc<Jail>,
    pub(crate) named: Server,
    /// What is kept of its procs.
    pub(crate) records: Arc<Records>,
    binaries: Arc<Binaries>,
    ux: Mutex<Option<Arc<Server>>>,
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

impl Realms {
    /// # Errors
    /// `NotFound`, saying how to make it.
    pub(crate) fn find(&self, name: &Realm) -> Result<Arc<Tenant>> {
        self.lock().get(name).cloned().ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format!("there is no realm {name}: 'sigma realm create {name}' makes it"),
            )
        })
    }

    pub(crate) fn list(&self) -> Vec<Arc<Tenant>> {
        self.lock().values().cloned().collect()
    }

    /// Makes a realm, durably, and brings it up.
    ///
    /// # Errors
    /// `Exists`, `Quota`.
    pub(crate) async fn create(&self, kernel: &Arc<Kernel>, name: &Realm) -> Result<Arc<Tenant>> {
        if self.lock().contains_key(name) {
            return Err(Error::new(Code::Exists, format!("realm {name} exists")));
        }
        if self.lock().len() >= MAX_REALMS {
            return Err(Error::new(Code::Quota, format!("this machine has {MAX_REALMS} realms")));
        }
        let record = store::create(&kernel.state, name).map_err(internal)?;
        let tenant = self.bring_up(kernel, &record)?;
        tenant.root().await?;
        Ok(tenant)
    }

    /// Brings up the realms that are on disk, and finishes removals that were interrupted.
    pub(crate) fn load(&self, kernel: &Arc<Kernel>) -> anyhow::Result<()> {
        for record in store::load(&kernel.state)? {
            self.bring_up(kernel, &record).map_err(anyhow::Error::from)?;
        }
        Ok(())
    }

    /// Ends a realm: its procs, its processes, its files. What was begun is finished at the next boot if need be.
    ///
    /// # Errors
    /// `NotFound`; `Internal` naming what cannot be removed.
    pub(crate) async fn remove(&self, kernel: &Arc<Kernel>, name: &Realm) -> Result<()> {
        let tenant = self.find(name)?;
        let aside = store::move_aside(&kernel.state, name).map_err(internal)?;
        self.lock().remove(name);
        for proc in kernel.procs.list(name) {
            kernel.kill(&proc);
        }
        tenant.stop(kernel);
        kernel.procs.forget_realm(name);
        drop(tenant);
        let (cgroups, name) = (Arc::clone(&kernel.cgroups), name.clone());
        let removed = tokio::task::spawn_blocking(move || {
            cgroups.forget(&name);
            store::remove(&aside)
        })
        .await;
        removed.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(internal)
    }

    fn bring_up(&self, kernel: &Arc<Kernel>, record: &store::Record) -> Result<Arc<Tenant>> {
        let tenant = Arc::new(Tenant::start(kernel, record).map_err(internal)?);
        self.lock().insert(tenant.name.clone(), Arc::clone(&tenant));
        Ok(tenant)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Realm, Arc<Tenant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    fn start(kernel: &Arc<Kernel>, record: &store::Record) -> anyhow::Result<Self> {
        let name = &record.name;
        let binaries = Arc::new(Binaries::open(record.dir.join("bin"), kernel.state.blobs())?);
        state::make_dir(&record.dir.join("ux"))?;
        let records = Arc::new(Records::open(&record.dir.join("proc"))?);
        let jail = kernel.program(&format!("jail of {name}"), "jail", jail_args(kernel, record))?;
        let store = vec!["--store".to_owned(), record.dir.join("named.redb").display().to_string()];
        let named = Server::start(kernel.program_of(name, "named", store)?);
        let (laid_out, root) = watch::channel(None);
        let layout = layout::Layout::new(kernel, name, laid_out);
        let layout = tokio::spawn(layout.run(named.doors())).abort_handle();
        Ok(Self {
            name: name.clone(),
            jail: Jail::start(kernel, name, jail),
            named,
            records,
            binaries,
            ux: Mutex::new(None),
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
        let mut root = self.root.clone();
        let lives = |root: &Option<Root>| root.as_ref().is_some_and(|root| root.door.closed().is_none());
        let up = async {
            // What named fails by is known before the deadline is over.
            self.named.door().await?;
            let root = root.wait_for(lives).await.ok().and_then(|root| root.clone());
            root.ok_or_else(|| Error::new(Code::Unreachable, "the realm is being removed"))
        };
        let late = || Error::new(Code::Unreachable, "it does not come up; the kernel's log says why");
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

    /// Whether `mount` is the files of the realm on this machine.
    pub(crate) fn is_ux(&self, kernel: &Kernel, mount: &Path) -> bool {
        mount.as_str() == format!("/ux/{}", kernel.capacity.id)
    }

    /// The proxy of the realm's files, started at first use.
    pub(crate) fn ux(&self, kernel: &Kernel) -> Result<Arc<Server>> {
        let mut ux = self.ux.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ux) = &*ux {
            return Ok(Arc::clone(ux));
        }
        let directory = kernel.state.realms().join(self.name.as_str()).join("ux");
        let args = vec!["--root".to_owned(), directory.display().to_string()];
        let program = kernel
            .program_of(&self.name, "ux", args)
            .map_err(|error| Error::new(Code::Busy, format!("cannot start ux: {error}")))?;
        Ok(Arc::clone(ux.insert(Arc::new(Server::start(program)))))
    }

    /// Ends what runs for the realm.
    pub(crate) fn stop(&self, kernel: &Arc<Kernel>) {
        self.records.close();
        self.jail.stop(kernel);
        self.named.stop();
        if let Some(ux) = self.ux.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ux.stop();
        }
        self.layout.abort();
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.layout.abort();
    }
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

fn bin() -> Path {
    Path::parse("/bin").expect("a constant path is right")
}

fn internal(error: anyhow::Error) -> Error {
    Error::new(Code::Internal, format!("{error:#}"))
}
