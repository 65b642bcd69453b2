//! Elections: one leader at a time, whose successors shut it out.

use crate::changes::Mark;
use crate::fs::DEFAULT_PERM;
use crate::mounts::{Last, Place};
use crate::rpc::Bytes;
use crate::sigma::Sigma;
use crate::{Code, Path, Result, proto};
use std::sync::Arc;

/// A won election. It lasts until this proc ends, or [`Leader::resign`].
#[derive(Clone, Debug)]
pub struct Leader {
    path: String,
    /// The number of the file that names it.
    entry: u64,
    epoch: u64,
    sigma: Sigma,
}

impl Sigma {
    /// Becomes the leader at `path`, when its turn comes: an ephemeral file there holds `contents`, such as who the leader
    /// is. What is at `fence` and below is from then on for this leader to change: a leader before, who does not know
    /// yet, is `Stale` there. With an empty `fence` nothing is shut. A fence holds in the realm's own tree, and at once; in `/ux`,
    /// `/s3` and `/db` from the new leader's first change on. What other servers keep below it a leader may not change as such: that is `Unsupported`.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let old = sigma.elect("/leader", "/data", "me").await?;
    /// old.sigma().create_dir("/data").await?;
    /// # let elsewhere = old.sigma().clone();
    /// old.resign().await?;
    /// let new = sigma.elect("/leader", "/data", "the next").await?;
    /// // The one before has not noticed yet; it can do no harm.
    /// assert_eq!(elsewhere.put_file("/data/x", "old").await.unwrap_err().code, sigmaos::Code::Stale);
    /// new.sigma().put_file("/data/x", "new").await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` where a directory is missing, `Denied`, `Quota`, `Unreachable`; `Unsupported` for a fence behind a mount of a proc.
    pub async fn elect(&self, path: &str, fence: &str, contents: impl Into<Bytes>) -> Result<Leader> {
        let contents = contents.into();
        loop {
            match self.try_elect(path, fence, contents.clone()).await {
                Err(error) if error.code == Code::Exists => {}
                done => return done,
            }
            match self.watch_remove(path).await {
                // The leader has gone in the meantime.
                Err(error) if error.code == Code::NotFound => {}
                done => done?,
            }
        }
    }

    /// As [`Sigma::elect`], without waiting.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let leader = sigma.try_elect("/leader", "/data", "me").await?;
    /// let second = sigma.try_elect("/leader", "/data", "me, too").await;
    /// assert_eq!(second.unwrap_err().code, sigmaos::Code::Exists);
    /// assert!(leader.epoch() > 0);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Sigma::elect`], and `Exists` while there is another leader.
    pub async fn try_elect(&self, path: &str, fence: &str, contents: impl Into<Bytes>) -> Result<Leader> {
        let contents = contents.into();
        let fence = match fence {
            "" => String::new(),
            fence => self.one_name(fence).await.map_err(|error| error.context(format!("elect {path}")))?,
        };
        let elected = self.change("elect", path, Last::Entry, |namespace, rest, Mark { stamp, .. }| {
            let (contents, fence) = (contents.clone(), fence.clone());
            let request = proto::ElectRequest { path: rest, perm: DEFAULT_PERM, fence, stamp };
            async move { namespace.elect_with(request, contents).await }
        });
        let proto::Elected { epoch, stat } = elected.await?.message;
        let fences = if fence.is_empty() { Vec::new() } else { vec![proto::Fence { path: fence, epoch }] };
        let sigma = Self { inner: Arc::clone(&self.inner), fences: fences.into() };
        let entry = stat.map_or(0, |stat| stat.entry);
        Ok(Leader { path: path.to_owned(), entry, epoch, sigma })
    }

    /// The elections that matter for a path at a server: named knows them all, and others are only asked to hold what concerns them.
    pub(crate) fn fences_at(&self, place: &Place) -> Vec<proto::Fence> {
        if place.mount.is_root() {
            return self.fences.to_vec();
        }
        match Path::parse(&place.rest).and_then(|rest| place.mount.append(&rest)) {
            Ok(at) => self.concerning(&at),
            Err(_) => self.fences.to_vec(),
        }
    }

    /// The elections that matter for what is changed by calls on the rpc device in the directory at `path`.
    pub(crate) async fn fences_of_device(&self, path: &str) -> Result<Vec<proto::Fence>> {
        if self.fences.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.concerning(&Path::parse(&self.one_name(path).await?)?))
    }

    /// The elections for what is at a path, above it or below it.
    fn concerning(&self, at: &Path) -> Vec<proto::Fence> {
        let concerns = |fence: &&proto::Fence| {
            Path::parse(&fence.path)
                .map_or(true, |fence| at.below(&fence).is_some() || fence.below(at).is_some())
        };
        self.fences.iter().filter(concerns).cloned().collect()
    }

    /// A path free of symlinks, `~any` and `~local`: a fence holds whatever other name leads below it.
    async fn one_name(&self, path: &str) -> Result<String> {
        let found = self.resolve_mount(path).await?;
        Ok(match (found.mount.as_str(), found.rest.as_str()) {
            (mount, "/") => mount.to_owned(),
            ("/", rest) => rest.to_owned(),
            (mount, rest) => format!("{mount}{rest}"),
        })
    }
}

impl Leader {
    /// Grows with each election.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let first = sigma.elect("/leader", "/data", "me").await?;
    /// let epoch = first.epoch();
    /// first.resign().await?;
    /// assert!(sigma.elect("/leader", "/data", "me").await?.epoch() > epoch);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The client whose changes carry the epoch: what a leader does as a leader, it does by this one.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let leader = sigma.elect("/leader", "/data", "me").await?;
    /// leader.sigma().create_dir("/data").await?;
    /// leader.sigma().put_file("/data/x", "as the leader").await?;
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    pub fn sigma(&self) -> &Sigma {
        &self.sigma
    }

    /// Makes room for the next leader. One who has a successor already does that one no harm.
    ///
    /// ```
    /// # sigma_test::example(async |sigma| {
    /// let leader = sigma.elect("/leader", "", "me").await?;
    /// leader.resign().await?;
    /// assert_eq!(sigma.stat("/leader").await.unwrap_err().code, sigmaos::Code::NotFound);
    /// # sigmaos::Result::Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// `NotFound` where it leads no more, `Unreachable`.
    pub async fn resign(self) -> Result<()> {
        self.sigma.remove_entry(&self.path, self.entry).await
    }
}
