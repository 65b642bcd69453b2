//! A core for each busy thread of LC procs, while BE work fills all cores.
//!
//! A thread that wakes up is placed by Linux on a core that is idle. Where BE work keeps every core busy it finds none without a
//! long look, and leaves the thread beside another LC one, though BE work gives way at once everywhere else; what balances cores
//! later moves BE work first, since that is never hot in a cache, and is content with it. Two threads that need half a core each
//! then share one for up to seconds, and their calls pile up. So busy threads are told where to be while BE procs run: the
//! busiest first, each on the core with the least, or where it is where that is about the same. All others go where they like.

use std::collections::BTreeMap;

/// A thread is busy that uses so much, in thousandths of a core, and until it uses less than half of that.
pub const BUSY_MCPU: u32 = 200;

/// A core is given so much and no more: what finds no such core is left to Linux.
const FULL_MCPU: u32 = 900;

/// A thread stays where it is while no other core has less by more than this.
const SLACK_MCPU: u32 = 100;

/// From one measurement to the next a thread that rests counts with so much less, as one part of so many: its work may come back
/// before it would have been moved twice.
const FORGOTTEN: u32 = 8;

/// A thread, as the machine numbers them.
pub type Thread = u32;

/// A core, as the machine numbers them.
pub type Core = usize;

/// What was measured of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    pub thread: Thread,
    /// See [`of_late`].
    pub used_mcpu: u32,
    /// Where it ran last.
    pub core: Core,
}

/// What a thread counts with that counted with so much before, and used so much since.
pub fn of_late(before_mcpu: u32, used_mcpu: u32) -> u32 {
    used_mcpu.max(before_mcpu - before_mcpu / FORGOTTEN)
}

/// Where each busy thread is to be.
pub fn assign(
    cores: &[Core],
    measured: &[Measured],
    homes: &BTreeMap<Thread, Core>,
) -> BTreeMap<Thread, Core> {
    let least = |thread: &Thread| if homes.contains_key(thread) { BUSY_MCPU / 2 } else { BUSY_MCPU };
    let mut busy: Vec<_> = measured.iter().filter(|one| one.used_mcpu >= least(&one.thread)).collect();
    busy.sort_by_key(|one| (std::cmp::Reverse(one.used_mcpu), one.thread));
    let mut given: BTreeMap<Core, u32> = cores.iter().map(|core| (*core, 0)).collect();
    let mut assigned = BTreeMap::new();
    for one in busy {
        let now = homes.get(&one.thread).copied().unwrap_or(one.core);
        let Some((emptiest, least)) =
            given.iter().map(|(core, mcpu)| (*core, *mcpu)).min_by_key(|core| core.1)
        else {
            break;
        };
        let stays = given.get(&now).is_some_and(|mcpu| *mcpu <= least + SLACK_MCPU);
        let core = if stays { now } else { emptiest };
        let mcpu = given.entry(core).or_default();
        if *mcpu + one.used_mcpu <= FULL_MCPU || *mcpu == 0 {
            *mcpu += one.used_mcpu;
            assigned.insert(one.thread, core);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(thread: Thread, used_mcpu: u32, core: Core) -> Measured {
        Measured { thread, used_mcpu, core }
    }

    fn homes(pairs: &[(Thread, Core)]) -> BTreeMap<Thread, Core> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn two_busy_threads_on_one_core_are_parted() {
        let both = [measured(1, 500, 0), measured(2, 550, 0), measured(3, 50, 0)];
        assert_eq!(
            assign(&[0, 1], &both, &homes(&[])),
            homes(&[(2, 0), (1, 1)]),
            "the third goes where it likes"
        );
    }

    #[test]
    fn a_thread_stays_while_that_is_about_as_good_and_is_let_go_when_it_rests() {
        let at = homes(&[(1, 1), (2, 0)]);
        assert_eq!(assign(&[0, 1], &[measured(1, 510, 1), measured(2, 500, 0)], &at), at);
        assert_eq!(assign(&[0, 1], &[measured(1, 120, 1), measured(2, 90, 0)], &at), homes(&[(1, 1)]));
    }

    #[test]
    fn a_thread_that_rests_is_remembered_for_a_while() {
        let rested = |measurements: usize| (0..measurements).fold(500, |mcpu, _| of_late(mcpu, 0));
        assert!(rested(8) > BUSY_MCPU / 2 && rested(16) < BUSY_MCPU / 2);
        assert_eq!(of_late(300, 600), 600);
        assert_eq!(of_late(800, 600), 700);
    }

    #[test]
    fn what_is_more_than_the_cores_have_is_left_to_linux() {
        let many: Vec<_> = (1..=5).map(|thread| measured(thread, 400, 0)).collect();
        assert_eq!(assign(&[0, 1], &many, &homes(&[])).len(), 4);
        assert_eq!(assign(&[], &many, &homes(&[])), homes(&[]));
        assert_eq!(
            assign(&[3], &[measured(1, 1000, 3)], &homes(&[])),
            homes(&[(1, 3)]),
            "one may have a core to itself"
        );
    }

    proptest! {
        /// No core is given more than it has, and none is left empty while another has two that would not fit half of it.
        #[test]
        fn cores_are_filled_evenly(
            threads in proptest::collection::vec((BUSY_MCPU..1000u32, 0..6usize), 0..20),
            cores in 1..6usize,
        ) {
            let cores: Vec<Core> = (0..cores).collect();
            let measured: Vec<_> = (1..).zip(&threads).map(|(thread, (used, core))| measured(thread, *used, *core)).collect();
            let assigned = assign(&cores, &measured, &homes(&[]));
            let mut all = vec![Vec::new(); cores.len()];
            for one in &measured {
                if let Some(core) = assigned.get(&one.thread) {
                    all[*core].push(one.used_mcpu);
                }
            }
            for core in &all {
                prop_assert!(core.len() <= 1 || core.iter().sum::<u32>() <= FULL_MCPU);
            }
            let least: u32 = all.iter().map(|core| core.iter().sum::<u32>()).min().unwrap_or(0);
            for core in all.iter().filter(|core| core.len() > 1) {
                let smallest = core.iter().min().copied().unwrap_or(0);
                prop_assert!(core.iter().sum::<u32>() - smallest <= least + SLACK_MCPU);
            }
        }
    }
}
