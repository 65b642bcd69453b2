//! Values as bytes that sort as the values do, and the order itself.
//!
//! The order is MongoDB's: first by type, all numbers being one; then by value. The bytes of a value are never the beginning of
//! another's, so the keys of several values can follow each other, and one can be turned round for a descending order.

use super::{Raw, Value, elements, fields};
use bson::raw::RawArray;
use std::cmp::Ordering;

/// What ends a document or array, and is less than any value.
const END: u8 = 0x00;

/// An array without elements, in an index: less than null, and not null.
pub const EMPTY_ARRAY: u8 = 0x0a;

/// The place of a value's type in the order; the first byte of its key.
pub fn rank(value: Value<'_>) -> u8 {
    match value {
        Value::MinKey => 0x05,
        Value::Null => 0x10,
        Value::Double(_) | Value::Int32(_) | Value::Int64(_) => 0x20,
        Value::String(_) => 0x30,
        Value::Document(_) => 0x40,
        Value::Array(_) => 0x50,
        Value::Binary(_) => 0x60,
        Value::ObjectId(_) => 0x70,
        Value::Boolean(_) => 0x80,
        Value::DateTime(_) => 0x90,
        Value::Timestamp(_) => 0xa0,
        Value::RegularExpression(_) => 0xb0,
        // Those that are not kept are not compared either.
        _ => 0xf0,
    }
}

/// Appends the key of a value.
pub fn push(value: Value<'_>, key: &mut Vec<u8>) {
    key.push(rank(value));
    push_body(value, key);
}

/// Turns a part of a key round, so that greater values come first.
pub fn turn(part: &mut [u8]) {
    part.iter_mut().for_each(|byte| *byte = !*byte);
}

fn push_body(value: Value<'_>, key: &mut Vec<u8>) {
    match value {
        Value::Double(_) | Value::Int32(_) | Value::Int64(_) => {
            let (whole, rest) = number(value);
            key.extend(whole.to_be_bytes());
            key.extend(rest.to_be_bytes());
        }
        Value::String(text) => push_text(text.as_bytes(), key),
        Value::Document(document) => {
            for (name, value) in fields(document) {
                key.push(rank(value));
                push_text(name.as_bytes(), key);
                push_body(value, key);
            }
            key.push(END);
        }
        Value::Array(array) => {
            elements(array).for_each(|value| push(value, key));
            key.push(END);
        }
        Value::Binary(binary) => {
            key.extend((binary.bytes.len() as u32).to_be_bytes());
            key.push(binary.subtype.into());
            key.extend(binary.bytes);
        }
        Value::ObjectId(id) => key.extend(id.bytes()),
        Value::Boolean(truth) => key.push(truth.into()),
        Value::DateTime(time) => key.extend(signed(time.timestamp_millis()).to_be_bytes()),
        Value::Timestamp(time) => {
            key.extend(time.time.to_be_bytes());
            key.extend(time.increment.to_be_bytes());
        }
        Value::RegularExpression(regex) => {
            push_text(regex.pattern.as_str().as_bytes(), key);
            push_text(regex.options.as_str().as_bytes(), key);
        }
        _ => {}
    }
}

/// A text with an end that sorts before whatever could follow.
fn push_text(text: &[u8], key: &mut Vec<u8>) {
    let mut parts = text.split(|byte| *byte == 0);
    key.extend(parts.next().unwrap_or_default());
    for part in parts {
        key.extend([0x00, 0xff]);
        key.extend(part);
    }
    key.extend([0x00, 0x00]);
}

/// A number as the greatest double that is not above it, as bits that sort, and how far it is above.
///
/// Integers of more than 53 bits lie between two doubles; none of those is lost.
fn number(value: Value<'_>) -> (u64, u16) {
    let integer = match value {
        Value::Double(double) => return (sorted(double), 0),
        Value::Int32(integer) => i64::from(integer),
        Value::Int64(integer) => integer,
        _ => return (0, 0),
    };
    let nearest = integer as f64;
    let below = if nearest as i128 > i128::from(integer) { nearest.next_down() } else { nearest };
    // Doubles of this size are at most 1024 apart.
    (sorted(below), (i128::from(integer) - below as i128) as u16)
}

/// The bits of a double, so that they sort; one that is no number is less than all, and the two zeros are one.
fn sorted(double: f64) -> u64 {
    if double.is_nan() {
        return 0;
    }
    let bits = if double == 0.0 { 0 } else { double.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn signed(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// How two values compare: as their keys do, without making them.
pub fn compare(left: Value<'_>, right: Value<'_>) -> Ordering {
    rank(left).cmp(&rank(right)).then_with(|| compare_alike(left, right))
}

fn compare_alike(left: Value<'_>, right: Value<'_>) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Document(left), Value::Document(right)) => compare_documents(left, right),
        (Value::Array(left), Value::Array(right)) => compare_arrays(left, right),
        (Value::Binary(left), Value::Binary(right)) => {
            let of = |binary: bson::raw::RawBinaryRef<'_>| (binary.bytes.len(), u8::from(binary.subtype));
            of(left).cmp(&of(right)).then_with(|| left.bytes.cmp(right.bytes))
        }
        (Value::ObjectId(left), Value::ObjectId(right)) => left.bytes().cmp(&right.bytes()),
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(&right),
        (Value::DateTime(left), Value::DateTime(right)) => left.cmp(&right),
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            (left.time, left.increment).cmp(&(right.time, right.increment))
        }
        (Value::RegularExpression(left), Value::RegularExpression(right)) => {
            let of = |regex: bson::raw::RawRegexRef<'_>| {
                (regex.pattern.as_str().to_owned(), regex.options.as_str().to_owned())
            };
            of(left).cmp(&of(right))
        }
        (left, right) if rank(left) == 0x20 => number(left).cmp(&number(right)),
        _ => Ordering::Equal,
    }
}

fn compare_documents(left: &Raw, right: &Raw) -> Ordering {
    let (mut left, mut right) = (fields(left), fields(right));
    loop {
        let ((left, a), (right, b)) = match (left.next(), right.next()) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return left.is_some().cmp(&right.is_some()),
        };
        let order = rank(a).cmp(&rank(b)).then_with(|| left.cmp(right)).then_with(|| compare_alike(a, b));
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_arrays(left: &RawArray, right: &RawArray) -> Ordering {
    let (mut left, mut right) = (elements(left), elements(right));
    loop {
        let order = match (left.next(), right.next()) {
            (Some(left), Some(right)) => compare(left, right),
            (left, right) => return left.is_some().cmp(&right.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bson::{
        Binary, Bson, DateTime, Document, RawBson, Timestamp, doc, oid::ObjectId, spec::BinarySubtype,
    };
    use proptest::prelude::*;

    /// Values of all types that are kept, many of them close to each other.
    pub(crate) fn values() -> impl Strategy<Value = Bson> {
        let numbers = prop_oneof![
            any::<i32>().prop_map(Bson::Int32),
            (-3i32..4).prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            (-3i64..4).prop_map(|near| Bson::Int64((1 << 53) + near)),
            (-3i64..0).prop_map(|near| Bson::Int64(i64::MAX + near)),
            any::<f64>().prop_map(Bson::Double),
            (-6i32..7).prop_map(|half| Bson::Double(f64::from(half) / 2.0)),
            Just(Bson::Double(9_007_199_254_740_992.0)),
            Just(Bson::Double(-0.0)),
        ];
        let leaves = prop_oneof![
            4 => numbers,
            2 => "[ab\\x00é]{0,3}".prop_map(Bson::String),
            1 => Just(Bson::Null),
            1 => any::<bool>().prop_map(Bson::Boolean),
            1 => (-2i64..3).prop_map(|ms| Bson::DateTime(DateTime::from_millis(ms))),
            1 => proptest::collection::vec(0u8..3, 0..3).prop_map(|bytes| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })),
            1 => (0u8..3).prop_map(|byte| Bson::ObjectId(ObjectId::from_bytes([byte; 12]))),
            1 => (0u32..2, 0u32..2).prop_map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment })),
            1 => prop_oneof![Just(Bson::MinKey), Just(Bson::MaxKey)],
        ];
        leaves.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Bson::Array),
                proptest::collection::vec(("[ab]{0,2}", inner), 0..3)
                    .prop_map(|fields| Bson::Document(fields.into_iter().collect::<Document>())),
            ]
        })
    }

    pub(crate) fn raw(value: &Bson) -> RawBson {
        RawBson::try_from(value.clone()).unwrap()
    }

    fn key(value: &Bson) -> Vec<u8> {
        let mut key = Vec::new();
        push(raw(value).as_raw_bson_ref(), &mut key);
        key
    }

    #[test]
    fn the_order_is_that_of_mongodb() {
        let ascending = [
            Bson::MinKey,
            Bson::Null,
            Bson::Double(f64::NAN),
            Bson::Double(f64::NEG_INFINITY),
            Bson::Int64(i64::MIN),
            Bson::Int32(-1),
            Bson::Double(-0.5),
            Bson::Int32(0),
            Bson::Double(0.5),
            Bson::Int64(1),
            Bson::Int64(9_007_199_254_740_992),
            Bson::Int64(9_007_199_254_740_993),
            Bson::Double(9_007_199_254_740_994.0),
            Bson::Int64(i64::MAX),
            Bson::Double(9_223_372_036_854_775_808.0),
            Bson::Double(f64::INFINITY),
            Bson::String(String::new()),
            Bson::String("a".into()),
            Bson::String("a\0".into()),
            Bson::String("ab".into()),
            Bson::Document(doc! {}),
            Bson::Document(doc! { "b": 1 }),
            Bson::Document(doc! { "b": 1, "a": 1 }),
            Bson::Document(doc! { "a": "x" }),
            Bson::Array(vec![]),
            Bson::Array(vec![Bson::Int32(1)]),
            Bson::Array(vec![Bson::Int32(1), Bson::Null]),
            Bson::Array(vec![Bson::Int32(2)]),
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![9] }),
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 1] }),
            Bson::ObjectId(ObjectId::from_bytes([1; 12])),
            Bson::Boolean(false),
            Bson::Boolean(true),
            Bson::DateTime(DateTime::from_millis(-1)),
            Bson::DateTime(DateTime::from_millis(1)),
            Bson::Timestamp(Timestamp { time: 1, increment: 0 }),
            Bson::MaxKey,
        ];
        for (place, pair) in ascending.windows(2).enumerate() {
            let [left, right] = [raw(&pair[0]), raw(&pair[1])];
            assert_eq!(
                compare(left.as_raw_bson_ref(), right.as_raw_bson_ref()),
                Ordering::Less,
                "{place}: {pair:?}"
            );
            assert!(key(&pair[0]) < key(&pair[1]), "{place}: {pair:?}");
        }
        for (left, right) in [
            (Bson::Int32(1), Bson::Double(1.0)),
            (Bson::Int64(1), Bson::Int32(1)),
            (Bson::Double(-0.0), Bson::Int32(0)),
            (Bson::Int64(1 << 53), Bson::Double(9_007_199_254_740_992.0)),
        ] {
            assert_eq!(key(&left), key(&right), "{left} {right}");
        }
    }

    proptest! {
        #[test]
        fn keys_sort_as_values_do(left in values(), right in values()) {
            let order = compare(raw(&left).as_raw_bson_ref(), raw(&right).as_raw_bson_ref());
            prop_assert_eq!(key(&left).cmp(&key(&right)), order);
            let turned = |value| { let mut key = key(value); turn(&mut key); key };
            prop_assert_eq!(turned(&left).cmp(&turned(&right)), order.reverse());
        }

        /// Else the keys of two values one after the other could be those of two others.
        #[test]
        fn no_key_begins_another(left in values(), right in values()) {
            let (left, right) = (key(&left), key(&right));
            prop_assert!(left == right || !right.starts_with(&left));
        }
    }
}
