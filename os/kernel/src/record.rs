//! What is kept of a realm's procs on disk: how each was spawned, how it ended, and what it wrote.
//!
//! ```text
//!   realm/NAME/proc/journal               spawns and ends; see journal.rs
//!                  /output/PID.stdout     what it wrote, head and tail; see output/
//! ```
//!
//! Guarantees: a spawn is in the journal before it is answered, and an end before it is told, so that a kernel that is
//! killed loses nothing that anybody knows of; a proc that had not ended then answers `Crashed{machine lost}`; what a realm
//! can make the kernel keep is bounded, in number and in bytes, in memory and on disk.

mod index;
mod journal;

use crate::output::shelf::{self, Shelf};
use crate::state;
use anyhow::Context;
use index::{Index, Limits};
use journal::Journal;
use prost::Message;
use sigma_abi::{Cause, Code, Error, Pid, Result, Status, proto};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ended procs that are kept for each realm.
pub(crate) const MAX_ENDED: usize = 10_000;

/// Bytes of their records.
pub(crate) const MAX_ENDED_BYTES: u64 = 32 << 20;

/// Bytes of the records of a realm's procs that live: their specs, which are in memory, too.
pub(crate) const MAX_LIVE_BYTES: u64 = 32 << 20;

/// A status that was read is kept so long after the end. Counted anew when the kernel boots.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// The journal is written anew when it is this much longer than twice of what it must hold.
const SLACK: u64 = 4 << 20;

/// Ends that a full disk did not take, which are kept in memory.
const MAX_UNSTORED: usize = 100;

const LIMITS: Limits = Limits {
    ended: MAX_ENDED,
    ended_bytes: MAX_ENDED_BYTES,
    live_bytes: MAX_LIVE_BYTES,
    retention: RETENTION,
};

/// The records of one realm.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) shelf: Arc<Shelf>,
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    index: Index,
    unstored: VecDeque<(Pid, proto::ProcInfo)>,
    /// How long the journal is when it is written anew.
    rewrite_at: u64,
    rewriting: bool,
    /// The realm goes, and its directory may soon be another's; or the kernel ends.
    closed: bool,
}

impl Records {
    /// Reads what is there. Procs that had not ended were lost with the machine.
    ///
    /// # Errors
    /// Where the directory cannot be made or written. A damaged journal is none: what lies before the damage is kept, the file
    /// is set aside, and the log says so.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(dir, LIMITS, shelf::MOST)
    }

    fn open_with(dir: &Path, limits: Limits, output_bytes: u64) -> anyhow::Result<Self> {
        let output = dir.join("output");
        state::make_dir(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let path = dir.join("journal");
        let read = || format!("cannot read the records of procs in {}", path.display());
        let (mut journal, replay) = Journal::open(&path).with_context(read)?;
        if let Some(why) = replay.damaged {
            let kept = replay.entries.len();
            tracing::error!(
                journal = %path.display(), why, kept,
                "the records of procs are damaged: those after it are lost; the file is beside it as journal.damaged"
            );
        }
        let mut index = Index::new(limits);
        for (place, info) in replay.entries {
            let Ok(pid) = info.pid.parse::<Pid>() else { continue };
            match info.state() {
                // All parents have ended with the kernel before, so that all statuses count as read.
                proto::State::Exited => drop(index.ended(pid, place, Duration::ZERO)),
                _ => index.spawned(pid, None, place),
            }
        }
        let lost: Vec<_> =
            index.after(None).filter(|(_, kept)| kept.end.is_none()).map(|(pid, _)| pid).collect();
        for pid in lost {
            let place = journal.append(&machine_lost(pid)).with_context(read)?;
            index.ended(pid, place, Duration::ZERO);
        }
        if journal.length() > index.bytes() {
            let mut draft = journal.draft(index.places()).with_context(read)?;
            draft.copy().with_context(read)?;
            index.moved(journal.adopt(draft).with_context(read)?);
        }
        let kept: Vec<_> = index.after(None).map(|(pid, _)| pid).collect();
        let shelf = Shelf::open(&output, &kept, output_bytes)
            .with_context(|| format!("cannot read {}", output.display()))?;
        let rewrite_at = index.bytes() * 2 + SLACK;
        let state =
            State { journal, index, unstored: VecDeque::new(), rewrite_at, rewriting: false, closed: false };
        Ok(Self { shelf: Arc::new(shelf), opened: Instant::now(), state: Mutex::new(state) })
    }

    /// Writes down that a proc was spawned.
    ///
    /// # Errors
    /// `Quota` where the realm's procs take too many bytes, or the disk is full.
    pub(crate) fn spawned(&self, pid: Pid, parent: Option<Pid>, info: &proto::ProcInfo) -> Result<()> {
        let mut state = self.lock();
        if !state.index.has_room(info.encoded_len() as u64) {
            let text = format!(
                "the specs of this realm's procs take {MAX_LIVE_BYTES} bytes, the most they may: wait for some to end"
            );
            return Err(Error::new(Code::Quota, text));
        }
        let place = state.journal.append(info).map_err(|error| {
            Error::new(Code::Quota, format!("the record of the proc cannot be written: {error}"))
        })?;
        state.index.spawned(pid, parent, place);
        Ok(())
    }

    /// Writes down how a proc ended: `info` is all but its spec.
    pub(crate) fn ended(self: &Arc<Self>, pid: Pid, info: proto::ProcInfo) {
        let mut state = self.lock();
        // What ends with the kernel was lost with it, as the next boot says.
        if state.closed {
            return;
        }
        match state.journal.append(&info) {
            Ok(place) => {
                let gone = state.index.ended(pid, place, self.opened.elapsed());
                self.forget(&gone);
            }
            Err(error) => {
                tracing::error!(%pid, %error, "an end cannot be written down, and is kept in memory");
                let spec = state.index.get(pid).and_then(|kept| state.journal.read(kept.spawned).ok());
                state.index.forget(pid);
                state.unstored.push_back((pid, merge(spec.unwrap_or_else(|| nothing_but(pid)), info)));
                if state.unstored.len() > MAX_UNSTORED
                    && let Some((pid, _)) = state.unstored.pop_front()
                {
                    self.shelf.forget(pid);
                }
            }
        }
        self.rewrite_if_long(&mut state);
    }

    /// Somebody has read how a proc ended.
    pub(crate) fn read_by(&self, pid: Pid, reader: Pid) {
        self.lock().index.read_by(pid, reader);
    }

    /// The record of a proc that has ended.
    ///
    /// # Errors
    /// `Internal` where the disk fails.
    pub(crate) fn find(&self, pid: Pid) -> Result<Option<proto::ProcInfo>> {
        let state = self.lock();
        if let Some((_, info)) = state.unstored.iter().find(|(unstored, _)| *unstored == pid) {
            return Ok(Some(info.clone()));
        }
        let Some((kept, end)) = state.index.get(pid).and_then(|kept| Some((kept, kept.end?))) else {
            return Ok(None);
        };
        let read = |place| {
            state.journal.read(place).map_err(|error| {
                Error::new(Code::Internal, format!("the record of {pid} cannot be read: {error}"))
            })
        };
        Ok(Some(merge(read(kept.spawned)?, read(end.place)?)))
    }

    /// Pids after `after`, in the order of their spawn, of procs that live and that have ended; and whether more follow.
    pub(crate) fn pids(&self, after: Option<Pid>, limit: usize) -> (Vec<Pid>, bool) {
        let state = self.lock();
        let mut pids = state.index.after(after).map(|(pid, _)| pid);
        let page = pids.by_ref().take(limit).collect();
        (page, pids.next().is_some())
    }

    /// Pids before `before`, the newest first, of procs that have ended.
    pub(crate) fn ended_before(&self, before: Option<Pid>) -> Vec<Pid> {
        let state = self.lock();
        let all = state
            .index
            .after(None)
            .rev()
            .filter(|(pid, kept)| kept.end.is_some() && before.is_none_or(|before| *pid < before));
        all.map(|(pid, _)| pid).collect()
    }

    /// Drops what need not be kept any longer.
    pub(crate) fn sweep(&self) {
        let mut state = self.lock();
        let gone = state.index.sweep(self.opened.elapsed());
        self.forget(&gone);
    }

    /// The realm goes, or the kernel ends.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn forget(&self, gone: &[Pid]) {
        gone.iter().for_each(|pid| self.shelf.forget(*pid));
    }

    /// Writes the journal anew where most of it is of no use any more. The copying is done aside.
    fn rewrite_if_long(self: &Arc<Self>, state: &mut State) {
        if state.rewriting || state.closed || state.journal.length() < state.rewrite_at {
            return;
        }
        state.rewriting = true;
        let draft = state.journal.draft(state.index.places());
        let records = Arc::clone(self);
        tokio::spawn(async move {
            let copied = match draft {
                Ok(mut draft) => {
                    let copy = move || draft.copy().map(|()| draft);
                    tokio::task::spawn_blocking(copy).await.unwrap_or_else(|error| Err(error.into()))
                }
                Err(error) => Err(error),
            };
            let mut state = records.lock();
            state.rewriting = false;
            if state.closed {
                return;
            }
            match copied.and_then(|draft| state.journal.adopt(draft)) {
                Ok(moved) => state.index.moved(moved),
                Err(error) => tracing::error!(%error, "the records of a realm cannot be written anew"),
            }
            state.rewrite_at = state.journal.length().max(state.index.bytes() * 2) + SLACK;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proc as it was spawned, with how it ended.
fn merge(spawned: proto::ProcInfo, ended: proto::ProcInfo) -> proto::ProcInfo {
    proto::ProcInfo {
        state: ended.state,
        status: ended.status,
        // One that was lost has no stamps but those of its spawn.
        timing: ended.timing.or(spawned.timing),
        restarts: ended.restarts,
        has_started: ended.has_started,
        ..spawned
    }
}

/// A record whose spawn cannot be read.
fn nothing_but(pid: Pid) -> proto::ProcInfo {
    proto::ProcInfo { pid: pid.to_string(), ..Default::default() }
}

/// The end of a proc that ran, or waited, when the kernel died.
fn machine_lost(pid: Pid) -> proto::ProcInfo {
    let status = Status::Crashed {
        cause: Cause::MachineLost,
        message: "the kernel of its machine died, or was ended, while it ran or waited".to_owned(),
    };
    proto::ProcInfo {
        pid: pid.to_string(),
        state: proto::State::Exited.into(),
        status: Some(status.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
