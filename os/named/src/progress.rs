//! How far the store has come, and who waits for it.

use sigma_abi::{Error, Result};
use tokio::sync::oneshot;

/// Losses that are remembered for those who still want to hear of theirs.
const MAX_LOST: usize = 64;

/// How far the store has come. Each who waits is told once, when the fate of its change is decided.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The fate of changes up to this one is decided.
    committed: u64,
    /// Changes that were taken back, from and to, and why.
    lost: Vec<(u64, u64, Error)>,
    waiting: Vec<(u64, Waiter)>,
}

/// Who waits for the fate of a change.
type Waiter = oneshot::Sender<Result<()>>;

/// Those whose wait is over. They are told when this is dropped: not by who holds the core, for they want it next.
#[derive(Debug)]
pub(crate) struct Told(Vec<(Waiter, Result<()>)>);

impl Drop for Told {
    fn drop(&mut self) {
        for (waiter, fate) in self.0.drain(..) {
            // Who was cancelled hears nothing.
            let _ = waiter.send(fate);
        }
    }
}

impl Progress {
    /// Of a namespace in which `committed` is the last change, and durable.
    pub(crate) fn since(committed: u64) -> Self {
        Self { committed, lost: Vec::new(), waiting: Vec::new() }
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether a change is durable; none while that is open.
    ///
    /// # Errors
    /// Why it was taken back.
    pub(crate) fn fate(&self, version: u64) -> Option<Result<()>> {
        let lost = || self.lost.iter().find(|(from, to, _)| (*from..=*to).contains(&version));
        (version <= self.committed).then(|| lost().map_or(Ok(()), |(_, _, error)| Err(error.clone())))
    }

    /// Tells the fate of a change that is open.
    pub(crate) fn wait(&mut self, version: u64) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push((version, sender));
        receiver
    }

    /// Changes up to this one are durable.
    #[must_use]
    pub(crate) fn reach(&mut self, version: u64) -> Told {
        self.committed = version;
        let over = self.waiting.extract_if(.., |(waits_for, _)| *waits_for <= version);
        let over: Vec<_> = over.collect();
        Told(
            over.into_iter()
                .map(|(version, waiter)| (waiter, self.fate(version).unwrap_or(Ok(()))))
                .collect(),
        )
    }

    /// All open changes, of which this is the last, are taken back.
    #[must_use]
    pub(crate) fn lose(&mut self, version: u64, error: Error) -> Told {
        self.lost.push((self.committed + 1, version, error));
        if self.lost.len() > MAX_LOST {
            self.lost.remove(0);
        }
        self.reach(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigma_abi::Code;

    #[test]
    fn each_who_waits_is_told_once_when_its_change_is_decided() {
        let mut progress = Progress::since(5);
        assert_eq!((progress.fate(5), progress.fate(6)), (Some(Ok(())), None));
        let (mut first, mut second, gone) = (progress.wait(6), progress.wait(7), progress.wait(6));
        drop(gone);
        let told = progress.reach(6);
        assert!(first.try_recv().is_err(), "nobody is told by who holds the core");
        drop(told);
        assert_eq!(first.try_recv(), Ok(Ok(())));
        assert!(second.try_recv().is_err());
        let error = Error::new(Code::Quota, "the disk is full");
        drop(progress.lose(9, error.clone()));
        assert_eq!(second.try_recv(), Ok(Err(error.clone())));
        assert_eq!(
            (progress.fate(6), progress.fate(9), progress.fate(10)),
            (Some(Ok(())), Some(Err(error)), None)
        );
    }

    #[test]
    fn old_losses_are_forgotten() {
        let mut progress = Progress::since(0);
        for version in 1..=MAX_LOST as u64 + 1 {
            drop(progress.lose(version, Error::new(Code::Quota, version.to_string())));
        }
        assert_eq!(progress.fate(1), Some(Ok(())));
        assert!(progress.fate(2).unwrap().is_err());
    }
}
