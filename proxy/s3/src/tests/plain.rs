//! What goes through this process without a copy arrives as it was, however the server sends it.

use super::*;
use crate::remote::Remote;
use crate::settings::Endpoint;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the object: no whole number of pipes, so that there are large and small reads.
const SIZE: usize = (3 << 20) + 12_345;

/// How a server sends a body.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// All at once, and takes the next request on the same connection.
    Whole,
    /// In many small pieces, each as soon as it can.
    Pieces,
    /// The first half, and then closes the connection.
    Half,
    /// It keeps the connection, and closes it when the next request is to come, without a word of that.
    ThenCloses,
}

/// A server with one object, and what it counted.
struct Counted {
    url: String,
    connections: Arc<AtomicUsize>,
}

fn object() -> Bytes {
    (0..SIZE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn serve(how: How) -> Counted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let object = object();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let object = object.clone();
            // Whoever asked may be gone.
            tokio::spawn(async move { drop(answer(stream, &object, how).await) });
        }
    });
    Counted { url, connections }
}

async fn answer(mut stream: TcpStream, object: &[u8], how: How) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let head = "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\nETag: \"tag\"\r\n";
        if text.starts_with("head") {
            let head = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            continue;
        }
        let range = text.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        let body = &object[from..=to];
        let length = format!("Content-Length: {}", body.len());
        let range = format!("Content-Range: bytes {from}-{to}/{SIZE}");
        let head = format!("HTTP/1.1 206 Partial Content\r\n{head}{range}\r\n{length}\r\n\r\n");
        match how {
            How::Whole => stream.write_all(&[head.as_bytes(), body].concat()).await?,
            How::Half => {
                stream.write_all(head.as_bytes()).await?;
                return stream.write_all(&body[..body.len().div_ceil(2)]).await;
            }
            How::ThenCloses => {
                stream.write_all(head.as_bytes()).await?;
                return stream.write_all(body).await;
            }
            How::Pieces => {
                stream.write_all(head.as_bytes()).await?;
                for piece in body.chunks(700) {
                    stream.write_all(piece).await?;
                }
            }
        }
    }
}

/// A client of a proxy of that server, the object held open.
struct Reading {
    client: NamespaceClient,
    handle: u32,
    bounds: Bounds,
}

impl Reading {
    async fn of(url: &str) -> Self {
        let settings = [("endpoint".to_owned(), url.to_owned())];
        let endpoint = Endpoint::of(&settings.into_iter().collect()).unwrap().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Remote::new(endpoint, dir.path()).unwrap();
        let bounds = Bounds::new(MEMORY, 10);
        let session = Session::new(Arc::new(store), bounds.clone(), Arc::new(fences()));
        let services = Services::new(Arc::default(), vec![Box::new(NamespaceServer(Arc::new(session)))]);
        let client = NamespaceClient(introduced(Arc::new(services)));
        let open = proto::OpenRequest { path: "/shop/object".into(), ..to_read() };
        let handle = client.open(open).await.unwrap().handle;
        Self { client, handle, bounds }
    }

    /// Up to `length` bytes from `offset` on, by as many reads as it takes.
    async fn read(&self, mut offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let length = (length - bytes.len()) as u32;
            let request = proto::ReadRequest { handle: self.handle, offset: offset as u64, length };
            let some = self.client.read_with(request, Bytes::new()).await.unwrap().payload;
            if some.is_empty() {
                break;
            }
            offset += some.len();
            bytes.extend_from_slice(&some);
        }
        bytes
    }
}

#[tokio::test]
async fn an_object_arrives_as_it_is_however_it_is_sent_and_read() {
    let object = object();
    for how in [How::Whole, How::Pieces, How::Half, How::ThenCloses] {
        let server = serve(how).await;
        let reading = Reading::of(&server.url).await;
        for piece in [1 << 20, 4 << 20, 100_000, 5000] {
            let mut at = 0;
            while at < SIZE {
                let some = reading.read(at, piece).await;
                let expect = &object[at..SIZE.min(at + piece)];
                assert!(some == expect, "{} of {} bytes from {at} on", some.len(), expect.len());
                at += some.len();
            }
            assert!(reading.read(SIZE, piece).await.is_empty());
        }
        // Here and there: to the end, and what is read twice.
        for (at, length) in [(70_000, 200_000), (SIZE - 66_000, 100_000), (3, 70_000), (3, 9), (SIZE - 1, 1)]
        {
            let expect = &object[at..SIZE.min(at + length)];
            assert!(reading.read(at, length).await == expect, "{length} bytes from {at} on");
        }
        assert_eq!(reading.bounds.reading(), 0, "all that was read has left, and its room is free");
    }
}

/// A connection whose body was read to its end, with or without a copy, serves the next request; one that the server has closed costs nothing
/// but another.
#[tokio::test]
async fn connections_are_used_again() {
    let server = serve(How::Whole).await;
    let reading = Reading::of(&server.url).await;
    for (at, length) in [(0, SIZE), (5, 300_000), (7, 100), (1 << 20, 1 << 20)] {
        assert_eq!(reading.read(at, length).await.len(), length.min(SIZE - at));
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    let server = serve(How::ThenCloses).await;
    let reading = Reading::of(&server.url).await;
    for (at, length) in [(5, 300_000), (7, 100), (1 << 20, 1 << 20)] {
        assert_eq!(reading.read(at, length).await.len(), length);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 3, "one for each, the first for two requests");
}
