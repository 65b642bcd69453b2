//! The promises on numbers. Each stands in SPECIFICATION.md under the name of its constant, and no looser than here asked.

/// A bound that a benchmark holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// As the benchmark's report names it.
    pub name: &'static str,
    /// The value may be at most this.
    pub bound: f64,
    pub unit: &'static str,
}

/// A warm start of an SDK proc with every layer of the sandbox, beside vfork, exec, exit and wait of the same program.
pub const WARM_START: Promise = Promise { name: "warm start p50 / floor p50", bound: 10.0, unit: "x" };

/// 48 best-effort workers of the image job, beside one plain process that runs the same worker code on all cores.
pub const IMAGE_MAKESPAN: Promise = Promise { name: "job makespan / plain makespan", bound: 1.10, unit: "x" };

/// All of them, with the loosest bound that was ever asked of each.
pub const ALL: [(&str, Promise, f64); 2] =
    [("WARM_START", WARM_START, 10.0), ("IMAGE_MAKESPAN", IMAGE_MAKESPAN, 1.10)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_in_the_specification_and_no_looser_than_asked() {
        let specification = include_str!("../../../SPECIFICATION.md");
        for (constant, promise, asked) in ALL {
            assert!(promise.bound <= asked, "{constant} promises less than was asked: {}", promise.bound);
            let row = specification
                .lines()
                .find(|line| line.contains(&format!("`{constant}`")))
                .unwrap_or_else(|| panic!("SPECIFICATION.md has no row for {constant}"));
            let bound = format!("{:.2}", promise.bound);
            assert!(row.contains(&bound), "the row of {constant} does not say {bound}: {row}");
        }
    }
}
