//! What named has acknowledged is there, whatever dies, and each change happened once.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::{Machine, eventually, host, story, within};
use sigmaos::limits::MAX_NAMED_FILE;
use sigmaos::proto::{OpenRequest, PutRequest};
use sigmaos::{Code, Create, Sigma};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

/// Clients that change things at the same time.
const CLIENTS: usize = 4;

/// How often named is killed below them.
const KILLS: usize = 5;

/// Runs clients until named was killed so many times, each time when all have gone on.
async fn while_named_dies<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    machine: &Machine,
    client: impl Fn(Sigma, usize, Arc<AtomicBool>) -> F,
) -> Vec<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(machine.client("a"), number, Arc::clone(&stop)));
    }
    let witness = machine.client("a");
    for kill in 0..KILLS {
        // The next one dies only when this one serves.
        within("a change", witness.put_file("/witness", kill.to_string())).await.unwrap();
        machine.kill_9("named").await;
    }
    within("a change", witness.put_file("/witness", "the end")).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    within("the clients", clients.join_all()).await
}

#[test]
fn what_was_acknowledged_survives_named() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let acknowledged = while_named_dies(machine, |sigma, client, stop| async move {
            let mut last = 0u64;
            while !stop.load(Ordering::Relaxed) {
                sigma.put_file(&format!("/file-{client}"), (last + 1).to_string()).await.unwrap();
                last += 1;
            }
            last
        })
        .await;
        for (client, _) in acknowledged.iter().enumerate() {
            let kept = tenant.sigma.get_file(&format!("/file-{client}")).await.unwrap();
            let kept: u64 = String::from_utf8_lossy(&kept).parse().unwrap();
            assert!(acknowledged.contains(&kept), "file {client} holds {kept} of {acknowledged:?}");
        }
    });
}

/// Without numbers for changes, one that was carried out and then sent again fails by what it has made itself.
#[test]
fn each_change_is_carried_out_once() {
    story(async |machine| {
        machine.realm("a").await;
        let made = while_named_dies(machine, |sigma, client, stop| async move {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                let (new, old) = (format!("/new-{client}-{rounds}"), format!("/old-{client}-{rounds}"));
                let once = PutRequest { exclusive: true, perm: 0o66, ..Default::default() };
                sigma.put_with(&new, once, "x").await.unwrap();
                sigma.rename(&new, &old).await.unwrap();
                sigma.remove(&old).await.unwrap();
                sigma.create(&new, Create::directory()).await.unwrap();
                sigma.remove(&new).await.unwrap();
                rounds += 1;
            }
            rounds
        })
        .await;
        assert!(made.iter().all(|rounds| *rounds > 0), "{made:?}");
        let left = machine.client("a").read_dir("/").await.unwrap();
        let left: Vec<_> = left.into_iter().map(|entry| entry.name).collect();
        assert_eq!(left, ["bin", "db", "machine", "mongo", "proc", "s3", "ux", "witness"]);
    });
}

#[test]
fn open_files_outlive_their_server() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let how = OpenRequest { read: true, write: true, create: true, ..Default::default() };
        let mut notes = tenant.sigma.open_with("/notes", how.clone()).await.unwrap();
        notes.write("one ").await.unwrap();
        let mut gone = tenant.sigma.open_with("/gone", how).await.unwrap();
        gone.write("still here").await.unwrap();
        tenant.sigma.remove("/gone").await.unwrap();
        gone.lseek(0);
        assert_eq!(gone.read(100).await.unwrap(), "still here");
        // Wherever it is now.
        tenant.sigma.rename("/notes", "/diary").await.unwrap();
        machine.kill_9("named").await;
        within("a write", notes.write("two")).await.unwrap();
        notes.lseek(0);
        assert_eq!(notes.read_to_end().await.unwrap(), "one two");
        assert_eq!(tenant.sigma.get_file("/diary").await.unwrap(), "one two");
        gone.lseek(0);
        let error = within("a read", gone.read(100)).await.unwrap_err();
        assert_eq!(error.code, Code::Closed, "{error}");
    });
}

#[test]
fn a_namespace_outlives_its_kernel() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        tenant.sigma.create_dir_all("/a/b").await.unwrap();
        tenant.sigma.put_file("/a/b/c", "kept").await.unwrap();
        tenant.sigma.symlink("/a/b/c", "/link").await.unwrap();
        tenant.sigma.create("/held", Create::file().ephemeral()).await.unwrap();
        machine.ok(&["down"]).await;
        machine.boot_again().await;
        let sigma = machine.client("a");
        assert_eq!(sigma.get_file("/link").await.unwrap(), "kept");
        sigma.put_file("/a/b/c", "changed").await.unwrap();
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let sigma = machine.client("a");
        assert_eq!(sigma.get_file("/link").await.unwrap(), "changed");
        // Its holder has gone with the first kernel.
        assert_eq!(sigma.stat("/held").await.unwrap_err().code, Code::NotFound);
        // And what each kernel serves itself is there.
        assert_eq!(sigma.read_dir("/ux").await.unwrap().len(), 1);
        assert!(sigma.read_dir("/bin").await.is_ok());
    });
}

#[test]
fn a_damaged_namespace_says_so_and_harms_no_other() {
    story(async |machine| {
        machine.realm("a").await.sigma.put_file("/x", "x").await.unwrap();
        let other = machine.realm("b").await;
        machine.ok(&["down"]).await;
        let file = machine.state().join("realm/a/named.redb");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 3]).unwrap();
        machine.boot_again().await;
        machine.fails(&["--realm", "a", "ls", "/"], 1, &["named.redb", "damaged"]).await;
        let sigma = machine.client(other.realm.as_str());
        sigma.put_file("/y", "y").await.unwrap();
        // Whole again, it serves again, without another boot.
        std::fs::write(&file, &whole).unwrap();
        eventually("the namespace is up again", async || {
            machine.client("a").get_file("/x").await.ok().filter(|file| file == "x")
        })
        .await;
    });
}

/// As on a disk that takes no more, which needs no right to mount one: named may not make its file larger than it is. Once the
/// library refused all that came after a write that failed, and named could not go on when there was room again.
#[test]
fn a_disk_that_takes_no_more_is_survived() {
    story(async |machine| {
        machine.ok(&["down"]).await;
        let up = machine.sigma(&["up"]);
        let mut command = tokio::process::Command::new("sh");
        // Who ignores SIGXFSZ is told EFBIG instead.
        command.args(["-c", "trap '' XFSZ && exec \"$@\"", "sh"]).arg(up.as_std().get_program()).arg("up");
        let done = within("sigma up", command.env("SIGMA_STATE", machine.state()).status()).await;
        assert!(done.unwrap().success());
        let tenant = machine.realm("a").await;
        tenant.sigma.put_file("/kept", "kept").await.unwrap();
        let mut named = host::find_all(machine.sigmad().await, "named").into_iter();
        let named = named.find(|pid| host::command(*pid).contains("/realm/a/")).unwrap();
        let file = machine.state().join("realm/a/named.redb");
        host::limit_files(named, Some(std::fs::metadata(&file).unwrap().len()));
        let mut written = 0;
        let error = loop {
            let path = format!("/large-{written}");
            match within("a put", tenant.sigma.put_file(&path, vec![7; MAX_NAMED_FILE])).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.code, error.maybe_done), (Code::Quota, false), "{error}");
        // What was acknowledged is there, and nothing else.
        let names = tenant.sigma.read_dir("/").await.unwrap();
        assert_eq!(names.iter().filter(|entry| entry.name.starts_with("large")).count(), written);
        assert_eq!(tenant.sigma.get_file("/kept").await.unwrap(), "kept");
        host::limit_files(named, None);
        eventually("there is room again", async || tenant.sigma.put_file("/more", "x").await.ok()).await;
        assert!(host::is_alive(named), "it has gone on by itself");
        machine.kill_9("named").await;
        for number in 0..written {
            let large = tenant.sigma.get_file(&format!("/large-{number}")).await.unwrap();
            assert_eq!(large.len(), MAX_NAMED_FILE);
        }
        assert_eq!(tenant.sigma.get_file("/more").await.unwrap(), "x");
    });
}
