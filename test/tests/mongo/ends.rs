//! The embedded store's process dies, and the machine goes on.

use super::*;
use sigmaos::Code;
use sigmaos::mongo::doc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn kill_9_under_writes_loses_nothing_that_was_acknowledged() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let mongo = Mongo::open(&tenant.sigma).await.unwrap();
        let log = mongo.collection::<Document>("log");
        log.create_index(doc! { "n": 1 }, true).await.unwrap();
        let written = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (log, written) = (log.clone(), Arc::clone(&written));
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in (0..).map(|round| round * 8 + writer) {
                        // By an upsert of its own id, so that it may be sent again.
                        let write = || log.upsert(doc! { "_id": n }, doc! { "$set": { "n": n } });
                        let mut answer = write().await;
                        while answer.as_ref().is_err_and(|error| error.maybe_done) {
                            answer = write().await;
                        }
                        answer.unwrap();
                        acknowledged.push(n);
                        if written.fetch_add(1, Ordering::Relaxed) > 3000 {
                            return acknowledged;
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        for after in [500, 1000, 1500] {
            let wrote = async || (written.load(Ordering::Relaxed) > after).then_some(());
            sigma_test::eventually("writes go on", wrote).await;
            machine.kill_9("mongo").await;
        }
        let mut acknowledged: Vec<i32> = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        acknowledged.sort_unstable();
        let found = sorted(&log, doc! {}, "n").await;
        let found: Vec<i32> = found.iter().map(|it| it.get_i32("n").unwrap()).collect();
        assert_eq!(found, acknowledged);
        // Documents and indexes agree.
        for n in [found[0], found[found.len() / 2]] {
            assert_eq!(log.count(doc! { "n": n }).await.unwrap(), 1);
            assert_eq!(log.insert_one(&doc! { "_id": -1, "n": n }).await.unwrap_err().code, Code::Exists);
        }
    });
}

#[test]
fn documents_outlive_the_kernel() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let kept = Mongo::open(&tenant.sigma).await.unwrap().collection::<Document>("kept");
        kept.insert_one(&doc! { "_id": "k", "v": 1 }).await.unwrap();
        machine.kill_9_sigmad().await;
        machine.boot_again().await;
        let tenant = machine.realm("a").await;
        let kept = Mongo::open(&tenant.sigma).await.unwrap().collection::<Document>("kept");
        assert_eq!(kept.find_one(doc! { "_id": "k" }).await.unwrap(), Some(doc! { "_id": "k", "v": 1 }));
    });
}

#[test]
fn one_realm_does_not_see_the_documents_of_another() {
    story(async |machine| {
        let (a, b) = (machine.realm("a").await, machine.realm("b").await);
        let of_a = Mongo::open(&a.sigma).await.unwrap();
        of_a.collection::<Document>("secret").insert_one(&doc! { "_id": 1 }).await.unwrap();
        let of_b = Mongo::open(&b.sigma).await.unwrap();
        assert_eq!(of_b.collections().await.unwrap(), Vec::<String>::new());
        assert_eq!(of_b.collection::<Document>("secret").count(doc! {}).await.unwrap(), 0);
        for path in ["/mongo/../../a/mongo/rpc", "/a/mongo/rpc", "/realm/a/mongo/rpc", "/mongo/a/rpc"] {
            assert!(Mongo::open_at(&b.sigma, path).await.is_err(), "{path}");
        }
    });
}

#[test]
fn a_damaged_file_is_named_and_is_no_other_realms_trouble() {
    story(async |machine| {
        let (a, b) = (machine.realm("a").await, machine.realm("b").await);
        let folder = machine.state().join("realm/a/mongo");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mongo.redb"), "no database at all ".repeat(1000)).unwrap();
        let error = Mongo::open(&a.sigma).await.unwrap_err();
        assert!(error.message.contains("mongo.redb") && error.message.contains("damaged"), "{error}");
        Mongo::open(&b.sigma).await.unwrap();
    });
}

#[test]
fn a_limit_of_disk_refuses_what_grows_and_lets_go_what_goes() {
    const MIB: usize = 1 << 20;
    story(async |machine| {
        let tenant = machine.realm("a").await;
        machine.ok(&["realm", "set", "a", &format!("limit.disk={}", 48 * MIB)]).await;
        let large = Mongo::open(&tenant.sigma).await.unwrap().collection::<Document>("large");
        let mut kept = 0;
        let refused = loop {
            match large.insert_one(&doc! { "_id": kept, "text": "x".repeat(MIB) }).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 48, "more was taken than the realm may have");
        };
        assert_eq!((refused.code, refused.maybe_done), (Code::Quota, false), "{refused}");
        assert!(refused.message.contains("limit.disk"), "{refused}");
        assert_eq!(large.count(doc! {}).await.unwrap(), u64::try_from(kept).unwrap());
        assert_eq!(large.delete_many(doc! {}).await.unwrap(), u64::try_from(kept).unwrap());
    });
}

#[test]
fn a_tool_that_never_saw_its_proto_calls_it() {
    story(async |machine| {
        machine.realm("a").await;
        let listed = machine.ok(&["--realm", "a", "rpc", "/mongo"]).await;
        assert!(listed.contains("service Mongo {") && listed.contains("FindAndModify"), "{listed}");
        let none =
            machine.ok(&["--realm", "a", "rpc", "/mongo", "Mongo.Count", r#"{"collection": "c"}"#]).await;
        assert!(none.contains("count"), "{none}");
    });
}
