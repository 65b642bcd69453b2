//! Every code of an error is what some caller is told, on a real machine; or it is said here why none is.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use sigma_abi::frame::{Frame, Kind};
use sigma_test::{Machine, Tenant, host, story, within};
use sigmaos::proto::{OpenRequest, PathRequest, PutRequest, ReadRequest, WaitRequest, WatchRequest};
use sigmaos::rpc::Bytes;
use sigmaos::{Code, Create, Error, limits, proto};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a call waits that shall not be answered.
const SHORT: Duration = Duration::from_millis(20);

/// Bytes that the files of a namespace may have, and as many files of the greatest size.
const MOST_BYTES: usize = 256 << 20;
const MOST_FILES: usize = MOST_BYTES / limits::MAX_NAMED_FILE;

#[test]
fn every_code_is_told_to_somebody() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir_all("/dir/below").await.unwrap();
        tenant.sigma.put_file("/file", "x").await.unwrap();
        let codes: Vec<_> = (0..100).filter_map(|number| Code::try_from(number).ok()).collect();
        assert_eq!(codes.len(), 22, "a new code has its case below");
        for code in codes {
            match provoke(machine, &tenant, code).await {
                Ok(error) => {
                    assert_eq!(error.code, code, "{error}");
                    assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
                }
                Err(reason) => assert!(reason.len() > 20, "{code:?}: a reason says why"),
            }
        }
    });
}

/// An error of this code; or why nobody is told it.
async fn provoke(machine: &Machine, tenant: &Tenant, code: Code) -> Result<Error, &'static str> {
    let sigma = &tenant.sigma;
    let error = match code {
        Code::Unspecified => return Err("it stands for codes of newer builds, as os/abi/src/error.rs tests"),
        Code::NotFound => sigma.get_file("/nothing").await.unwrap_err(),
        Code::Exists => sigma.create_dir("/dir").await.unwrap_err(),
        Code::NotEmpty => sigma.remove("/dir").await.unwrap_err(),
        Code::NotDir => sigma.get_file("/file/below").await.unwrap_err(),
        Code::IsDir => sigma.get_file("/dir").await.unwrap_err(),
        Code::Invalid => sigma.get_file("relative").await.unwrap_err(),
        Code::Denied => {
            let how = OpenRequest { write: true, ..Default::default() };
            sigma.open_with("/file", how).await.unwrap().read(1).await.unwrap_err()
        }
        Code::Quota => quota(tenant).await,
        Code::TooLarge => sigma.put_file("/large", vec![0; limits::MAX_NAMED_FILE + 1]).await.unwrap_err(),
        Code::Busy => busy(tenant).await,
        Code::Stale => stale(machine).await,
        Code::Version => {
            let named = tenant.server("/").await;
            let request = WatchRequest { path: "/dir".into(), after: 1, entry: 1 };
            named.watch(request).await.unwrap_err()
        }
        Code::Closed => {
            let named = tenant.server("/").await;
            named.read(ReadRequest { handle: 99, offset: 0, length: 1 }).await.unwrap_err()
        }
        Code::Deadline => {
            let named = tenant.server("/").await;
            let hasty = sigmaos::stub::NamespaceClient(named.0.deadline(Some(SHORT)));
            hasty.wait(WaitRequest { path: "/never".into(), ..Default::default() }).await.unwrap_err()
        }
        Code::Unreachable => unreachable(machine, tenant).await,
        Code::Unsupported => sigma.create("/ux/~local/pipe", Create::pipe()).await.unwrap_err(),
        Code::Moved => {
            let error =
                tenant.server("/").await.stat(PathRequest { path: "/bin/x".into() }).await.unwrap_err();
            let moved = error.moved.as_ref().unwrap();
            assert_eq!((moved.mount.as_str(), moved.rest.as_str()), ("/bin", "/x"));
            error
        }
        Code::Loop => {
            sigma.symlink("/circle", "/circle").await.unwrap();
            sigma.get_file("/circle").await.unwrap_err()
        }
        Code::Protocol => protocol(tenant).await,
        Code::Internal => internal(machine).await,
        Code::Ended => {
            let pid = tenant.spawn("actor exit:0").await;
            tenant.wait_exit(pid).await;
            tenant.wait_start(pid).await.unwrap_err()
        }
    };
    Ok(error)
}

/// Fills a namespace to its limit. What is there can be read and removed, and then there is room again.
async fn quota(tenant: &Tenant) -> Error {
    let sigma = &tenant.sigma;
    let largest = Bytes::from(vec![7; limits::MAX_NAMED_FILE]);
    let mut error = None;
    for first in (0..MOST_FILES).step_by(32) {
        let puts = (first..first + 32).map(|number| {
            let (sigma, largest) = (sigma.clone(), largest.clone());
            tokio::spawn(async move { sigma.put_file(&format!("/full-{number}"), largest).await })
        });
        for put in puts.collect::<Vec<_>>() {
            error = within("a put", put).await.unwrap().err().or(error);
        }
    }
    let error = error.expect("more than the limit was written");
    assert!(error.message.contains("bytes"), "{error}");
    assert_eq!(sigma.get_file("/full-0").await.unwrap().len(), largest.len());
    sigma.remove("/full-0").await.unwrap();
    sigma.put_file("/room", "again").await.unwrap();
    for number in 1..MOST_FILES {
        let _ = sigma.remove(&format!("/full-{number}")).await;
    }
    error
}

/// Holds more objects open than a connection may. Each that is let go makes room.
async fn busy(tenant: &Tenant) -> Error {
    let mut open = Vec::new();
    let error = loop {
        match within("an open", tenant.sigma.open("/file")).await {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(open.len(), limits::MAX_HANDLES);
    open.pop();
    tenant.sigma.open("/file").await.unwrap();
    error
}

async fn stale(machine: &Machine) -> Error {
    let old = machine.client("a").elect("/leader", "/dir", "old").await.unwrap();
    let late = old.sigma().clone();
    old.resign().await.unwrap();
    let next = machine.client("a").elect("/leader", "/dir", "next").await.unwrap();
    let error = late.put_file("/dir/x", "late").await.unwrap_err();
    next.resign().await.unwrap();
    error
}

async fn unreachable(machine: &Machine, tenant: &Tenant) -> Error {
    let pid = tenant.start("echo serve /echo").await;
    let echo: sigma_test::echo::EchoClient = tenant.sigma.client("/echo/rpc").await.unwrap();
    host::kill(host::find(machine.sigmad().await, "echo serve /echo").unwrap());
    tenant.wait_exit(pid).await;
    within("a call to the dead", echo.say(sigma_test::echo::Text { text: "x".into() })).await.unwrap_err()
}

/// What a server says of bytes that are no frame, before it closes the connection.
async fn protocol(tenant: &Tenant) -> Error {
    let mut socket = UnixStream::from(tenant.dial("/").await);
    socket.write_all(&[0xff; 64]).unwrap();
    let bye = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        // It ends one way or the other.
        let _ = socket.read_to_end(&mut all);
        let mut all = BytesMut::from(&all[..]);
        std::iter::from_fn(|| Frame::decode(&mut all).unwrap()).find(|frame| frame.kind == Kind::Bye).unwrap()
    });
    let bye = within("the end of the connection", bye).await.unwrap();
    bye.message::<proto::Failure>().unwrap().into()
}

/// A namespace whose file is damaged.
async fn internal(machine: &Machine) -> Error {
    let other = machine.realm("b").await;
    let once = PutRequest { perm: 0o66, ..Default::default() };
    other.sigma.put_with("/x", once, "x").await.unwrap();
    let file = machine.state().join("realm/b/named.redb");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    // The named of the other realm starts anew, and finds it.
    let named = host::find_all(machine.sigmad().await, "named").into_iter();
    let named = named.filter(|pid| host::command(*pid).contains("/realm/b/"));
    named.for_each(host::kill);
    within("the news", async {
        loop {
            match machine.client("b").get_file("/x").await {
                Err(error) if error.code != Code::Unreachable => return error,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await
}
