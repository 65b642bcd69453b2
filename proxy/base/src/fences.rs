//! Fences at a proxy: a change that rests on an election is carried out only while that election is the last one.
//!
//! named knows who was elected. A proxy remembers what it heard from there, and asks again where a change names an epoch that it
//! has not heard of. What it knows it may forget: the next change asks. So from the first change of a leader on, those before
//! are shut out here: none of theirs begins any more, and this leader's begins when those that they have begun have ended.

use sigmaos::serve::parse_fences;
use sigmaos::stub::ElectionsClient;
use sigmaos::{Code, Error, Path, Result, Sigma, proto};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Fenced paths that are remembered; past it all are forgotten that nobody holds.
const MAX_KNOWN: usize = 4096;

/// Asks for the epoch of the last election for a fenced path; 0 where there was none.
pub(crate) type Ask = Box<dyn Fn(Path) -> Pin<Box<dyn Future<Output = Result<u64>> + Send>> + Send + Sync>;

/// The fences of one proxy.
pub struct Fences {
    mount: Path,
    ask: Ask,
    known: Arc<Known>,
}

/// What is known of elections.
#[derive(Debug, Default)]
struct Known {
    last: Mutex<BTreeMap<Path, Last>>,
    /// Changes of a leader who has a successor have ended.
    ended: Notify,
}

/// The last election for a fenced path.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    epoch: u64,
    /// Changes that are being carried out and rest on it, and those that rest on elections before.
    changes: usize,
    older: usize,
}

/// While this lives no later election comes to count: who holds it carries out the change.
#[must_use]
#[derive(Debug, Default)]
pub struct Held(Option<Hold>);

/// What is held, and the elections that it rests on.
type Hold = (Arc<Known>, Vec<(Path, u64)>);

impl fmt::Debug for Fences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fences").field("mount", &self.mount).finish_non_exhaustive()
    }
}

impl Fences {
    /// Those of the proxy at `mount`, which hears of elections from the kernel.
    pub fn new(sigma: &Sigma, mount: Path) -> Self {
        let kernel = ElectionsClient(sigma.kernel().clone());
        let ask: Ask = Box::new(move |fence| {
            let kernel = kernel.clone();
            Box::pin(
                async move { Ok(kernel.last(proto::PathRequest { path: fence.to_string() }).await?.epoch) },
            )
        });
        Self::asking(mount, ask)
    }

    /// Those of the proxy at `mount`, which hears of elections otherwise.
    pub fn asking(mount: Path, ask: Ask) -> Self {
        Self { mount, ask, known: Arc::default() }
    }

    /// Holds off later elections for a change of `paths`, as this proxy names them, if those that it rests on are the last ones. With
    /// `below` it also touches what lies below them.
    ///
    /// # Errors
    /// `Stale` after a later election; `Invalid` for an election that never was; `TooLarge` for too many of them.
    pub async fn hold(&self, fences: &[proto::Fence], paths: &[&Path], below: bool) -> Result<Held> {
        let fences = self.concerning(fences, paths, below)?;
        if fences.is_empty() {
            return Ok(Held::default());
        }
        loop {
            let ended = self.known.ended.notified();
            match self.known.begin(&fences)? {
                Begun::Held => return Ok(Held(Some((Arc::clone(&self.known), fences)))),
                Begun::Waits => ended.await,
                Begun::Unknown(fence, epoch) => {
                    let last = (self.ask)(fence.clone()).await?;
                    if last < epoch {
                        let text = format!("no election for {fence} has yielded epoch {epoch}");
                        return Err(Error::new(Code::Invalid, text));
                    }
                    self.known.learn(fence, last);
                }
            }
        }
    }

    /// The elections that concern a change, for the paths that they fence.
    fn concerning(&self, fences: &[proto::Fence], paths: &[&Path], below: bool) -> Result<Vec<(Path, u64)>> {
        let mut fences = parse_fences(fences)?;
        let paths = paths.iter().map(|path| self.mount.append(path)).collect::<Result<Vec<_>>>()?;
        let concerns = |fence: &Path| {
            paths.iter().any(|path| path.below(fence).is_some() || (below && fence.below(path).is_some()))
        };
        fences.retain(|(fence, _)| concerns(fence));
        Ok(fences)
    }
}

/// Whether a change may begin.
enum Begun {
    Held,
    /// For changes of leaders before to end.
    Waits,
    /// This election has not been heard of.
    Unknown(Path, u64),
}

impl Known {
    /// # Errors
    /// `Stale` where a later election is known.
    fn begin(&self, fences: &[(Path, u64)]) -> Result<Begun> {
        let mut all = self.lock();
        let mut waits = false;
        for (fence, epoch) in fences {
            match all.get(fence) {
                Some(last) if last.epoch == *epoch => waits |= last.older > 0,
                Some(last) if last.epoch > *epoch => {
                    let text = format!(
                        "the election of epoch {epoch} for {fence} is over, the last one is {}",
                        last.epoch
                    );
                    return Err(Error::new(Code::Stale, text));
                }
                _ => return Ok(Begun::Unknown(fence.clone(), *epoch)),
            }
        }
        if waits {
            return Ok(Begun::Waits);
        }
        fences.iter().for_each(|(fence, _)| all.entry(fence.clone()).or_default().changes += 1);
        Ok(Begun::Held)
    }

    fn learn(&self, fence: Path, epoch: u64) {
        let mut all = self.lock();
        if all.len() >= MAX_KNOWN {
            all.retain(|_, last| last.changes + last.older > 0);
        }
        let last = all.entry(fence).or_default();
        if epoch > last.epoch {
            *last = Last { epoch, changes: 0, older: last.older + last.changes };
        }
    }

    fn end(&self, fence: &Path, epoch: u64) {
        let mut all = self.lock();
        let Some(last) = all.get_mut(fence) else { return };
        if last.epoch == epoch {
            last.changes -= 1;
            return;
        }
        last.older -= 1;
        if last.older == 0 {
            self.ended.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Path, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((known, fences)) = &self.0 else { return };
        fences.iter().for_each(|(fence, epoch)| known.end(fence, *epoch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigmaos::limits::MAX_FENCES;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    /// A proxy at `/ux/m`, named's word for every path, and how often it was asked.
    fn proxy(last: &Arc<AtomicU64>) -> (Fences, Arc<AtomicU64>) {
        let (last, asked) = (Arc::clone(last), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&asked);
        let ask: Ask = Box::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let last = last.load(Ordering::Relaxed);
            Box::pin(async move { Ok(last) })
        });
        (Fences::asking(path("/ux/m"), ask), asked)
    }

    fn fence(path: &str, epoch: u64) -> [proto::Fence; 1] {
        [proto::Fence { path: path.into(), epoch }]
    }

    async fn code(fences: &Fences, fence: &[proto::Fence], at: &str, below: bool) -> Option<Code> {
        fences.hold(fence, &[&path(at)], below).await.err().map(|error| error.code)
    }

    #[tokio::test]
    async fn who_was_elected_before_is_stale_once_the_next_one_was_heard_of() {
        let last = Arc::new(AtomicU64::new(5));
        let (fences, asked) = proxy(&last);
        assert_eq!(code(&fences, &fence("/ux/m/a", 5), "/a/x", false).await, None);
        assert_eq!(code(&fences, &fence("/ux/m/a", 5), "/a", false).await, None);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "what it has heard it knows");
        assert_eq!(
            code(&fences, &fence("/ux/m/a", 7), "/a", false).await,
            Some(Code::Invalid),
            "nobody was elected"
        );
        last.store(7, Ordering::Relaxed);
        assert_eq!(code(&fences, &fence("/ux/m/a", 7), "/a", false).await, None);
        assert_eq!(code(&fences, &fence("/ux/m/a", 5), "/a", false).await, Some(Code::Stale));
        // One that has forgotten everything, as after a crash, asks.
        let (fences, _) = proxy(&last);
        assert_eq!(code(&fences, &fence("/ux/m/a", 5), "/a", false).await, Some(Code::Stale));
    }

    #[tokio::test]
    async fn a_fence_concerns_what_lies_below_it_and_what_goes_with_a_path_above() {
        let last = Arc::new(AtomicU64::new(9));
        let (fences, _) = proxy(&last);
        for (fenced, at, below, concerns) in [
            ("/ux/m/a", "/a/b", false, true),
            ("/ux/m/a", "/ab", false, false),
            ("/ux/m/a/b", "/a", false, false),
            ("/ux/m/a/b", "/a", true, true),
            ("/", "/a", false, true),
            ("/ux", "/a", false, true),
            ("/a", "/a", true, false),
            ("/ux/other/a", "/a", true, false),
        ] {
            let stale = code(&fences, &fence(fenced, 1), at, below).await == Some(Code::Stale);
            assert_eq!(stale, concerns, "{fenced} {at} {below}");
        }
        let many = vec![proto::Fence { path: "/ux/m/a".into(), epoch: 9 }; MAX_FENCES + 1];
        assert_eq!(code(&fences, &many, "/a", false).await, Some(Code::TooLarge));
        assert_eq!(code(&fences, &fence("../a", 9), "/a", false).await, Some(Code::Invalid));
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_change_is_carried_out_no_later_election_comes_to_count() {
        let last = Arc::new(AtomicU64::new(1));
        let (fences, _) = proxy(&last);
        let (fences, at) = (Arc::new(fences), path("/a"));
        let held = fences.hold(&fence("/ux/m/a", 1), &[&at], false).await.unwrap();
        last.store(2, Ordering::Relaxed);
        let next = tokio::spawn({
            let (fences, at) = (Arc::clone(&fences), at.clone());
            async move { fences.hold(&fence("/ux/m/a", 2), &[&at], false).await.map(drop) }
        });
        // On a paused clock this ends when every task waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!next.is_finished(), "the change of the leader before is under way");
        // Who led before begins nothing else, and who leads elsewhere waits for nobody.
        assert_eq!(code(&fences, &fence("/ux/m/a", 1), "/a", false).await, Some(Code::Stale));
        assert_eq!(code(&fences, &fence("/ux/m/b", 2), "/b", false).await, None);
        drop(held);
        next.await.unwrap().unwrap();
        assert_eq!(code(&fences, &fence("/ux/m/a", 1), "/a", false).await, Some(Code::Stale));
        // Nothing is left that somebody would wait for.
        last.store(3, Ordering::Relaxed);
        assert_eq!(code(&fences, &fence("/ux/m/a", 3), "/a", false).await, None);
    }
}
