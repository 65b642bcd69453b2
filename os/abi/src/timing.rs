//! How a proc's start is told.

use crate::proto::Timing;

impl Timing {
    /// When each step was over, by its name, in the order of the steps. The first is in milliseconds since 1970; the others are in
    /// microseconds since then, and 0 where the proc has not got so far.
    pub fn steps(&self) -> [(&'static str, u64); 7] {
        [
            ("spawned_ms", self.spawned_ms),
            ("admitted_us", self.admitted_us),
            ("binary_us", self.binary_us),
            ("jail_us", self.jail_us),
            ("launched_us", self.launched_us),
            ("started_us", self.started_us),
            ("exited_us", self.exited_us),
        ]
    }
}
