//! How the documents that a filter means are found: by which index, in which ranges of it, in which order. No I/O.
//!
//! A plan finds at least the documents that match; whoever carries it out asks the filter of each. So a plan can be slow, and never
//! wrong. `_id` is an index like others: that of the documents themselves. What stands in `$or` finds no index.

use crate::document::{Path, Value, key};
use crate::filter::{Filter, Test};
use crate::keys::Keys;
use crate::limits::MAX_RANGES;
use bson::RawBson;
use std::ops::Bound;

/// An index that could be used.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub keys: &'a Keys,
    /// A document may have several keys in it.
    pub multikey: bool,
}

/// A way to find documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The candidate by its place.
    pub index: usize,
    /// In ascending order; they do not overlap.
    pub ranges: Vec<Range>,
    /// From the end to the beginning.
    pub reverse: bool,
    /// They come in the order that was asked for.
    pub sorted: bool,
}

/// Keys from one on, up to and without another; none: to the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
    /// It holds one key of the index alone.
    pub exact: bool,
}

impl Range {
    pub fn all() -> Self {
        Self { from: Vec::new(), to: None, exact: false }
    }

    pub fn holds(&self, key: &[u8]) -> bool {
        key >= &self.from[..] && self.to.as_ref().is_none_or(|to| key < &to[..])
    }
}

/// The best plan. The first candidate is the one over all documents.
pub fn plan(filter: &Filter, sort: Option<&Keys>, candidates: &[Candidate<'_>]) -> Plan {
    let demands = filter.demands();
    let mut best: Option<(Score, Plan)> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        let (score, plan) = by(index, *candidate, &demands, sort);
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, plan));
        }
    }
    best.map_or_else(
        || Plan { index: 0, ranges: vec![Range::all()], reverse: false, sorted: sort.is_none() },
        |(_, plan)| plan,
    )
}

/// What makes a plan better, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    equalities: usize,
    range: bool,
    sorted: bool,
    /// The documents themselves need no second look-up.
    documents: bool,
}

fn by(
    index: usize,
    candidate: Candidate<'_>,
    demands: &[(&Path, &Test)],
    sort: Option<&Keys>,
) -> (Score, Plan) {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let (mut constant, mut equalities, mut ranges) = (Vec::new(), 0, None);
    for (path, descending) in &candidate.keys.0 {
        let tests: Vec<&Test> = demands.iter().filter(|(at, _)| *at == path).map(|(_, test)| *test).collect();
        if let Some(values) = values(&tests).filter(|values| values.len() * prefixes.len() <= MAX_RANGES) {
            constant.push(values.len() == 1);
            equalities += 1;
            let parts: Vec<Vec<u8>> =
                values.into_iter().map(|value| part(value.as_raw_bson_ref(), *descending)).collect();
            prefixes = prefixes
                .iter()
                .flat_map(|prefix| parts.iter().map(move |part| [&prefix[..], part].concat()))
                .collect();
            continue;
        }
        ranges = span(&tests, candidate.multikey).map(|span| if *descending { turned(span) } else { span });
        break;
    }
    let exact = equalities == candidate.keys.0.len();
    let has_range = ranges.is_some();
    let span = ranges.unwrap_or((Vec::new(), None));
    let mut ranges: Vec<Range> = prefixes
        .into_iter()
        .map(|prefix| {
            let to = span.1.as_ref().map(|to| [&prefix[..], to].concat()).or_else(|| after(&prefix));
            Range { from: [&prefix[..], &span.0].concat(), to, exact }
        })
        .filter(|range| range.to.as_ref().is_none_or(|to| range.from < *to))
        .collect();
    ranges.sort();
    let direction = match sort {
        None => Some(false),
        // Of a document that is there several times, the least key counts, and that may lie outside of the ranges.
        Some(_) if candidate.multikey => None,
        Some(sort) => direction(candidate.keys, &constant, sort),
    };
    let sorted = direction.is_some();
    let score = Score { equalities, range: has_range, sorted, documents: index == 0 };
    (score, Plan { index, ranges, reverse: direction.unwrap_or(false), sorted })
}

/// The values that one of the tests allows, where it allows only some, in ascending order.
fn values(tests: &[&Test]) -> Option<Vec<RawBson>> {
    let one = tests.iter().find_map(|test| match test {
        Test::Equal(value) if is_plain(value) => Some(vec![value.clone()]),
        _ => None,
    });
    one.or_else(|| {
        tests.iter().find_map(|test| match test {
            Test::In(values) if values.iter().all(is_plain) => Some(values.clone()),
            _ => None,
        })
    })
}

/// An array is indexed by its elements, so the index does not have it as a whole.
fn is_plain(value: &RawBson) -> bool {
    !matches!(value, RawBson::Array(_))
}

/// A range of keys: from one on, up to another.
type Span = (Vec<u8>, Option<Vec<u8>>);

/// The range that the tests allow. Where a document has several values, each test may be passed by another of them, so that
/// only one counts.
fn span(tests: &[&Test], multikey: bool) -> Option<Span> {
    let mut spans = tests.iter().filter_map(|test| match test {
        Test::Greater(bound) => {
            let (least, last) = within(bound.value.as_raw_bson_ref())?;
            Some((if bound.inclusive { Some(least) } else { after(&least) }?, last))
        }
        Test::Less(bound) => {
            let (greatest, _) = within(bound.value.as_raw_bson_ref())?;
            let to = if bound.inclusive { after(&greatest) } else { Some(greatest.clone()) };
            Some((vec![greatest[0]], to))
        }
        _ => None,
    });
    let first = spans.next()?;
    if multikey {
        return Some(first);
    }
    Some(spans.fold(first, |(from, to), (other_from, other_to)| {
        let least = |to: Option<Vec<u8>>, other: Option<Vec<u8>>| match (to, other) {
            (Some(to), Some(other)) => Some(to.min(other)),
            (to, other) => to.or(other),
        };
        (from.max(other_from), least(to, other_to))
    }))
}

/// A bound as a key, and where its type ends. None for bounds that hold across types, or that an index does not have as a whole.
fn within(bound: Value<'_>) -> Option<Span> {
    match bound {
        Value::MinKey | Value::MaxKey | Value::Null | Value::Array(_) => None,
        Value::Double(double) if double.is_nan() => None,
        bound => Some((part(bound, false), Some(vec![key::rank(bound) + 1]))),
    }
}

fn part(value: Value<'_>, descending: bool) -> Vec<u8> {
    let mut part = Vec::new();
    key::push(value, &mut part);
    if descending {
        key::turn(&mut part);
    }
    part
}

/// The same values in an index that descends.
fn turned((from, to): Span) -> Span {
    let turn = |mut bytes: Vec<u8>| {
        key::turn(&mut bytes);
        after(&bytes)
    };
    let new_to = if from.is_empty() { None } else { turn(from) };
    (to.and_then(turn).unwrap_or_default(), new_to)
}

/// The first key after all that begin with this one; none where there is no such key.
pub fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// Whether the index has the order of the sort: forward is false, backward true. What is constant may stand anywhere in it.
fn direction(index: &Keys, constant: &[bool], sort: &Keys) -> Option<bool> {
    let is_constant = |place: usize| constant.get(place) == Some(&true);
    let mut reverse = None;
    let mut place = 0;
    for (path, descending) in &sort.0 {
        if index.0.iter().enumerate().any(|(place, (other, _))| other == path && is_constant(place)) {
            continue;
        }
        while is_constant(place) {
            place += 1;
        }
        let (other, other_descending) = index.0.get(place)?;
        if other != path
            || reverse
                .replace(descending != other_descending)
                .is_some_and(|before| before != (descending != other_descending))
        {
            return None;
        }
        place += 1;
    }
    Some(reverse.unwrap_or(false))
}

/// A range of keys with something before them all, as an ordered table wants it.
pub fn bounds(prefix: &[u8], range: &Range) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = [prefix, &range.from].concat();
    let to = range.to.as_ref().map(|to| [prefix, to].concat()).or_else(|| after(prefix));
    (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Kept, check};
    use bson::{Bson, Document, doc};

    fn keys(document: Document) -> Keys {
        Keys::parse(check(&bson::serialize_to_vec(&document).unwrap(), Kept::Here).unwrap()).unwrap()
    }

    /// The plan over `_id` and the indexes.
    fn planned(filter: Document, sort: Option<Document>, indexes: &[(Document, bool)]) -> Plan {
        let bytes = bson::serialize_to_vec(&filter).unwrap();
        let filter = Filter::parse(check(&bytes, Kept::Here).unwrap()).unwrap();
        let mut all = vec![(keys(doc! { "_id": 1 }), false)];
        all.extend(indexes.iter().map(|(document, multikey)| (keys(document.clone()), *multikey)));
        let candidates: Vec<_> =
            all.iter().map(|(keys, multikey)| Candidate { keys, multikey: *multikey }).collect();
        plan(&filter, sort.map(keys).as_ref(), &candidates)
    }

    #[test]
    fn ids_are_looked_up() {
        let one = planned(doc! { "_id": 7, "a": 1 }, None, &[(doc! { "a": 1 }, false)]);
        assert_eq!((one.index, one.ranges.len(), one.ranges[0].exact), (0, 1, true));
        let several = planned(doc! { "_id": { "$in": [3, 1, 2, 3] } }, None, &[]);
        assert_eq!((several.index, several.ranges.len()), (0, 3));
        assert!(several.ranges.is_sorted() && several.ranges.iter().all(|range| range.exact));
    }

    #[test]
    fn equalities_come_first_then_ranges_then_order() {
        let indexes = [(doc! { "a": 1 }, false), (doc! { "a": 1, "b": -1 }, false), (doc! { "c": 1 }, false)];
        let check = |filter: Document, sort: Option<Document>, index: usize, reverse: bool, sorted: bool| {
            let plan = planned(filter.clone(), sort.clone(), &indexes);
            assert_eq!(
                (plan.index, plan.reverse, plan.sorted),
                (index, reverse, sorted),
                "{filter} {sort:?} {plan:?}"
            );
        };
        check(doc! { "a": 1 }, None, 1, false, true);
        check(doc! { "a": 1, "b": 2 }, None, 2, false, true);
        check(doc! { "a": 1, "b": { "$gt": 2 } }, None, 2, false, true);
        check(doc! { "a": 1 }, Some(doc! { "b": -1 }), 2, false, true);
        check(doc! { "a": 1 }, Some(doc! { "b": 1 }), 2, true, true);
        check(doc! { "a": 1 }, Some(doc! { "a": 1, "b": 1 }), 2, true, true);
        check(doc! { "a": { "$gt": 1 } }, Some(doc! { "a": -1 }), 1, true, true);
        check(doc! {}, Some(doc! { "a": -1, "b": 1 }), 2, true, true);
        check(doc! {}, Some(doc! { "a": 1, "b": 1 }), 0, false, false);
        check(doc! { "a": { "$in": [1, 2] } }, Some(doc! { "b": -1 }), 1, false, false);
        check(doc! { "a": { "$in": [1, 2] } }, Some(doc! { "a": 1, "b": -1 }), 2, false, true);
        check(doc! { "d": 1 }, None, 0, false, true);
        check(doc! { "$or": [{ "a": 1 }, { "c": 1 }] }, None, 0, false, true);
        check(doc! { "$or": [{ "a": 1 }] }, None, 1, false, true);
        check(doc! { "a": [1] }, None, 0, false, true);
        check(doc! {}, Some(doc! { "_id": -1 }), 0, true, true);
    }

    #[test]
    fn an_index_over_arrays_gives_no_order_and_one_bound() {
        let multikey = [(doc! { "a": 1 }, true)];
        let plan = planned(doc! { "a": { "$gt": 4, "$lt": 2 } }, Some(doc! { "a": 1 }), &multikey);
        assert_eq!((plan.index, plan.sorted, plan.ranges.len()), (1, false, 1));
        let single = planned(doc! { "a": { "$gt": 4, "$lt": 2 } }, None, &[(doc! { "a": 1 }, false)]);
        assert_eq!(single.ranges, [], "nothing is both");
    }

    #[test]
    fn too_many_values_are_not_looked_up_one_by_one() {
        let many = (0..MAX_RANGES as i32 + 1).collect::<Vec<_>>();
        let plan = planned(doc! { "_id": { "$in": many } }, None, &[]);
        assert_eq!(plan.ranges, [Range::all()]);
        let bound = planned(doc! { "a": { "$gte": Bson::MinKey } }, None, &[(doc! { "a": 1 }, false)]);
        assert_eq!((bound.index, bound.ranges), (0, vec![Range::all()]));
    }
}
