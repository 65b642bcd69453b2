//! The client of a realm: the door of a proc, or the local socket of a kernel for a tool outside.

use crate::changes::Changes;
use crate::mounts::Mounts;
use crate::rpc::{Device, Service};
use crate::serve::{Accept, Doorkeeper};
use crate::stub::{LinkClient, ProcClient};
use crate::wire::{Connection, hello, hello_message};
use crate::{Code, Error, Realm, Result, door, local};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A client of a realm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sigma {
    pub(crate) inner: Arc<Inner>,
    /// What the changes of this client carry, where it acts as a leader.
    pub(crate) fences: Arc<[proto::Fence]>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) proc: ProcClient,
    pub(crate) mounts: Mounts,
    pub(crate) keeper: Arc<Doorkeeper>,
    pub(crate) changes: Changes,
    door: Device,
}

impl Sigma {
    /// The client of the proc that runs this: takes its door.
    ///
    /// # Errors
    /// `Unsupported` where this process is no proc, or has taken its door before.
    pub fn from_door() -> Result<Self> {
        let door = door::take().ok_or_else(|| {
            Error::new(
                Code::Unsupported,
                "this program is a proc of SigmaOS: start it with 'sigma run PROGRAM'",
            )
        })?;
        let (sigma, connection) = Self::over(door)?;
        connection.send(hello(None), Vec::new())?;
        Ok(sigma)
    }

    /// A tool's client of `realm`, by the local socket of the kernel whose state is in `state`. The realm must exist;
    /// without one, only what concerns the whole kernel can be called.
    ///
    /// # Errors
    /// `Unreachable` where no kernel runs there.
    pub fn connect(state: &Path, realm: Option<&Realm>) -> Result<Self> {
        let (sigma, connection) = Self::over(local::dial(state)?)?;
        let mut hello = hello_message(None);
        hello.realm = realm.map(ToString::to_string).unwrap_or_default();
        connection.send(Frame::new(Kind::Hello, 0, "", &hello), Vec::new())?;
        Ok(sigma)
    }

    fn over(socket: OwnedFd) -> Result<(Self, Connection)> {
        let keeper = Arc::new(Doorkeeper::default());
        let (connection, driver) = Connection::new(socket, true, Doorkeeper::greeter(&keeper))?;
        // The driver ends with the last handle of its connection.
        tokio::spawn(driver);
        // A proc may wait for as long as its kernel lives; each call that should not sets its own deadline.
        let door = Device::new(connection.clone());
        let waiting = door.deadline(None);
        let inner = Inner {
            proc: ProcClient(waiting.clone()),
            mounts: Mounts::new(LinkClient(door.clone()), keeper.busy.clone()),
            keeper,
            changes: Changes::new(),
            door: waiting,
        };
        Ok((Self { inner: Arc::new(inner), fences: Arc::default() }, connection))
    }

    /// The kernel itself, for the operator's calls.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::{proto::Empty, stub::AdminClient};
    /// let operator = AdminClient(sigma.kernel().clone());
    /// assert!(!operator.realm_list(Empty {}).await?.realms.is_empty());
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn kernel(&self) -> &Device {
        &self.inner.door
    }

    /// Who this client is: its realm, pid, principal and machine, as the kernel says.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let me = sigma.me().await?;
    /// assert_eq!(me.realm, "example");
    /// assert_eq!(sigma.create("/mine", sigmaos::Create::file().ephemeral()).await?.lease, me.pid);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Unreachable` where the kernel has gone.
    pub async fn me(&self) -> Result<Arc<proto::Caller>> {
        self.inner.keeper.me().await
    }

    /// Tells the kernel why this kernel process cannot serve, as the last thing that it says.
    pub fn fail(&self, error: &Error) {
        // A kernel that has gone needs no reason. It is written at once: nothing else is on its way this early.
        let bye = Frame::new(Kind::Bye, 0, "", &proto::Failure::from(error.clone()));
        let _ = self.inner.door.connection().send(bye, Vec::new());
    }

    /// Lets this proc look for the next call or reply for so long after each, before it sleeps, on all connections that it
    /// serves or has dialled; zero, as at the beginning, lets it sleep at once.
    ///
    /// An idle core takes long to wake: between two cores of a virtual machine that is most of a light call. 50 µs on both sides
    /// spare it where calls follow each other. The price is CPU: each connection keeps its core busy for up to that long
    /// after each frame, so it is for procs that have a core. The core is offered to others between two looks.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.busy_poll(std::time::Duration::from_micros(50));
    /// sigma.put_file("/quick", "no sleep between two calls").await?;
    /// assert_eq!(sigma.get_file("/quick").await?, "no sleep between two calls");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn busy_poll(&self, time: Duration) {
        self.inner.keeper.busy.set(time);
    }

    /// Accepts every connection that the kernel hands to this server, whatever it is mounted at.
    pub fn accept_all(&self, server: Arc<dyn Accept>) {
        self.inner.keeper.export_all(server);
    }

    /// Opens the rpc device at `path`, and makes of it the typed client that a `.proto` defined.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::PathRequest;
    /// use sigmaos::stub::{NamespaceClient, NamespaceServer};
    /// # struct Voice;
    /// # impl sigmaos::stub::Namespace for Voice {}
    /// // Any service that a `.proto` defines; this one implements nothing, and says so.
    /// sigma.serve_rpc("/voice", NamespaceServer(std::sync::Arc::new(Voice))).await?;
    /// let voice: NamespaceClient = sigma.client("/voice/rpc").await?;
    /// let answer = voice.stat(PathRequest { path: "/".into() }).await;
    /// assert_eq!(answer.unwrap_err().code, sigmaos::Code::Unsupported);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::open_rpc`].
    pub async fn client<C: From<Device>>(&self, path: &str) -> Result<C> {
        Ok(self.open_rpc(path).await?.into())
    }

    /// Advertises `service` at `path`: a directory there, for as long as this proc lives, with the device `rpc` in it.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::PathRequest;
    /// use sigmaos::stub::{NamespaceClient, NamespaceServer};
    /// # struct Voice;
    /// # impl sigmaos::stub::Namespace for Voice {}
    /// // Any service that a `.proto` defines; this one implements nothing, and says so.
    /// sigma.serve_rpc("/voice", NamespaceServer(std::sync::Arc::new(Voice))).await?;
    /// let voice: NamespaceClient = sigma.client("/voice/rpc").await?;
    /// let answer = voice.stat(PathRequest { path: "/".into() }).await;
    /// assert_eq!(answer.unwrap_err().code, sigmaos::Code::Unsupported);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::mount`].
    pub async fn serve_rpc(&self, path: &str, service: impl Service) -> Result<()> {
        self.mount(path, crate::Export::new().device("rpc", service)?).await
    }
}
