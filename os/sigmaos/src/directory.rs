//! The namespace API: directories, links, and where a path leads.

use crate::fs::Create;
use crate::mounts::{Again, Last};
use crate::sigma::Sigma;
use crate::stub::NamespaceClient;
use crate::{Code, Error, Path, Result, proto};

impl Sigma {
    /// Creates a directory.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.create_dir("/results").await?;
    /// sigma.put_file("/results/1", "one").await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::create`].
    pub async fn create_dir(&self, path: &str) -> Result<()> {
        self.create(path, Create::directory()).await.map(drop)
    }

    /// Creates a directory and those above it that are missing.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.create_dir_all("/a/b/c").await?;
    /// sigma.create_dir_all("/a/b/c").await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
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
                Err(error) => {
                    if self.stat(at.as_str()).await.is_err() {
                        return Err(error);
                    }
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Creates a symlink at `path` that leads to `target`.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/greeting", "hello").await?;
    /// sigma.symlink("/greeting", "/latest").await?;
    /// assert_eq!(sigma.get_file("/latest").await?, "hello");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::create`].
    pub async fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.create(path, Create::symlink(target)).await.map(drop)
    }

    /// Where a symlink leads.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.symlink("/greeting", "/latest").await?;
    /// assert_eq!(sigma.read_link("/latest").await?, "/greeting");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where it is no symlink.
    pub async fn read_link(&self, path: &str) -> Result<String> {
        self.at("read_link", path, Last::Entry, Again::Read, |place| async move {
            let namespace = NamespaceClient(place.device);
            namespace.read_link(proto::PathRequest { path: place.rest }).await.map(|link| link.target)
        })
        .await
    }

    /// Renames an entry, atomically, also across directories of one server.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.put_file("/draft", "hello").await?;
    /// sigma.create_dir("/done").await?;
    /// sigma.rename("/draft", "/done/letter").await?;
    /// assert_eq!(sigma.get_file("/done/letter").await?, "hello");
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `Invalid` into itself, `Unsupported` across servers, `Denied`, `Stale`, `Unreachable`.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let target = Path::parse(to).map_err(|error| error.context(format!("rename {from} to {to}")))?;
        let number = self.inner.changes.number();
        let renamed = self.at("rename", from, Last::Entry, Again::Change, |place| {
            let (stamp, fences, target) = (Some(number.stamp()), self.fences_at(&place), target.to_string());
            async move {
                // Named knows where both paths lead; any other server is asked about what is its own alone.
                let to = match place.mount.is_root() {
                    true => target,
                    false => self.below(place.mount.as_str(), &target).await?,
                };
                let request = proto::RenameRequest { from: place.rest, to, stamp, fences };
                NamespaceClient(place.device).rename(request).await.map(drop)
            }
        });
        renamed.await
    }

    /// What is left of a path below the server at `mount`, which must be the one that serves it.
    async fn below(&self, mount: &str, path: &str) -> Result<String> {
        let found = self.resolve_mount(path).await?;
        if found.mount == mount {
            return Ok(found.rest);
        }
        let text = format!("{path} is served by {}, and not by {mount}; copy instead", found.mount);
        Err(Error::new(Code::Unsupported, text))
    }

    /// All entries of a directory, in the order of their names.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.create_dir("/results").await?;
    /// sigma.put_file("/results/b", "2").await?;
    /// sigma.put_file("/results/a", "1").await?;
    /// let names: Vec<_> = sigma.read_dir("/results").await?.into_iter().map(|entry| entry.name).collect();
    /// assert_eq!(names, ["a", "b"]);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
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
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// sigma.create_dir("/results").await?;
    /// for name in ["a", "b", "c"] {
    ///     sigma.put_file(&format!("/results/{name}"), name).await?;
    /// }
    /// let page = sigma.read_dir_page("/results", "a", 1).await?;
    /// assert_eq!((page.entries[0].name.as_str(), page.more), ("b", true));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::read_dir`].
    pub async fn read_dir_page(&self, path: &str, after: &str, limit: u32) -> Result<proto::DirPage> {
        self.read("read_dir", path, |namespace, rest| async move {
            namespace.read_dir(proto::ReadDirRequest { path: rest, after: after.to_owned(), limit }).await
        })
        .await
    }

    /// The global path of the mount that serves `path`, and what is left below it; `~any` and `~local` are resolved.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let machine = sigma.me().await?.machine.clone();
    /// let found = sigma.resolve_mount("/ux/~local/notes").await?;
    /// assert_eq!((found.mount, found.rest), (format!("/ux/{machine}"), "/notes".to_owned()));
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Unreachable`.
    pub async fn resolve_mount(&self, path: &str) -> Result<proto::Moved> {
        let parsed = Path::parse(path).map_err(|error| error.context(format!("resolve_mount {path}")))?;
        // Mounts are the realm's: its named knows them all.
        let resolve = self.read("resolve_mount", "/", |namespace, _| {
            let path = parsed.to_string();
            async move { namespace.resolve(proto::PathRequest { path }).await }
        });
        let found = resolve.await.map_err(|error| error.context(path))?;
        Ok(proto::Moved { mount: found.mount, rest: found.rest })
    }
}
