//! The top of a realm's namespace: laid out each time that its named comes up.
//!
//! Named keeps what is laid out where it is, and puts aside what it finds in its place.

use super::Root;
use super::proxies::Proxy;
use crate::dial;
use crate::kernel::Kernel;
use crate::session::operator_caller;
use crate::supervise::Life;
use sigma_abi::limits::DEFAULT_ENTRIES;
use sigma_abi::realm::KERNEL_PRINCIPAL;
use sigma_abi::{Path, Realm, Result, proto};
use sigmaos::rpc::Device;
use sigmaos::stub::{NamedControlClient, NamespaceClient};
use sigmaos::wire::{Connection, Session, read_hello};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// After a layout that failed though named serves, which is mostly for lack of room.
const RETRY: Duration = Duration::from_secs(1);

/// The permissions of what is laid out: the realm reads it. What a mount leads to has its own.
const LAID_OUT: u32 = 0o64;

/// Who lays out the top of one realm's namespace.
pub(super) struct Layout {
    kernel: Weak<Kernel>,
    realm: Realm,
    caller: proto::Caller,
    laid_out: watch::Sender<Option<Root>>,
}

impl Layout {
    pub(super) fn new(kernel: &Arc<Kernel>, realm: &Realm, laid_out: watch::Sender<Option<Root>>) -> Self {
        let principal = KERNEL_PRINCIPAL.to_owned();
        let caller = proto::Caller { principal, ..operator_caller(kernel, Some(realm)) };
        Self { kernel: Arc::downgrade(kernel), realm: realm.clone(), caller, laid_out }
    }

    /// Lays it out at each life of named.
    pub(super) async fn run(self, mut lives: watch::Receiver<Life>) {
        while lives.changed().await.is_ok() {
            self.laid_out.send_replace(None);
            loop {
                let door = lives.borrow_and_update().door().cloned();
                let Some(door) = door else { break };
                match self.lay_out(&door).await {
                    Ok(device) => {
                        self.laid_out.send_replace(Some(Root { door, device }));
                        break;
                    }
                    Err(error) => {
                        tracing::error!(realm = %self.realm, %error, "the top of a realm cannot be laid out");
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn lay_out(&self, door: &Connection) -> Result<Device> {
        let device = connect(dial::introduce(door, &Path::root(), &self.caller)?)?;
        // First of all, since what the dead hold may be in the way. Nobody else is introduced to this life of named before
        // this is done, so the list is whole.
        let control = NamedControlClient(device.clone());
        control.alive(self.alive()).await?;
        control.limit(proto::LimitRequest { entries: Some(self.entries()) }).await?;
        lay_out_top(&NamespaceClient(device.clone()), &self.caller.pid, &self.caller.machine).await?;
        Ok(device)
    }

    /// How many entries the operator lets the namespace hold.
    fn entries(&self) -> u64 {
        let realm = self.kernel.upgrade().and_then(|kernel| kernel.realms.reach(&self.realm));
        realm.and_then(|realm| realm.settings().entries()).unwrap_or(DEFAULT_ENTRIES)
    }

    fn alive(&self) -> proto::AliveRequest {
        let mut pids = vec![self.caller.pid.clone()];
        if let Some(kernel) = self.kernel.upgrade() {
            // One that waits for its next life holds nothing.
            let active = kernel.procs.list(&self.realm).into_iter().filter(|proc| proc.is_active());
            pids.extend(active.map(|proc| proc.pid.to_string()));
            pids.extend(kernel.tools.list(&self.realm).iter().map(ToString::to_string));
        }
        proto::AliveRequest { machine: self.caller.machine.clone(), pids }
    }
}

async fn lay_out_top(root: &NamespaceClient, pid: &str, machine: &str) -> Result<()> {
    for path in ["/ux", "/s3", "/machine"] {
        let directory = proto::CreateRequest {
            path: path.into(),
            kind: proto::Kind::Directory.into(),
            perm: LAID_OUT,
            ..Default::default()
        };
        root.create(directory).await?;
    }
    let own = ["/bin".to_owned(), "/proc".to_owned(), format!("/machine/{machine}")];
    for path in own.into_iter().chain(Proxy::ALL.map(|proxy| proxy.mount(machine))) {
        let endpoint =
            proto::Endpoint { machine: machine.to_owned(), pid: pid.to_owned(), ..Default::default() };
        let request =
            proto::MountRequest { path, perm: LAID_OUT, endpoint: Some(endpoint), ..Default::default() };
        root.mount(request).await?;
    }
    Ok(())
}

/// A connection of the kernel's own, as a client of a server that it introduced itself to.
pub(super) fn connect(socket: OwnedFd) -> Result<Device> {
    let (connection, driver) = Connection::new(
        socket,
        false,
        Box::new(|frame| {
            read_hello(frame)?;
            Ok(Arc::new(sigmaos::serve::Services::new(Arc::default(), Vec::new())) as Arc<dyn Session>)
        }),
    )?;
    // The driver ends with the last handle of its connection.
    tokio::spawn(driver);
    Ok(Device::new(connection))
}
