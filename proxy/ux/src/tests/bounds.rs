//! Nothing outside the directory is reached.

use super::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

/// A ux with links of all kinds that lead to a secret outside.
fn with_links() -> (Ux, TempDir) {
    let (ux, outside) = (Ux::new(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), ux.on_disk("file")).unwrap();
    symlink(outside.path(), ux.on_disk("directory")).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    symlink(format!("../{name}"), ux.on_disk("relative")).unwrap();
    symlink("inside", ux.on_disk("near")).unwrap();
    std::fs::write(ux.on_disk("inside"), "inside").unwrap();
    (ux, outside)
}

#[tokio::test]
async fn links_are_seen_and_never_followed() {
    let (ux, outside) = with_links();
    for path in ["/file", "/directory/secret", "/relative/secret", "/near"] {
        refused(ux.get(path).await, Code::Denied, "symbolic link");
        refused(ux.put(path, "changed").await, Code::Denied, "symbolic link");
        refused(ux.open(path, to_read()).await, Code::Denied, "symbolic link");
        refused(ux.open(path, to_replace()).await, Code::Denied, "symbolic link");
        let in_place = proto::OpenRequest { write: true, create: true, ..Default::default() };
        refused(ux.open(path, in_place).await, Code::Denied, "symbolic link");
    }
    refused(ux.page("/directory", "", 0).await, Code::Denied, "symbolic link");
    refused(ux.make_directory("/directory/new").await, Code::Denied, "symbolic link");
    refused(ux.client.remove(removal("/directory/secret")).await, Code::Denied, "symbolic link");
    refused(ux.rename("/inside", "/directory/inside").await, Code::Denied, "symbolic link");
    refused(ux.rename("/directory/secret", "/mine").await, Code::Denied, "symbolic link");
    refused(ux.client.stat(request("/directory/secret")).await, Code::Denied, "symbolic link");

    assert_eq!(ux.client.stat(request("/file")).await.unwrap().kind(), proto::Kind::Symlink);
    assert_eq!(ux.names("/").await, ["directory", "file", "inside", "near", "relative"]);
    assert_eq!(ux.client.read_link(request("/near")).await.unwrap().target, "inside");
    // A link itself can be taken away; what it leads to stays.
    ux.client.remove(removal("/directory")).await.unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn links_cannot_be_made() {
    let ux = Ux::new();
    let kind = proto::Kind::Symlink.into();
    let link = proto::CreateRequest { path: "/a".into(), kind, target: "/etc".into(), ..Default::default() };
    refused(ux.client.create(link).await, Code::Unsupported, "SYMLINK");
}

#[tokio::test]
async fn paths_upwards_are_refused() {
    let ux = Ux::new();
    for path in ["/..", "/../etc/passwd", "/a/../../b", "relative", ""] {
        refused(ux.get(path).await, Code::Invalid, "");
        refused(ux.put(path, "x").await, Code::Invalid, "");
        refused(ux.rename("/a", path).await, Code::Invalid, "");
    }
}

/// A tool on the machine swaps a directory for a link, all the time. What is read is the realm's file or an error.
#[tokio::test]
async fn a_directory_swapped_for_a_link_leads_nowhere() {
    let (ux, outside) = (Ux::new(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("x"), "secret").unwrap();
    std::fs::create_dir(ux.on_disk("a")).unwrap();
    std::fs::write(ux.on_disk("a/x"), "mine").unwrap();
    symlink(outside.path(), ux.on_disk("b")).unwrap();
    let (a, b) = (ux.on_disk("a"), ux.on_disk("b"));
    let done = Arc::new(AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let (mut read, mut denied) = (0, 0);
    for round in 0..100_000 {
        match ux.get("/a/x").await {
            Ok(contents) => {
                assert_ne!(contents, "secret");
                read += 1;
            }
            Err(error) => {
                assert_eq!(error.code, Code::Denied, "{error}");
                denied += 1;
            }
        }
        // A put follows the same way; it must not leave anything outside.
        let _ = ux.put("/a/x", "mine").await;
        if round > 500 && read > 0 && denied > 0 {
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(read > 0 && denied > 0, "{read} reads, {denied} refusals: nothing was swapped");
    assert_eq!(std::fs::read(outside.path().join("x")).unwrap(), b"secret");
}

#[tokio::test]
async fn the_drafts_are_not_for_tenants() {
    let ux = Ux::new();
    for path in [format!("/{DRAFTS}"), format!("/{DRAFTS}/0")] {
        refused(ux.put(&path, "x").await, Code::Denied, "another name");
        refused(ux.get(&path).await, Code::Denied, "another name");
        refused(ux.client.remove(removal(&path)).await, Code::Denied, "another name");
        refused(ux.page(&path, "", 0).await, Code::Denied, "another name");
        refused(ux.rename("/a", &path).await, Code::Denied, "another name");
    }
    assert!(ux.names("/").await.is_empty());
    assert_eq!(ux.client.stat(request("/")).await.unwrap().size, 0);
    ux.make_directory("/a").await.unwrap();
    ux.put(&format!("/a/{DRAFTS}"), "only the top's name is taken").await.unwrap();
}

#[tokio::test]
async fn a_fifo_and_a_socket_are_refused_at_once() {
    let ux = Ux::new();
    rustix::fs::mknodat(CWD, ux.on_disk("fifo"), rustix::fs::FileType::Fifo, crate::root::FILE_MODE, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(ux.on_disk("socket")).unwrap();
    for path in ["/fifo", "/socket"] {
        refused(ux.get(path).await, Code::Denied, "neither a file");
        refused(ux.put(path, "x").await, Code::Denied, "neither a file");
        refused(ux.open(path, to_read()).await, Code::Denied, "neither a file");
        refused(ux.open(path, to_replace()).await, Code::Denied, "neither a file");
        let both = proto::OpenRequest { read: true, write: true, ..Default::default() };
        refused(ux.open(path, both).await, Code::Denied, "neither a file");
    }
    assert_eq!(ux.client.stat(request("/fifo")).await.unwrap().kind(), proto::Kind::Pipe);
}
