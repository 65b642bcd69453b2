//! The steps of a start, as the kernel stamps them (thesis, Figure 4.2).

use crate::report::{Report, histogram};
use anyhow::Result;
use hdrhistogram::Histogram;
use sigmaos::proto;

/// Each from the end of the one before, with the names of the thesis.
const STEPS: [&str; 5] = ["env (queue)", "binary", "proc manager (jail)", "launch", "start"];

/// How long each step of many starts took.
pub(crate) struct Steps(Vec<Histogram<u64>>);

impl Steps {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(STEPS.iter().map(|_| histogram()).collect::<Result<_>>()?))
    }

    pub(crate) fn record(&mut self, timing: &proto::Timing) -> Result<()> {
        let marks =
            [0, timing.admitted_us, timing.binary_us, timing.jail_us, timing.launched_us, timing.started_us];
        for (times, step) in self.0.iter_mut().zip(marks.windows(2)) {
            times.record((step[1].saturating_sub(step[0]) * 1000).max(1))?;
        }
        Ok(())
    }

    pub(crate) fn print(&self, report: &mut Report) {
        for (step, times) in STEPS.iter().zip(&self.0) {
            report.quantiles(&format!("  step {step}"), times);
        }
    }
}
