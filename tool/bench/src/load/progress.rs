//! One line that says how a load goes, a few times a second, where standard error is a terminal.

use super::schedule::Plan;
use super::tally::Tally;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often the line is written anew.
const PERIOD: Duration = Duration::from_millis(250);

pub(super) struct Progress {
    bar: ProgressBar,
    plan: Plan,
    next: Duration,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let bar = ProgressBar::new(plan.time().as_secs());
        bar.set_style(ProgressStyle::with_template("{bar:20} {pos}/{len} s {msg}")?);
        Ok(Self { bar, plan: plan.clone(), next: Duration::ZERO })
    }

    pub(super) fn show(&mut self, now: Duration, tally: &Tally) {
        if now >= self.next {
            self.next = now + PERIOD;
            self.bar.set_position(now.as_secs());
            self.bar.set_message(line(&self.plan, now, tally));
        }
    }

    pub(super) fn finish(&self, tally: &Tally) {
        self.bar.set_position(self.plan.time().as_secs());
        self.bar.finish_with_message(line(&self.plan, self.plan.time(), tally));
    }
}

/// Of the last second that is over.
fn line(plan: &Plan, now: Duration, tally: &Tally) -> String {
    let failed = tally.failed_requests();
    let last = (now.as_secs() as usize).checked_sub(1).and_then(|index| tally.second(index));
    let Some(last) = last else { return format!("{:.0} requests/s asked for", plan.rate(now)) };
    let p99 = last.quantile_ms(0.99).unwrap_or(0.0);
    format!(
        "{:.0} requests/s asked for, {} answered, p99 {p99:.1} ms, {failed} failed",
        plan.rate(now),
        last.answered
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::asks::Kind;
    use crate::load::schedule::{Spacing, Step};

    #[test]
    fn the_line_is_of_the_last_second() {
        let step = Step { rate: 300.0, time: Duration::from_secs(9) };
        let plan = Plan { steps: vec![step], spacing: Spacing::Fixed, seed: 0 };
        let mut tally = Tally::new().unwrap();
        assert_eq!(line(&plan, Duration::ZERO, &tally), "300 requests/s asked for");
        tally.answered(Kind::Get, Duration::from_millis(100), Duration::from_millis(110));
        let said = line(&plan, Duration::from_millis(1200), &tally);
        assert!(
            said.starts_with("300 requests/s asked for, 1 answered, p99 10.") && said.ends_with("0 failed"),
            "{said}"
        );
    }
}
