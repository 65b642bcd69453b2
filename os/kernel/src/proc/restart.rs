//! Whether a proc that has ended is started again, and when; pure.
//!
//! The pid is the identity of what was spawned: it stays the same in each life, and who waits for its end waits for the last
//! one. A life that lasted [`HEALTHY`] is a success, after which failures are counted, and the pause grows, anew.

use sigma_abi::{Cause, Restart, Status};
use std::time::Duration;

/// From the first failure to the next life; doubled at each further one in a row, up to the longest.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// See [`FIRST_PAUSE`].
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A life of this length ends a row of failures.
pub(crate) const HEALTHY: Duration = Duration::from_secs(60);

/// What becomes of a proc whose process has ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    End(Status),
    /// It lives again after a pause.
    Again {
        pause: Duration,
        row: u32,
    },
}

/// A life that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) status: Status,
    /// From its start; none where it never started.
    pub(crate) lasted: Option<Duration>,
    /// Restarts in a row before this life.
    pub(crate) row: u32,
    /// Restarts in all.
    pub(crate) restarts: u32,
}

/// Decides by the policy of a proc whose end nobody asked for.
pub(crate) fn judge(policy: Restart, life: Life) -> Verdict {
    let row = if life.lasted.is_some_and(|lasted| lasted >= HEALTHY) { 0 } else { life.row };
    // What the kernel took away for others is no failure of the proc.
    let failed = !matches!(life.status, Status::Crashed { cause: Cause::Evicted { .. }, .. });
    match policy {
        Restart::Never => return Verdict::End(life.status),
        Restart::OnFailure { .. } if life.status.is_ok() => return Verdict::End(life.status),
        Restart::OnFailure { limit } if failed && row >= limit => return Verdict::End(given_up(life, row)),
        Restart::OnFailure { .. } | Restart::Always => {}
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << row.min(16)).min(LONGEST_PAUSE);
    Verdict::Again { pause, row: row.saturating_add(u32::from(failed)) }
}

/// The last status, which says how often it was tried.
fn given_up(life: Life, row: u32) -> Status {
    let all =
        if life.restarts == row { String::new() } else { format!(" in a row, {} in all", life.restarts) };
    let times = if row == 1 { "1 restart".to_owned() } else { format!("{row} restarts") };
    let say = |last: String| {
        let colon = if last.is_empty() { "" } else { ": " };
        format!("given up after {times}{all}{colon}{last}")
    };
    match life.status {
        Status::Ok { message, data } => Status::Ok { message, data },
        Status::Err { message, data } => Status::Err { message: say(message), data },
        Status::Killed { message } => Status::Killed { message: say(message) },
        Status::Crashed { cause, message } => Status::Crashed { cause, message: say(message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(status: Status, row: u32) -> Life {
        Life { status, lasted: Some(Duration::from_millis(3)), row, restarts: row }
    }

    fn failed(row: u32) -> Life {
        life(Status::crashed(Cause::ExitCode(3)), row)
    }

    fn pauses(policy: Restart, status: &Status, most: u32) -> Vec<u64> {
        let mut pauses = Vec::new();
        let mut row = 0;
        while let Verdict::Again { pause, row: next } = judge(policy, life(status.clone(), row)) {
            pauses.push(pause.as_millis() as u64);
            row = next;
            if row >= most {
                break;
            }
        }
        pauses
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let expect = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000];
        assert_eq!(pauses(Restart::Always, &Status::ok(), 10), expect);
        assert_eq!(pauses(Restart::ON_FAILURE, &Status::err("x"), 99), expect);
    }

    #[test]
    fn only_what_the_policy_says_is_started_again() {
        assert_eq!(pauses(Restart::Never, &Status::err("x"), 9), [0u64; 0]);
        assert_eq!(pauses(Restart::ON_FAILURE, &Status::ok(), 9), [0u64; 0]);
        assert_eq!(pauses(Restart::OnFailure { limit: 2 }, &Status::err("x"), 9), [100, 200]);
    }

    #[test]
    fn giving_up_says_how_often_and_the_last_cause() {
        let limit = Restart::OnFailure { limit: 2 };
        let Verdict::End(status) = judge(limit, failed(2)) else { panic!("it goes on") };
        assert_eq!(status.to_string(), "Crashed: exit code 3: given up after 2 restarts");
        let long_lived = Life { restarts: 7, ..failed(2) };
        let Verdict::End(status) = judge(limit, long_lived) else { panic!("it goes on") };
        assert_eq!(status.to_string(), "Crashed: exit code 3: given up after 2 restarts in a row, 7 in all");
        let Verdict::End(status) = judge(Restart::OnFailure { limit: 1 }, life(Status::err("no"), 1)) else {
            panic!("it goes on")
        };
        assert_eq!(status.to_string(), "Err: given up after 1 restart: no");
    }

    #[test]
    fn an_eviction_is_no_failure() {
        let evicted = Status::crashed(Cause::Evicted { for_pid: None, memory_bytes: 1 });
        assert_eq!(
            judge(Restart::OnFailure { limit: 1 }, life(evicted, 1)),
            Verdict::Again { pause: FIRST_PAUSE * 2, row: 1 }
        );
    }

    #[test]
    fn a_long_life_ends_a_row_of_failures() {
        let healthy = Life { lasted: Some(HEALTHY), ..failed(5) };
        assert_eq!(
            judge(Restart::OnFailure { limit: 5 }, healthy),
            Verdict::Again { pause: FIRST_PAUSE, row: 1 }
        );
    }
}
