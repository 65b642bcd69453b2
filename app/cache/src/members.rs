//! The shards that there are: the entries of one directory, followed by watching it.

use sigmaos::proto::Kind;
use sigmaos::proto::event;
use sigmaos::{Code, DirWatch, Result, Sigma};
use std::collections::BTreeSet;

/// What became of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Came(String),
    Went(String),
    /// Some changes are not known: these are the shards now.
    Now(BTreeSet<String>),
}

/// Follows the shards of a directory. Each change is told once, in order.
#[derive(Debug)]
pub struct Members {
    sigma: Sigma,
    directory: String,
    watch: DirWatch,
    /// The second half of a rename.
    next: Option<Change>,
}

impl Members {
    /// Begins to follow, with the shards that there are.
    ///
    /// # Errors
    /// `NotFound` where the directory is missing, and as [`Sigma::watch_dir`].
    pub async fn follow(sigma: &Sigma, directory: &str) -> Result<(Self, BTreeSet<String>)> {
        let watch = sigma.watch_dir(directory).await?;
        let members = Self { sigma: sigma.clone(), directory: directory.to_owned(), watch, next: None };
        let names = members.list().await?;
        Ok((members, names))
    }

    /// The next change, when it comes. One that the listing showed already may be told again.
    ///
    /// # Errors
    /// `NotFound` when the directory was removed; `Unreachable`.
    pub async fn changed(&mut self) -> Result<Change> {
        if let Some(change) = self.next.take() {
            return Ok(change);
        }
        let event = match self.watch.next().await {
            Err(error) if error.code == Code::Version => return self.list().await.map(Change::Now),
            event => event?,
        };
        Ok(match event.kind() {
            event::Kind::Created => Change::Came(event.name),
            event::Kind::Removed => Change::Went(event.name),
            event::Kind::Renamed => {
                self.next = Some(Change::Came(event.to));
                Change::Went(event.name)
            }
        })
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        let entries = self.sigma.read_dir(&self.directory).await?;
        let mounts = entries.into_iter().filter(|entry| entry.kind() == Kind::Mount);
        Ok(mounts.map(|entry| entry.name).collect())
    }
}
