//! The file: what was answered is in it, and what is wrong with it is said.

use super::*;
use redb::{Database, TableDefinition};
use sigma_abi::Code;
use std::path::Path;

fn open(file: &Path) -> Result<Store> {
    Embedded::open(file, None, |error| panic!("{error}")).map(Store)
}

/// The thread that writes lets go of the file once it has answered all.
fn open_again(file: &Path) -> Store {
    loop {
        match open(file) {
            Ok(store) => return store,
            Err(error) if error.code == Code::Busy => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mongo.redb");
    run(async {
        let store = open(&file).unwrap();
        store.index("c", doc! { "n": -1 }, true).await.unwrap();
        store.insert("c", &numbered(500)).await.unwrap();
        store.insert("c", &[doc! { "_id": "list", "n": [1000, 1001] }]).await.unwrap();
    });
    run(async {
        let store = open_again(&file);
        assert_eq!(store.count("c", doc! {}).await.unwrap(), 501);
        assert_eq!(store.insert("c", &[doc! { "_id": -1, "n": 7 }]).await.unwrap_err().code, Code::Exists);
        let found =
            store.find("c", doc! { "n": { "$gte": 498, "$lt": 1001 } }, Asked::default()).await.unwrap();
        assert_eq!(found.len(), 3);
        // Numbers of indexes are not given again.
        store.index("d", doc! { "x": 1 }, false).await.unwrap();
        store.insert("d", &[doc! { "x": 1 }]).await.unwrap();
        assert_eq!(store.find("d", doc! { "x": 1 }, Asked::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn a_damaged_file_and_one_of_a_newer_build_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mongo.redb");
    std::fs::write(&file, "not a database, but long enough to be looked at ".repeat(1000)).unwrap();
    let error = open(&file).err().unwrap();
    assert!(
        error.code == Code::Internal
            && error.message.contains("mongo.redb")
            && error.message.contains("damaged"),
        "{error}"
    );
    std::fs::remove_file(&file).unwrap();
    let database = Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let facts: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
    transaction.open_table(facts).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&file).err().unwrap();
    assert!(error.code == Code::Version && error.message.contains("99"), "{error}");
}

#[test]
fn a_file_has_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mongo.redb");
    let _first = open(&file).unwrap();
    assert_eq!(open(&file).err().unwrap().code, Code::Busy);
}

/// Changes that arrive together are carried out one after the other, and each is told the truth.
#[test]
fn of_many_that_take_one_name_one_gets_it() {
    run(async {
        let store = Arc::new(Store::in_memory());
        store.index("u", doc! { "name": 1 }, true).await.unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|id| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.insert("u", &[doc! { "_id": id, "name": "ada" }]).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.code, Code::Exists),
            }
        }
        assert_eq!((won, store.count("u", doc! {}).await.unwrap()), (1, 1));
    });
}
