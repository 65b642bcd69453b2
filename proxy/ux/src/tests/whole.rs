//! Files are seen whole or not at all.

use super::*;
use crate::session::WHOLE;
use sigma_abi::frame::{Frame, Kind};
use sigmaos::limits::{DIR_PAGE, MAX_PAYLOAD};

/// Contents that tell where they were torn: `length` times one letter.
fn letters(letter: u8, length: usize) -> Bytes {
    vec![letter; length].into()
}

#[tokio::test]
async fn a_put_is_whole_under_a_reader() {
    let ux = Ux::new();
    // Past INLINE, so that puts run beside reads.
    let length = 300_000;
    ux.put("/f", letters(b'a', length)).await.unwrap();
    let writing = async {
        for round in 0..200 {
            ux.put("/f", letters(b'a' + round % 26, length)).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..200 {
            let seen = ux.get("/f").await.unwrap();
            assert_eq!(seen.len(), length);
            assert!(seen.iter().all(|byte| *byte == seen[0]), "a torn file");
        }
    };
    tokio::join!(writing, reading);
    assert_eq!(ux.drafts(), 0);
}

#[tokio::test]
async fn what_is_written_in_pieces_appears_when_it_is_closed() {
    let ux = Ux::new();
    ux.put("/f", "old").await.unwrap();
    for path in ["/f", "/new"] {
        let handle = ux.open(path, to_replace()).await.unwrap();
        ux.write(handle, 0, letters(b'x', MAX_PAYLOAD)).await.unwrap();
        ux.write(handle, MAX_PAYLOAD as u64, letters(b'y', 10)).await.unwrap();
        refused(ux.read(handle, 0, 1).await, Code::Denied, "not opened for reading");
        assert_eq!(ux.get("/f").await.unwrap(), "old");
        refused(ux.get("/new").await, Code::NotFound, "/new does not exist");
        assert_eq!(ux.drafts(), 1);
        ux.close(handle).await.unwrap();
        refused(ux.close(handle).await, Code::Closed, "not open");
        refused(ux.get(path).await, Code::TooLarge, "in pieces");
        let reading = ux.open(path, to_read()).await.unwrap();
        let piece = ux.read(reading, MAX_PAYLOAD as u64 - 2, 100).await.unwrap();
        assert_eq!(piece, "xxyyyyyyyyyy");
        assert_eq!(ux.read(reading, 0, u32::MAX).await.unwrap().len(), MAX_PAYLOAD);
        assert!(ux.read(reading, u64::MAX, 10).await.unwrap().is_empty());
        ux.close(reading).await.unwrap();
        ux.put("/f", "old").await.unwrap();
    }
}

#[tokio::test]
async fn a_handle_that_is_dropped_keeps_nothing() {
    let ux = Ux::new();
    ux.put("/f", "old").await.unwrap();
    let handle = ux.open("/f", to_replace()).await.unwrap();
    ux.write(handle, 0, "half").await.unwrap();
    // What the SDK sends for a file that is dropped.
    let notice =
        Frame::new(Kind::Notice, 0, "Namespace.Close", &proto::CloseRequest { handle, discard: true });
    ux.client.0.connection().send(notice, Vec::new()).unwrap();
    refused(ux.close(handle).await, Code::Closed, "not open");
    assert_eq!((ux.get("/f").await.unwrap(), ux.drafts()), ("old".into(), 0));
}

#[tokio::test]
async fn the_drafts_of_a_crashed_ux_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Root::open(directory.path(), room(u64::MAX), 0).unwrap());
    std::fs::write(directory.path().join(DRAFTS).join("0"), "half").unwrap();
    Root::open(directory.path(), room(u64::MAX), 0).unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join(DRAFTS)).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_can_be_written_in_place() {
    let ux = Ux::new();
    let how = proto::OpenRequest { read: true, write: true, create: true, ..Default::default() };
    let handle = ux.open("/f", how).await.unwrap();
    ux.write(handle, 2, "cd").await.unwrap();
    assert_eq!(ux.get("/f").await.unwrap(), "\0\0cd");
    ux.write(handle, 0, "ab").await.unwrap();
    assert_eq!(ux.read(handle, 1, 2).await.unwrap(), "bc");
    ux.client.remove(removal("/f")).await.unwrap();
    assert_eq!(ux.read(handle, 0, 9).await.unwrap(), "abcd", "open files outlive their names");
    refused(ux.write(handle, u64::MAX, "x").await, Code::TooLarge, "larger");
}

#[tokio::test]
async fn large_reads_wait_for_those_before_them_to_be_sent() {
    let ux = Ux::new();
    let handle = ux.open("/f", to_replace()).await.unwrap();
    ux.write(handle, 0, letters(b'x', MAX_PAYLOAD)).await.unwrap();
    ux.close(handle).await.unwrap();
    let handle = ux.open("/f", to_read()).await.unwrap();
    // More than MOST_READ allows at once, over one connection: each comes in its turn.
    let all = futures_util::future::join_all((0..12).map(|_| ux.read(handle, 0, MAX_PAYLOAD as u32))).await;
    assert!(all.into_iter().all(|read| read.unwrap().len() == MAX_PAYLOAD));
    assert_eq!(ux.put("/w", letters(b'w', WHOLE)).await.unwrap().size, WHOLE as u64);
    assert_eq!(ux.get("/w").await.unwrap().len(), WHOLE);
}

#[tokio::test]
async fn directories_are_listed_page_by_page_in_order() {
    let ux = Ux::new();
    ux.make_directory("/d").await.unwrap();
    let mut expected: Vec<_> = (0..DIR_PAGE + 500).map(|number| format!("n{number}")).collect();
    for name in &expected {
        std::fs::write(ux.on_disk("d").join(name), "").unwrap();
    }
    expected.sort();
    let first = ux.page("/d", "", 0).await.unwrap();
    assert_eq!((first.entries.len(), first.more), (DIR_PAGE, true));
    let second = ux.page("/d", &first.entries[DIR_PAGE - 1].name, u32::MAX).await.unwrap();
    assert_eq!((second.entries.len(), second.more), (500, false));
    let names: Vec<_> = first.entries.into_iter().chain(second.entries).map(|entry| entry.name).collect();
    assert_eq!(names, expected);
    assert_eq!(ux.page("/d", "n2", 3).await.unwrap().entries[0].name, "n20");
    assert!(ux.page("/d", "z", 0).await.unwrap().entries.is_empty());
}
