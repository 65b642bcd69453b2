//! What every store promises, and what a file may be that is none.

use super::*;
use sigma_abi::Code;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Opens a store of some kind, again and again.
type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

fn each_store(check: fn(Open<'_>)) {
    let memory = Memory::default();
    check(&|| Box::new(memory.open()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    check(&|| Box::new(Redb::open(&path).unwrap()));
}

fn batch(changes: &[(&str, Option<&str>)]) -> Batch {
    let value = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    changes.iter().map(|(key, text)| (key.as_bytes().to_vec(), text.map(value))).collect()
}

fn kept(store: &mut dyn Store) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.load().unwrap().iter().map(|(key, value)| (text(key), text(value))).collect()
}

#[test]
fn what_is_committed_is_there_for_the_next_owner_in_the_order_of_the_keys() {
    each_store(|open| {
        let mut store = open();
        assert!(store.load().unwrap().is_empty());
        store.commit(&batch(&[("b", Some("2")), ("a", Some("1")), ("c", Some("3"))])).unwrap();
        store.commit(&batch(&[("b", None), ("c", Some("new")), ("never", None)])).unwrap();
        drop(store);
        let mut store = open();
        let expect = [("a", "1"), ("c", "new")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(kept(&mut *store), expect);
    });
}

#[test]
fn who_was_followed_by_another_owner_writes_nothing() {
    let memory = Memory::default();
    let (mut old, mut new) = (memory.open(), memory.open());
    assert_eq!(old.commit(&batch(&[("a", Some("old"))])).unwrap_err().code, Code::Stale);
    new.commit(&batch(&[("a", Some("new"))])).unwrap();
    assert_eq!(kept(&mut new), [("a".to_owned(), "new".to_owned())]);
}

fn file_with(records: usize) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut store = Redb::open(&path).unwrap();
    let keys: Vec<_> = (0..records).map(|number| (format!("key-{number:05}"), "value".repeat(20))).collect();
    let changes: Vec<_> = keys.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
    store.commit(&batch(&changes)).unwrap();
    (dir, path)
}

/// What is found in a file: its records, or why not. The library panics at some damage; named tells the kernel of it.
fn look(path: &Path) -> Result<Vec<(Vec<u8>, Bytes)>, Code> {
    let look = || Redb::open(path).and_then(|mut store| store.load());
    let found = catch_unwind(AssertUnwindSafe(look));
    found.unwrap_or_else(|_| Err(Error::new(Code::Internal, "a panic"))).map_err(|error| error.code)
}

#[test]
fn a_file_is_one_owners() {
    let (_dir, path) = file_with(1);
    let _first = Redb::open(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert!(error.message.contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_file_of_a_newer_build_is_left_as_it_is() {
    let (_dir, path) = file_with(10);
    let facts = ::redb::TableDefinition::<&str, u64>::new("facts");
    {
        let database = ::redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(facts).unwrap().insert("format", 99).unwrap();
        transaction.commit().unwrap();
    }
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.code, Code::Version);
    assert!(error.message.contains("format 99") && error.message.contains("newer build"), "{error}");
    // The newer build finds what it left: nobody took the file over.
    use ::redb::ReadableDatabase;
    let database = ::redb::Database::open(&path).unwrap();
    let facts = database.begin_read().unwrap().open_table(facts).unwrap();
    let fact = |name| facts.get(name).unwrap().unwrap().value();
    assert_eq!((fact("format"), fact("epoch")), (99, 1));
}

/// A file that was cut or overwritten anywhere is refused, or whole all the same: never something else.
#[test]
fn a_damaged_file_is_never_taken_for_another_namespace() {
    let (dir, path) = file_with(300);
    let whole = fs::read(&path).unwrap();
    let expect = look(&path).unwrap();
    let copy = dir.path().join("copy");
    let (mut refused, mut same) = (0, 0);
    let mut check = |bytes: &[u8], what: String| {
        fs::write(&copy, bytes).unwrap();
        match look(&copy) {
            Ok(found) => {
                assert_eq!(found, expect, "{what}");
                same += 1;
            }
            Err(code) => {
                assert!(matches!(code, Code::Internal | Code::Version), "{what}: {code:?}");
                refused += 1;
            }
        }
    };
    for place in (0..whole.len()).step_by(whole.len() / 12) {
        if place > 0 {
            check(&whole[..place], format!("cut at {place}"));
        }
        let mut bytes = whole.clone();
        let end = (place + 64).min(bytes.len());
        bytes[place..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        check(&bytes, format!("overwritten at {place}"));
    }
    for (what, bytes) in [("text", b"not a namespace at all\n".to_vec()), ("zeros", vec![0; 1 << 16])] {
        check(&bytes, what.to_owned());
    }
    assert!(refused > 5, "{refused} refused, {same} the same");
}
