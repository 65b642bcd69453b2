//! A connection alone, and what its peer would see of it.

use super::*;
use crate::rpc::{Answer, Call, unknown_method};
use crate::wire::{Session, hello};
use std::pin::pin;
use std::task::{Context, Waker};
use tokio::net::UnixStream;

/// A socket of ours, and the other side of it.
fn pair() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours.into(), UnixStream::from_std(theirs).unwrap())
}

/// A server that mounts itself and never reads its door once took every descriptor of its kernel.
#[tokio::test]
async fn a_peer_that_does_not_read_is_sent_few_descriptors() {
    let (ours, _theirs) = pair();
    let (connection, _driver) = Connection::new(ours, false, Box::new(|_| panic!("nobody speaks"))).unwrap();
    let accept = || Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept { mount: "/a".into() });
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let refused =
        (0..5000).find_map(|sent| connection.send(accept(), vec![null()]).err().map(|error| (sent, error)));
    let (sent, error) = refused.expect("a peer that does not read is refused at some time");
    assert_eq!(error.code, Code::Busy, "after {sent}: {error}");
    assert!((8..100).contains(&sent), "{sent}: enough for a burst, and no more");
    assert_eq!(connection.closed(), None, "the connection itself goes on");
}

/// The side of a connection that only calls.
struct Nobody;

impl Session for Nobody {
    fn call(&self, call: Call) -> Answer {
        unknown_method(&call)
    }
}

/// Who had written to a server that closed the connection once heard of a broken pipe, and not why.
#[tokio::test]
async fn what_was_said_before_the_end_is_heard() {
    let (ours, theirs) = pair();
    let failure = proto::Failure::from(Error::new(Code::Busy, "too many connections"));
    for frame in [hello(None), Frame::new(Kind::Bye, 0, "", &failure)] {
        theirs.writable().await.unwrap();
        theirs.try_write(&frame.encode()).unwrap();
    }
    drop(theirs);
    let (connection, driver) = Connection::new(ours, false, Box::new(|_| Ok(Arc::new(Nobody)))).unwrap();
    tokio::spawn(driver);
    let call = Frame::new(Kind::Call, 0, "Echo.Say", &proto::Empty {});
    let error = connection.call(call).await.unwrap_err();
    assert_eq!((error.code, error.maybe_done), (Code::Busy, false), "{error}");
    assert!(error.message.contains("too many connections"), "{error}");
}

/// A connection, and what its peer would read of it.
fn alone() -> (Connection, Driver, UnixStream) {
    let (ours, theirs) = pair();
    let (connection, driver) = Connection::new(ours, false, Box::new(|_| panic!("nobody speaks"))).unwrap();
    (connection, driver, theirs)
}

/// Polls a call once, so that it is sent.
fn begin(call: std::pin::Pin<&mut impl Future<Output = Answered>>) {
    assert!(call.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn answered(connection: &Connection, tag: u32, message: &impl prost::Message) {
    connection.0.0.complete(tag, Ok((Frame::new(Kind::Reply, tag, "", message), Vec::new())));
}

/// The tag of the only call that waits.
fn tag_of(connection: &Connection) -> u32 {
    let state = connection.0.0.lock();
    let (place, pending) = state.pending.iter().next_back().unwrap();
    (u32::from(pending.generation) << 16) | place as u32
}

fn sent(theirs: &UnixStream) -> Vec<Frame> {
    let mut buffer = bytes::BytesMut::new();
    while theirs.try_read_buf(&mut buffer).is_ok_and(|count| count > 0) {}
    std::iter::from_fn(|| Frame::decode(&mut buffer).unwrap()).collect()
}

/// A call that was dropped with its answer already there once took the place of the next one from it, which then failed
/// although its connection lived.
#[tokio::test]
async fn dropping_an_answered_call_harms_no_other() {
    let (connection, _driver, _theirs) = alone();
    let call = || connection.call(Frame::new(Kind::Call, 0, "Echo.Say", &proto::Empty {}));
    let mut second = {
        let mut first = Box::pin(call());
        begin(first.as_mut());
        answered(&connection, tag_of(&connection), &proto::Empty {});
        let mut second = Box::pin(call());
        begin(second.as_mut());
        drop(first);
        second
    };
    answered(&connection, tag_of(&connection), &proto::Empty {});
    assert!(second.as_mut().await.is_ok());
}

/// Whenever the caller of an open goes, what the server has opened is closed.
#[tokio::test]
async fn what_nobody_takes_is_closed() {
    let opened = proto::Opened { handle: 7, stat: None };
    for answered_before in [true, false] {
        let (connection, _driver, theirs) = alone();
        let open = Frame::new(Kind::Call, 0, "Namespace.Open", &proto::Empty {});
        let mut call = Box::pin(connection.call(open));
        begin(call.as_mut());
        let tag = tag_of(&connection);
        if answered_before {
            answered(&connection, tag, &opened);
        }
        drop(call);
        if !answered_before {
            answered(&connection, tag, &opened);
            answered(&connection, tag, &opened);
        }
        theirs.readable().await.unwrap();
        let closed: Vec<_> =
            sent(&theirs).into_iter().filter(|frame| frame.method() == "Namespace.Close").collect();
        assert_eq!(closed.len(), 1, "answered before: {answered_before}");
        assert_eq!(closed[0].message::<proto::CloseRequest>().unwrap().handle, 7);
    }
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_what_it_does_not_open_needs_no_close() {
    let (connection, _driver, theirs) = alone();
    {
        let mut call = pin!(connection.call(Frame::new(Kind::Call, 0, "Namespace.Get", &proto::Empty {})));
        begin(call.as_mut());
    }
    theirs.readable().await.unwrap();
    let kinds: Vec<_> = sent(&theirs).iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::Call, Kind::Cancel]);
    let state = connection.0.0.lock();
    assert!(state.pending.is_empty() && state.cancelled.is_empty());
}
