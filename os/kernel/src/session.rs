//! Who is at a connection of the kernel, and what each may call.

use crate::kernel::Kernel;
use crate::proc::Proc;
use crate::realm::proxies::Desk;
use crate::service::admin::Admins;
use crate::service::link::Links;
use crate::service::proc::Procs;
use crate::supervise::Life;
use crate::tools::Tool;
use sigma_abi::frame::Frame;
use sigma_abi::{Code, Error, Pid, Realm, Result, proto};
use sigmaos::rpc::{Request, Response, Service};
use sigmaos::serve::Services;
use sigmaos::stub::{AdminServer, ElectionsServer, LinkServer, ProcServer, RoomServer};
use sigmaos::wire::{Connection, Driver, Session, hello, read_hello};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// The other side of a connection to the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// `None` for an operator who is in no realm.
    pub(crate) realm: Option<Realm>,
    /// `None` for a tool outside.
    pub(crate) proc: Option<Arc<Proc>>,
    pub(crate) caller: Arc<proto::Caller>,
    /// Procs whose output this client follows; they are let go when it leaves.
    pub(crate) followed: Arc<Followed>,
    /// The life of a tool that is in a realm; what it holds there ends with it.
    pub(crate) _life: Option<Arc<Tool>>,
}

/// The procs whose output a client follows.
#[derive(Debug)]
pub(crate) struct Followed {
    /// What the client is called at the streams.
    id: u64,
    procs: Mutex<BTreeMap<Pid, Arc<Proc>>>,
}

impl Default for Followed {
    fn default() -> Self {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        Self { id: CLIENTS.fetch_add(1, Ordering::Relaxed), procs: Mutex::default() }
    }
}

impl Followed {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn add(&self, proc: Arc<Proc>) {
        let mut procs = self.procs.lock().unwrap_or_else(PoisonError::into_inner);
        procs.retain(|_, proc| proc.streams().iter().any(|stream| !stream.has_ended()));
        procs.insert(proc.pid, proc);
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let procs = std::mem::take(&mut *self.procs.lock().unwrap_or_else(PoisonError::into_inner));
        for proc in procs.into_values() {
            proc.streams().into_iter().for_each(|stream| stream.unfollow(self.id));
        }
    }
}

impl Client {
    /// # Errors
    /// `Invalid` for an operator who named no realm.
    pub(crate) fn realm(&self) -> Result<&Realm> {
        self.realm.as_ref().ok_or_else(|| Error::new(Code::Invalid, "this connection named no realm"))
    }

    /// # Errors
    /// `Invalid` for a tool outside.
    pub(crate) fn proc(&self) -> Result<&Arc<Proc>> {
        self.proc.as_ref().ok_or_else(|| Error::new(Code::Invalid, "only a proc can say this of itself"))
    }
}

/// A door's place for what is known only later: who is behind it.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    pub(crate) connection: OnceLock<Connection>,
    pub(crate) proc: OnceLock<Arc<Proc>>,
}

/// The door of a launcher, which becomes the door of a proc.
pub(crate) fn door(kernel: &Arc<Kernel>, socket: OwnedFd) -> Result<(Arc<Owner>, Driver)> {
    let owner = Arc::new(Owner::default());
    let (kernel, behind) = (Arc::clone(kernel), Arc::clone(&owner));
    let (connection, driver) = Connection::new(
        socket,
        false,
        Box::new(move |frame| {
            let proc =
                behind.proc.get().ok_or_else(|| protocol("a launcher spoke before it was told to launch"))?;
            if frame.method() == "Launcher.Failed" {
                let failed: proto::LaunchFailed =
                    frame.message().map_err(|error| protocol(&error.to_string()))?;
                proc.lock().not_started = Some(format!("{}: {}", failed.step, failed.message));
                return Ok(Arc::new(Nobody) as Arc<dyn Session>);
            }
            read_hello(frame)?;
            let caller = Arc::new(proc.caller(kernel.capacity.id.to_string()));
            if let Some(connection) = behind.connection.get() {
                connection.send(hello(Some((*caller).clone())), Vec::new())?;
            }
            let client = Client {
                realm: Some(proc.realm.clone()),
                proc: Some(Arc::clone(proc)),
                caller,
                followed: Arc::default(),
                _life: None,
            };
            Ok(client_session(&kernel, &client, false))
        }),
    )?;
    // The place is new, so it is free.
    let _ = owner.connection.set(connection);
    Ok((owner, driver))
}

/// A tool on this machine, on the local socket, with the rights of the operator.
pub(crate) fn operator(kernel: &Arc<Kernel>, socket: OwnedFd) -> Result<(Connection, Driver)> {
    let kernel = Arc::clone(kernel);
    let place = Arc::new(OnceLock::<Connection>::new());
    let mine = Arc::clone(&place);
    let (connection, driver) = Connection::new(
        socket,
        false,
        Box::new(move |frame| {
            let realm = match read_hello(frame)?.realm.as_str() {
                "" => None,
                name => Some(Realm::parse(name)?),
            };
            let mut caller = operator_caller(&kernel, realm.as_ref());
            let tool = match (&realm, mine.get()) {
                (Some(realm), Some(door)) => Some(Tool::arrive(&kernel, realm, door.downgrade())),
                _ => None,
            };
            if let Some(tool) = &tool {
                caller.pid = tool.pid.to_string();
            }
            let caller = Arc::new(caller);
            if let Some(connection) = mine.get() {
                connection.send(hello(Some((*caller).clone())), Vec::new())?;
            }
            let client = Client { realm, proc: None, caller, followed: Arc::default(), _life: tool };
            Ok(client_session(&kernel, &client, true))
        }),
    )?;
    let _ = place.set(connection.clone());
    Ok((connection, driver))
}

/// The kernel, or an operator, as servers see them.
pub(crate) fn operator_caller(kernel: &Kernel, realm: Option<&Realm>) -> proto::Caller {
    proto::Caller {
        realm: realm.map(ToString::to_string).unwrap_or_default(),
        principal: sigma_abi::realm::DEFAULT_PRINCIPAL.to_owned(),
        pid: kernel.own_pid().to_string(),
        class: proto::Class::Lc.into(),
        machine: kernel.capacity.id.to_string(),
        kernel: true,
        generation: 0,
    }
}

fn client_session(kernel: &Arc<Kernel>, client: &Client, operator: bool) -> Arc<dyn Session> {
    let mut services: Vec<Box<dyn Service>> = vec![
        Box::new(ProcServer(Arc::new(Procs { kernel: Arc::clone(kernel), client: client.clone() }))),
        Box::new(LinkServer(Arc::new(Links { kernel: Arc::clone(kernel), client: client.clone() }))),
    ];
    if operator {
        services.push(Box::new(AdminServer(Arc::new(Admins { kernel: Arc::clone(kernel) }))));
    }
    Arc::new(Services::new(Arc::clone(&client.caller), services))
}

/// The door of a kernel process, which says when it serves.
pub(crate) fn kernel_process(
    socket: OwnedFd,
    up: watch::Sender<Life>,
    desk: Option<Desk>,
) -> Result<(Arc<OnceLock<Connection>>, Driver)> {
    let place = Arc::new(OnceLock::<Connection>::new());
    let mine = Arc::clone(&place);
    let (connection, driver) = Connection::new(
        socket,
        false,
        Box::new(move |frame| {
            read_hello(frame)?;
            let mut services: Vec<Box<dyn Service>> =
                vec![Box::new(ProcServer(Arc::new(KernelProcess { door: mine, up })))];
            if let Some(desk) = desk {
                let desk = Arc::new(desk);
                services.push(Box::new(RoomServer(Arc::clone(&desk))));
                services.push(Box::new(ElectionsServer(desk)));
            }
            Ok(Arc::new(Services::new(Arc::default(), services)) as Arc<dyn Session>)
        }),
    )?;
    let _ = place.set(connection.clone());
    // A kernel process is told nothing about itself but that the versions agree.
    let _ = connection.send(hello(None), Vec::new());
    Ok((place, driver))
}

struct KernelProcess {
    door: Arc<OnceLock<Connection>>,
    up: watch::Sender<Life>,
}

impl sigmaos::stub::Proc for KernelProcess {
    async fn started(&self, _: Request<proto::Empty>) -> Result<Response<proto::Empty>> {
        if let Some(door) = self.door.get() {
            self.up.send_replace(Life::Up(door.clone()));
        }
        Ok(proto::Empty {}.into())
    }

    async fn wait_kill(&self, _: Request<proto::Empty>) -> Result<Response<proto::Empty>> {
        // It is never asked; it ends when its door closes.
        std::future::pending().await
    }
}

/// Nobody is there to be answered.
struct Nobody;

impl Session for Nobody {
    fn call(&self, call: sigmaos::rpc::Call) -> sigmaos::rpc::Answer {
        sigmaos::rpc::unknown_method(&call)
    }

    fn notice(&self, _: Frame, _: Vec<OwnedFd>) -> Result<()> {
        Ok(())
    }
}

fn protocol(text: &str) -> Error {
    Error::new(Code::Protocol, text)
}
