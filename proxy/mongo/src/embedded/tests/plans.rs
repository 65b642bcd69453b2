//! Whatever indexes there are, the answer is that of a search through everything.

use super::*;
use crate::document::key::tests::values;
use bson::Bson;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A field's value, or the lack of one; arrays and documents among them.
fn field() -> impl Strategy<Value = Option<Bson>> {
    let small = prop_oneof![
        3 => (0i32..4).prop_map(Bson::Int32),
        1 => (0i32..4).prop_map(|n| Bson::Double(f64::from(n) + 0.5)),
        1 => Just(Bson::Null),
        1 => "[ab]".prop_map(Bson::String),
    ];
    let some = prop_oneof![
        4 => small.clone(),
        1 => proptest::collection::vec(small.clone(), 0..3).prop_map(Bson::Array),
        1 => small.clone().prop_map(|inner| Bson::Document(doc! { "x": inner })),
        1 => proptest::collection::vec(small.prop_map(|inner| Bson::Document(doc! { "x": inner })), 0..3).prop_map(Bson::Array),
        1 => values(),
    ];
    proptest::option::weighted(0.9, some)
}

fn document() -> impl Strategy<Value = Document> {
    (field(), field()).prop_map(|(a, b)| {
        let fields = [("a", a), ("b", b)].into_iter();
        fields.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

const PATHS: [&str; 4] = ["a", "b", "a.x", "_id"];

fn condition() -> impl Strategy<Value = Bson> {
    let operand = field().prop_map(|value| value.unwrap_or(Bson::Null)).boxed();
    prop_oneof![
        3 => operand.clone(),
        3 => (proptest::sample::select(vec!["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), operand.clone())
            .prop_map(|(operator, operand)| Bson::Document(doc! { operator: operand })),
        2 => (operand.clone(), operand.clone()).prop_map(|(from, to)| Bson::Document(doc! { "$gte": from, "$lt": to })),
        2 => proptest::collection::vec(operand, 0..4).prop_map(|all| Bson::Document(doc! { "$in": all })),
    ]
}

fn filter() -> impl Strategy<Value = Document> {
    proptest::collection::vec((proptest::sample::select(&PATHS[..]), condition()), 0..3)
        .prop_map(|parts| parts.into_iter().map(|(path, condition)| (path.to_owned(), condition)).collect())
}

fn keys() -> impl Strategy<Value = Document> {
    let part = (proptest::sample::select(&PATHS[..]), prop_oneof![Just(1), Just(-1)]);
    proptest::collection::vec(part, 1..3)
        .prop_map(|parts| parts.into_iter().map(|(path, way)| (path.to_owned(), Bson::Int32(way))).collect())
}

fn ids(found: &[Document]) -> BTreeSet<String> {
    found.iter().map(|it| it.get("_id").unwrap().to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_plan_finds_what_a_scan_finds(
        documents in proptest::collection::vec(document(), 0..12),
        indexes in proptest::collection::vec(keys(), 1..4),
        filter in filter(),
        sort in proptest::option::of(keys()),
        limit in 0u64..4,
    ) {
        run(async {
            let store = Store::in_memory();
            for index in &indexes {
                let _ = store.index("indexed", index.clone(), false).await;
            }
            for (id, document) in documents.iter().enumerate() {
                let mut whole = doc! { "_id": id as i32 };
                whole.extend(document.clone());
                // Where two arrays meet in one index, the document is refused, and left out of both.
                if store.insert("indexed", &[whole.clone()]).await.is_ok() {
                    store.insert("plain", &[whole]).await.unwrap();
                }
            }
            // Changes take their entries along.
            for collection in ["indexed", "plain"] {
                let _ = store.update(collection, doc! { "_id": 1 }, doc! { "$set": { "b": 9 }, "$unset": { "a": 1 } }, false, false).await;
                store.delete(collection, doc! { "_id": 2 }, false).await.unwrap();
            }
            let asked = Asked { sort: sort.clone().unwrap_or_default(), batch: 3, ..Default::default() };
            let found = store.find("indexed", filter.clone(), asked.clone()).await.unwrap();
            let expected = store.find("plain", filter.clone(), asked.clone()).await.unwrap();
            assert_eq!(ids(&found), ids(&expected), "{filter} by {indexes:?}");
            assert_eq!(found.len(), expected.len(), "none comes twice: {filter} by {indexes:?}");
            let by = crate::keys::Keys::parse(crate::document::check(&bytes(&asked.sort), crate::document::Kept::Here).unwrap()).unwrap();
            let sort_key = |it: &Document| by.sort_key(crate::document::check(&bytes(it), crate::document::Kept::Here).unwrap());
            let order: Vec<_> = found.iter().map(sort_key).collect();
            assert!(order.is_sorted(), "{sort:?} by {indexes:?}: {found:?}");
            // The first few are the first few.
            let few = store.find("indexed", filter.clone(), Asked { limit, ..asked }).await.unwrap();
            let wanted = if limit == 0 { found.len() } else { found.len().min(limit as usize) };
            assert_eq!(few.iter().map(sort_key).collect::<Vec<_>>(), order[..wanted], "{sort:?} by {indexes:?}");
        });
    }
}
