//! Which worker gets another try.

use sigmaos::Status;

/// How often a task is begun in all: a worker that crashed is begun again at most twice.
pub const MAX_ATTEMPTS: u32 = 3;

/// What follows from the end of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The picture is there.
    Done,
    /// Once more.
    Retry,
    /// There will be no picture, and why.
    Failed(String),
}

/// Decides after the `attempt`th worker of a task, counted from 1, has ended.
///
/// A worker that says that it cannot do its work would say so again, and one that somebody killed was not wanted. One
/// that crashed may have met with a machine that was lost.
pub fn decide(attempt: u32, status: &Status) -> Next {
    match status {
        Status::Ok { .. } => Next::Done,
        Status::Err { message, .. } => Next::Failed(message.clone()),
        Status::Killed { message } if message.is_empty() => Next::Failed("its worker was killed".into()),
        Status::Killed { message } => Next::Failed(format!("its worker was killed: {message}")),
        Status::Crashed { .. } if attempt < MAX_ATTEMPTS => Next::Retry,
        Status::Crashed { .. } => {
            Next::Failed(format!("its worker crashed {attempt} times, the last time so: {status}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigmaos::Cause;

    #[test]
    fn only_a_crash_is_tried_again_and_at_most_twice() {
        let crashed = Status::crashed(Cause::Signal(11));
        assert_eq!(decide(1, &Status::ok()), Next::Done);
        assert_eq!(decide(3, &Status::ok()), Next::Done);
        assert_eq!(decide(1, &crashed), Next::Retry);
        assert_eq!(decide(2, &crashed), Next::Retry);
        let Next::Failed(why) = decide(3, &crashed) else { panic!("a fourth attempt") };
        assert!(why.contains("crashed 3 times") && why.contains("SIGSEGV"), "{why}");
        assert_eq!(decide(1, &Status::err("cut in half")), Next::Failed("cut in half".into()));
        let Next::Failed(why) = decide(1, &Status::killed("by its parent")) else { panic!("tried again") };
        assert!(why.contains("by its parent"), "{why}");
    }
}
