//! Each wrong request has its code and a sentence that names the path.

use super::*;

#[tokio::test]
async fn wrong_names_are_told() {
    let ux = Ux::new();
    ux.make_directory("/d").await.unwrap();
    ux.put("/d/f", "x").await.unwrap();
    refused(ux.get("/none").await, Code::NotFound, "/none");
    refused(ux.put("/none/f", "x").await, Code::NotFound, "/none does not exist");
    refused(ux.make_directory("/none/f").await, Code::NotFound, "/none");
    refused(ux.make_directory("/d").await, Code::Exists, "/d");
    refused(ux.make_directory("/d/f").await, Code::Exists, "/d/f");
    refused(ux.make_directory("/").await, Code::Exists, "/");
    refused(ux.get("/d").await, Code::IsDir, "/d");
    refused(ux.get("/").await, Code::IsDir, "/");
    refused(ux.put("/d", "x").await, Code::IsDir, "/d");
    refused(ux.put("/", "x").await, Code::Invalid, "top");
    refused(ux.open("/d", to_replace()).await, Code::IsDir, "/d");
    refused(ux.get("/d/f/g").await, Code::NotDir, "/d/f");
    refused(ux.page("/d/f", "", 0).await, Code::NotDir, "/d/f");
    refused(ux.client.remove(removal("/d")).await, Code::NotEmpty, "/d");
    refused(ux.client.remove(removal("/")).await, Code::Invalid, "top");
    refused(ux.client.remove(removal("/none")).await, Code::NotFound, "/none");
    refused(ux.client.read_link(request("/d/f")).await, Code::Invalid, "no symbolic link");
    refused(ux.get(&format!("/{}", "n".repeat(256))).await, Code::TooLarge, "256");
    // As an ordinary user; root may read all.
    if !rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(ux.on_disk("d/f"), std::fs::Permissions::from_mode(0o0)).unwrap();
        refused(ux.get("/d/f").await, Code::Denied, "/d/f");
    }
}

/// Once it was made, and stayed for good.
#[tokio::test]
async fn an_ephemeral_entry_is_refused() {
    let ux = Ux::new();
    let put = proto::PutRequest { path: "/f".into(), ephemeral: true, ..Default::default() };
    refused(ux.client.put(put).await, Code::Unsupported, "/f");
    let create = proto::CreateRequest { path: "/f".into(), ephemeral: true, ..Default::default() };
    refused(ux.client.create(create).await, Code::Unsupported, "/f");
    let open = proto::OpenRequest { ephemeral: true, ..to_replace() };
    refused(ux.open("/f", open).await, Code::Unsupported, "/f");
    refused(ux.get("/f").await, Code::NotFound, "/f");
}

#[tokio::test]
async fn wrong_ways_to_open_are_told() {
    let ux = Ux::new();
    ux.put("/f", "x").await.unwrap();
    refused(ux.open("/f", proto::OpenRequest::default()).await, Code::Invalid, "to read, to write");
    let cut = proto::OpenRequest { truncate: true, ..to_read() };
    refused(ux.open("/f", cut).await, Code::Invalid, "only what is written");
    let replace = proto::OpenRequest { create: false, ..to_replace() };
    refused(ux.open("/none", replace).await, Code::NotFound, "/none");
    refused(ux.open("/none", to_read()).await, Code::NotFound, "/none");
    let handle = ux.open("/f", to_read()).await.unwrap();
    refused(ux.write(handle, 0, "y").await, Code::Denied, "not opened for writing");
    refused(ux.read(77, 0, 1).await, Code::Closed, "77");
}

#[tokio::test]
async fn an_exclusive_put_or_create_takes_no_name_that_is_taken() {
    let ux = Ux::new();
    let put = || proto::PutRequest { path: "/f".into(), exclusive: true, ..Default::default() };
    ux.client.put_with(put(), "first".into()).await.unwrap();
    refused(ux.client.put_with(put(), "second".into()).await, Code::Exists, "/f");
    let create = |exclusive| proto::CreateRequest { path: "/f".into(), exclusive, ..Default::default() };
    refused(ux.client.create(create(true)).await, Code::Exists, "/f");
    let opened = ux.client.create(create(false)).await.unwrap();
    assert_eq!(ux.read(opened.handle, 0, 10).await.unwrap(), "first");
    assert_eq!((opened.stat.unwrap().size, ux.drafts()), (5, 0));
    refused(ux.open("/f", proto::OpenRequest::default()).await, Code::Invalid, "/f");
}

#[tokio::test]
async fn renames_replace_what_may_be_replaced() {
    let ux = Ux::new();
    for directory in ["/a", "/b", "/b/full", "/c"] {
        ux.make_directory(directory).await.unwrap();
    }
    ux.put("/a/f", "f").await.unwrap();
    ux.put("/g", "g").await.unwrap();
    refused(ux.rename("/none", "/x").await, Code::NotFound, "/none");
    refused(ux.rename("/a", "/b").await, Code::NotEmpty, "/b");
    refused(ux.rename("/g", "/b").await, Code::IsDir, "/b");
    refused(ux.rename("/b", "/g").await, Code::NotDir, "/g");
    refused(ux.rename("/b", "/b/full/b").await, Code::Invalid, "below itself");
    ux.rename("/a/f", "/g").await.unwrap();
    assert_eq!(ux.get("/g").await.unwrap(), "f");
    ux.rename("/a", "/c").await.unwrap();
    assert_eq!(ux.names("/").await, ["b", "c", "g"]);
}

#[tokio::test]
async fn open_files_have_a_limit_and_are_freed_with_their_connection() {
    let ux = Ux::with_files(3);
    ux.put("/f", "x").await.unwrap();
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(ux.open("/f", to_read()).await.unwrap());
    }
    refused(ux.open("/f", to_read()).await, Code::Busy, "close some");
    assert_eq!(ux.get("/f").await.unwrap(), "x", "what is held only for a call needs no handle");
    ux.close(handles[1]).await.unwrap();
    ux.open("/f", to_read()).await.unwrap();
}

#[tokio::test]
async fn entries_are_told_as_they_are() {
    let ux = Ux::new();
    ux.make_directory("/d").await.unwrap();
    let first = ux.put("/d/f", "12345").await.unwrap();
    assert_eq!((first.name.as_str(), first.kind(), first.size), ("f", proto::Kind::File, 5));
    assert!(first.modified_ms > 1_700_000_000_000);
    let second = ux.put("/d/f", "123").await.unwrap();
    assert!(second.version > 0 && second.version >= first.version);
    let directory = ux.client.stat(request("/d")).await.unwrap();
    assert_eq!((directory.kind(), directory.size), (proto::Kind::Directory, 1));
}
