//! A BE thread for each core, while BE threads have work for all of them beside busy LC threads.
//!
//! A core whose LC threads rest takes a BE thread from another core only where Linux expects it to stay idle for longer than the
//! look takes. Beside LC threads that wake up thousands of times a second it expects that hardly ever: some BE threads wait for one
//! another on one core, and another core does nothing until the next look at all of them. So one hungry BE thread is bound to each
//! core, and all others go where they like. They take turns, since who is bound beside a busy LC thread gets less.
//!
//! A thread that is bound sees one core, and what it starts begins there, until the next measurement. So nobody is bound where no LC
//! thread is busy, or where there are too few hungry threads to gain from it.

use crate::homes::{Core, Thread};
use std::collections::BTreeMap;

/// A thread is hungry that ran or waited for a core for so much of the time, in thousandths: one that is bound leaves its core
/// idle for no longer than it rests itself.
pub const HUNGRY_MCPU: u32 = 800;

/// What was measured of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub thread: Thread,
    /// For how much of the time it ran or waited for a core, in thousandths.
    pub mcpu: u32,
}

/// The thread that is bound to each core; none where there are fewer than cores, so that each may go where it gets most. Who is
/// bound stays while it is hungry, until it is somebody else's `turn`.
pub fn bind(
    cores: &[Core],
    wanted: &[Wanted],
    bound: &BTreeMap<Thread, Core>,
    turn: bool,
) -> BTreeMap<Thread, Core> {
    let mut hungry: Vec<Thread> =
        wanted.iter().filter(|one| one.mcpu >= HUNGRY_MCPU).map(|one| one.thread).collect();
    if hungry.len() < cores.len() {
        return BTreeMap::new();
    }
    hungry.sort_unstable();
    if turn {
        // The line moves on by one: who had the first core goes to its end.
        let first = bound.iter().min_by_key(|(_, core)| **core).map(|(thread, _)| *thread);
        let from = hungry.partition_point(|thread| first.is_some_and(|first| *thread <= first));
        hungry.rotate_left(from);
        return hungry.into_iter().zip(cores.iter().copied()).collect();
    }
    let stays = |thread: &Thread| bound.get(thread).copied().filter(|core| cores.contains(core));
    let mut now: BTreeMap<Thread, Core> =
        hungry.iter().filter_map(|thread| Some((*thread, stays(thread)?))).collect();
    let free: Vec<Core> =
        cores.iter().copied().filter(|core| !now.values().any(|taken| taken == core)).collect();
    let others: Vec<Thread> = hungry.into_iter().filter(|thread| !now.contains_key(thread)).collect();
    now.extend(others.into_iter().zip(free));
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn wanted(mcpu: &[u32]) -> Vec<Wanted> {
        (1..).zip(mcpu).map(|(thread, mcpu)| Wanted { thread, mcpu: *mcpu }).collect()
    }

    fn at(pairs: &[(Thread, Core)]) -> BTreeMap<Thread, Core> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn they_stay_until_it_is_somebody_elses_turn() {
        let two = wanted(&[1000, 990]);
        let first = bind(&[0, 1], &two, &at(&[]), false);
        assert_eq!(first, at(&[(1, 0), (2, 1)]));
        assert_eq!(bind(&[0, 1], &two, &first, false), first);
        assert_eq!(bind(&[0, 1], &two, &first, true), at(&[(2, 0), (1, 1)]));
        let three = wanted(&[1000, 990, 900]);
        assert_eq!(bind(&[0, 1], &three, &first, false), first, "who comes moves nobody");
        assert_eq!(
            bind(&[0, 1], &three, &first, true),
            at(&[(2, 0), (3, 1)]),
            "the first goes where it likes"
        );
    }

    #[test]
    fn who_is_sated_makes_room() {
        let bound = at(&[(1, 0), (2, 1)]);
        assert_eq!(bind(&[0, 1], &wanted(&[950, 0, 1000]), &bound, false), at(&[(1, 0), (3, 1)]));
        assert_eq!(bind(&[0, 1], &wanted(&[950, 0, 700]), &bound, false), at(&[]), "there are too few then");
    }

    #[test]
    fn fewer_than_cores_go_where_they_like() {
        assert_eq!(bind(&[0, 1], &wanted(&[900]), &at(&[]), true), at(&[]));
        assert_eq!(bind(&[], &wanted(&[900]), &at(&[(1, 0)]), true), at(&[]));
        assert_eq!(bind(&[], &wanted(&[]), &at(&[]), true), at(&[]));
    }

    #[test]
    fn what_mostly_waits_is_bound_nowhere() {
        assert_eq!(bind(&[0, 1], &wanted(&[1000, 300, HUNGRY_MCPU - 1]), &at(&[]), false), at(&[]));
        assert_eq!(bind(&[0], &wanted(&[HUNGRY_MCPU]), &at(&[]), false), at(&[(1, 0)]));
    }

    proptest! {
        /// Each core has one, and after as many turns as there are threads each has had each core.
        #[test]
        fn nobody_is_passed_over(threads in 1..8usize, cores in 1..5usize) {
            let (wanted, cores) = (wanted(&vec![1000; threads]), (0..cores).collect::<Vec<Core>>());
            let (mut bound, mut had) = (at(&[]), vec![BTreeSet::new(); threads]);
            for measurement in 0..threads * 2 {
                bound = bind(&cores, &wanted, &bound, measurement % 2 == 0);
                prop_assert_eq!(bound.len(), if threads < cores.len() { 0 } else { cores.len() });
                let places: BTreeSet<Core> = bound.values().copied().collect();
                prop_assert_eq!(places.len(), bound.len());
                for (thread, core) in &bound {
                    had[*thread as usize - 1].insert(*core);
                }
            }
            let all = if threads < cores.len() { BTreeSet::new() } else { cores.iter().copied().collect() };
            prop_assert_eq!(had, vec![all; threads]);
        }
    }
}
