//! What the calls do, one by one.

use super::*;
use crate::limits::BATCH_DOCUMENTS;
use sigma_abi::Code;

#[test]
fn long_answers_come_in_batches_and_each_document_once() {
    run(async {
        let store = Store::in_memory();
        let count = 3 * BATCH_DOCUMENTS as i32 + 7;
        store.insert("c", &numbered(count)).await.unwrap();
        for (sort, batch) in
            [(doc! {}, 0), (doc! { "_id": -1 }, 100), (doc! { "n": 1 }, 0), (doc! { "n": -1 }, 999)]
        {
            let found = store
                .find("c", doc! {}, Asked { sort: sort.clone(), batch, ..Default::default() })
                .await
                .unwrap();
            let mut ids: Vec<i32> = found.iter().map(|it| it.get_i32("_id").unwrap()).collect();
            let by_n: Vec<i32> = found.iter().map(|it| it.get_i32("n").unwrap()).collect();
            match sort.get_i32("n") {
                Ok(1) => assert!(by_n.is_sorted()),
                Ok(_) => assert!(by_n.iter().rev().is_sorted()),
                Err(_) => {}
            }
            ids.sort_unstable();
            assert_eq!(ids, (0..count).collect::<Vec<_>>(), "{sort}");
        }
        let part = Asked { sort: doc! { "n": 1 }, skip: 10, limit: 1400, batch: 0 };
        let found = store.find("c", doc! { "even": true }, part).await.unwrap();
        assert_eq!(found.len(), 1400);
        assert_eq!(store.count("c", doc! { "even": true }).await.unwrap(), (count as u64).div_ceil(2));
    });
}

#[test]
fn large_documents_come_in_small_batches() {
    run(async {
        let store = Store::in_memory();
        for id in 0..5 {
            store.insert("c", &[doc! { "_id": id, "x": "x".repeat(3 << 20) }]).await.unwrap();
        }
        assert_eq!(store.find("c", doc! {}, Asked::default()).await.unwrap().len(), 5);
        let too_large = doc! { "_id": 9, "x": "x".repeat(4 << 20) };
        assert_eq!(store.insert("c", &[too_large]).await.unwrap_err().code, Code::TooLarge);
        let grows = store
            .update("c", doc! { "_id": 1 }, doc! { "$set": { "y": "y".repeat(2 << 20) } }, false, false)
            .await;
        assert_eq!(grows.unwrap_err().code, Code::TooLarge);
        assert_eq!(store.count("c", doc! { "y": { "$exists": true } }).await.unwrap(), 0);
    });
}

#[test]
fn duplicate_keys_are_refused_and_leave_nothing() {
    run(async {
        let store = Store::in_memory();
        let name = store.index("u", doc! { "name": 1 }, true).await.unwrap();
        assert_eq!(name, "name_1");
        store.insert("u", &[doc! { "_id": 1, "name": "ada" }]).await.unwrap();
        let twice = [
            doc! { "_id": 2, "name": "bob" },
            doc! { "_id": 3, "name": "ada" },
            doc! { "_id": 4, "name": "eve" },
        ];
        let error = store.insert("u", &twice).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Exists, true), "{error}");
        assert!(error.message.contains("document 2 of 3") && error.message.contains("name"), "{error}");
        assert_eq!(
            store.count("u", doc! {}).await.unwrap(),
            2,
            "the first of the three is there, the last is not"
        );
        let first = store.insert("u", &[doc! { "_id": 1 }]).await.unwrap_err();
        assert_eq!((first.code, first.maybe_done), (Code::Exists, false));
        let renamed = store
            .update("u", doc! { "_id": 2 }, doc! { "$set": { "name": "ada", "x": 1 } }, false, false)
            .await;
        assert_eq!(renamed.unwrap_err().code, Code::Exists);
        assert_eq!(store.find("u", doc! { "name": "bob", "x": 1 }, Asked::default()).await.unwrap(), []);
        // Its own key is no other's.
        store
            .update("u", doc! { "_id": 2 }, doc! { "$set": { "name": "bob", "x": 2 } }, false, false)
            .await
            .unwrap();
        // A missing name is null, which one document may have.
        store.insert("u", &[doc! { "_id": 5 }]).await.unwrap();
        assert_eq!(store.insert("u", &[doc! { "_id": 6 }]).await.unwrap_err().code, Code::Exists);
        store.delete("u", doc! { "name": "ada" }, false).await.unwrap();
        store.insert("u", &[doc! { "_id": 7, "name": "ada" }]).await.unwrap();
    });
}

#[test]
fn a_unique_index_over_what_is_twice_is_not_made() {
    run(async {
        let store = Store::in_memory();
        store.insert("c", &numbered(10)).await.unwrap();
        assert_eq!(store.index("c", doc! { "even": 1 }, true).await.unwrap_err().code, Code::Exists);
        store.index("c", doc! { "n": 1 }, true).await.unwrap();
        store.index("c", doc! { "n": 1 }, true).await.unwrap();
        assert_eq!(store.index("c", doc! { "n": 1 }, false).await.unwrap_err().code, Code::Exists);
        assert_eq!(store.index("c", doc! { "a.0": 1 }, false).await.unwrap_err().code, Code::Unsupported);
        // What failed left no entries behind.
        store.index("c", doc! { "even": 1 }, false).await.unwrap();
        assert_eq!(store.find("c", doc! { "even": true }, Asked::default()).await.unwrap().len(), 5);
    });
}

#[test]
fn many_are_changed_and_what_fails_says_how_far_it_came() {
    run(async {
        let store = Store::in_memory();
        store.insert("c", &numbered(10)).await.unwrap();
        let changed = store
            .update("c", doc! { "even": true }, doc! { "$set": { "even": false } }, true, false)
            .await
            .unwrap();
        assert_eq!((changed.matched, changed.modified), (5, 5));
        let again =
            store.update("c", doc! {}, doc! { "$set": { "even": false } }, true, false).await.unwrap();
        assert_eq!((again.matched, again.modified), (10, 0));
        store.update("c", doc! { "_id": 4 }, doc! { "$set": { "n": "text" } }, false, false).await.unwrap();
        let error = store.update("c", doc! {}, doc! { "$inc": { "n": 1 } }, true, false).await.unwrap_err();
        assert_eq!((error.code, error.maybe_done), (Code::Invalid, true), "{error}");
        let whole = store.update("c", doc! {}, doc! { "n": 1 }, true, false).await.unwrap_err();
        assert_eq!(whole.code, Code::Invalid);
        assert_eq!(store.delete("c", doc! { "_id": { "$lt": 5 } }, true).await.unwrap(), 5);
        assert_eq!(store.delete("c", doc! {}, false).await.unwrap(), 1);
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 4);
    });
}

#[test]
fn a_document_gets_an_id_in_front_and_bad_ones_are_refused() {
    run(async {
        let store = Store::in_memory();
        store.insert("c", &[doc! { "a": 1 }, doc! { "a": 2, "_id": "own" }]).await.unwrap();
        for found in store.find("c", doc! {}, Asked::default()).await.unwrap() {
            assert_eq!(found.keys().next().map(String::as_str), Some("_id"));
        }
        for wrong in [doc! { "_id": [1] }, doc! { "$set": 1 }] {
            assert_eq!(
                store.insert("c", std::slice::from_ref(&wrong)).await.unwrap_err().code,
                Code::Invalid,
                "{wrong}"
            );
        }
        let long = store.insert("c", &[doc! { "_id": "x".repeat(5000) }]).await.unwrap_err();
        assert_eq!(long.code, Code::TooLarge);
        assert_eq!(store.insert("$x", &[doc! {}]).await.unwrap_err().code, Code::Invalid);
        let message = proto::InsertRequest { collection: "c".into() };
        let garbage = store.0.insert(request(message, &b"\x07\0\0\0gar"[..])).await.unwrap_err();
        assert_eq!(garbage.code, Code::Invalid);
    });
}

#[test]
fn a_cursor_ends_with_its_index_and_not_with_its_documents() {
    run(async {
        let store = Store::in_memory();
        store.insert("c", &numbered(2000)).await.unwrap();
        let index = store.index("c", doc! { "n": 1 }, false).await.unwrap();
        let first = |sort: Document| {
            let message = proto::FindRequest {
                collection: "c".into(),
                sort: bytes(&sort).into(),
                batch: 10,
                ..Default::default()
            };
            store.0.find(request(message, ""))
        };
        let (by_index, by_id) = (first(doc! { "n": 1 }).await.unwrap(), first(doc! {}).await.unwrap());
        let more = |cursor| store.0.more(request(proto::MoreRequest { cursor, batch: 10 }, ""));
        store.delete("c", doc! { "_id": { "$lt": 15 } }, true).await.unwrap();
        let rest = documents(&more(by_id.message.cursor).await.unwrap().payload);
        assert_eq!(rest[0].get_i32("_id").unwrap(), 15);
        let drop_index = proto::DropIndexRequest { collection: "c".into(), name: index };
        store.0.drop_index(request(drop_index.clone(), "")).await.unwrap();
        assert_eq!(more(by_index.message.cursor).await.unwrap_err().code, Code::Closed);
        assert_eq!(store.0.drop_index(request(drop_index, "")).await.unwrap_err().code, Code::NotFound);
    });
}

#[test]
fn a_collection_that_was_dropped_begins_anew() {
    run(async {
        let store = Store::in_memory();
        store.insert("c", &numbered(100)).await.unwrap();
        store.index("c", doc! { "n": 1 }, false).await.unwrap();
        let drop_it =
            || store.0.drop_collection(request(proto::CollectionRequest { collection: "c".into() }, ""));
        drop_it().await.unwrap();
        drop_it().await.unwrap();
        assert_eq!(store.find("c", doc! { "n": 5 }, Asked::default()).await.unwrap(), []);
        store.insert("c", &numbered(3)).await.unwrap();
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 3);
        let listed = store
            .0
            .list_indexes(request(proto::CollectionRequest { collection: "c".into() }, ""))
            .await
            .unwrap();
        assert_eq!(listed.message.indexes.iter().map(|index| &index.name[..]).collect::<Vec<_>>(), ["_id_"]);
    });
}
