//! Records that outlive the kernel.

use super::*;
use sigma_abi::MachineId;
use std::fs;

const SMALL: Limits =
    Limits { ended: 10, ended_bytes: 100_000, live_bytes: 10_000, retention: Duration::from_secs(60) };

fn pid(number: u64) -> Pid {
    Pid { home: MachineId(1), epoch: 1, number }
}

fn open(dir: &Path) -> Arc<Records> {
    Arc::new(Records::open_with(dir, SMALL, 1000).unwrap())
}

fn spawn(records: &Records, number: u64, parent: Option<u64>) -> Result<()> {
    let spec = proto::ProcSpec { binary: format!("/bin/{number}"), ..Default::default() };
    let info = proto::ProcInfo { pid: pid(number).to_string(), spec: Some(spec), ..Default::default() };
    records.spawned(pid(number), parent.map(pid), &info)
}

fn end(records: &Arc<Records>, number: u64, text: &str) {
    let info = proto::ProcInfo {
        pid: pid(number).to_string(),
        state: proto::State::Exited.into(),
        status: Some(Status::err(text).into()),
        ..Default::default()
    };
    records.ended(pid(number), info);
}

fn status(records: &Records, number: u64) -> Option<String> {
    let info = records.find(pid(number)).unwrap()?;
    assert_eq!(info.spec.unwrap().binary, format!("/bin/{number}"), "it comes with its spec");
    Some(Status::try_from(info.status.unwrap()).unwrap().to_string())
}

#[test]
fn what_ended_is_known_after_the_kernel_was_killed_and_what_ran_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    spawn(&records, 1, None).unwrap();
    spawn(&records, 2, Some(1)).unwrap();
    end(&records, 2, "done");
    assert_eq!(status(&records, 1), None, "it lives");
    // Nothing is closed or flushed.
    std::mem::forget(records);
    for _ in 0..3 {
        let records = open(dir.path());
        assert_eq!(status(&records, 2).as_deref(), Some("Err: done"));
        assert!(status(&records, 1).unwrap().starts_with("Crashed: machine lost"));
        assert_eq!(status(&records, 3), None);
        assert_eq!(records.pids(None, 10), (vec![pid(1), pid(2)], false));
    }
}

#[test]
fn too_many_push_out_the_oldest_that_was_read_and_only_then_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    spawn(&records, 1, None).unwrap();
    for number in 2..=11 {
        spawn(&records, number, Some(1)).unwrap();
        end(&records, number, "x");
    }
    // Read by a stranger is not read; read by its parent is.
    records.read_by(pid(3), pid(2));
    records.read_by(pid(5), pid(1));
    spawn(&records, 12, Some(1)).unwrap();
    end(&records, 12, "x");
    assert_eq!(status(&records, 5), None, "its parent has its status");
    spawn(&records, 13, Some(1)).unwrap();
    end(&records, 13, "x");
    assert_eq!((status(&records, 2), status(&records, 3).is_some()), (None, true), "the oldest");
}

#[test]
fn a_status_goes_when_it_was_read_and_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    for (number, parent) in [(1, None), (2, Some(1)), (3, Some(1)), (4, None)] {
        spawn(&records, number, parent).unwrap();
    }
    for number in [2, 3, 4] {
        end(&records, number, "x");
    }
    records.read_by(pid(3), pid(1));
    let later = SMALL.retention + Duration::from_secs(10);
    let sweep = |now| records.lock().index.sweep(now);
    assert_eq!(sweep(SMALL.retention / 2), []);
    assert_eq!(sweep(later), [pid(3), pid(4)], "its parent, or nobody within the realm, waits for it");
    // A parent's end counts as read.
    end(&records, 1, "x");
    assert_eq!(records.lock().index.sweep(later), [pid(2), pid(1)]);
}

#[test]
fn live_procs_take_no_more_bytes_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    let spawned = (1..1000).take_while(|number| spawn(&records, *number, None).is_ok()).count();
    assert!((50..999).contains(&spawned), "{spawned}");
    let error = spawn(&records, 1000, None).unwrap_err();
    assert_eq!(error.code, Code::Quota);
    end(&records, 1, "x");
    spawn(&records, 1000, None).expect("there is room again");
}

#[tokio::test]
async fn the_journal_of_a_busy_realm_stays_short_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    spawn(&records, 1, None).unwrap();
    let long = "x".repeat(4000);
    for number in 2..=10_000 {
        spawn(&records, number, None).unwrap();
        end(&records, number, &long);
        if number % 100 == 0 {
            tokio::task::yield_now().await;
            // The copying is done on another thread.
            while records.lock().rewriting {
                tokio::task::yield_now().await;
            }
        }
    }
    let length = fs::metadata(dir.path().join("journal")).unwrap().len();
    assert!(length < 3 * SLACK, "{length}");
    for records in [Arc::clone(&records), open(dir.path())] {
        assert_eq!(status(&records, 10_000), Some(format!("Err: {long}")));
        assert_eq!(status(&records, 9992), Some(format!("Err: {long}")));
    }
    assert_eq!(records.pids(Some(pid(9000)), 2), (vec![pid(9991), pid(9992)], true));
}

#[test]
fn a_damaged_journal_keeps_what_lies_before_the_damage_and_works_on() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    for number in 1..=2 {
        spawn(&records, number, None).unwrap();
        end(&records, number, "x");
    }
    let path = dir.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let records = open(dir.path());
    assert_eq!(status(&records, 1).as_deref(), Some("Err: x"));
    // It was spawned, and how it ended is lost.
    assert!(status(&records, 2).unwrap().contains("machine lost"));
    assert!(dir.path().join("journal.damaged").exists());
    spawn(&records, 3, None).unwrap();
    end(&records, 3, "after");
    assert_eq!(status(&open(dir.path()), 3).as_deref(), Some("Err: after"));
}
