//! The namespace API (thesis, Figure A.2): whole files, entries, and how an operation finds its server.

use crate::changes::Mark;
use crate::file::{File, Opened, PIECE};
use crate::mounts::{Again, Last, Place};
use crate::rpc::{Bytes, Device};
use crate::sigma::Sigma;
use crate::stub::NamespaceClient;
use crate::{Code, Error, Path, Result, proto};

/// The permission bits of what is created without saying: owner and realm may read and write.
pub(crate) const DEFAULT_PERM: u32 = 0o66;

/// What to create: `Create::pipe().perm(0o60)`.
#[derive(Clone, Debug)]
pub struct Create(proto::CreateRequest);

impl Create {
    /// An empty file.
    pub fn file() -> Self {
        Self::of(proto::Kind::File)
    }

    /// A directory.
    pub fn directory() -> Self {
        Self::of(proto::Kind::Directory)
    }

    /// A pipe: who opens it for reading waits for a writer, and the reverse.
    pub fn pipe() -> Self {
        Self::of(proto::Kind::Pipe)
    }

    /// A symlink that leads to `target`: an absolute path, or one relative to the link's directory.
    pub fn symlink(target: &str) -> Self {
        Self(proto::CreateRequest { target: target.to_owned(), ..Self::of(proto::Kind::Symlink).0 })
    }

    fn of(kind: proto::Kind) -> Self {
        let kind = kind.into();
        Self(proto::CreateRequest { kind, perm: DEFAULT_PERM, exclusive: true, ..Default::default() })
    }

    /// Two octal digits, owner and realm: read 4, write 2. 066 where nothing is said.
    #[must_use]
    pub fn perm(self, perm: u32) -> Self {
        Self(proto::CreateRequest { perm, ..self.0 })
    }

    /// The entry ends with this proc.
    #[must_use]
    pub fn ephemeral(self) -> Self {
        Self(proto::CreateRequest { ephemeral: true, ..self.0 })
    }

    /// An entry of the same kind that is there already will do.
    #[must_use]
    pub fn or_existing(self) -> Self {
        Self(proto::CreateRequest { exclusive: false, ..self.0 })
    }
}

impl Sigma {
    /// The contents of a file, in one round trip where it fits in one frame.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello").await?;
    /// assert_eq!(sigma.get_file("/greeting").await?, "hello");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `IsDir`, `Denied`, `Loop`, `Unreachable`.
    pub async fn get_file(&self, path: &str) -> Result<Bytes> {
        let whole = self.read("get", path, |namespace, rest| async move {
            namespace
                .get_with(proto::PathRequest { path: rest }, Bytes::new())
                .await
                .map(|reply| reply.payload)
        });
        match whole.await {
            Err(error) if error.code == Code::TooLarge => self.open(path).await?.read_to_end().await,
            done => done,
        }
    }

    /// Creates or replaces a file. It is seen whole or not at all.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let stat = sigma.put_file("/greeting", "hello").await?;
    /// assert_eq!((stat.size, stat.perm), (5, 0o66));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` where the directory is missing, `IsDir`, `Denied`, `TooLarge`, `Quota`, `Stale`, `Unreachable`.
    pub async fn put_file(&self, path: &str, contents: impl Into<Bytes>) -> Result<proto::Stat> {
        let contents = contents.into();
        if contents.len() <= PIECE {
            let request = proto::PutRequest { perm: DEFAULT_PERM, ..Default::default() };
            return self.put_with(path, request, contents).await;
        }
        let request = proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
        let mut file = self.open_with(path, request).await?;
        file.write(contents).await?;
        file.close().await?;
        self.stat(path).await
    }

    /// As [`Sigma::put_file`] in one round trip, as `request` says: exclusively, with other bits, ephemeral. Its path is set
    /// here.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::{Code, proto::PutRequest};
    /// let once = PutRequest { perm: 0o64, exclusive: true, ..Default::default() };
    /// sigma.put_with("/lock", once.clone(), "mine").await?;
    /// assert_eq!(sigma.put_with("/lock", once, "mine, too").await.unwrap_err().code, Code::Exists);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::put_file`], and `Exists`.
    pub async fn put_with(
        &self,
        path: &str,
        request: proto::PutRequest,
        contents: impl Into<Bytes>,
    ) -> Result<proto::Stat> {
        let contents = contents.into();
        let last = if request.exclusive { Last::Entry } else { Last::Follow };
        self.change("put", path, last, |namespace, rest, Mark { stamp, fences }| {
            let request = proto::PutRequest { path: rest, stamp, fences, ..request.clone() };
            let contents = contents.clone();
            async move { namespace.put_with(request, contents).await.map(|reply| reply.message) }
        })
        .await
    }

    /// What is known of an entry. A last symlink is followed.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello").await?;
    /// let stat = sigma.stat("/greeting").await?;
    /// assert_eq!((stat.name.as_str(), stat.size), ("greeting", 5));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Unreachable`.
    pub async fn stat(&self, path: &str) -> Result<proto::Stat> {
        self.read("stat", path, |namespace, rest| async move {
            namespace.stat(proto::PathRequest { path: rest }).await
        })
        .await
    }

    /// Creates an entry.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::Create;
    /// sigma.create("/results", Create::directory()).await?;
    /// sigma.create("/results/here", Create::file().perm(0o64).ephemeral()).await?;
    /// sigma.create("/results/latest", Create::symlink("here")).await?;
    /// sigma.create("/results/queue", Create::pipe()).await?;
    /// assert_eq!(sigma.read_dir("/results").await?.len(), 3);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `Exists`, `NotFound` where the directory is missing, `Denied`, `Quota`, `Stale`, `Unreachable`.
    pub async fn create(&self, path: &str, what: Create) -> Result<proto::Stat> {
        let last = if what.0.exclusive { Last::Entry } else { Last::Follow };
        let created = self.change("create", path, last, |namespace, rest, Mark { stamp, fences }| {
            let request = proto::CreateRequest { path: rest, stamp, fences, ..what.0.clone() };
            async move {
                let opened = namespace.create(request).await?;
                // The number is free at once; who wants to use the file opens it.
                drop(Opened::new(namespace.0, opened.handle));
                Ok(opened.stat.unwrap_or_default())
            }
        });
        created.await
    }

    /// Removes an entry: a symlink itself, a mount, a file, or an empty directory.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::Code;
    /// sigma.put_file("/greeting", "hello").await?;
    /// sigma.remove("/greeting").await?;
    /// assert_eq!(sigma.remove("/greeting").await.unwrap_err().code, Code::NotFound);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `Denied`, `Stale`, `Unreachable`.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.remove_entry(path, 0).await
    }

    /// Removes what is at `path`, where it is the entry of this number; 0: whatever it is.
    pub(crate) async fn remove_entry(&self, path: &str, entry: u64) -> Result<()> {
        self.change("remove", path, Last::Entry, |namespace, rest, Mark { stamp, fences }| async move {
            namespace.remove(proto::RemoveRequest { path: rest, entry, stamp, fences }).await.map(drop)
        })
        .await
    }

    /// Opens a file for reading, or a pipe.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello world").await?;
    /// let mut file = sigma.open("/greeting").await?;
    /// sigma.remove("/greeting").await?;
    /// // What is removed stays readable for those who have it open.
    /// assert_eq!(file.read(5).await?, "hello");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `IsDir`, `Denied`, `Busy` past the number of open objects a connection may hold.
    pub async fn open(&self, path: &str) -> Result<File> {
        self.open_with(path, proto::OpenRequest { read: true, ..Default::default() }).await
    }

    /// Opens as `request` says; its `path` is set here.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::OpenRequest;
    /// let how = OpenRequest { read: true, write: true, create: true, ..Default::default() };
    /// let mut file = sigma.open_with("/notes", how).await?;
    /// file.write("one ").await?;
    /// file.write("two").await?;
    /// file.lseek(4);
    /// assert_eq!(file.read(100).await?, "two");
    /// file.close().await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::open`] and [`Sigma::put_file`].
    pub async fn open_with(&self, path: &str, request: proto::OpenRequest) -> Result<File> {
        let (place, opened) = self.open_at(path, &request).await?;
        Ok(File::new(self.clone(), place, &request, opened))
    }

    /// Opens the rpc device at `path`.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::proto::{PathRequest, Stat};
    /// use sigmaos::stub::NamespaceServer;
    /// # struct Voice;
    /// # impl sigmaos::stub::Namespace for Voice {}
    /// // Any service that a `.proto` defines; this one implements nothing, and says so.
    /// let server = sigma.clone();
    /// server.serve_rpc("/voice", NamespaceServer(std::sync::Arc::new(Voice))).await?;
    /// let device = sigma.open_rpc("/voice/rpc").await?;
    /// let request = PathRequest { path: "/".into() };
    /// let answer = device.call::<Stat>("Namespace.Stat", &request, Default::default()).await;
    /// assert_eq!(answer.unwrap_err().code, sigmaos::Code::Unsupported);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Invalid` where it is something else, `Unreachable` where its server is dead.
    pub async fn open_rpc(&self, path: &str) -> Result<Device> {
        let request = proto::OpenRequest { read: true, write: true, ..Default::default() };
        let (place, opened) = self.open_at(path, &request).await?;
        let open = Opened::new(place.device, opened.handle);
        if opened.stat.is_none_or(|stat| stat.kind() != proto::Kind::RpcDevice) {
            return Err(Error::new(Code::Invalid, format!("{path} is not an rpc device")));
        }
        Ok(Device::opened(open))
    }

    /// The server that serves `path` itself, for calls of the `Namespace` interface that this client has no word for. The paths
    /// in such calls begin at that server's root, which [`Sigma::resolve_mount`] tells.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// use sigmaos::{proto::PathRequest, stub::NamespaceClient};
    /// let machine = sigma.me().await?.machine.clone();
    /// let disk = NamespaceClient(sigma.server(&format!("/ux/{machine}")).await?);
    /// assert_eq!(disk.stat(PathRequest { path: "/".into() }).await?.kind(), sigmaos::proto::Kind::Directory);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::stat`].
    pub async fn server(&self, path: &str) -> Result<Device> {
        let reached = |place: Place| async move {
            NamespaceClient(place.device.clone()).stat(proto::PathRequest { path: place.rest }).await?;
            Ok(place.device)
        };
        self.at("reach the server of", path, Last::Follow, Again::Read, reached).await
    }

    async fn open_at(&self, path: &str, request: &proto::OpenRequest) -> Result<(Place, proto::Opened)> {
        let number = self.inner.changes.number();
        let changes = request.create || request.truncate;
        let open = |place: Place| {
            let request = proto::OpenRequest {
                path: place.rest.clone(),
                perm: if request.perm == 0 { DEFAULT_PERM } else { request.perm },
                stamp: changes.then(|| number.stamp()),
                fences: if changes { self.fences_at(&place) } else { Vec::new() },
                ..request.clone()
            };
            async move {
                // Opening a pipe waits for its other side.
                let namespace = NamespaceClient(place.device.deadline(None));
                let opened = namespace.open(request).await?;
                Ok((place, opened))
            }
        };
        let again = if changes { Again::Change } else { Again::Read };
        self.at("open", path, Last::Follow, again, open).await
    }

    /// Looks, at the server of `path`; a failure says which operation on which path.
    ///
    /// (`AsyncFn` would say it shorter, but futures that hold an async closure are not `Send` to the compiler of today, and
    /// whoever uses this SDK wants to spawn tasks.)
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &str,
        path: &str,
        run: impl Fn(NamespaceClient, String) -> F,
    ) -> Result<T> {
        self.at(operation, path, Last::Follow, Again::Read, |place| {
            run(NamespaceClient(place.device), place.rest)
        })
        .await
    }

    /// Changes something, once, at the server of `path`.
    pub(crate) async fn change<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &str,
        path: &str,
        last: Last,
        run: impl Fn(NamespaceClient, String, Mark) -> F,
    ) -> Result<T> {
        let number = self.inner.changes.number();
        self.at(operation, path, last, Again::Change, |place| {
            let mark = Mark { stamp: Some(number.stamp()), fences: self.fences_at(&place) };
            run(NamespaceClient(place.device), place.rest, mark)
        })
        .await
    }

    pub(crate) async fn at<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &str,
        path: &str,
        last: Last,
        again: Again,
        run: impl Fn(Place) -> F,
    ) -> Result<T> {
        let attempted = |error: Error| error.context(format!("{operation} {path}"));
        let parsed = Path::parse(path).map_err(attempted)?;
        self.inner.mounts.at(&parsed, last, again, run).await.map_err(attempted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once these futures held async closures, and a proc that spawned a task with one of them did not compile.
    #[test]
    fn whoever_uses_the_namespace_can_spawn_tasks() {
        fn spawnable<F: Future + Send + 'static>(_: impl Fn(Sigma, String) -> F) {}
        spawnable(|sigma, path| async move {
            sigma.get_file(&path).await?;
            sigma.put_file(&path, path.clone()).await?;
            sigma.rename(&path, &path).await?;
            sigma.create_dir_all(&path).await?;
            sigma.read_link(&path).await?;
            sigma.open(&path).await?.read_to_end().await
        });
    }
}
