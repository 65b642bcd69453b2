//! A BE thread for each core, while BE threads have work for all of them.
//!
//! A core whose LC threads rest takes a BE thread from another core only where Linux expects it to stay idle for longer than the
//! look takes. Beside LC procs that wake up thousands of times a second it expects that hardly ever: some BE threads wait for one
//! another on one core, and another core does nothing until the next look at all of them. So one hungry BE thread is bound to each
//! core, and all others go where they like. They take turns, since who is bound beside a busy LC thread gets less.

use crate::homes::{Core, Measured, Thread};
use std::collections::BTreeMap;

/// A thread may be hungry that uses so much, in thousandths of a core.
pub const HUNGRY_MCPU: u32 = 50;

/// And one part of so many of what the hungriest uses: what mostly waits for a disk keeps no core busy.
const LEAST_PART: u32 = 4;

/// The thread that is bound to each core in one round; none where there are fewer than cores, so that each may go where it gets
/// most.
pub fn bind(cores: &[Core], measured: &[Measured], round: usize) -> BTreeMap<Thread, Core> {
    let most = measured.iter().map(|one| one.used_mcpu).max().unwrap_or(0);
    let least = HUNGRY_MCPU.max(most / LEAST_PART);
    let mut hungry: Vec<Thread> =
        measured.iter().filter(|one| one.used_mcpu >= least).map(|one| one.thread).collect();
    hungry.sort_unstable();
    if hungry.len() < cores.len() {
        return BTreeMap::new();
    }
    let from = round % hungry.len().max(1);
    hungry.iter().cycle().skip(from).zip(cores).map(|(thread, core)| (*thread, *core)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(used_mcpu: &[u32]) -> Vec<Measured> {
        (1..)
            .zip(used_mcpu)
            .map(|(thread, used_mcpu)| Measured { thread, used_mcpu: *used_mcpu, core: 0 })
            .collect()
    }

    fn bound(pairs: &[(Thread, Core)]) -> BTreeMap<Thread, Core> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn they_take_turns_on_the_cores() {
        let two = measured(&[300, 400]);
        assert_eq!(bind(&[0, 1], &two, 0), bound(&[(1, 0), (2, 1)]));
        assert_eq!(bind(&[0, 1], &two, 1), bound(&[(2, 0), (1, 1)]));
        let three = measured(&[300, 400, 350]);
        assert_eq!(bind(&[0, 1], &three, 2), bound(&[(3, 0), (1, 1)]), "the second goes where it likes");
    }

    #[test]
    fn fewer_than_cores_go_where_they_like() {
        assert_eq!(bind(&[0, 1], &measured(&[900]), 0), bound(&[]));
        assert_eq!(bind(&[], &measured(&[900]), 3), bound(&[]));
        assert_eq!(bind(&[0, 1], &measured(&[]), 7), bound(&[]));
    }

    #[test]
    fn what_mostly_waits_is_bound_nowhere() {
        assert_eq!(bind(&[0, 1], &measured(&[400, 60, 90]), 0), bound(&[]));
        assert_eq!(bind(&[0], &measured(&[HUNGRY_MCPU - 1]), 0), bound(&[]));
    }

    proptest! {
        /// A core has one, and in as many rounds as there are threads each has had each core once.
        #[test]
        fn nobody_is_passed_over(threads in 1..12usize, cores in 1..6usize) {
            let (measured, cores) = (measured(&vec![500; threads]), (0..cores).collect::<Vec<Core>>());
            let mut had = vec![0; threads];
            for round in 0..threads {
                let bound = bind(&cores, &measured, round);
                prop_assert_eq!(bound.len(), if threads < cores.len() { 0 } else { cores.len() });
                bound.keys().for_each(|thread| had[*thread as usize - 1] += 1);
            }
            let turns = if threads < cores.len() { 0 } else { cores.len() };
            prop_assert_eq!(had, vec![turns; threads]);
        }
    }
}
