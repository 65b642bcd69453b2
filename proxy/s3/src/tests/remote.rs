//! A store that answers otherwise than S3 should.

use crate::bounds::{Bounds, MEMORY};
use crate::place::Place;
use crate::reader::Reader;
use crate::remote::Remote;
use crate::settings::Endpoint;
use sigmaos::{Code, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each request on a connection of its own, from its first line and its header `Range` in small letters.
async fn server(answer: impl Fn(&str, Option<&str>) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // A greeting of TLS, whose first byte is no letter, has no such end.
            while !request.first().is_some_and(u8::is_ascii_control)
                && !request.ends_with(b"\r\n\r\n")
                && stream.read_buf(&mut request).await.unwrap_or(0) > 0
            {}
            let request = String::from_utf8_lossy(&request).to_lowercase();
            let range = request.lines().find_map(|line| line.strip_prefix("range: "));
            let answer = answer(request.lines().next().unwrap_or_default(), range);
            // Whoever asked may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address.to_string()
}

fn answer(status: &str, tag: &str, more: &str) -> String {
    let modified = "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT";
    format!("HTTP/1.1 {status}\r\n{modified}\r\nETag: \"{tag}\"\r\nConnection: close\r\n{more}")
}

async fn open(url: &str) -> Result<Reader, Error> {
    let settings = [("endpoint".to_owned(), url.to_owned())];
    let endpoint = Endpoint::of(&settings.into_iter().collect()).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Remote::new(endpoint, dir.path()).unwrap();
    let object = Place::object("/shop/object").unwrap();
    Reader::open(&store, object, Bounds::new(MEMORY, 10)).await
}

/// Up to `length` bytes from `offset` on, by as many reads as it takes.
async fn read(reader: &Reader, mut offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let (given, _) = reader.read(offset, length - bytes.len()).await?;
        let (some, piped) = given.leave(());
        assert!(piped.is_none(), "so few bytes are not worth a pipe");
        if some.is_empty() {
            break;
        }
        offset += some.len() as u64;
        bytes.extend_from_slice(&some);
    }
    Ok(bytes)
}

/// Not every server heeds the condition that a range is of the object that was opened.
#[tokio::test]
async fn an_answer_of_another_object_is_told_and_not_given() {
    let address = server(|line, _| match line.starts_with("head") {
        true => answer("200 OK", "old", "Content-Length: 4\r\n\r\n"),
        false => answer(
            "206 Partial Content",
            "new",
            "Content-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\nnew!",
        ),
    });
    let reader = open(&format!("http://{}", address.await)).await.unwrap();
    for length in [4, 2] {
        assert_eq!(read(&reader, 0, length).await.unwrap_err().code, Code::Version);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_is_made_anew_where_it_broke() {
    const OBJECT: &str = "0123456789";
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let address = server(move |line, range| {
        if line.starts_with("head") {
            return answer("200 OK", "tag", &format!("Content-Length: {}\r\n\r\n", OBJECT.len()));
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let from: usize =
            range.and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()).unwrap();
        let left = OBJECT.len() - from;
        // One byte of those that it speaks of.
        let range = format!("Content-Range: bytes {from}-{}/{}", OBJECT.len() - 1, OBJECT.len());
        let byte = &OBJECT[from..=from];
        answer("206 Partial Content", "tag", &format!("{range}\r\nContent-Length: {left}\r\n\r\n{byte}"))
    });
    let reader = open(&format!("http://{}", address.await)).await.unwrap();
    assert_eq!(read(&reader, 0, 4).await.unwrap(), &OBJECT.as_bytes()[..4]);
    assert_eq!(read(&reader, 4, 100).await.unwrap(), &OBJECT.as_bytes()[4..]);
    assert!(read(&reader, 10, 100).await.unwrap().is_empty());
    assert_eq!(asked.load(Ordering::Relaxed), OBJECT.len(), "nothing is asked for twice");
}

#[tokio::test]
async fn where_no_tls_is_spoken_nothing_is_told_to_it() {
    let address = server(|line, _| {
        assert!(!line.contains("shop"), "{line}");
        answer("200 OK", "tag", "Content-Length: 4\r\n\r\n")
    });
    let address = address.await;
    let error = open(&format!("https://{address}")).await.unwrap_err();
    assert_eq!(error.code, Code::Unreachable, "{error}");
    assert!(error.message.contains(&format!("S3 at https://{address} cannot be reached")), "{error}");
}
