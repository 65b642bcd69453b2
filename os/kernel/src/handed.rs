//! Connections that were handed to procs of a realm and that nobody has taken yet.
//!
//! A descriptor on its way is in no process, so no limit of descriptors counts it. Each door bounds what waits on it; this
//! bounds on how many doors of a realm something waits, and so what a realm can hold of what all share.

use sigma_abi::{Code, Error, Result};
use sigmaos::wire::{Connection, WeakConnection};
use std::sync::{Mutex, PoisonError};

/// Doors of one realm on which something may wait.
const MAX_WAITING: usize = 64;

/// The doors of one realm that had not read all that they were sent.
#[derive(Debug, Default)]
pub(crate) struct Handed(Mutex<Vec<WeakConnection>>);

impl Handed {
    /// Whether a connection may be handed over on a door: it has read all before, or few others have not.
    ///
    /// # Errors
    /// `Busy` past [`MAX_WAITING`].
    pub(crate) fn check(&self, door: &Connection) -> Result<()> {
        if door.is_read() {
            return Ok(());
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.iter().any(|other| other.is(door)) {
            return Ok(());
        }
        if waiting.len() >= MAX_WAITING {
            waiting.retain(|other| {
                other.upgrade().is_some_and(|other| other.closed().is_none() && !other.is_read())
            });
        }
        if waiting.len() >= MAX_WAITING {
            let text =
                format!("{MAX_WAITING} procs of the realm do not take the connections that they were handed");
            return Err(Error::new(Code::Busy, text));
        }
        waiting.push(door.downgrade());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigma_abi::frame::{Frame, Kind};
    use sigma_abi::proto;
    use std::os::unix::net::UnixStream;

    /// Procs that each kept a few connections untaken once added up without end.
    #[tokio::test]
    async fn doors_that_are_not_read_are_bounded_for_a_realm() {
        let handed = Handed::default();
        let mut doors = Vec::new();
        let mut open = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (door, driver) = Connection::new(ours, false, Box::new(|_| panic!("nobody speaks"))).unwrap();
            doors.push((theirs, driver));
            door
        };
        let hand = |door: &Connection| {
            handed.check(door)?;
            let accept = Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept { mount: "/a".into() });
            door.send(accept, vec![std::fs::File::open("/dev/null").unwrap().into()])
        };
        let mut kept = Vec::new();
        let last = loop {
            let door = open();
            hand(&door).unwrap();
            // It is known to wait only when it is to get another one.
            if let Err(error) = hand(&door) {
                break (door, error);
            }
            kept.push(door);
        };
        assert_eq!((kept.len(), last.1.code), (MAX_WAITING, Code::Busy));
        kept.pop();
        doors.remove(MAX_WAITING - 1);
        hand(&last.0).expect("a door that has gone makes room");
    }
}
