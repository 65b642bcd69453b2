//! LC procs that use more than they reserved.
//!
//! A reservation is a promise to others, too: what is not reserved is theirs. An LC proc may use more as long as cores are idle;
//! when none is, and it does so for [`DEMOTE_AFTER_US`], it runs as BE until it has been back at its reservation for
//! [`RESTORE_AFTER_US`]. Its reservation stays in the book all the while, so that it can return.

use crate::event::Action;
use crate::policy::Policy;
use crate::proc::Phase;
use sigma_abi::Pid;

/// How long an LC proc may use more than it reserved while others wait for a core.
pub const DEMOTE_AFTER_US: u64 = 2_000_000;

/// How long it must use no more than it reserved to be served as LC again.
pub const RESTORE_AFTER_US: u64 = 1_000_000;

/// Others wait for a core where less than this is idle, in thousandths of a core: a tenth, which is what measuring may miss.
pub const CROWDED_MCPU: u32 = 100;

/// CPU time is counted in steps of this many microseconds; a proc is over its reservation where it is so by more than one.
pub const GRAIN_US: u64 = 10_000;

/// Since when a proc has been over its reservation, or back below it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) demoted: bool,
    /// For so long it has been what would change how it is served.
    since_us: u64,
}

/// One measurement of one proc.
#[derive(Clone, Copy, Debug)]
struct Measured {
    span_us: u64,
    used_us: u64,
    reserved_us: u64,
    crowded: bool,
}

impl Usage {
    /// Whether the proc changes how it is served by this measurement.
    fn changes(&mut self, measured: Measured) -> bool {
        let Measured { span_us, used_us, reserved_us, crowded } = measured;
        let (towards, after_us) = if self.demoted {
            (used_us <= reserved_us, RESTORE_AFTER_US)
        } else {
            (crowded && used_us > reserved_us + GRAIN_US, DEMOTE_AFTER_US)
        };
        self.since_us = if towards { self.since_us + span_us } else { 0 };
        let changes = self.since_us >= after_us;
        if changes {
            *self = Self { demoted: !self.demoted, since_us: 0 };
        }
        changes
    }
}

impl Policy {
    /// CPU was measured over a span of time.
    pub(crate) fn used(
        &mut self,
        span_us: u64,
        idle_mcpu: u32,
        used: Vec<(Pid, u64)>,
        actions: &mut Vec<Action>,
    ) {
        let crowded = idle_mcpu < CROWDED_MCPU && self.procs.len() > 1;
        for (pid, used_us) in used {
            let Some(proc) = self.procs.get_mut(&pid).filter(|proc| proc.class.is_lc()) else { continue };
            let Phase::Runs(run) = &mut proc.phase else { continue };
            let reserved_us = proc.need.mcpu.saturating_mul(span_us) / 1000;
            if run.usage.changes(Measured { span_us, used_us, reserved_us, crowded }) {
                self.book.lc_demoted += u64::from(run.usage.demoted);
                self.book.lc_demoted -= u64::from(!run.usage.demoted);
                actions.push(if run.usage.demoted {
                    Action::Demote { pid }
                } else {
                    Action::Restore { pid }
                });
            }
        }
    }

    /// LC procs that run, demoted or not.
    pub fn lc_procs(&self) -> impl Iterator<Item = Pid> {
        self.lc_procs.iter().copied()
    }

    /// Whether an LC proc runs as BE, for using more than it reserved.
    pub fn is_demoted(&self, pid: Pid) -> bool {
        let proc = self.procs.get(&pid);
        proc.is_some_and(|proc| matches!(proc.phase, Phase::Runs(run) if run.usage.demoted))
    }
}
