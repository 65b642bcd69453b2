//! The namespace API (thesis, Figure A.2): idiomatic handles on paths.

use crate::file::{File, Opened, PIECE};
use crate::rpc::{Bytes, Device};
use crate::sigma::Sigma;
use crate::stub::NamespaceClient;
use crate::{Code, Error, Path, Result, proto};

/// The permission bits of what is created without saying: owner and realm may read and write.
const DEFAULT_PERM: u32 = 0o66;

impl Sigma {
    /// The contents of a file, in one round trip where it fits in one frame.
    ///
    /// # Errors
    /// `NotFound`, `IsDir`, `Denied`, `Loop`, `Unreachable`.
    pub async fn get_file(&self, path: &str) -> Result<Bytes> {
        let whole = self.at("get", path, |namespace, rest| async move {
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
    /// # Errors
    /// `NotFound` where the directory is missing, `IsDir`, `Denied`, `TooLarge`, `Quota`, `Unreachable`.
    pub async fn put_file(&self, path: &str, contents: impl Into<Bytes>) -> Result<proto::Stat> {
        let contents = contents.into();
        if contents.len() <= PIECE {
            return self
                .at("put", path, |namespace, rest| {
                    let contents = contents.clone();

                    let request = proto::PutRequest { path: rest, perm: DEFAULT_PERM, ..Default::default() };
                    async move { namespace.put_with(request, contents).await.map(|reply| reply.message) }
                })
                .await;
        }
        let request = proto::OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
        let mut file = self.open_with(path, request).await?;
        let mut left = contents;
        while !left.is_empty() {
            let piece = left.split_to(PIECE.min(left.len()));
            file.write_all(piece).await?;
        }
        file.close().await?;
        self.stat(path).await
    }

    /// What is known of an entry. A last symlink is followed.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Loop`, `Unreachable`.
    pub async fn stat(&self, path: &str) -> Result<proto::Stat> {
        self.at("stat", path, |namespace, rest| async move {
            namespace.stat(proto::PathRequest { path: rest }).await
        })
        .await
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// `Exists`, `NotFound` where its parent is missing, `Denied`, `Quota`, `Unreachable`.
    pub async fn create_dir(&self, path: &str) -> Result<()> {
        self.create(path, proto::Kind::Directory, "").await
    }

    /// Creates a directory and those above it that are missing.
    ///
    /// # Errors
    /// As [`Sigma::create_dir`], except `Exists`.
    pub async fn create_dir_all(&self, path: &str) -> Result<()> {
        let path = Path::parse(path)?;
        let mut at = Path::root();
        for name in path.names() {
            at = at.join(name)?;
            match self.create_dir(at.as_str()).await {
                // A mount or a proxy's own top may refuse to make what it already has.
                Err(error) if matches!(error.code, Code::Exists | Code::IsDir) => {}
                Err(error) if self.stat(at.as_str()).await.is_err() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Creates a symlink at `path` that leads to the absolute path `target`.
    ///
    /// # Errors
    /// As [`Sigma::create_dir`].
    pub async fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.create(path, proto::Kind::Symlink, target).await
    }

    async fn create(&self, path: &str, kind: proto::Kind, target: &str) -> Result<()> {
        self.at("create", path, |namespace, rest| async move {
            let request = proto::CreateRequest {
                path: rest,
                kind: kind.into(),
                perm: DEFAULT_PERM,
                exclusive: true,
                target: target.to_owned(),
                ..Default::default()
            };
            namespace.create(request).await.map(drop)
        })
        .await
    }

    /// Where a symlink leads.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where it is no symlink.
    pub async fn read_link(&self, path: &str) -> Result<String> {
        let read = |namespace: NamespaceClient, rest| async move {
            namespace.read_link(proto::PathRequest { path: rest }).await.map(|link| link.target)
        };
        self.at("read_link", path, read).await
    }

    /// Removes an entry: a symlink itself, a mount, a file, or an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `Denied`, `Unreachable`.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.at("remove", path, |namespace, rest| async move {
            namespace.remove(proto::RemoveRequest { path: rest, ..Default::default() }).await.map(drop)
        })
        .await
    }

    /// Renames an entry, atomically, also across directories of one server.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `Invalid` into itself or across servers, `Denied`, `Unreachable`.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let target = &self.resolve_mount(to).await?;
        self.at("rename", from, |namespace, rest| async move {
            let source = self.resolve_mount(from).await?;
            if source.mount != target.mount {
                let text = format!("{} and {} are served by two servers", source.mount, target.mount);
                return Err(Error::new(Code::Invalid, text));
            }
            namespace
                .rename(proto::RenameRequest { from: rest, to: target.rest.clone(), ..Default::default() })
                .await
                .map(drop)
        })
        .await
    }

    /// All entries of a directory, in the order of their names.
    ///
    /// # Errors
    /// `NotFound`, `NotDir`, `Denied`, `Unreachable`.
    pub async fn read_dir(&self, path: &str) -> Result<Vec<proto::Stat>> {
        let mut entries: Vec<proto::Stat> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.name.clone()).unwrap_or_default();
            let page = self.read_dir_page(path, &after, 0).await?;
            let more = page.more && !page.entries.is_empty();
            entries.extend(page.entries);
            if !more {
                return Ok(entries);
            }
        }
    }

    /// The entries of a directory whose names sort after `after`, at most `limit`; 0: as many as the server gives.
    ///
    /// # Errors
    /// As [`Sigma::read_dir`].
    pub async fn read_dir_page(&self, path: &str, after: &str, limit: u32) -> Result<proto::DirPage> {
        self.at("read_dir", path, |namespace, rest| async move {
            namespace.read_dir(proto::ReadDirRequest { path: rest, after: after.to_owned(), limit }).await
        })
        .await
    }

    /// The global path of the mount that serves `path`, and what is left below it; `~any` and `~local` are resolved.
    ///
    /// # Errors
    /// `NotFound`, `Unreachable`.
    pub async fn resolve_mount(&self, path: &str) -> Result<proto::Moved> {
        let parsed = Path::parse(path)?;
        let resolve = |namespace: NamespaceClient, rest: String| async move {
            namespace.resolve(proto::PathRequest { path: rest }).await
        };
        let root = self.0.mounts.dial_root().await?;
        let found = resolve(NamespaceClient(root), parsed.to_string())
            .await
            .map_err(|error| error.context(format!("resolve_mount {path}")))?;
        Ok(proto::Moved { mount: found.mount, rest: found.rest })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound`, `IsDir`, `Denied`, `Busy` past the number of open objects a connection may hold.
    pub async fn open(&self, path: &str) -> Result<File> {
        self.open_with(path, proto::OpenRequest { read: true, ..Default::default() }).await
    }

    /// Opens as `request` says; its `path` is set here.
    ///
    /// # Errors
    /// As [`Sigma::open`] and [`Sigma::put_file`].
    pub async fn open_with(&self, path: &str, request: proto::OpenRequest) -> Result<File> {
        let (device, opened) = self.open_at(path, request).await?;
        Ok(File::new(device, opened.handle))
    }

    /// Opens the rpc device at `path`.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Invalid` where it is something else, `Unreachable` where its server is dead.
    pub async fn open_rpc(&self, path: &str) -> Result<Device> {
        let request = proto::OpenRequest { read: true, write: true, ..Default::default() };
        let (device, opened) = self.open_at(path, request).await?;
        if opened.stat.is_none_or(|stat| stat.kind() != proto::Kind::RpcDevice) {
            drop(Opened::new(device, opened.handle));
            return Err(Error::new(Code::Invalid, format!("{path} is not an rpc device")));
        }
        Ok(Device::opened(device.connection().clone(), opened.handle))
    }

    async fn open_at(&self, path: &str, request: proto::OpenRequest) -> Result<(Device, proto::Opened)> {
        let parsed = Path::parse(path)?;
        let open = |place: crate::mounts::Place| {
            let request = proto::OpenRequest {
                path: place.rest.clone(),
                perm: if request.perm == 0 { DEFAULT_PERM } else { request.perm },
                ..request.clone()
            };
            async move {
                let opened = place.namespace().open(request).await?;
                Ok((place.device, opened))
            }
        };
        self.0.mounts.at(&parsed, open).await.map_err(|error| error.context(format!("open {path}")))
    }

    /// Runs one operation at the server of `path`; a failure says which operation on which path.
    ///
    /// (`AsyncFn` would say it shorter, but futures that hold an async closure are not `Send` to the compiler of today, and
    /// whoever uses this SDK wants to spawn tasks.)
    async fn at<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &str,
        path: &str,
        run: impl Fn(NamespaceClient, String) -> F,
    ) -> Result<T> {
        let attempted = |error: Error| error.context(format!("{operation} {path}"));
        let parsed = Path::parse(path).map_err(attempted)?;
        let at = self.0.mounts.at(&parsed, |place| run(place.namespace(), place.rest));
        at.await.map_err(attempted)
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
