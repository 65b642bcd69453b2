//! What is written down, and what costs no commit.

use super::*;
use crate::tree::{Action, Batch, New};
use bytes::Bytes;
use sigma_abi::proto::Stamp;
use sigma_abi::{Path, Pid, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// A store that counts its commits.
struct Counted {
    kept: Memory,
    commits: Arc<AtomicU64>,
    slow: bool,
}

impl Store for Counted {
    fn load(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>> {
        self.kept.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.kept.commit(batch)
    }

    fn room(&self) -> Option<u64> {
        None
    }

    fn is_slow(&self) -> bool {
        self.slow
    }
}

/// Once the end of each tool and proc cost a commit, whatever it had done.
#[test]
fn the_end_of_a_proc_that_holds_nothing_is_not_written_down() {
    for slow in [false, true] {
        block_on(async {
            let commits = Arc::new(AtomicU64::new(0));
            let counted = Counted { kept: Memory::default(), commits: Arc::clone(&commits), slow };
            let server = Server::open(Box::new(counted), Limits::default(), 0).unwrap();
            let pid = |number: u64| format!("m00000001-1-{number}").parse::<Pid>().unwrap();
            let apply = async |number: u64, stamp: Option<Stamp>, action: Action| {
                let caller = server.caller(&caller(number)).unwrap();
                let before = commits.load(Ordering::SeqCst);
                server.apply(caller, Vec::new(), stamp.as_ref(), action).await.unwrap();
                commits.load(Ordering::SeqCst) - before
            };
            let put = |path: &str, ephemeral| Action::Put {
                path: Path::parse(path).unwrap(),
                new: New { perm: 0o66, ephemeral },
                exclusive: true,
                contents: Bytes::new(),
            };
            let stamp = Stamp { session: 1, number: 1, done: 0 };
            // One that did nothing, one whose answers are kept, and one that holds something.
            assert_eq!(apply(2, Some(stamp), put("/x", false)).await, 1);
            assert_eq!(apply(2, Some(stamp), put("/x", false)).await, 0, "that is the same change");
            assert_eq!(apply(3, None, put("/held", true)).await, 1);
            assert_eq!(apply(0, None, Action::Ended { pid: pid(1) }).await, 0);
            assert_eq!(apply(0, None, Action::Ended { pid: pid(2) }).await, 0);
            assert_eq!(apply(0, None, Action::Ended { pid: pid(3) }).await, 1);
            assert_eq!(apply(0, None, Action::Ended { pid: pid(3) }).await, 0);
            // The answers were forgotten all the same: under the same number there is another change.
            assert_eq!(apply(2, Some(stamp), put("/y", false)).await, 1);
        });
    }
}
