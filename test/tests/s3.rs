//! `/s3`: the same stories on the store that every realm has, and on a real S3 server over a real connection.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use sigma_test::outside::Certificate;
use sigma_test::outside::weed::{ACCESS_KEY, SECRET_KEY, Weed};
use sigma_test::{Machine, Tenant, eventually, host, story, within};
use sigmaos::proto::{Kind, OpenRequest, PutRequest};
use sigmaos::rpc::Bytes;
use sigmaos::{Code, File, Result, Sigma};
use std::fs;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Tells a story twice: on the embedded store, and on a real one where there is one to be had.
fn on_each_store(told: impl AsyncFn(&mut Machine, &Tenant)) {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        told(machine, &tenant).await;
    });
    on_weed(async |machine, tenant, _| told(machine, tenant).await);
}

/// Tells a story on a real S3 server, which the realm `a` has for its store.
fn on_weed(told: impl AsyncFn(&mut Machine, &Tenant, &mut Weed)) {
    story(async |machine| {
        let Some(mut weed) = Weed::start().await else { return };
        let tenant = machine.realm("a").await;
        point_to(machine, &weed, SECRET_KEY).await;
        told(machine, &tenant, &mut weed).await;
    });
}

/// The operator says where the store of the realm `a` is, and with which secret.
async fn point_to(machine: &Machine, weed: &Weed, secret: &str) {
    machine.set_from_file("a", "s3.secret-key", secret).await;
    let (endpoint, key) = (format!("s3.endpoint={}", weed.url()), format!("s3.access-key={ACCESS_KEY}"));
    machine.ok(&["realm", "set", "a", &endpoint, &key]).await;
}

/// The call failed with `code`, and its sentence says each of these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, code: Code, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    words.iter().for_each(|word| assert!(error.message.contains(word), "{error}: does not say {word:?}"));
}

async fn names(sigma: &Sigma, path: &str) -> Vec<String> {
    let entries = within("a listing", sigma.read_dir(path)).await.unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// Bytes of which each tells where it is.
fn pattern(length: usize) -> Bytes {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

async fn to_write(sigma: &Sigma, path: &str) -> File {
    let how = OpenRequest { write: true, create: true, truncate: true, ..Default::default() };
    within("an open", sigma.open_with(path, how)).await.unwrap()
}

#[test]
fn objects_come_and_go_and_each_wrong_request_is_told() {
    on_each_store(async |_, tenant| {
        let sigma = &tenant.sigma;
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        refused(sigma.create_dir("/s3/~local/shop").await, Code::Exists, &["/shop"]);
        assert_eq!(names(sigma, "/s3/~local").await, ["shop"]);
        for key in ["a", "d/e/1", "d/2", "d-1", "100%", "a b", "a#7", "%2e%2e", "ü+&=?", "x.txt"] {
            let path = format!("/s3/~local/shop/{key}");
            within("a put", sigma.put_file(&path, key)).await.unwrap();
            assert_eq!(within("a get", sigma.get_file(&path)).await.unwrap(), key);
        }
        let all = ["%2e%2e", "100%", "a", "a b", "a#7", "d", "d-1", "x.txt", "ü+&=?"];
        assert_eq!(names(sigma, "/s3/~local/shop").await, all);
        assert_eq!(names(sigma, "/s3/~local/shop/d").await, ["2", "e"]);
        let stat = sigma.stat("/s3/~local/shop/d/2").await.unwrap();
        assert_eq!((stat.name.as_str(), stat.kind(), stat.size), ("2", Kind::File, 3));
        assert!(stat.modified_ms > 1_700_000_000_000, "{stat:?}");
        assert_eq!(sigma.stat("/s3/~local/shop/d").await.unwrap().kind(), Kind::Directory);
        within("a put", sigma.put_file("/s3/~local/shop/empty", "")).await.unwrap();
        assert_eq!(within("a get", sigma.get_file("/s3/~local/shop/empty")).await.unwrap(), "");
        let once = PutRequest { exclusive: true, ..Default::default() };
        refused(sigma.put_with("/s3/~local/shop/a", once, "other").await, Code::Exists, &["/shop/a"]);

        for path in ["/s3/~local/nobodys/a", "/s3/~local/No_such/a", "/s3/~local/shop/none"] {
            refused(within("a get", sigma.get_file(path)).await, Code::NotFound, &["does not exist"]);
            refused(within("a stat", sigma.stat(path)).await, Code::NotFound, &["does not exist"]);
            refused(within("a removal", sigma.remove(path)).await, Code::NotFound, &["does not exist"]);
            refused(within("a listing", sigma.read_dir(path)).await, Code::NotFound, &["does not exist"]);
        }
        refused(sigma.put_file("/s3/~local/nobodys/a", "x").await, Code::NotFound, &["nobodys"]);
        refused(sigma.read_dir("/s3/~local/nobodys").await, Code::NotFound, &["nobodys"]);
        refused(sigma.get_file("/s3/~local/shop/d").await, Code::IsDir, &["/shop/d"]);
        refused(sigma.read_dir("/s3/~local/shop/a").await, Code::NotDir, &["/shop/a"]);
        refused(sigma.remove("/s3/~local/shop/d").await, Code::NotEmpty, &["/shop/d"]);
        refused(sigma.remove("/s3/~local/shop").await, Code::NotEmpty, &["/shop"]);
        refused(
            sigma.rename("/s3/~local/shop/a", "/s3/~local/shop/z").await,
            Code::Unsupported,
            &["copy it"],
        );
        refused(sigma.symlink("/etc", "/s3/~local/shop/l").await, Code::Unsupported, &["/shop/l"]);
        refused(sigma.create_dir("/s3/~local/shop/dir").await, Code::Unsupported, &["put one"]);
        refused(sigma.get_file("/s3/~local/shop/a\nb").await, Code::Invalid, &["control characters"]);
        refused(sigma.get_file("/s3/~local/shop/../../x").await, Code::Invalid, &["'..'"]);

        for key in ["a", "d/e/1", "d/2", "d-1", "100%", "a b", "a#7", "%2e%2e", "ü+&=?", "x.txt", "empty"] {
            within("a removal", sigma.remove(&format!("/s3/~local/shop/{key}"))).await.unwrap();
        }
        // SeaweedFS keeps empty folders for minutes, and lists them; other stores know none.
        if let Ok(left) = within("a list", sigma.read_dir("/s3/~local/shop/d")).await {
            assert!(left.iter().all(|entry| entry.kind() == Kind::Directory), "{left:?}");
        }
        within("a removal", sigma.remove("/s3/~local/shop")).await.unwrap();
        assert_eq!(names(sigma, "/s3/~local").await, [""; 0]);
    });
}

#[test]
fn thousands_of_keys_are_listed_page_by_page_in_order() {
    on_each_store(async |machine, tenant| {
        let sigma = &tenant.sigma;
        within("a bucket", sigma.create_dir("/s3/~local/many")).await.unwrap();
        let mut keys: Vec<String> = (0..1_100).map(|number| format!("d/n-{number}")).collect();
        // Directories that sort otherwise than their keys do.
        keys.extend((0..40).map(|number| format!("d/n-{number}-/x")));
        keys.extend(["d/n/x", "d/n.x/x"].map(str::to_owned));
        for some in keys.chunks(64) {
            let puts = some.iter().map(|key| {
                let (client, path) = (sigma.clone(), format!("/s3/~local/many/{key}"));
                async move { client.put_file(&path, "x").await }
            });
            let mut set = tokio::task::JoinSet::new();
            puts.for_each(|put| drop(set.spawn(put)));
            for put in within("puts", set.join_all()).await {
                put.unwrap();
            }
        }
        let mut expected: Vec<_> =
            keys.iter().map(|key| key[2..].split('/').next().unwrap().to_owned()).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(names(sigma, "/s3/~local/many/d").await, expected);
        let first = within("a page", sigma.read_dir_page("/s3/~local/many/d", "", 7)).await.unwrap();
        assert_eq!((first.entries.len(), first.more), (7, true));
        let next = within("a page", sigma.read_dir_page("/s3/~local/many/d", &expected[6], 7)).await.unwrap();
        let seen: Vec<_> = next.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(seen, expected[7..14]);
        let listed = machine.ok(&["--realm", "a", "ls", "/s3/~local/many/d"]).await;
        assert!(listed.contains("n-1099"), "{listed}");
    });
}

#[test]
fn a_large_object_is_seen_when_it_is_closed_and_read_at_any_offset() {
    on_each_store(async |_, tenant| {
        let sigma = &tenant.sigma;
        let path = "/s3/~local/large/object";
        within("a bucket", sigma.create_dir("/s3/~local/large")).await.unwrap();
        within("a put", sigma.put_file(path, "old")).await.unwrap();
        let contents = pattern(64 * MIB);
        let mut file = to_write(sigma, path).await;
        let (first, rest) = (contents.slice(..20 * MIB + 7), contents.slice(20 * MIB + 7..));
        within("a part", file.write(first)).await.unwrap();
        assert_eq!(within("a get", sigma.get_file(path)).await.unwrap(), "old", "half of it is not seen");
        within("a part", file.write(rest)).await.unwrap();
        within("the close", file.close()).await.unwrap();
        assert_eq!(within("a stat", sigma.stat(path)).await.unwrap().size, 64 * MIB as u64);
        let mut file = within("an open", sigma.open(path)).await.unwrap();
        for offset in [40 * MIB + 3, 5, 63 * MIB + 1000, 7 * MIB, 8 * MIB, 64 * MIB - 1] {
            file.lseek(offset as u64);
            let piece = within("a piece", file.read(MIB)).await.unwrap();
            assert!(!piece.is_empty() && piece == contents[offset..offset + piece.len()], "at {offset}");
        }
        assert!(within("the end", file.read(1)).await.unwrap().is_empty());
        file.lseek(0);
        assert!(within("the whole", file.read_to_end()).await.unwrap() == contents);
    });
}

#[test]
fn who_reads_what_is_replaced_is_not_given_a_mixture() {
    on_each_store(async |_, tenant| {
        let sigma = &tenant.sigma;
        let path = "/s3/~local/shop/object";
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        let (old, new) = (pattern(12 * MIB), vec![7u8; 12 * MIB]);
        within("a put", sigma.put_file(path, old.clone())).await.unwrap();
        let mut file = within("an open", sigma.open(path)).await.unwrap();
        assert!(within("a piece", file.read(1000)).await.unwrap() == old[..1000]);
        within("a put", sigma.put_file(path, new)).await.unwrap();
        file.lseek(11 * MIB as u64);
        match within("a piece", file.read(1000)).await {
            Ok(piece) => assert!(piece == old[11 * MIB..11 * MIB + 1000], "of the object that was opened"),
            Err(error) => assert_eq!(error.code, Code::Version, "{error}"),
        }
    });
}

#[test]
fn what_a_dead_writer_or_a_dead_proxy_has_half_written_is_never_seen() {
    on_each_store(async |machine, tenant| {
        let sigma = &tenant.sigma;
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", sigma.put_file("/s3/~local/shop/old", "old")).await.unwrap();
        let line = "actor half-write:/s3/~local/shop/new=20 start wait-kill";
        let pid = tenant.spawn(line).await;
        tenant.wait_start(pid).await.unwrap();
        refused(sigma.stat("/s3/~local/shop/new").await, Code::NotFound, &["/shop/new"]);
        host::kill(host::find(machine.sigmad().await, line).unwrap());
        tenant.wait_exit(pid).await;
        refused(sigma.stat("/s3/~local/shop/new").await, Code::NotFound, &["/shop/new"]);

        let mut file = to_write(sigma, "/s3/~local/shop/old").await;
        within("a part", file.write(pattern(20 * MIB))).await.unwrap();
        machine.kill_9("s3").await;
        let lost = within("a close", file.close()).await;
        assert_eq!(lost.unwrap_err().code, Code::Unreachable);
        assert_eq!(within("a get", sigma.get_file("/s3/~local/shop/old")).await.unwrap(), "old");
        within("a put", sigma.put_file("/s3/~local/shop/old", "new")).await.unwrap();
        assert_eq!(names(sigma, "/s3/~local/shop").await, ["old"]);
    });
}

/// The parts that a proxy which was killed had sent once stayed at the store, seen by nobody and paid for.
#[test]
fn parts_that_a_dead_proxy_has_left_at_the_store_are_removed_by_the_next() {
    on_weed(async |machine, tenant, weed| {
        let sigma = &tenant.sigma;
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        let uploads = async |number: usize| (weed.uploads("shop") == number).then_some(());
        let mut file = to_write(sigma, "/s3/~local/shop/large").await;
        within("a part", file.write(pattern(20 * MIB))).await.unwrap();
        eventually("the upload is at the store", async || uploads(1).await).await;
        machine.kill_9("s3").await;
        assert_eq!(weed.uploads("shop"), 1, "nobody aborts for the dead");
        let again = async || sigma.put_file("/s3/~local/shop/a", "x").await.ok();
        eventually("s3 is back", again).await;
        eventually("the upload is gone", async || uploads(0).await).await;
        // Nor does whoever drops it leave anything.
        let mut file = to_write(sigma, "/s3/~local/shop/large").await;
        within("a part", file.write(pattern(20 * MIB))).await.unwrap();
        eventually("the upload is at the store", async || uploads(1).await).await;
        drop(file);
        eventually("the upload is gone", async || uploads(0).await).await;
        assert_eq!(names(sigma, "/s3/~local/shop").await, ["a"]);
    });
}

#[test]
fn what_was_put_survives_the_kernel() {
    story(async |machine| {
        let sigma = machine.realm("a").await.sigma;
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", sigma.put_file("/s3/~local/shop/a/b", "kept")).await.unwrap();
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let sigma = machine.client("a");
        assert_eq!(within("a get", sigma.get_file("/s3/~local/shop/a/b")).await.unwrap(), "kept");
    });
}

/// A put once made the directories first, and an object store has none to make.
#[test]
fn a_file_is_put_below_directories_that_a_store_does_not_know() {
    on_each_store(async |machine, _| {
        machine.ok(&["--realm", "a", "mkdir", "/s3/~local/shop"]).await;
        let put = machine.cli_with(&["--realm", "a", "put", "-", "/s3/~local/shop/a/b/c"], b"object").await;
        assert_eq!(put.code, 0, "{}", put.stderr);
        assert_eq!(machine.ok(&["--realm", "a", "cat", "/s3/~local/shop/a/b/c"]).await, "object");
    });
}

#[test]
fn realms_do_not_see_the_objects_of_others() {
    story(async |machine| {
        let (ours, theirs) = (machine.realm("a").await, machine.realm("b").await);
        within("a bucket", ours.sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", ours.sigma.put_file("/s3/~local/shop/a", "ours")).await.unwrap();
        assert_eq!(names(&theirs.sigma, "/s3/~local").await, [""; 0]);
        refused(theirs.sigma.get_file("/s3/~local/shop/a").await, Code::NotFound, &["/shop/a"]);
        within("a bucket", theirs.sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", theirs.sigma.put_file("/s3/~local/shop/a", "theirs")).await.unwrap();
        assert_eq!(within("a get", ours.sigma.get_file("/s3/~local/shop/a")).await.unwrap(), "ours");
    });
}

#[test]
fn what_is_kept_on_this_machine_counts_towards_the_limit_of_the_disk() {
    story(async |machine| {
        let sigma = machine.realm("a").await.sigma;
        machine.ok(&["realm", "set", "a", "limit.disk=40M"]).await;
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        let mut file = to_write(&sigma, "/s3/~local/shop/a").await;
        let written = within("a part", file.write(pattern(48 * MIB))).await;
        refused(written, Code::Quota, &["limit.disk"]);
        drop(file);
        let fits = async || sigma.put_file("/s3/~local/shop/b", pattern(MIB)).await.ok();
        eventually("what was dropped gives back its room", fits).await;
    });
}

#[test]
fn a_server_that_dies_or_hangs_is_named_and_nothing_waits_for_ever() {
    on_weed(async |_, tenant, weed| {
        let sigma = &tenant.sigma;
        let named = format!("S3 at {}", weed.url());
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", sigma.put_file("/s3/~local/shop/a", "kept")).await.unwrap();
        weed.kill_9();
        for failed in [
            within("a get", sigma.get_file("/s3/~local/shop/a")).await.map(drop),
            within("a put", sigma.put_file("/s3/~local/shop/b", "x")).await.map(drop),
            within("a listing", sigma.read_dir("/s3/~local/shop")).await.map(drop),
        ] {
            refused(failed, Code::Unreachable, &[&named]);
        }
        weed.start_again().await;
        let got = async || sigma.get_file("/s3/~local/shop/a").await.ok();
        assert_eq!(eventually("it serves again", got).await, "kept");

        weed.server().freeze();
        let begun = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (client, path) = (sigma.clone(), format!("/s3/~local/shop/{number}"));
            calls.spawn(async move { client.get_file(&path).await });
        }
        for call in within("the calls", calls.join_all()).await {
            refused(call, Code::Deadline, &[&named]);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "they waited beside one another");
        weed.server().thaw();
        let got = async || sigma.get_file("/s3/~local/shop/a").await.ok();
        assert_eq!(eventually("it serves again", got).await, "kept");
    });
}

#[test]
fn a_wrong_secret_is_told_without_it_and_the_right_one_works_at_once() {
    on_weed(async |machine, tenant, weed| {
        let (sigma, wrong) = (&tenant.sigma, "wrong-5ecret-of-the-story");
        within("a bucket", sigma.create_dir("/s3/~local/shop")).await.unwrap();
        within("a put", sigma.put_file("/s3/~local/shop/a", "kept")).await.unwrap();
        point_to(machine, weed, wrong).await;
        let got = async || {
            sigma.get_file("/s3/~local/shop/a").await.err().filter(|error| error.code == Code::Denied)
        };
        let error = eventually("the new secret is used", got).await;
        assert!(error.message.contains(&weed.url()) && error.message.contains("s3.secret-key"), "{error}");
        for refusal in [
            within("a put", sigma.put_file("/s3/~local/shop/a", "x")).await.unwrap_err(),
            within("a listing", sigma.read_dir("/s3/~local")).await.unwrap_err(),
            within("a bucket", sigma.create_dir("/s3/~local/other")).await.unwrap_err(),
        ] {
            assert_eq!(refusal.code, Code::Denied, "{refusal}");
            let quoted =
                [wrong, SECRET_KEY, ACCESS_KEY].into_iter().find(|secret| refusal.message.contains(secret));
            assert_eq!(quoted, None, "{refusal}");
        }
        point_to(machine, weed, SECRET_KEY).await;
        let got = async || sigma.get_file("/s3/~local/shop/a").await.ok();
        assert_eq!(eventually("the right secret is used", got).await, "kept");
    });
}

#[test]
fn a_server_is_believed_by_its_certificate() {
    story(async |machine| {
        let (Some(certificate), Some(other)) = (Certificate::new(), Certificate::new()) else { return };
        let Some(weed) = Weed::start_with(Some(&certificate)).await else { return };
        let sigma = machine.realm("a").await.sigma;
        point_to(machine, &weed, SECRET_KEY).await;
        machine.ok(&["realm", "set", "a", &format!("s3.endpoint={}", weed.https())]).await;
        let refused = async || {
            let error = sigma.create_dir("/s3/~local/shop").await.err()?;
            (error.code == Code::Unreachable && error.message.contains("certificate")).then_some(error)
        };
        eventually("nobody signs for it", refused).await;
        machine.set_from_file("a", "s3.ca", &certificate.authority).await;
        let made = async || sigma.create_dir("/s3/~local/shop").await.ok();
        eventually("its authority does", made).await;
        // One that goes in parts.
        let (path, contents) = ("/s3/~local/shop/large", pattern(20 * MIB));
        let mut file = to_write(&sigma, path).await;
        within("a write", file.write(contents.clone())).await.unwrap();
        within("a close", file.close()).await.unwrap();
        let mut file = within("an open", sigma.open(path)).await.unwrap();
        let mut read = Vec::new();
        while let Some(piece) =
            Some(within("a read", file.read(MIB)).await.unwrap()).filter(|piece| !piece.is_empty())
        {
            read.extend_from_slice(&piece);
        }
        assert!(read == contents, "{} bytes came back", read.len());
        machine.set_from_file("a", "s3.ca", &other.authority).await;
        eventually("another authority does not", refused).await;
        let shown = machine.ok(&["realm", "show", "a"]).await;
        assert!(shown.contains("1 certificate"), "{shown}");
    });
}

#[test]
fn no_proc_and_no_log_holds_the_secret() {
    on_weed(async |machine, tenant, _| {
        within("a bucket", tenant.sigma.create_dir("/s3/~local/shop")).await.unwrap();
        let line = "actor put:/s3/~local/shop/a=told get:/s3/~local/shop/a start wait-kill";
        let pid = tenant.start(line).await;
        let proc = host::find(machine.sigmad().await, line).unwrap();
        for secret in [SECRET_KEY, ACCESS_KEY] {
            assert_eq!(host::memory_holds(proc, b"told"), Some(true), "a search that finds what is there");
            assert_eq!(host::memory_holds(proc, secret.as_bytes()), Some(false), "{secret} is in a proc");
            let kernel = host::children(machine.sigmad().await);
            for pid in kernel.into_iter().chain([machine.sigmad().await]) {
                let words = host::command(pid);
                assert!(!words.contains(secret), "{words}");
                let variables = fs::read(format!("/proc/{pid}/environ")).unwrap();
                assert!(!String::from_utf8_lossy(&variables).contains(secret), "{words}");
            }
            let log = fs::read_to_string(machine.state().join("sigmad.log")).unwrap();
            assert!(!log.contains(secret), "{log}");
        }
        tenant.kill(pid).await;
        assert_eq!(tenant.stdout(pid).await, "told\n");
    });
}
