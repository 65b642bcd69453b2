//! What matches, by MongoDB's documentation, and against a model that is naive.

use super::*;
use crate::document::key::tests::{raw, values};
use crate::document::{Kept, check};
use bson::{Bson, Document, doc};
use proptest::prelude::*;
use sigma_abi::{Code, Result};

fn matches(filter: &Document, document: &Document) -> Result<bool> {
    let (filter, document) =
        (bson::serialize_to_vec(filter).unwrap(), bson::serialize_to_vec(document).unwrap());
    Ok(Filter::parse(check(&filter, Kept::Here)?)?.matches(check(&document, Kept::Here)?))
}

#[track_caller]
fn yes(filter: Document, document: Document) {
    assert!(matches(&filter, &document).unwrap(), "{filter} should match {document}");
}

#[track_caller]
fn no(filter: Document, document: Document) {
    assert!(!matches(&filter, &document).unwrap(), "{filter} should not match {document}");
}

#[test]
fn equality_knows_numbers_arrays_documents_and_null() {
    yes(doc! {}, doc! { "a": 1 });
    yes(doc! { "a": 1 }, doc! { "a": 1.0 });
    yes(doc! { "a": 1_i64 }, doc! { "a": 1 });
    no(doc! { "a": 1 }, doc! { "a": "1" });
    yes(doc! { "a": 2 }, doc! { "a": [1, 2] });
    yes(doc! { "a": [1, 2] }, doc! { "a": [1, 2] });
    yes(doc! { "a": [1, 2] }, doc! { "a": [[1, 2], 3] });
    no(doc! { "a": [1, 2] }, doc! { "a": [2, 1] });
    yes(doc! { "a": { "b": 1, "c": 2 } }, doc! { "a": { "b": 1, "c": 2 } });
    no(doc! { "a": { "b": 1, "c": 2 } }, doc! { "a": { "c": 2, "b": 1 } });
    yes(doc! { "a": Bson::Null }, doc! {});
    yes(doc! { "a": Bson::Null }, doc! { "a": [1, Bson::Null] });
    no(doc! { "a": Bson::Null }, doc! { "a": [] });
    yes(doc! { "a.b": Bson::Null }, doc! { "a": [{ "b": 1 }, { "c": 1 }] });
    yes(doc! { "a.b": 2 }, doc! { "a": [{ "b": 1 }, { "b": [2] }] });
    yes(doc! { "a.1": 2 }, doc! { "a": [1, 2] });
    no(doc! { "a.1": 2 }, doc! { "a": [2, 1] });
    yes(doc! { "a": 1, "b": 2 }, doc! { "a": 1, "b": 2 });
    no(doc! { "a": 1, "b": 2 }, doc! { "a": 1, "b": 3 });
}

#[test]
fn ranges_hold_within_a_type() {
    yes(doc! { "a": { "$gt": 1 } }, doc! { "a": 1.5 });
    no(doc! { "a": { "$gt": 1 } }, doc! { "a": "2" });
    no(doc! { "a": { "$gt": 1 } }, doc! {});
    yes(doc! { "a": { "$gte": 2, "$lt": 5 } }, doc! { "a": 2 });
    no(doc! { "a": { "$gte": 2, "$lt": 5 } }, doc! { "a": 5 });
    // Each bound may be met by another element.
    yes(doc! { "a": { "$gt": 4, "$lt": 2 } }, doc! { "a": [1, 5] });
    no(doc! { "a": { "$elemMatch": { "$gt": 4, "$lt": 2 } } }, doc! { "a": [1, 5] });
    yes(doc! { "a": { "$lte": Bson::Null } }, doc! {});
    no(doc! { "a": { "$lt": Bson::Null } }, doc! {});
    yes(doc! { "a": { "$gt": Bson::MinKey } }, doc! { "a": "any" });
    no(doc! { "a": { "$lt": 5 } }, doc! { "a": f64::NAN });
    yes(doc! { "a": { "$lte": f64::NAN } }, doc! { "a": f64::NAN });
    yes(doc! { "a": { "$lt": [2] } }, doc! { "a": [1] });
    yes(doc! { "a": { "$lt": "b" } }, doc! { "a": "a" });
}

#[test]
fn negation_is_of_the_whole() {
    yes(doc! { "a": { "$ne": 1 } }, doc! {});
    no(doc! { "a": { "$ne": 1 } }, doc! { "a": [1, 2] });
    yes(doc! { "a": { "$nin": [1, 2] } }, doc! { "a": 3 });
    no(doc! { "a": { "$nin": [1, Bson::Null] } }, doc! {});
    yes(doc! { "a": { "$not": { "$gt": 5 } } }, doc! { "a": "x" });
    no(doc! { "a": { "$not": { "$gt": 5 } } }, doc! { "a": [1, 6] });
    yes(doc! { "$nor": [{ "a": 1 }, { "b": 2 }] }, doc! { "a": 2 });
    no(doc! { "$nor": [{ "a": 1 }, { "b": 2 }] }, doc! { "b": 2 });
}

#[test]
fn sets_arrays_and_existence() {
    yes(doc! { "a": { "$in": [1, "x", Bson::Null] } }, doc! { "a": "x" });
    yes(doc! { "a": { "$in": [1, Bson::Null] } }, doc! {});
    no(doc! { "a": { "$in": [] } }, doc! { "a": 1 });
    yes(doc! { "a": { "$in": [[1]] } }, doc! { "a": [1] });
    yes(doc! { "a": { "$exists": true } }, doc! { "a": Bson::Null });
    no(doc! { "a": { "$exists": 0 } }, doc! { "a": Bson::Null });
    yes(doc! { "a.b": { "$exists": false } }, doc! { "a": [] });
    yes(doc! { "a": { "$all": [1, 2] } }, doc! { "a": [3, 2, 1] });
    no(doc! { "a": { "$all": [1, 2] } }, doc! { "a": [1] });
    yes(doc! { "a": { "$all": [1] } }, doc! { "a": 1 });
    no(doc! { "a": { "$all": [] } }, doc! { "a": [] });
    yes(doc! { "a": { "$size": 2 } }, doc! { "a": [1, [2, 3]] });
    no(doc! { "a": { "$size": 1 } }, doc! { "a": 1 });
    yes(doc! { "a": { "$elemMatch": { "b": 1, "c": 2 } } }, doc! { "a": [{ "b": 1 }, { "b": 1, "c": 2 }] });
    no(doc! { "a": { "$elemMatch": { "b": 1, "c": 2 } } }, doc! { "a": [{ "b": 1 }, { "c": 2 }] });
    yes(doc! { "a": { "$elemMatch": { "$or": [{ "b": 2 }, { "b": 3 }] } } }, doc! { "a": [{ "b": 3 }] });
    yes(
        doc! { "a": { "$all": [{ "$elemMatch": { "b": 1 } }, { "$elemMatch": { "b": 2 } }] } },
        doc! { "a": [{ "b": 1 }, { "b": 2 }] },
    );
    yes(doc! { "$and": [{ "a": 1 }, { "$or": [{ "b": 1 }, { "b": 2 }] }] }, doc! { "a": 1, "b": 2 });
}

#[test]
fn wrong_filters_name_the_operator() {
    let check = |filter: Document, code: Code, word: &str| {
        let error = matches(&filter, &doc! {}).unwrap_err();
        assert_eq!((error.code, error.message.contains(word)), (code, true), "{filter}: {error}");
    };
    check(doc! { "$where": "1" }, Code::Unsupported, "$where");
    check(doc! { "a": { "$foo": 1 } }, Code::Unsupported, "$foo");
    check(doc! { "a": { "$regex": "x" } }, Code::Unsupported, "$regex");
    check(doc! { "a": { "$in": 1 } }, Code::Invalid, "$in");
    check(doc! { "a": { "$size": -1 } }, Code::Invalid, "$size");
    check(doc! { "a": { "$not": 1 } }, Code::Invalid, "$not");
    check(doc! { "$or": [] }, Code::Invalid, "$or");
    check(doc! { "$and": [1] }, Code::Invalid, "$and");
    check(doc! { "": 1 }, Code::Invalid, "path");
    check(doc! { "a": { "$gt": 1, "b": 2 } }, Code::Unsupported, "b");
}

/// A model that knows the values at a plain path by copying them all, and one operator each.
fn model(document: &Document, operator: &str, operand: &Bson) -> bool {
    let value = document.get("a").cloned().unwrap_or(Bson::Null);
    let mut candidates = vec![value.clone()];
    if let Bson::Array(all) = value {
        candidates.extend(all);
    }
    let order = |value: &Bson| key::compare(raw(value).as_raw_bson_ref(), raw(operand).as_raw_bson_ref());
    let ranked = |value: &Bson| key::rank(raw(value).as_raw_bson_ref());
    let nan = |value: &Bson| value.as_f64().is_some_and(f64::is_nan);
    let comparable = |value: &Bson| {
        (ranked(value) == ranked(operand) || matches!(operand, Bson::MinKey | Bson::MaxKey))
            && !nan(value)
            && !nan(operand)
    };
    let any = |test: &dyn Fn(&Bson) -> bool| candidates.iter().any(test);
    match operator {
        "$eq" => any(&|value| order(value).is_eq()),
        "$ne" => !any(&|value| order(value).is_eq()),
        "$gt" => any(&|value| comparable(value) && order(value).is_gt()),
        "$lt" => any(&|value| comparable(value) && order(value).is_lt()),
        "$gte" => any(&|value| order(value).is_eq() || comparable(value) && order(value).is_gt()),
        "$lte" => any(&|value| order(value).is_eq() || comparable(value) && order(value).is_lt()),
        _ => unreachable!("{operator}"),
    }
}

proptest! {
    #[test]
    fn comparing_is_as_a_naive_model_says(
        value in proptest::option::of(values()),
        operand in values(),
        operator in proptest::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]),
    ) {
        let mut document = doc! { "_id": 1 };
        if let Some(value) = value {
            document.insert("a", value);
        }
        let filter = doc! { "a": { operator: operand.clone() } };
        prop_assert_eq!(matches(&filter, &document).unwrap(), model(&document, operator, &operand));
        let negated = doc! { "a": { "$not": { operator: operand.clone() } } };
        prop_assert_eq!(matches(&negated, &document).unwrap(), !model(&document, operator, &operand));
        let one_of = doc! { "a": { "$in": [operand.clone(), "never there"] } };
        prop_assert_eq!(matches(&one_of, &document).unwrap(), model(&document, "$eq", &operand));
    }
}
