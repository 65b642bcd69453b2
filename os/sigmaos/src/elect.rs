//! Elections: one leader at a time, whose successors shut it out.

use crate::changes::Mark;
use crate::fs::DEFAULT_PERM;
use crate::rpc::Bytes;
use crate::sigma::Sigma;
use crate::{Code, Result, proto};
use std::sync::Arc;

/// A won election. It lasts until this proc ends, or [`Leader::resign`].
#[derive(Clone, Debug)]
pub struct Leader {
    path: String,
    epoch: u64,
    sigma: Sigma,
}

impl Sigma {
    /// Becomes the leader at `path`, when its turn comes: an ephemeral file there holds `contents`, such as who the leader
    /// is. What is at `fence` and below is from then on for this leader to change: a leader before, who does not know
    /// yet, is `Stale` there.
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
    /// `NotFound` where a directory is missing, `Denied`, `Quota`, `Unreachable`.
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
        let elected = self.change("elect", path, |namespace, rest, Mark { stamp, .. }| {
            let contents = contents.clone();
            let fence = fence.to_owned();
            let request = proto::ElectRequest { path: rest, perm: DEFAULT_PERM, fence, stamp };
            async move { namespace.elect_with(request, contents).await }
        });
        let epoch = elected.await?.message.epoch;
        let fences = Arc::from([proto::Fence { path: fence.to_owned(), epoch }]);
        let sigma = Self { inner: Arc::clone(&self.inner), fences };
        Ok(Leader { path: path.to_owned(), epoch, sigma })
    }
}

impl Leader {
    /// Grows with each election.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The client whose changes carry the epoch: what a leader does as a leader, it does by this one.
    pub fn sigma(&self) -> &Sigma {
        &self.sigma
    }

    /// Makes room for the next leader.
    ///
    /// # Errors
    /// `NotFound` where somebody else removed it, `Unreachable`.
    pub async fn resign(self) -> Result<()> {
        self.sigma.remove(&self.path).await
    }
}
