//! What the realm's files take of the disk, and what happens past the limit.

use super::*;

/// A file of so many bytes, with its name.
const fn file(bytes: u64) -> u64 {
    ENTRY + bytes
}

#[tokio::test]
async fn each_change_is_counted_as_it_is_found_at_the_next_start() {
    let ux = Ux::new();
    assert_eq!(ux.used(), 0);
    ux.put("/a", vec![1; 100]).await.unwrap();
    assert_eq!(ux.used(), file(100));
    ux.put("/a", vec![1; 50]).await.unwrap();
    assert_eq!(ux.used(), file(50), "replaced, and shorter");
    ux.make_directory("/d").await.unwrap();
    ux.rename("/a", "/d/a").await.unwrap();
    assert_eq!(ux.used(), file(50) + ENTRY);
    ux.put("/d/b", vec![1; 10]).await.unwrap();
    ux.rename("/d/a", "/d/b").await.unwrap();
    assert_eq!(ux.used(), file(50) + ENTRY, "what was at the new place is gone");
    let handle = ux.open("/d/b", proto::OpenRequest { write: true, ..Default::default() }).await.unwrap();
    ux.write(handle, 1000, vec![1; 24]).await.unwrap();
    ux.write(handle, 0, vec![1; 24]).await.unwrap();
    ux.close(handle).await.unwrap();
    assert_eq!(ux.used(), file(1024) + ENTRY, "a hole counts, and writing over what is there does not");
    ux.client.remove(removal("/d/b")).await.unwrap();
    ux.client.remove(removal("/d")).await.unwrap();
    assert_eq!(ux.used(), 0);
}

#[tokio::test]
async fn failed_changes_count_nothing() {
    let ux = Ux::new();
    ux.put("/a", vec![1; 100]).await.unwrap();
    ux.make_directory("/d").await.unwrap();
    let there = ux.used();
    assert!(ux.make_directory("/d").await.is_err());
    assert!(ux.put("/d", "x").await.is_err());
    assert!(ux.client.remove(removal("/no")).await.is_err());
    assert!(ux.rename("/no", "/a").await.is_err());
    let request = proto::CreateRequest { path: "/a".into(), exclusive: true, ..Default::default() };
    assert!(ux.client.create(request).await.is_err());
    assert_eq!(ux.used(), there);
    // A draft counts until it is dropped.
    let handle = ux.open("/new", to_replace()).await.unwrap();
    ux.write(handle, 0, vec![1; 500]).await.unwrap();
    assert_eq!(ux.root.account().used(), there + file(500));
    ux.client.close(proto::CloseRequest { handle, discard: true }).await.unwrap();
    let dropped = ux.open("/new", to_replace()).await.unwrap();
    ux.close(dropped).await.unwrap();
    assert_eq!(ux.used(), there + file(0));
}

#[tokio::test]
async fn past_the_limit_nothing_grows_and_reading_and_removing_go_on() {
    let ux = Ux::with_room(2 * file(1000));
    ux.put("/a", vec![1; 1000]).await.unwrap();
    ux.put("/b", vec![1; 1000]).await.unwrap();
    refused(ux.put("/c", "").await, Code::Quota, "/c finds no room: the realm");
    refused(ux.make_directory("/d").await, Code::Quota, "/d");
    let create = proto::CreateRequest { path: "/c".into(), ..Default::default() };
    refused(ux.client.create(create).await, Code::Quota, "/c");
    let handle =
        ux.open("/a", proto::OpenRequest { read: true, write: true, ..Default::default() }).await.unwrap();
    refused(ux.write(handle, 1000, "x").await, Code::Quota, "/a");
    refused(ux.write(handle, 1 << 50, "x").await, Code::Quota, "/a");
    ux.write(handle, 0, vec![2; 1000]).await.unwrap();
    assert_eq!(ux.read(handle, 999, 1).await.unwrap(), "\u{2}");
    ux.close(handle).await.unwrap();
    assert_eq!(ux.used(), 2 * file(1000), "nothing is left of what was refused");
    ux.client.remove(removal("/b")).await.unwrap();
    ux.put("/c", vec![1; 1000]).await.unwrap();
}

/// Bug: opening what is there was refused for want of room, where it was asked for with `create`.
#[tokio::test]
async fn past_the_limit_what_is_there_is_opened_though_it_might_have_been_made() {
    let ux = Ux::with_room(file(0) + ENTRY);
    ux.put("/a", "").await.unwrap();
    ux.make_directory("/d").await.unwrap();
    let open = proto::OpenRequest { read: true, write: true, create: true, ..Default::default() };
    let handle = ux.open("/a", open.clone()).await.unwrap();
    ux.close(handle).await.unwrap();
    let create = |path: &str, kind: proto::Kind, exclusive| {
        let (path, kind) = (path.to_owned(), kind.into());
        ux.client.create(proto::CreateRequest { path, kind, exclusive, ..Default::default() })
    };
    ux.close(create("/a", proto::Kind::File, false).await.unwrap().handle).await.unwrap();
    create("/d", proto::Kind::Directory, false).await.unwrap();
    refused(create("/a", proto::Kind::File, true).await, Code::Exists, "/a");
    refused(create("/d", proto::Kind::Directory, true).await, Code::Exists, "/d");
    assert!(ux.open("/new", open).await.is_err_and(|error| error.code == Code::Quota));
    assert_eq!(ux.used(), file(0) + ENTRY);
}

/// A tenant that removed files which it held open once had their room twice.
#[tokio::test]
async fn a_file_that_was_removed_counts_until_it_is_closed() {
    let ux = Ux::with_room(2 * file(1000));
    ux.put("/a", vec![1; 1000]).await.unwrap();
    let (one, two) = (ux.open("/a", to_read()).await.unwrap(), ux.open("/a", to_read()).await.unwrap());
    ux.client.remove(removal("/a")).await.unwrap();
    ux.put("/b", vec![1; 1000]).await.unwrap();
    refused(ux.put("/c", "").await, Code::Quota, "/c");
    ux.close(one).await.unwrap();
    refused(ux.put("/c", "").await, Code::Quota, "/c");
    ux.close(two).await.unwrap();
    assert_eq!(ux.used(), file(1000));
    ux.put("/c", vec![1; 1000]).await.unwrap();
}

/// Writes in flight together were once refused for room that each of them asked for alone.
#[tokio::test]
async fn writes_that_are_in_flight_together_find_all_the_room_that_there_is() {
    const PIECE: usize = 100 << 10;
    let ux = Ux::with_room(2 * file(4 * PIECE as u64));
    let (one, two) =
        (ux.open("/one", to_replace()).await.unwrap(), ux.open("/two", to_replace()).await.unwrap());
    let pieces = (0..4).flat_map(|piece| [(one, piece), (two, piece)]);
    let writes = pieces.map(|(handle, piece)| ux.write(handle, (piece * PIECE) as u64, vec![1; PIECE]));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    refused(ux.write(one, 4 * PIECE as u64, "x").await, Code::Quota, "/one");
    ux.close(one).await.unwrap();
    ux.close(two).await.unwrap();
    assert_eq!(ux.used(), 2 * file(4 * PIECE as u64));
}

#[tokio::test]
async fn directories_that_are_deeper_than_any_path_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (top, hundred) = (directory.path().join("top"), directory.path().join("hundred"));
    for _ in 0..50 {
        std::fs::create_dir_all(hundred.join("d/".repeat(100))).unwrap();
        if top.exists() {
            std::fs::rename(&top, hundred.join("d/".repeat(100)).join("top")).unwrap();
        }
        std::fs::rename(&hundred, &top).unwrap();
    }
    let ux = Ux::over(directory, 100, u64::MAX);
    assert_eq!(ux.used(), 50 * 101 * ENTRY);
    // tempfile goes down into directories by path: they are moved up first.
    while let Ok(below) = std::fs::metadata(ux.on_disk("top").join("d/".repeat(100)).join("top")) {
        assert!(below.is_dir());
        let aside = ux.on_disk("aside");
        std::fs::rename(ux.on_disk("top").join("d/".repeat(100)).join("top"), &aside).unwrap();
        std::fs::remove_dir_all(ux.on_disk("top")).unwrap();
        std::fs::rename(&aside, ux.on_disk("top")).unwrap();
    }
}

#[tokio::test]
async fn what_was_given_free_is_told_to_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let ask: Ask = Box::new(move |used, wanted| {
        let _ = told.send((used, wanted));
        Box::pin(async move { Ok(wanted) })
    });
    let root = Arc::new(Root::open(directory.path(), ask, 0).unwrap());
    let account = Arc::clone(root.account());
    tokio::spawn(async move { account.give_back().await });
    let ux = Ux { directory, client: connect(&Server::new(Arc::clone(&root), 10, fences())), root };
    ux.put("/a", vec![0; 1 << 20]).await.unwrap();
    assert_eq!(heard.recv().await, Some((0, file(0))));
    assert_eq!(heard.recv().await, Some((file(0), file(1 << 20))));
    ux.client.remove(removal("/a")).await.unwrap();
    assert_eq!(heard.recv().await, Some((0, 0)));
}

#[tokio::test]
async fn the_reserve_of_the_disk_is_for_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("old"), "x").unwrap();
    // No disk has so much room.
    let root = Arc::new(Root::open(directory.path(), room(u64::MAX), u64::MAX / 2).unwrap());
    let ux = Ux { directory, client: connect(&Server::new(Arc::clone(&root), 10, fences())), root };
    refused(ux.put("/a", "x").await, Code::Quota, "reserve");
    assert_eq!(ux.get("/old").await.unwrap(), "x");
    ux.client.remove(removal("/old")).await.unwrap();
}
