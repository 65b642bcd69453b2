//! A change whose answer was lost between being carried out and being told: sent again it is answered, and not carried out again.
//!
//! What makes it certain: the caller never reads its answer; another client sees the change, so it is durable; then named is
//! killed, and what it knew beside its store is gone.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use prost::Message;
use sigma_abi::frame::{Frame, Kind};
use sigma_test::{Machine, Tenant, eventually, story, within};
use sigmaos::proto::{
    CreateRequest, ElectRequest, MountRequest, OpenRequest, PutRequest, RemoveRequest, RenameRequest, Stamp,
    WriteRequest,
};
use sigmaos::{Code, Error, Result, proto};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A client that sends calls by itself.
struct Sender<'a> {
    machine: &'a Machine,
    tenant: &'a Tenant,
    last: u64,
}

impl Sender<'_> {
    /// The next number of a change.
    fn stamp(&mut self) -> Option<Stamp> {
        self.last += 1;
        Some(Stamp { session: 1, number: self.last, done: 0 })
    }

    /// Sends a call and gives the connection, from which nothing was read. A named that has just died takes none.
    async fn send(&self, method: &'static str, message: &impl Message, payload: &[u8]) -> UnixStream {
        let payload = bytes::Bytes::copy_from_slice(payload);
        let call = Frame { payload, ..Frame::new(Kind::Call, 1, method, message) }.encode();
        loop {
            let mut socket = UnixStream::from(self.tenant.dial("/").await);
            // The kernel has written the greeting.
            if socket.write_all(&call).is_ok() {
                return socket;
            }
        }
    }

    /// What is answered to a call, which is sent until it is.
    async fn ask<T: Message + Default>(
        &self,
        method: &'static str,
        message: &impl Message,
        payload: &[u8],
    ) -> Result<T> {
        loop {
            let socket = self.send(method, message, payload).await;
            let answer = tokio::task::spawn_blocking(|| answer(socket));
            let Some(frame) = within("an answer", answer).await.unwrap() else { continue };
            return match frame.kind {
                Kind::Failure => Err(Error::from(frame.message::<proto::Failure>().unwrap())),
                _ => Ok(frame.message().unwrap()),
            };
        }
    }

    /// Sends a call whose answer is lost: `seen` says when it was carried out; then named dies.
    async fn lose(
        &self,
        method: &'static str,
        message: &impl Message,
        payload: &[u8],
        seen: impl AsyncFn() -> bool,
    ) {
        let unread = self.send(method, message, payload).await;
        eventually("the change is durable", async || seen().await.then_some(())).await;
        self.machine.kill_9("named").await;
        drop(unread);
    }
}

/// The first frame after the greeting; none where the server has gone.
fn answer(mut socket: UnixStream) -> Option<Frame> {
    let (mut all, mut piece) = (BytesMut::new(), [0; 4096]);
    loop {
        while let Some(frame) = Frame::decode(&mut all).unwrap() {
            if frame.kind != Kind::Hello {
                return Some(frame);
            }
        }
        let count = socket.read(&mut piece).ok().filter(|count| *count > 0)?;
        all.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_answered_and_not_carried_out_again() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let sigma = machine.client("a");
        let exists = async |path: &str| sigma.stat(path).await.is_ok();
        let mut sender = Sender { machine, tenant: &tenant, last: 0 };

        // A file that must be new: carried out again it would exist already.
        let put = PutRequest {
            path: "/a".into(),
            exclusive: true,
            perm: 0o66,
            stamp: sender.stamp(),
            ..Default::default()
        };
        sender.lose("Namespace.Put", &put, b"first", async || exists("/a").await).await;
        let made = sigma.stat("/a").await.unwrap();
        let stat: proto::Stat = sender.ask("Namespace.Put", &put, b"first").await.unwrap();
        assert_eq!((stat.entry, stat.version), (made.entry, made.version));

        // What came in between stays: carried out again the file would be back, with what was in it.
        let put = PutRequest { path: "/b".into(), perm: 0o66, stamp: sender.stamp(), ..Default::default() };
        sender.lose("Namespace.Put", &put, b"old", async || exists("/b").await).await;
        sigma.put_file("/b", "new").await.unwrap();
        sender.ask::<proto::Stat>("Namespace.Put", &put, b"old").await.unwrap();
        assert_eq!(sigma.get_file("/b").await.unwrap(), "new");

        // An entry that somebody has removed meanwhile is not made again; there is none to hold open.
        let create = CreateRequest {
            path: "/c".into(),
            exclusive: true,
            perm: 0o66,
            stamp: sender.stamp(),
            ..Default::default()
        };
        sender.lose("Namespace.Create", &create, b"", async || exists("/c").await).await;
        sigma.remove("/c").await.unwrap();
        let opened: proto::Opened = sender.ask("Namespace.Create", &create, b"").await.unwrap();
        assert_eq!(opened.handle, 0);
        assert!(!exists("/c").await);

        let rename = RenameRequest {
            from: "/a".into(),
            to: "/moved".into(),
            stamp: sender.stamp(),
            ..Default::default()
        };
        sender.lose("Namespace.Rename", &rename, b"", async || exists("/moved").await).await;
        sigma.put_file("/a", "another").await.unwrap();
        sender.ask::<proto::Empty>("Namespace.Rename", &rename, b"").await.unwrap();
        assert_eq!(sigma.get_file("/moved").await.unwrap(), "first");
        assert_eq!(sigma.get_file("/a").await.unwrap(), "another");

        let remove = RemoveRequest { path: "/a".into(), stamp: sender.stamp(), ..Default::default() };
        sender.lose("Namespace.Remove", &remove, b"", async || !exists("/a").await).await;
        sigma.put_file("/a", "once more").await.unwrap();
        sender.ask::<proto::Empty>("Namespace.Remove", &remove, b"").await.unwrap();
        assert!(exists("/a").await);

        let elect =
            ElectRequest { path: "/leader".into(), perm: 0o66, fence: "/a".into(), stamp: sender.stamp() };
        sender.lose("Namespace.Elect", &elect, b"me", async || exists("/leader").await).await;
        let elected: proto::Elected = sender.ask("Namespace.Elect", &elect, b"me").await.unwrap();
        assert_eq!(elected.epoch, sigma.stat("/leader").await.unwrap().version);

        // The number of a change that was answered is not taken for another one.
        let late = PutRequest {
            path: "/late".into(),
            stamp: Some(Stamp { session: 1, number: sender.last, done: sender.last }),
            ..Default::default()
        };
        sender.ask::<proto::Stat>("Namespace.Put", &late, b"").await.unwrap();
        assert!(!exists("/late").await, "that was the answer to the election");
        let next = PutRequest {
            path: "/next".into(),
            perm: 0o66,
            stamp: Some(Stamp { session: 1, number: sender.last + 1, done: sender.last }),
            ..Default::default()
        };
        sender.ask::<proto::Stat>("Namespace.Put", &next, b"").await.unwrap();
        let error = sender.ask::<proto::Elected>("Namespace.Elect", &elect, b"me").await.unwrap_err();
        assert_eq!(error.code, Code::Invalid, "its answer was taken: {error}");
    });
}

#[test]
fn a_mount_and_a_write_whose_answers_were_lost_are_not_carried_out_again() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let sigma = machine.client("a");
        let mut sender = Sender { machine, tenant: &tenant, last: 0 };
        let names = async || -> Vec<String> {
            sigma.read_dir("/").await.unwrap().into_iter().map(|entry| entry.name).collect()
        };

        // A mount that somebody has removed meanwhile is not there again.
        let mount =
            MountRequest { path: "/here".into(), perm: 0o66, stamp: sender.stamp(), ..Default::default() };
        let there = async || names().await.contains(&"here".to_owned());
        sender.lose("Namespace.Mount", &mount, b"", there).await;
        sigma.remove("/here").await.unwrap();
        sender.ask::<proto::Empty>("Namespace.Mount", &mount, b"").await.unwrap();
        assert!(!there().await);

        // What was written in between stays.
        sigma.put_file("/file", "....").await.unwrap();
        let stamp = sender.stamp();
        let write = async || {
            let open = OpenRequest { path: "/file".into(), write: true, ..Default::default() };
            let socket = sender.send("Namespace.Open", &open, b"").await;
            let mut again = socket.try_clone().unwrap();
            let opened = tokio::task::spawn_blocking(|| answer(socket)).await.unwrap()?;
            let handle = opened.message::<proto::Opened>().unwrap().handle;
            let write = WriteRequest { handle, stamp, ..Default::default() };
            let frame = Frame::new(Kind::Call, 2, "Namespace.Write", &write);
            again.write_all(&Frame { payload: "old".into(), ..frame }.encode()).ok()?;
            Some(again)
        };
        let unread = eventually("a write is sent", write).await;
        eventually("it is durable", async || {
            (sigma.get_file("/file").await.unwrap() == "old.").then_some(())
        })
        .await;
        machine.kill_9("named").await;
        drop(unread);
        sigma.put_file("/file", "new").await.unwrap();
        let socket = eventually("the write is sent again", write).await;
        let told = tokio::task::spawn_blocking(|| answer(socket)).await.unwrap().unwrap();
        assert_eq!((told.kind, told.message::<proto::Written>().unwrap().length), (Kind::Reply, 3));
        assert_eq!(sigma.get_file("/file").await.unwrap(), "new");
    });
}
