//! The removal of a realm: what is still in the way, and the one next thing to do about it.
//!
//! ```text
//!   marked on disk ──▶ Procs: asked to end, for GRACE ──▶ Processes: jail, named, ux end ──▶ Groups ──▶ Files ──▶ gone
//!        └── from here on nothing new begins in it; a kernel that dies goes on from here at its next boot
//! ```
//!
//! Each stage is bounded: procs that do not end are killed with their jail, processes that do not end are killed. Only files may
//! take long, and only as long as the disk takes. Whoever asks is told after [`PATIENCE`] where it is; the removal goes on without
//! them, and who asks again waits for the same one.

use super::Tenant;
use super::store::Record;
use crate::kernel::Kernel;
use sigma_abi::{Code, Error, Realm, Result};
use sigma_schedd::{Event, RealmLimits};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long procs may take to end by themselves, whatever their own grace period.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks at what has no event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// After a stage that failed, which is mostly for what only the operator can change.
const RETRY: Duration = Duration::from_secs(1);

/// How long somebody who asked for the removal waits for its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is left of a realm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    procs: usize,
    processes: bool,
    groups: bool,
    files: bool,
}

/// What a removal does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Procs,
    Processes,
    Groups,
    Files,
    Gone,
}

/// The one next thing to do. What comes later is never begun while what comes before it is in the way.
fn next(left: Left, waited: Duration) -> Stage {
    match left {
        Left { procs: 1.., .. } if waited < GRACE => Stage::Procs,
        Left { processes: true, .. } => Stage::Processes,
        Left { groups: true, .. } => Stage::Groups,
        Left { files: true, .. } => Stage::Files,
        _ => Stage::Gone,
    }
}

/// Where a removal is.
#[derive(Clone, Debug, Default)]
struct Standing {
    stage: Stage,
    procs: usize,
    /// Why the stage does not come to its end.
    blocked: Option<String>,
}

/// A removal that is under way.
#[derive(Debug)]
pub(super) struct Removal {
    realm: Realm,
    standing: watch::Sender<Standing>,
    deleted: AtomicU64,
}

impl Removal {
    pub(super) fn new(realm: &Realm) -> Arc<Self> {
        Arc::new(Self {
            realm: realm.clone(),
            standing: watch::Sender::default(),
            deleted: AtomicU64::new(0),
        })
    }

    /// Waits until the realm is gone.
    ///
    /// # Errors
    /// `Busy` after [`PATIENCE`], saying where the removal is and what blocks it.
    pub(super) async fn wait(&self) -> Result<()> {
        let mut standing = self.standing.subscribe();
        let gone = standing.wait_for(|standing| standing.stage == Stage::Gone);
        if tokio::time::timeout(PATIENCE, gone).await.is_ok() {
            return Ok(());
        }
        let text = format!("realm {0} is still {self}; 'sigma realm rm {0}' waits on", self.realm);
        Err(Error::new(Code::Busy, text))
    }

    /// Carries it out. A realm that was not brought up, since its removal began in an earlier boot, has no tenant.
    pub(super) async fn run(
        self: Arc<Self>,
        kernel: Arc<Kernel>,
        tenant: Option<Arc<Tenant>>,
        record: Arc<Record>,
    ) {
        let began = Instant::now();
        let mut left = Left { procs: 0, processes: tenant.is_some(), groups: true, files: true };
        loop {
            if let Some(tenant) = tenant.as_ref().filter(|_| left.processes) {
                left.procs = kernel.procs.live(&tenant.name);
            }
            let stage = next(left, began.elapsed());
            self.standing.send_modify(|standing| {
                if standing.stage != stage {
                    standing.blocked = None;
                }
                standing.stage = stage;
                standing.procs = left.procs;
            });
            let done = match stage {
                Stage::Procs => {
                    ask(&kernel, &self.realm).await;
                    continue;
                }
                Stage::Processes => {
                    if let Some(tenant) = &tenant {
                        tenant.stop(&kernel);
                        tenant.gone().await;
                    }
                    kernel.procs.forget_realm(&self.realm);
                    let limits = RealmLimits::default();
                    kernel.schedule(Event::Limits { realm: self.realm.clone(), limits });
                    left = Left { procs: 0, processes: false, ..left };
                    Ok(())
                }
                Stage::Groups => self.remove_groups(&kernel).await.map(|()| left.groups = false),
                Stage::Files => {
                    if let Some(tenant) = &tenant {
                        tenant.binaries.forget();
                    }
                    self.delete(&record).await.map(|()| left.files = false)
                }
                Stage::Gone => return,
            };
            if let Err(why) = done {
                tracing::warn!(realm = %self.realm, why, "the removal of a realm is blocked");
                self.standing.send_modify(|standing| standing.blocked = Some(why));
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn remove_groups(&self, kernel: &Arc<Kernel>) -> std::result::Result<(), String> {
        let (cgroups, realm) = (Arc::clone(&kernel.cgroups), self.realm.clone());
        let removed = tokio::task::spawn_blocking(move || cgroups.remove_realm(&realm)).await;
        removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn delete(self: &Arc<Self>, record: &Arc<Record>) -> std::result::Result<(), String> {
        let (this, record) = (Arc::clone(self), Arc::clone(record));
        let deleted = tokio::task::spawn_blocking(move || record.delete(&this.deleted)).await;
        deleted.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))
    }
}

/// Asks all procs of the realm to end, those that were queued in the meantime too, and gives them a moment.
async fn ask(kernel: &Arc<Kernel>, realm: &Realm) {
    for proc in kernel.procs.list(realm) {
        kernel.kill(&proc);
    }
    // Many ends, and none of them is the one to wait for.
    tokio::time::sleep(LOOK_AGAIN).await;
}

impl fmt::Display for Removal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { stage, procs, blocked } = self.standing.borrow().clone();
        formatter.write_str("being removed: ")?;
        match stage {
            Stage::Procs => write!(formatter, "{procs} procs have yet to end")?,
            Stage::Processes => formatter.write_str("its jail, named and ux have yet to end")?,
            Stage::Groups => formatter.write_str("its control groups are not empty")?,
            Stage::Files => {
                write!(formatter, "deleting its files, {} are gone", self.deleted.load(Ordering::Relaxed))?
            }
            Stage::Gone => formatter.write_str("nothing is left")?,
        }
        blocked.map_or(Ok(()), |why| write!(formatter, "; blocked: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_ends_whatever_its_procs_do() {
        let all = Left { procs: 3, processes: true, groups: true, files: true };
        assert_eq!(next(all, Duration::ZERO), Stage::Procs);
        assert_eq!(
            next(Left { procs: 0, ..all }, Duration::ZERO),
            Stage::Processes,
            "it does not wait for nothing"
        );
        assert_eq!(next(all, GRACE), Stage::Processes, "procs that do not end are killed with their jail");
        assert_eq!(next(Left { procs: 0, processes: false, ..all }, GRACE), Stage::Groups);
        assert_eq!(next(Left { files: true, ..Left::default() }, GRACE), Stage::Files);
        assert_eq!(next(Left::default(), Duration::ZERO), Stage::Gone);
    }

    #[test]
    fn files_are_never_touched_while_a_process_of_the_realm_may_live() {
        for procs in [0, 1] {
            for groups in [false, true] {
                for waited in [Duration::ZERO, GRACE] {
                    let left = Left { procs, processes: true, groups, files: true };
                    assert!(next(left, waited) <= Stage::Processes, "{left:?}");
                }
            }
        }
    }
}
