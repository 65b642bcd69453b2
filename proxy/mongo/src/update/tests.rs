//! What updates do, by MongoDB's documentation.

use super::*;
use crate::document::Kept;
use bson::doc;

fn parsed(update: &Document) -> Result<Update> {
    let bytes = bson::serialize_to_vec(update).unwrap();
    Update::parse(check(&bytes, Kept::Here)?)
}

fn applied(update: Document, document: Document) -> Result<Document> {
    let bytes = bson::serialize_to_vec(&document).unwrap();
    parsed(&update)?.apply(check(&bytes, Kept::Here)?)
}

#[track_caller]
fn gives(update: Document, document: Document, expect: Document) {
    assert_eq!(applied(update.clone(), document.clone()).unwrap(), expect, "{update} of {document}");
}

#[test]
fn fields_are_set_counted_and_taken_away() {
    gives(doc! { "$set": { "a": 2, "b.c": 3 } }, doc! { "a": 1 }, doc! { "a": 2, "b": { "c": 3 } });
    gives(doc! { "$set": { "a.1": 9 } }, doc! { "a": [1, 2] }, doc! { "a": [1, 9] });
    gives(
        doc! { "$set": { "a.3.x": 9 } },
        doc! { "a": [1] },
        doc! { "a": [1, Bson::Null, Bson::Null, { "x": 9 }] },
    );
    gives(
        doc! { "$unset": { "a": "", "b.c": 1, "d.e": 1 } },
        doc! { "a": 1, "b": { "c": 2 } },
        doc! { "b": {} },
    );
    gives(doc! { "$unset": { "a.0": 1 } }, doc! { "a": [1, 2] }, doc! { "a": [Bson::Null, 2] });
    gives(doc! { "$inc": { "a": 2, "b": 1 } }, doc! { "a": 1 }, doc! { "a": 3, "b": 1 });
    gives(doc! { "$inc": { "a": 1 } }, doc! { "a": i32::MAX }, doc! { "a": i64::from(i32::MAX) + 1 });
    gives(doc! { "$inc": { "a": 0.5 } }, doc! { "a": 1_i64 }, doc! { "a": 1.5 });
    gives(doc! { "$inc": { "a": 1_i64 } }, doc! { "a": 1.5 }, doc! { "a": 2.5 });
    gives(
        doc! { "$min": { "a": 1 }, "$max": { "b": 1, "c": 1 } },
        doc! { "a": 2, "b": 2 },
        doc! { "a": 1, "b": 2, "c": 1 },
    );
    gives(doc! { "$setOnInsert": { "a": 1 } }, doc! { "_id": 1 }, doc! { "_id": 1 });
    gives(doc! { "b": 2 }, doc! { "_id": 1, "a": 1 }, doc! { "_id": 1, "b": 2 });
    gives(doc! { "$set": { "_id": 1.0 } }, doc! { "_id": 1 }, doc! { "_id": 1.0 });
}

#[test]
fn arrays_grow_shrink_and_stay_sets() {
    let three = || doc! { "a": [1, 2, 3] };
    gives(doc! { "$push": { "a": 4 } }, three(), doc! { "a": [1, 2, 3, 4] });
    gives(doc! { "$push": { "b": [4] } }, doc! {}, doc! { "b": [[4]] });
    gives(
        doc! { "$push": { "a": { "$each": [8, 9], "$position": 0 } } },
        three(),
        doc! { "a": [8, 9, 1, 2, 3] },
    );
    gives(doc! { "$push": { "a": { "$each": [8], "$position": -1 } } }, three(), doc! { "a": [1, 2, 8, 3] });
    gives(doc! { "$push": { "a": { "$each": [8], "$position": 99 } } }, three(), doc! { "a": [1, 2, 3, 8] });
    gives(
        doc! { "$push": { "a": { "$each": [8], "$position": 0, "$slice": 2 } } },
        three(),
        doc! { "a": [8, 1] },
    );
    gives(doc! { "$push": { "a": { "$each": [8], "$slice": -2 } } }, three(), doc! { "a": [3, 8] });
    gives(doc! { "$push": { "a": { "$each": [], "$slice": 0 } } }, three(), doc! { "a": [] });
    gives(doc! { "$addToSet": { "a": 2 } }, three(), three());
    gives(doc! { "$addToSet": { "a": 2.0 } }, three(), three());
    gives(doc! { "$addToSet": { "a": { "$each": [3, 4, 4] } } }, three(), doc! { "a": [1, 2, 3, 4] });
    gives(doc! { "$addToSet": { "a": [3] } }, three(), doc! { "a": [1, 2, 3, [3]] });
    gives(doc! { "$pull": { "a": 2 } }, three(), doc! { "a": [1, 3] });
    gives(doc! { "$pull": { "a": { "$gte": 2 } } }, three(), doc! { "a": [1] });
    gives(doc! { "$pull": { "a": { "$in": [1, 3] } } }, three(), doc! { "a": [2] });
    gives(
        doc! { "$pull": { "a": { "b": 1 } } },
        doc! { "a": [{ "b": 1, "c": 1 }, { "b": 2 }, 1] },
        doc! { "a": [{ "b": 2 }, 1] },
    );
    gives(doc! { "$pull": { "b": 1 } }, three(), three());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let check = |update: Document, document: Document, code: Code, word: &str| {
        let error = applied(update.clone(), document).unwrap_err();
        assert_eq!((error.code, error.message.contains(word)), (code, true), "{update}: {error}");
    };
    check(doc! { "$inc": { "a": 1 } }, doc! { "a": "x" }, Code::Invalid, "a string");
    check(doc! { "$inc": { "a": "x" } }, doc! {}, Code::Invalid, "$inc");
    check(doc! { "$inc": { "a": 1_i64 } }, doc! { "a": i64::MAX }, Code::Invalid, "64 bits");
    check(doc! { "$push": { "a": 1 } }, doc! { "a": 1 }, Code::Invalid, "$push");
    check(doc! { "$pull": { "a": 1 } }, doc! { "a": 1 }, Code::Invalid, "$pull");
    check(doc! { "$push": { "a": { "$each": 1 } } }, doc! {}, Code::Invalid, "$each");
    check(doc! { "$push": { "a": { "$each": [], "$sort": 1 } } }, doc! {}, Code::Unsupported, "$sort");
    check(doc! { "$set": { "a.b": 1 } }, doc! { "a": 1 }, Code::Invalid, "neither");
    check(doc! { "$set": { "a.b": 1 } }, doc! { "a": [1] }, Code::Invalid, "an array");
    check(doc! { "$set": { "a.99999": 1 } }, doc! { "a": [1] }, Code::Invalid, "null");
    check(doc! { "$set": { "_id": 2 } }, doc! { "_id": 1 }, Code::Invalid, "_id");
    check(doc! { "$unset": { "_id": 1 } }, doc! { "_id": 1 }, Code::Invalid, "_id");
    check(doc! { "_id": 2 }, doc! { "_id": 1 }, Code::Invalid, "_id");
    check(doc! { "$set": { "a": 1 }, "$inc": { "a": 1 } }, doc! {}, Code::Invalid, "at once");
    check(doc! { "$set": { "a": 1, "a.b": 1 } }, doc! {}, Code::Invalid, "at once");
    check(doc! { "$set": { "a.b": 1, "ab": 1, "a": 1 } }, doc! {}, Code::Invalid, "at once");
    check(doc! { "$set": 1 }, doc! {}, Code::Invalid, "$set");
    check(doc! { "$set": { "a": 1 }, "b": 1 }, doc! {}, Code::Invalid, "b");
    check(doc! { "b": 1, "$set": { "a": 1 } }, doc! {}, Code::Invalid, "$set");
    check(doc! { "$rename": { "a": "b" } }, doc! {}, Code::Unsupported, "$rename");
    check(doc! { "$set": { "a.$": 1 } }, doc! {}, Code::Unsupported, "$");
}

#[test]
fn a_document_is_added_from_filter_and_update() {
    let adds = |filter: Document, update: Document, expect: Document| {
        let bytes = bson::serialize_to_vec(&filter).unwrap();
        let parsed_filter = Filter::parse(check(&bytes, Kept::Here).unwrap()).unwrap();
        assert_eq!(parsed(&update).unwrap().insert(&parsed_filter).unwrap(), expect, "{filter} {update}");
    };
    adds(
        doc! { "_id": 7, "a.b": "x", "n": { "$gt": 3 } },
        doc! { "$inc": { "n": 1 }, "$setOnInsert": { "made": true }, "$push": { "l": 1 } },
        doc! { "_id": 7, "a": { "b": "x" }, "n": 1, "made": true, "l": [1] },
    );
    adds(
        doc! { "$and": [{ "a": 1 }, { "b": { "$eq": 2 } }] },
        doc! { "$set": { "c": 3 } },
        doc! { "a": 1, "b": 2, "c": 3 },
    );
    adds(doc! { "_id": 7, "a": 1 }, doc! { "b": 2 }, doc! { "_id": 7, "b": 2 });
    adds(doc! { "a": 1 }, doc! { "b": 2 }, doc! { "b": 2 });
}
