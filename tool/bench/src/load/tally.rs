//! What came of the requests: latencies in all, by kind and by time, and errors by kind. Pure; times count from the beginning.

use super::asks::Kind;
use super::schedule::Plan;
use super::slice::{OF_A_SECOND, SLICE, Slice};
use crate::report::histogram;
use anyhow::Result;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// The first so many errors are kept word for word.
const MOST_WORDS: usize = 5;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection was made.
    Connect,
    /// The connection ended before the answer was whole.
    Broken,
    /// There was no whole answer in time.
    Timeout,
    /// The status of the answer is none of success.
    Status(u16),
    /// The answer is not one to the question.
    Wrong,
    /// Too many waited for a connection.
    Unsent,
}

impl Failure {
    /// Whether somebody was told what is not so. That a server cannot answer now may be so (5xx); that a right question is wrong,
    /// or that what is asked for does not exist, is not.
    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Wrong | Self::Status(..500))
    }
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Tally {
    /// In nanoseconds, from when a request was due: of what was answered, and of what was not in time.
    pub latency: Histogram<u64>,
    pub by_kind: BTreeMap<Kind, Histogram<u64>>,
    /// In nanoseconds: how late requests were given to a connection or its queue. Where this is long, the load was too much for
    /// who made it.
    pub lateness: Histogram<u64>,
    pub failures: BTreeMap<Failure, u64>,
    /// What the first failures said.
    pub words: Vec<String>,
    /// From the beginning on, one after the other.
    pub slices: Vec<Slice>,
    /// From which those of a kind are made.
    empty: Histogram<u64>,
}

impl Tally {
    /// # Errors
    /// Never: the bounds of histograms are constants that they take.
    pub fn new() -> Result<Self> {
        let empty = histogram()?;
        Ok(Self {
            latency: empty.clone(),
            by_kind: BTreeMap::new(),
            lateness: empty.clone(),
            failures: BTreeMap::new(),
            words: Vec::new(),
            slices: Vec::new(),
            empty,
        })
    }

    /// A request was due, and was taken up at `now`.
    pub fn sent(&mut self, due: Duration, now: Duration) {
        self.lateness.saturating_record(nanoseconds(now.saturating_sub(due)));
        self.slice(due).due += 1;
    }

    /// It was answered at `now`.
    pub fn answered(&mut self, kind: Kind, due: Duration, now: Duration) {
        self.took(kind, due, now);
        self.slice(now).answered += 1;
    }

    /// It failed at `now`, with these words.
    pub fn failed(&mut self, kind: Kind, due: Duration, now: Duration, failure: Failure, words: &str) {
        if failure == Failure::Timeout {
            // It took at least so long. Left out, a server that answers the quick ones alone would look quick.
            self.took(kind, due, now);
        }
        *self.failures.entry(failure).or_default() += 1;
        self.slice(due).failed += 1;
        if self.words.len() < MOST_WORDS {
            self.words.push(format!("{kind}, due at {:.3} s: {words}", due.as_secs_f64()));
        }
    }

    /// Requests that were due.
    pub fn requests(&self) -> u64 {
        self.slices.iter().map(|slice| slice.due).sum()
    }

    pub fn failed_requests(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Answers that arrived.
    pub fn answers(&self) -> u64 {
        self.slices.iter().map(|slice| slice.answered).sum()
    }

    /// Answers that say what is not so.
    pub fn wrong_answers(&self) -> u64 {
        self.failures.iter().filter(|(failure, _)| failure.is_wrong()).map(|(_, count)| count).sum()
    }

    /// One second after the other.
    pub fn seconds(&self) -> impl Iterator<Item = Slice> {
        self.slices.chunks(OF_A_SECOND).map(Slice::sum)
    }

    /// The second of this number; `None` where it has not come.
    pub fn second(&self, index: usize) -> Option<Slice> {
        self.slices.chunks(OF_A_SECOND).nth(index).map(Slice::sum)
    }

    /// A line a second, under a line of names. `more` adds columns: their names, and the values of a second.
    pub fn csv(&self, plan: &Plan, more: &[(&str, &[f64])]) -> String {
        let mut csv = "second,planned,due,answered,failed,mean_ms,p50_ms,p99_ms,max_ms".to_owned();
        more.iter().for_each(|(name, _)| csv.extend([",", name]));
        csv.push('\n');
        for (index, second) in self.seconds().enumerate() {
            let planned = plan.rate(Duration::from_secs(index as u64));
            let mean = second.mean_ms().unwrap_or(0.0);
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| second.quantile_ms(part).unwrap_or(0.0));
            // Writing to a String cannot fail, here and below.
            let _ = write!(csv, "{index},{planned},{},{},{},", second.due, second.answered, second.failed);
            let _ = write!(csv, "{mean:.3},{p50:.3},{p99:.3},{max:.3}");
            for (_, values) in more {
                let _ = write!(csv, ",{:.3}", values.get(index).copied().unwrap_or(0.0));
            }
            csv.push('\n');
        }
        csv
    }

    fn took(&mut self, kind: Kind, due: Duration, now: Duration) {
        let took = now.saturating_sub(due);
        self.latency.saturating_record(nanoseconds(took));
        let of_kind = self.by_kind.entry(kind).or_insert_with(|| self.empty.clone());
        of_kind.saturating_record(nanoseconds(took));
        self.slice(due).took(took);
    }

    fn slice(&mut self, at: Duration) -> &mut Slice {
        let index = (at.as_nanos() / SLICE.as_nanos()) as usize;
        if self.slices.len() <= index {
            self.slices.resize_with(index + 1, Slice::new);
        }
        &mut self.slices[index]
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().max(1) as u64
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("no connection"),
            Self::Broken => formatter.write_str("connection broken"),
            Self::Timeout => formatter.write_str("no answer in time"),
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Wrong => formatter.write_str("wrong answer"),
            Self::Unsent => formatter.write_str("not sent, too many waited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::schedule::{Spacing, Step};

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn latency_counts_from_the_schedule_and_belongs_to_its_time() {
        let mut tally = Tally::new().unwrap();
        for due in [100, 900, 1500] {
            tally.sent(at(due), at(due + 2));
        }
        tally.answered(Kind::Home, at(100), at(110));
        tally.answered(Kind::User, at(900), at(2900));
        tally.failed(Kind::Home, at(1500), at(2500), Failure::Timeout, "late");
        assert_eq!((tally.requests(), tally.answers(), tally.failed_requests()), (3, 2, 1));
        assert_eq!(tally.by_kind[&Kind::User].max() / 1_000_000, 2000);
        assert_eq!(tally.latency.len(), 3, "what ran out of time took at least so long");
        assert_eq!(tally.lateness.max() / 1_000_000, 2);
        let seconds: Vec<_> = tally.seconds().map(|one| (one.due, one.answered, one.failed)).collect();
        assert_eq!(seconds, [(2, 1, 0), (1, 0, 1), (0, 1, 0)]);
        let slice = |index: usize| (tally.slices[index].due, tally.slices[index].answered);
        assert_eq!([slice(1), slice(9), slice(28), slice(29)], [(1, 1), (1, 0), (0, 0), (0, 1)]);
        assert_eq!(tally.second(0).unwrap().quantile_ms(1.0), tally.slices[9].quantile_ms(1.0));
        assert!(tally.second(3).is_none());
        assert_eq!(tally.words, ["read home, due at 1.500 s: late"]);
    }

    #[test]
    fn other_failures_have_no_latency() {
        let mut tally = Tally::new().unwrap();
        for failure in
            [Failure::Connect, Failure::Broken, Failure::Status(500), Failure::Wrong, Failure::Unsent]
        {
            tally.failed(Kind::Get, at(1), at(2), failure, "no");
            assert_eq!(tally.failures[&failure], 1);
        }
        assert_eq!((tally.latency.len(), tally.failed_requests(), tally.wrong_answers()), (0, 5, 1));
        tally.failed(Kind::Get, at(1), at(2), Failure::Status(404), "there is no such user");
        assert_eq!((tally.failed_requests(), tally.wrong_answers()), (6, 2));
    }

    #[test]
    fn a_table_has_a_line_a_second() {
        let plan = Plan { steps: vec![Step { rate: 2.5, time: at(2000) }], spacing: Spacing::Fixed, seed: 0 };
        let mut tally = Tally::new().unwrap();
        tally.sent(at(1000), at(1000));
        tally.answered(Kind::Get, at(1000), at(1250));
        let csv = tally.csv(&plan, &[("cpu_procs", &[0.5])]);
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines[0], "second,planned,due,answered,failed,mean_ms,p50_ms,p99_ms,max_ms,cpu_procs");
        assert_eq!(lines[1], "0,2.5,0,0,0,0.000,0.000,0.000,0.000,0.500");
        assert!(lines[2].starts_with("1,2.5,1,1,0,25") && lines[2].ends_with(",0.000"), "{}", lines[2]);
    }
}
