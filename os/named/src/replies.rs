//! Exactly once: the answers to numbered changes, kept until the client has them. Pure.

use crate::tree::{Batch, Id, Reply};
use bytes::Bytes;
use prost::Message;
use sigma_abi::proto::{Stamp, Stat};
use sigma_abi::{Code, Error, Pid, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Changes of one session that may wait for their answers to be taken.
pub const MAX_OPEN: usize = 1024;

/// Sessions of one proc.
pub const MAX_SESSIONS_OF_PID: usize = 64;

/// Sessions of a namespace.
pub const MAX_SESSIONS: usize = 100_000;

/// How long a session is kept after its last change: twice as long as a client sends a change again.
pub const KEEP_MS: u64 = 60_000;

/// What begins the key of a session; its pid and number follow.
const SESSION: u8 = b's';

/// Whose session it is, and its name there.
type Key = (Pid, u64);

/// The sessions of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    sessions: BTreeMap<Key, Session>,
    /// Sessions by the time of their last change.
    by_time: BTreeSet<(u64, Key)>,
    changed: BTreeSet<Key>,
    /// An answer was kept that is not written down.
    kept: bool,
}

#[derive(Clone, Debug, Default)]
struct Session {
    last_ms: u64,
    done: u64,
    replies: BTreeMap<u64, Reply>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionRecord {
    #[prost(uint64, tag = "1")]
    last_ms: u64,
    #[prost(uint64, tag = "2")]
    done: u64,
    #[prost(message, repeated, tag = "3")]
    replies: Vec<ReplyRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct ReplyRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    /// None where the change made or found no entry.
    #[prost(message, optional, tag = "2")]
    entry: Option<Stat>,
}

impl Replies {
    /// The answer that a change has had before; none where it is new.
    ///
    /// # Errors
    /// `Invalid` for a number whose answer the client has said to have; `Busy` past the limits.
    pub fn find(&self, pid: Pid, stamp: &Stamp) -> Result<Option<Reply>> {
        let Some(session) = self.sessions.get(&(pid, stamp.session)) else {
            let of_pid = self.sessions.range((pid, 0)..=(pid, u64::MAX)).take(MAX_SESSIONS_OF_PID).count();
            if of_pid >= MAX_SESSIONS_OF_PID || self.sessions.len() >= MAX_SESSIONS {
                let text = format!("{pid} has {of_pid} sessions of changes, all {}", self.sessions.len());
                return Err(Error::new(
                    Code::Busy,
                    text + ": too many; they end a minute after their last change",
                ));
            }
            return Ok(None);
        };
        if let Some(reply) = session.replies.get(&stamp.number) {
            return Ok(Some(reply.clone()));
        }
        if stamp.number <= session.done {
            let text = format!("change {} was answered, and its answer taken", stamp.number);
            return Err(Error::new(Code::Invalid, text));
        }
        if session.replies.len() >= MAX_OPEN && stamp.done <= session.done {
            let text = format!("{MAX_OPEN} changes wait for their answers to be taken");
            return Err(Error::new(Code::Busy, text));
        }
        Ok(None)
    }

    /// Keeps the answer to a change that was carried out.
    pub fn keep(&mut self, pid: Pid, stamp: &Stamp, now_ms: u64, reply: Reply) {
        let key = (pid, stamp.session);
        let session = self.sessions.entry(key).or_default();
        if session.last_ms < now_ms || session.replies.is_empty() {
            self.by_time.remove(&(session.last_ms, key));
            session.last_ms = session.last_ms.max(now_ms);
            self.by_time.insert((session.last_ms, key));
        }
        // Whatever a client says to have, the answer to this change it cannot have.
        session.done = session.done.max(stamp.done.min(stamp.number.saturating_sub(1)));
        while session.replies.first_key_value().is_some_and(|(number, _)| *number <= session.done) {
            session.replies.pop_first();
        }
        session.replies.insert(stamp.number, reply);
        self.changed.insert(key);
        self.kept = true;
        self.forget_old(now_ms);
    }

    /// Forgets sessions whose last change is long ago.
    fn forget_old(&mut self, now_ms: u64) {
        while let Some((last_ms, key)) = self.by_time.first().copied() {
            if last_ms + KEEP_MS >= now_ms {
                return;
            }
            self.by_time.pop_first();
            self.sessions.remove(&key);
            self.changed.insert(key);
        }
    }

    /// Forgets the sessions of a proc that has ended.
    pub fn end(&mut self, pid: Pid) {
        let keys: Vec<_> = self.sessions.range((pid, 0)..=(pid, u64::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(session) = self.sessions.remove(&key) {
                self.by_time.remove(&(session.last_ms, key));
                self.changed.insert(key);
            }
        }
    }

    /// Forgets the sessions of the procs of a machine that do not live.
    pub fn keep_alive(&mut self, machine: &str, alive: &BTreeSet<Pid>) {
        let dead = |pid: &Pid| !alive.contains(pid) && pid.home.to_string() == machine;
        let dead: BTreeSet<_> = self.sessions.keys().map(|(pid, _)| *pid).filter(dead).collect();
        dead.into_iter().for_each(|pid| self.end(pid));
    }

    /// Whether an answer was kept since [`Replies::write_down`].
    pub fn is_changed(&self) -> bool {
        self.kept
    }

    /// Adds to `batch` all that has changed since this was last called.
    pub fn write_down(&mut self, batch: &mut Batch) {
        self.kept = false;
        for key in std::mem::take(&mut self.changed) {
            let record = self.sessions.get(&key).map(|session| Bytes::from(session.record().encode_to_vec()));
            let (pid, number) = key;
            batch.insert(
                [&[SESSION], format!("{pid}").as_bytes(), b" ", &number.to_be_bytes()].concat(),
                record,
            );
        }
    }

    /// Whether a key is a session's.
    pub fn owns(key: &[u8]) -> bool {
        key.first() == Some(&SESSION)
    }

    /// The sessions that were written down.
    ///
    /// # Errors
    /// `Internal`, naming the key that makes no sense.
    pub fn read_back(records: Vec<(Vec<u8>, Bytes)>) -> Result<Self> {
        let mut replies = Self::default();
        for (key, value) in records {
            let damaged = || Error::new(Code::Internal, format!("the record {key:02x?} makes no sense"));
            let (pid, number) =
                key[1..].split_at_checked(key.len().saturating_sub(10)).ok_or_else(damaged)?;
            let number = number.strip_prefix(b" ").and_then(|number| number.try_into().ok());
            let number = number.map(u64::from_be_bytes).ok_or_else(damaged)?;
            let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok()).ok_or_else(damaged)?;
            let record = SessionRecord::decode(value).map_err(|_| damaged())?;
            replies.by_time.insert((record.last_ms, (pid, number)));
            replies.sessions.insert((pid, number), Session::from(record));
        }
        Ok(replies)
    }
}

impl Session {
    fn record(&self) -> SessionRecord {
        let entry = |reply: &Reply| match reply {
            Reply::Done => None,
            Reply::Entry { stat, .. } => Some(stat.clone()),
        };
        let replies =
            self.replies.iter().map(|(number, reply)| ReplyRecord { number: *number, entry: entry(reply) });
        SessionRecord { last_ms: self.last_ms, done: self.done, replies: replies.collect() }
    }
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        let reply = |entry: Option<Stat>| match entry {
            Some(stat) => Reply::Entry { id: Id(stat.entry), stat },
            None => Reply::Done,
        };
        let replies = record.replies.into_iter().map(|kept| (kept.number, reply(kept.entry)));
        Self { last_ms: record.last_ms, done: record.done, replies: replies.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigma_abi::MachineId;

    fn pid(number: u64) -> Pid {
        Pid { home: MachineId(1), epoch: 1, number }
    }

    fn stamp(number: u64, done: u64) -> Stamp {
        Stamp { session: 7, number, done }
    }

    /// Whatever was written down, read again.
    fn again(replies: &mut Replies, kept: &mut BTreeMap<Vec<u8>, Bytes>) -> Replies {
        let mut batch = Batch::new();
        replies.write_down(&mut batch);
        for (key, value) in batch {
            assert!(Replies::owns(&key));
            match value {
                Some(value) => drop(kept.insert(key, value)),
                None => drop(kept.remove(&key)),
            }
        }
        Replies::read_back(kept.clone().into_iter().collect()).unwrap()
    }

    #[test]
    fn an_answer_is_kept_until_it_is_taken() {
        let (mut replies, mut kept) = (Replies::default(), BTreeMap::new());
        assert_eq!(replies.find(pid(1), &stamp(1, 0)), Ok(None));
        let stat = Stat { entry: 5, name: "x".into(), ..Stat::default() };
        let reply = Reply::Entry { id: Id(5), stat };
        replies.keep(pid(1), &stamp(1, 0), 10, reply.clone());
        let mut replies = again(&mut replies, &mut kept);
        assert_eq!(replies.find(pid(1), &stamp(1, 0)), Ok(Some(reply)));
        assert_eq!(replies.find(pid(2), &stamp(1, 0)), Ok(None), "a session is its pid's");
        replies.keep(pid(1), &stamp(2, 1), 11, Reply::Done);
        let replies = again(&mut replies, &mut kept);
        assert_eq!(replies.find(pid(1), &stamp(1, 0)).unwrap_err().code, Code::Invalid);
        assert_eq!(replies.find(pid(1), &stamp(2, 1)), Ok(Some(Reply::Done)));
    }

    /// A client that said to have the answers to all changes there can be once made named panic.
    #[test]
    fn a_client_cannot_have_answers_that_were_not_given() {
        let mut replies = Replies::default();
        replies.keep(pid(1), &stamp(3, u64::MAX), 10, Reply::Done);
        assert_eq!(replies.find(pid(1), &stamp(3, u64::MAX)), Ok(Some(Reply::Done)));
        replies.keep(pid(1), &stamp(u64::MAX, u64::MAX), 11, Reply::Done);
        assert_eq!(replies.find(pid(1), &stamp(u64::MAX, 0)), Ok(Some(Reply::Done)));
    }

    #[test]
    fn sessions_end_with_their_procs_or_after_a_minute() {
        let (mut replies, mut kept) = (Replies::default(), BTreeMap::new());
        for number in 1..=3 {
            replies.keep(pid(number), &stamp(1, 0), 1000 * number, Reply::Done);
        }
        replies.end(pid(3));
        replies.keep(pid(4), &stamp(1, 0), 1001 + KEEP_MS, Reply::Done);
        let replies = again(&mut replies, &mut kept);
        let left: Vec<_> = replies.sessions.keys().map(|(pid, _)| pid.number).collect();
        assert_eq!((left, kept.len()), (vec![2, 4], 2));
    }

    #[test]
    fn who_takes_no_answers_is_refused_at_some_time() {
        let mut replies = Replies::default();
        for number in 1..=MAX_OPEN as u64 {
            assert_eq!(replies.find(pid(1), &stamp(number, 0)), Ok(None));
            replies.keep(pid(1), &stamp(number, 0), 0, Reply::Done);
        }
        let next = MAX_OPEN as u64 + 1;
        assert_eq!(replies.find(pid(1), &stamp(next, 0)).unwrap_err().code, Code::Busy);
        assert_eq!(replies.find(pid(1), &stamp(next, next - 1)), Ok(None));
        for session in 1..=MAX_SESSIONS_OF_PID as u64 {
            replies.keep(pid(2), &Stamp { session, number: 1, done: 0 }, 0, Reply::Done);
        }
        let more = Stamp { session: 99, number: 1, done: 0 };
        assert_eq!(replies.find(pid(2), &more).unwrap_err().code, Code::Busy);
        assert_eq!(replies.find(pid(3), &more), Ok(None));
    }
}
