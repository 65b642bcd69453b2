//! Objects are seen whole or not at all, and read at any offset.

use super::*;
use crate::session::WHOLE;
use crate::writer::PART;
use sigmaos::limits::MAX_PAYLOAD;

/// Bytes of which each tells where it is.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}

async fn write_all(s3: &S3, handle: u32, contents: &Bytes) {
    let mut offset = 0;
    while offset < contents.len() {
        let end = contents.len().min(offset + MAX_PAYLOAD / 4);
        s3.write(handle, offset as u64, contents.slice(offset..end)).await.unwrap();
        offset = end;
    }
}

async fn read_all(s3: &S3, handle: u32, piece: u32) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let more = s3.read(handle, all.len() as u64, piece).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend_from_slice(&more);
    }
}

#[tokio::test]
async fn what_is_put_is_read_back_whole_and_at_any_offset() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    for length in [0, 1, 1000, WHOLE] {
        let contents = pattern(length);
        assert_eq!(s3.put("/shop/a/b", contents.clone()).await.unwrap().size, length as u64);
        assert_eq!(s3.get("/shop/a/b").await.unwrap(), contents);
    }
    let handle = s3.open("/shop/a/b", to_read()).await.unwrap();
    let contents = pattern(WHOLE);
    assert_eq!(s3.read(handle, 1000, 10).await.unwrap(), contents[1000..1010]);
    assert_eq!(s3.read(handle, WHOLE as u64 - 3, 10).await.unwrap(), contents[WHOLE - 3..]);
    for offset in [WHOLE as u64, u64::MAX] {
        assert!(s3.read(handle, offset, 10).await.unwrap().is_empty());
    }
    s3.put("/shop/a/b", "new").await.unwrap();
    assert_eq!(s3.read(handle, 0, 10).await.unwrap(), contents[..10], "who reads goes on in what was opened");
    s3.close(handle).await.unwrap();
    assert_eq!(s3.drafts(), 0);
}

#[tokio::test]
async fn what_is_written_in_pieces_is_seen_when_it_is_closed() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/old", "old").await.unwrap();
    for length in [10, PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 12345] {
        let contents = pattern(length);
        for path in ["/shop/old", "/shop/deep/down/new"] {
            let handle = s3.open(path, to_replace()).await.unwrap();
            write_all(&s3, handle, &contents).await;
            assert_eq!(s3.get("/shop/old").await.unwrap(), "old");
            assert_eq!(s3.names("/shop").await, ["old"], "no directory of what is not there is seen");
            s3.close(handle).await.unwrap();
            refused(s3.close(handle).await, Code::Closed, "not open");
            let handle = s3.open(path, to_read()).await.unwrap();
            assert!(read_all(&s3, handle, MAX_PAYLOAD as u32).await == contents, "{length} bytes");
            s3.close(handle).await.unwrap();
            s3.remove(path).await.unwrap();
            s3.put("/shop/old", "old").await.unwrap();
        }
    }
    assert_eq!(s3.names("/shop").await, ["old"], "directories are gone with what was in them");
    refused(s3.get("/shop/none").await, Code::NotFound, "/shop/none");
    assert_eq!(s3.drafts(), 0);
    assert_eq!(s3.used(), 2 * 4096 + 3, "a bucket, an object, and its three bytes");
}

#[tokio::test]
async fn a_large_object_is_not_given_in_one_frame() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    let handle = s3.open("/shop/large", to_replace()).await.unwrap();
    write_all(&s3, handle, &pattern(WHOLE + 1)).await;
    s3.close(handle).await.unwrap();
    refused(s3.get("/shop/large").await, Code::TooLarge, "in pieces");
}

#[tokio::test]
async fn what_is_dropped_is_not_kept_and_gives_back_its_room() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/old", "old").await.unwrap();
    let before = s3.used();
    for length in [5, 2 * PART + 5] {
        let handle = s3.open("/shop/old", to_replace()).await.unwrap();
        write_all(&s3, handle, &pattern(length)).await;
        assert_eq!(s3.store.used(), before + length as u64);
        s3.client.close(proto::CloseRequest { handle, discard: true }).await.unwrap();
        refused(s3.close(handle).await, Code::Closed, "not open");
        assert_eq!((s3.get("/shop/old").await.unwrap(), s3.used()), ("old".into(), before));
    }
    while s3.drafts() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_store_that_ended_by_force_starts_without_what_was_half_written() {
    let s3 = S3::new();
    s3.make_directory("/shop").await.unwrap();
    s3.put("/shop/a/b", "kept").await.unwrap();
    let (S3 { directory, .. }, used) = (s3, 3 * 4096 + 4);
    std::fs::write(directory.path().join(".drafts/0"), "half").unwrap();
    std::fs::write(directory.path().join(".drafts/0#1"), "half").unwrap();
    std::fs::create_dir_all(directory.path().join("shop/empty/below")).unwrap();
    let s3 = S3::over(directory, Bounds::new(MEMORY, 10), u64::MAX);
    assert_eq!((s3.drafts(), s3.names("/shop").await, s3.used()), (0, vec!["a".to_owned()], used));
    assert_eq!(s3.get("/shop/a/b").await.unwrap(), "kept");
}
