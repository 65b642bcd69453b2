//! How many launchers of a class stand ready: few in a realm that starts nothing, more the faster they are taken.

/// Launchers that stand ready while a realm starts nothing: each holds memory and descriptors.
const IDLE: usize = 1;

/// Launchers that stand ready once it starts something.
const ACTIVE: usize = 4;

/// Launchers that ever stand ready.
const MOST: usize = 32;

/// What is wanted of one pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    target: usize,
}

impl Default for Demand {
    fn default() -> Self {
        Self { target: IDLE }
    }
}

impl Demand {
    /// A proc is due, and finds so many ready.
    pub(super) fn due(&mut self, ready: usize) {
        let doubled = if ready == 0 { self.target * 2 } else { self.target };
        self.target = doubled.clamp(ACTIVE, MOST);
    }

    /// Nothing was started for a while.
    pub(super) fn quiet(&mut self) {
        self.target = IDLE;
    }

    /// How many more to ask for, where so many are ready, asked for, and waited for by procs.
    pub(super) fn missing(self, ready: usize, asked: usize, due: usize) -> usize {
        (self.target + due).saturating_sub(ready + asked).min(MOST.saturating_sub(asked))
    }

    /// How many of those that are ready nobody wants.
    pub(super) fn surplus(self, ready: usize) -> usize {
        ready.saturating_sub(self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_realm_keeps_one() {
        let mut demand = Demand::default();
        assert_eq!(demand.missing(0, 0, 0), 1);
        assert_eq!(demand.missing(1, 0, 0), 0);
        for _ in 0..20 {
            demand.due(0);
        }
        demand.quiet();
        assert_eq!((demand.missing(32, 0, 0), demand.surplus(32)), (0, 31));
    }

    #[test]
    fn it_grows_while_procs_find_none_ready_and_never_past_the_most() {
        let mut demand = Demand::default();
        demand.due(1);
        assert_eq!(demand.missing(0, 0, 0), ACTIVE);
        demand.due(3);
        assert_eq!(demand.missing(3, 0, 0), 1);
        demand.due(0);
        assert_eq!(demand.missing(0, 0, 1), 2 * ACTIVE + 1);
        for _ in 0..20 {
            demand.due(0);
        }
        assert_eq!(demand.missing(0, 0, 0), MOST);
        assert_eq!(demand.missing(0, 0, 1000), MOST, "a backlog is asked for in parts");
        assert_eq!(demand.missing(0, MOST - 1, 1000), 1);
    }
}
