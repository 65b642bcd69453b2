//! What clients of a namespace get wrong, by mistake or on purpose: each is told so by its code, and nothing else happens.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use prost::Message;
use sigma_abi::frame::{Frame, Kind};
use sigma_test::{Tenant, raw, story, within};
use sigmaos::proto::{
    CloseRequest, EventsRequest, OpenRequest, PathRequest, ReadRequest, RemoveRequest, WriteRequest,
};
use sigmaos::rpc::Bytes;
use sigmaos::{Code, Create, Error, Result, limits, proto, wire};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("it is refused").code
}

/// Every call that takes a path, with this one.
async fn with_path(tenant: &Tenant, path: &str) -> Vec<Result<()>> {
    let sigma = &tenant.sigma;
    let named = tenant.server("/").await;
    let at = || PathRequest { path: path.to_owned() };
    // The SDK refuses what named must not be asked; named refuses it too.
    vec![
        sigma.get_file(path).await.map(drop),
        sigma.put_file(path, "x").await.map(drop),
        sigma.stat(path).await.map(drop),
        sigma.create_dir(path).await,
        sigma.remove(path).await,
        sigma.rename(path, "/x").await,
        sigma.rename("/file", path).await,
        sigma.read_dir(path).await.map(drop),
        sigma.read_link(path).await.map(drop),
        sigma.resolve_mount(path).await.map(drop),
        sigma.open(path).await.map(drop),
        sigma.watch_dir(path).await.map(drop),
        sigma.wait_for(path).await.map(drop),
        sigma.try_elect("/leader", path, "").await.map(drop),
        named.get(at()).await.map(drop),
        named.stat(at()).await.map(drop),
        named.remove(RemoveRequest { path: path.to_owned(), ..Default::default() }).await.map(drop),
        named.open(OpenRequest { path: path.to_owned(), read: true, ..Default::default() }).await.map(drop),
        named.read_dir(proto::ReadDirRequest { path: path.to_owned(), ..Default::default() }).await.map(drop),
    ]
}

#[test]
fn wrong_paths_are_refused_by_every_call() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/file", "kept").await.unwrap();
        let long_name = format!("/{}", "n".repeat(limits::MAX_NAME + 1));
        let long_path = "/n".repeat(limits::MAX_PATH / 2 + 1);
        for (path, expect) in [
            ("relative", Code::Invalid),
            ("", Code::Invalid),
            ("/a/../b", Code::Invalid),
            ("/..", Code::Invalid),
            ("/a\0b", Code::Invalid),
            (long_name.as_str(), Code::TooLarge),
            (long_path.as_str(), Code::TooLarge),
        ] {
            for (number, done) in with_path(&tenant, path).await.into_iter().enumerate() {
                // An election without a fence is one.
                if path.is_empty() && number == 13 {
                    done.unwrap();
                    continue;
                }
                assert_eq!(code(done), expect, "call {number} with {path:?}");
            }
        }
        // What is at the limit is right.
        let longest = format!("/{}", "n".repeat(limits::MAX_NAME));
        tenant.sigma.put_file(&longest, "x").await.unwrap();
        assert_eq!(tenant.sigma.get_file("/./file/.").await.unwrap(), "kept");
    });
}

#[test]
fn links_that_lead_nowhere_or_too_far_are_refused() {
    story(async |machine| {
        let sigma = machine.realm("a").await.sigma;
        sigma.put_file("/link-0", "the end").await.unwrap();
        for number in 1..=limits::MAX_LINKS + 1 {
            sigma.symlink(&format!("/link-{}", number - 1), &format!("/link-{number}")).await.unwrap();
        }
        assert_eq!(sigma.get_file(&format!("/link-{}", limits::MAX_LINKS)).await.unwrap(), "the end");
        assert_eq!(code(sigma.get_file(&format!("/link-{}", limits::MAX_LINKS + 1)).await), Code::Loop);
        sigma.symlink("/itself", "/itself").await.unwrap();
        assert_eq!(code(sigma.get_file("/itself").await), Code::Loop);
        assert_eq!(code(sigma.put_file("/itself/below", "x").await), Code::Loop);
        assert_eq!(code(sigma.wait_for("/itself").await), Code::Loop);
        assert_eq!(sigma.read_link("/itself").await.unwrap(), "/itself");
        sigma.remove("/itself").await.unwrap();
        sigma.symlink("/nowhere", "/dangles").await.unwrap();
        assert_eq!(code(sigma.get_file("/dangles").await), Code::NotFound);
        assert_eq!(code(sigma.symlink("/../x", "/wrong").await), Code::Invalid);
    });
}

#[test]
fn an_entry_is_used_as_what_it_is() {
    story(async |machine| {
        let sigma = machine.realm("a").await.sigma;
        sigma.create_dir("/dir").await.unwrap();
        sigma.put_file("/file", "x").await.unwrap();
        sigma.create("/pipe", Create::pipe()).await.unwrap();
        assert_eq!(code(sigma.get_file("/dir").await), Code::IsDir);
        assert_eq!(code(sigma.open("/dir").await), Code::IsDir);
        assert_eq!(code(sigma.put_file("/dir", "x").await), Code::IsDir);
        assert_eq!(code(sigma.read_dir("/file").await), Code::NotDir);
        assert_eq!(code(sigma.watch_dir("/file").await), Code::NotDir);
        assert_eq!(code(sigma.put_file("/file/below", "x").await), Code::NotDir);
        assert_eq!(code(sigma.read_link("/file").await), Code::Invalid);
        assert_eq!(code(sigma.get_file("/pipe").await), Code::Invalid);
        assert_eq!(code(sigma.open_rpc("/file").await), Code::Invalid);
        assert_eq!(code(sigma.create("/held", Create::directory().ephemeral()).await), Code::Invalid);
        assert_eq!(code(sigma.rename("/dir", "/dir/below").await), Code::Invalid);
        // One byte too many for named, as a whole and in pieces.
        assert_eq!(code(sigma.put_file("/big", vec![0; limits::MAX_NAMED_FILE + 1]).await), Code::TooLarge);
        let how = OpenRequest { write: true, ..Default::default() };
        let mut file = sigma.open_with("/file", how).await.unwrap();
        file.lseek(limits::MAX_NAMED_FILE as u64);
        assert_eq!(code(file.write("x").await), Code::TooLarge);
        file.lseek(u64::MAX);
        assert_eq!(code(file.write("x").await), Code::TooLarge);
        assert_eq!(code(file.read(1).await), Code::Denied);
        assert_eq!(sigma.stat("/file").await.unwrap().size, 1);
    });
}

#[test]
fn handles_that_are_closed_foreign_or_forged_are_refused() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/file", "secret").await.unwrap();
        tenant.sigma.create_dir("/dir").await.unwrap();
        let (one, other) = (tenant.server("/").await, raw::server(&machine.client("a"), "/").await);
        let open = || OpenRequest { path: "/file".into(), read: true, ..Default::default() };
        let handle = one.open(open()).await.unwrap().handle;
        let read = |handle| ReadRequest { handle, offset: 0, length: 9 };
        assert_eq!(one.read_with(read(handle), Bytes::new()).await.unwrap().payload, "secret");
        // A number is the number of something on its own connection alone.
        for handle in [handle, 0, 77, u32::MAX] {
            assert_eq!(code(other.read(read(handle)).await), Code::Closed, "{handle}");
            let write = WriteRequest { handle, ..Default::default() };
            assert_eq!(code(other.write(write).await), Code::Closed, "{handle}");
            assert_eq!(
                code(other.close(CloseRequest { handle, discard: false }).await),
                Code::Closed,
                "{handle}"
            );
            assert_eq!(code(other.events(EventsRequest { handle, seen: 0 }).await), Code::Closed, "{handle}");
        }
        // One that is a file is no watch, and the reverse.
        assert_eq!(code(one.events(EventsRequest { handle, seen: 0 }).await), Code::Invalid);
        let watch = proto::WatchRequest { path: "/dir".into(), ..Default::default() };
        let watch = one.watch(watch).await.unwrap().handle;
        assert_eq!(code(one.read(read(watch)).await), Code::Invalid);
        assert_eq!(
            code(one.write(WriteRequest { handle: watch, ..Default::default() }).await),
            Code::Invalid
        );
        one.close(CloseRequest { handle, discard: false }).await.unwrap();
        assert_eq!(code(one.read(read(handle)).await), Code::Closed);
        assert_eq!(code(one.close(CloseRequest { handle, discard: false }).await), Code::Closed);
        // An entry cannot be opened by a number that is none.
        let forged = OpenRequest { entry: 12_345, read: true, ..Default::default() };
        assert_eq!(code(one.open(forged).await), Code::Closed);
        // What only the kernel may say.
        let control = sigmaos::stub::NamedControlClient(one.0.clone());
        assert_eq!(code(control.ended(proto::EndedRequest { pid: "x".into() }).await), Code::Invalid);
    });
}

/// What the other side says to these bytes: its frames until it closes the connection.
async fn said(mut socket: UnixStream, bytes: Vec<u8>) -> Vec<Frame> {
    let told = tokio::task::spawn_blocking(move || {
        // The other side may have closed the connection before it has all.
        let _ = socket.write_all(&bytes).and_then(|()| socket.shutdown(Shutdown::Write));
        let mut all = Vec::new();
        let _ = socket.read_to_end(&mut all);
        let mut all = BytesMut::from(&all[..]);
        std::iter::from_fn(|| Frame::decode(&mut all).unwrap()).collect()
    });
    within("the end of the connection", told).await.unwrap()
}

#[test]
fn frames_that_are_cut_repeated_out_of_order_or_of_another_version_end_their_connection_alone() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/file", "x").await.unwrap();
        // A connection on which the kernel has written the greeting, and one to the kernel, on which it has not.
        let dial = async || UnixStream::from(tenant.dial("/").await);
        let local = || UnixStream::connect(machine.state().join("sigma.sock")).unwrap();
        let hello = wire::hello(None).encode();
        let call = |method, message: &dyn Fn() -> Vec<u8>| {
            let head = Bytes::from(message());
            Frame { head, ..Frame::new(Kind::Call, 5, method, &proto::Empty {}) }.encode()
        };
        let get = call("Namespace.Get", &|| PathRequest { path: "/file".into() }.encode_to_vec());
        let wait = call("Namespace.Wait", &|| {
            proto::WaitRequest { path: "/x".into(), ..Default::default() }.encode_to_vec()
        });
        let newer = Frame::new(Kind::Hello, 0, "", &proto::Hello { version: 2, ..Default::default() });
        let kind = |kind| Frame::new(kind, 5, "", &proto::Empty {}).encode();
        let mut reserved = get.clone();
        reserved[7] = 1;
        let cases: Vec<(&str, UnixStream, Vec<BytesMut>, Option<Code>)> = vec![
            ("cut short", dial().await, vec![get.clone().split_to(get.len() - 1)], None),
            ("nothing", dial().await, vec![], None),
            ("a second greeting", dial().await, vec![hello.clone()], Some(Code::Protocol)),
            ("a call before the greeting", local(), vec![get.clone()], Some(Code::Protocol)),
            ("two greetings", local(), vec![hello.clone(), hello.clone()], Some(Code::Protocol)),
            ("of a newer version", local(), vec![newer.encode()], Some(Code::Version)),
            ("a tag that is in flight", dial().await, vec![wait.clone(), wait.clone()], Some(Code::Protocol)),
            ("a byte that must be zero", dial().await, vec![reserved], Some(Code::Protocol)),
            ("a reply to nothing", dial().await, vec![kind(Kind::Reply), get.clone()], None),
            ("a cancellation of nothing", dial().await, vec![kind(Kind::Cancel), get.clone()], None),
            ("a farewell", dial().await, vec![kind(Kind::Bye), get.clone()], None),
        ];
        for (what, socket, frames, expect) in cases {
            let said = said(socket, frames.concat()).await;
            let bye = said.iter().find(|frame| frame.kind == Kind::Bye);
            let told = bye.map(|bye| Error::from(bye.message::<proto::Failure>().unwrap()).code);
            assert_eq!(told, expect, "{what}: {said:?}");
            assert_eq!(tenant.sigma.get_file("/file").await.unwrap(), "x", "{what}");
        }
        // A repeated call is answered twice: it is no change, and its tag was free again.
        let twice = said(dial().await, [get.clone(), get.clone()].concat()).await;
        assert_eq!(twice.iter().filter(|frame| frame.kind == Kind::Reply).count(), 2);
        // A head that is not the message, and a method that is none, are answered, and the connection goes on.
        let wrong = call("Namespace.Get", &|| vec![0xff, 0xff]);
        let unknown = call("Namespace.Fly", &Vec::new);
        for (bad, expect) in [(wrong, Code::Invalid), (unknown, Code::Unsupported)] {
            let said = said(dial().await, [bad, get.clone()].concat()).await;
            let failure = said.iter().find(|frame| frame.kind == Kind::Failure).unwrap();
            assert_eq!(Error::from(failure.message::<proto::Failure>().unwrap()).code, expect);
            assert_eq!(said.iter().filter(|frame| frame.kind == Kind::Reply).count(), 1);
        }
    });
}
