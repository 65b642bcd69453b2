//! Which parts of a document are wanted.

use crate::document::{Path, Raw, Value, elements, fields};
use crate::filter::parse;
use bson::raw::{RawArray, RawArrayBuf, RawDocumentBuf};
use bson::{Bson, Document, RawBson};
use sigma_abi::{Code, Error, Result};

/// The parts that are wanted, or those that are not.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Projection {
    paths: Vec<Path>,
    /// `paths` are what is wanted; else, what is not.
    only: bool,
    /// None: as `only` has it.
    id: Option<bool>,
    slices: Vec<(Path, Slice)>,
}

/// So many elements of an array, from one on; from the end where that is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    from: i64,
    count: usize,
}

impl Projection {
    /// Reads `{path: 1, …}`, `{path: 0, …}` and `{path: {$slice: n or [from, n]}}`.
    ///
    /// # Errors
    /// `Invalid` where some are wanted and others are not, `_id` apart; `Unsupported` for what else MongoDB has.
    pub fn parse(document: &Raw) -> Result<Self> {
        let mut projection = Self::default();
        let mut only: Option<bool> = None;
        for (name, value) in fields(document) {
            let wanted = match value {
                Value::Boolean(_) | Value::Int32(_) | Value::Int64(_) | Value::Double(_) => {
                    parse::is_true(value)
                }
                Value::Document(operator) => {
                    projection.slices.push((Path::parse(name)?, Slice::parse(operator)?));
                    continue;
                }
                _ => return Err(parse::unknown("a projection of values")),
            };
            if name == "_id" {
                projection.id = Some(wanted);
                continue;
            }
            if only.replace(wanted).is_some_and(|before| before != wanted) {
                let text = format!("{name}: what is wanted and what is not cannot stand in one projection");
                return Err(Error::new(Code::Invalid, text));
            }
            projection.paths.push(Path::parse(name)?);
        }
        // `{_id: 1}` alone wants nothing else.
        projection.only = only.unwrap_or(projection.id == Some(true));
        let mut paths: Vec<&Path> =
            projection.paths.iter().chain(projection.slices.iter().map(|(path, _)| path)).collect();
        paths.sort();
        if let Some(pair) = paths.windows(2).find(|pair| pair[0].meets(pair[1])) {
            let text =
                format!("{} and {} stand in one projection, and one lies in the other", pair[0], pair[1]);
            return Err(Error::new(Code::Invalid, text));
        }
        Ok(projection)
    }

    /// The parts of a document that are wanted, as bytes. What is kept or left out as a whole is not looked into.
    ///
    /// # Errors
    /// `Internal` where the document is damaged.
    pub fn apply(&self, document: &Raw) -> Result<Vec<u8>> {
        let paths: Vec<&[String]> = self.paths.iter().map(Path::names).collect();
        let mut projected = RawDocumentBuf::new();
        for field in document.iter() {
            let (name, value) = field.map_err(damaged)?;
            let text = name.as_str();
            let below = below(&paths, text);
            let whole = below.iter().any(|rest| rest.is_empty());
            let slices: Vec<(&[String], Slice)> = self.slices_below(text).collect();
            let wanted = match (text, self.id) {
                ("_id", Some(wanted)) => wanted,
                ("_id", None) => true,
                _ if self.only => whole || !below.is_empty() || !slices.is_empty(),
                _ => !whole,
            };
            if !wanted {
                continue;
            }
            match (value, &slices[..]) {
                (Value::Array(array), [([], slice)]) => projected.append(name, slice.apply_raw(array)),
                (value, []) if whole || below.is_empty() => projected.append(name, value),
                (value, _) => {
                    let mut value = Bson::try_from(value).map_err(damaged)?;
                    slices.iter().for_each(|(names, slice)| slice_in(&mut value, names, *slice));
                    // What is only sliced is kept besides.
                    let kept = match (below.is_empty(), self.only) {
                        (true, _) => Some(value),
                        (false, true) => keep_in(value, &below),
                        (false, false) => {
                            drop_in(&mut value, &below);
                            Some(value)
                        }
                    };
                    if let Some(kept) = kept {
                        projected.append(name, RawBson::try_from(kept).map_err(damaged)?);
                    }
                }
            }
        }
        Ok(projected.into_bytes())
    }

    /// The slices of what begins with a name, without it.
    fn slices_below(&self, name: &str) -> impl Iterator<Item = (&[String], Slice)> {
        self.slices.iter().filter_map(move |(path, slice)| {
            let (first, rest) = path.names().split_first()?;
            (first == name).then_some((rest, *slice))
        })
    }
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("a document is damaged: {error}"))
}

impl Slice {
    fn parse(operator: &Raw) -> Result<Self> {
        let wrong = || Error::new(Code::Invalid, "$slice takes a whole number, or [from, number]");
        let (name, value) = fields(operator).next().ok_or_else(wrong)?;
        if name != "$slice" || fields(operator).count() > 1 {
            return Err(parse::unknown(name));
        }
        let numbers: Vec<Option<i64>> = match value {
            Value::Array(array) => elements(array).map(parse::whole).collect(),
            value => vec![parse::whole(value)],
        };
        let count = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
        match numbers[..] {
            [Some(first)] if first >= 0 => Ok(Self { from: 0, count: count(first) }),
            [Some(last)] => Ok(Self { from: last, count: usize::MAX }),
            [Some(from), Some(number)] if number > 0 => Ok(Self { from, count: count(number) }),
            _ => Err(wrong()),
        }
    }

    fn apply_raw(self, array: &RawArray) -> RawArrayBuf {
        let from = match usize::try_from(self.from) {
            Ok(from) => from,
            Err(_) => {
                let back = usize::try_from(self.from.unsigned_abs()).unwrap_or(usize::MAX);
                array.iter_elements().count().saturating_sub(back)
            }
        };
        let mut slice = RawArrayBuf::new();
        elements(array).skip(from).take(self.count).for_each(|element| slice.push(element));
        slice
    }

    fn apply(self, array: &mut Vec<Bson>) {
        let length = array.len();
        let from = match usize::try_from(self.from) {
            Ok(from) => from.min(length),
            Err(_) => length.saturating_sub(usize::try_from(self.from.unsigned_abs()).unwrap_or(length)),
        };
        array.drain(..from);
        array.truncate(self.count);
    }
}

fn slice_in(value: &mut Bson, names: &[String], slice: Slice) {
    match (value, names) {
        (Bson::Array(array), []) => slice.apply(array),
        (Bson::Document(inner), [name, rest @ ..]) => {
            if let Some(value) = inner.get_mut(name) {
                slice_in(value, rest, slice);
            }
        }
        (Bson::Array(array), names) => array.iter_mut().for_each(|element| {
            if matches!(element, Bson::Document(_)) {
                slice_in(element, names, slice);
            }
        }),
        _ => {}
    }
}

/// What begins with a name, without it; an empty one: all that has the name.
fn below<'a>(names: &[&'a [String]], name: &str) -> Vec<&'a [String]> {
    names
        .iter()
        .filter_map(|names| names.split_first().filter(|(first, _)| *first == name).map(|(_, rest)| rest))
        .collect()
}

fn keep(document: Document, names: &[&[String]]) -> Document {
    let kept = document.into_iter().filter_map(|(name, value)| {
        let below = below(names, &name);
        let value = match &below[..] {
            [] => None,
            below if below.iter().any(|rest| rest.is_empty()) => Some(value),
            below => keep_in(value, below),
        };
        Some((name, value?))
    });
    kept.collect()
}

fn keep_in(value: Bson, names: &[&[String]]) -> Option<Bson> {
    match value {
        Bson::Document(inner) => Some(Bson::Document(keep(inner, names))),
        Bson::Array(array) => {
            Some(Bson::Array(array.into_iter().filter_map(|element| keep_in(element, names)).collect()))
        }
        _ => None,
    }
}

fn drop_all(document: &mut Document, names: &[&[String]]) {
    let gone: Vec<String> =
        names.iter().filter(|names| names.len() == 1).map(|names| names[0].clone()).collect();
    gone.iter().for_each(|name| drop(document.remove(name)));
    for (name, value) in document.iter_mut() {
        let below = below(names, name);
        if !below.is_empty() {
            drop_in(value, &below);
        }
    }
}

fn drop_in(value: &mut Bson, names: &[&[String]]) {
    match value {
        Bson::Document(inner) => drop_all(inner, names),
        Bson::Array(array) => array.iter_mut().for_each(|element| drop_in(element, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Kept, check};
    use bson::doc;

    fn projected(projection: &Document, document: &Document) -> Result<Document> {
        let [projection, document] = [projection, document].map(|it| bson::serialize_to_vec(it).unwrap());
        let bytes =
            Projection::parse(check(&projection, Kept::Here)?)?.apply(check(&document, Kept::Here)?)?;
        Ok(bson::deserialize_from_slice(&bytes).unwrap())
    }

    #[test]
    fn parts_are_kept_or_left_out() {
        let check = |projection: Document, document: Document, expect: Document| {
            assert_eq!(projected(&projection, &document).unwrap(), expect, "{projection} of {document}");
        };
        let sample = || doc! { "_id": 1, "a": 2, "b": { "c": 3, "d": 4 }, "e": [{ "f": 5, "g": 6 }, 7] };
        check(doc! {}, sample(), sample());
        check(doc! { "a": 1 }, sample(), doc! { "_id": 1, "a": 2 });
        check(doc! { "a": true, "_id": 0 }, sample(), doc! { "a": 2 });
        check(doc! { "_id": 1 }, sample(), doc! { "_id": 1 });
        check(
            doc! { "b.c": 1, "e.f": 1, "none": 1 },
            sample(),
            doc! { "_id": 1, "b": { "c": 3 }, "e": [{ "f": 5 }] },
        );
        check(
            doc! { "a": 0, "b.c": 0, "e.f": 0 },
            sample(),
            doc! { "_id": 1, "b": { "d": 4 }, "e": [{ "g": 6 }, 7] },
        );
        check(doc! { "_id": 0 }, doc! { "_id": 1, "a": 1 }, doc! { "a": 1 });
        let list = || doc! { "_id": 1, "l": [1, 2, 3, 4], "x": 1 };
        check(doc! { "l": { "$slice": 2 } }, list(), doc! { "_id": 1, "l": [1, 2], "x": 1 });
        check(doc! { "l": { "$slice": -1 } }, list(), doc! { "_id": 1, "l": [4], "x": 1 });
        check(doc! { "l": { "$slice": [1, 2] }, "_id": 0 }, list(), doc! { "l": [2, 3], "x": 1 });
        check(doc! { "l": { "$slice": [-3, 2] }, "x": 0 }, list(), doc! { "_id": 1, "l": [2, 3] });
        check(doc! { "l": { "$slice": [9, 2] }, "y": 1 }, list(), doc! { "_id": 1, "l": [] });
        let deep = doc! { "_id": 1, "d": { "l": [1, 2, 3], "x": 1 }, "s": [{ "l": [4, 5] }, 6] };
        check(
            doc! { "d.l": { "$slice": 1 } },
            deep.clone(),
            doc! { "_id": 1, "d": { "l": [1], "x": 1 }, "s": [{ "l": [4, 5] }, 6] },
        );
        check(doc! { "s.l": { "$slice": -1 }, "d": 0 }, deep, doc! { "_id": 1, "s": [{ "l": [5] }, 6] });
    }

    #[test]
    fn what_is_no_projection_is_refused() {
        for (projection, code) in [
            (doc! { "a": 1, "b": 0 }, Code::Invalid),
            (doc! { "a": 1, "a.b": 1 }, Code::Invalid),
            (doc! { "a": { "$slice": "x" } }, Code::Invalid),
            (doc! { "a": { "$elemMatch": {} } }, Code::Unsupported),
            (doc! { "a": "$b" }, Code::Unsupported),
        ] {
            assert_eq!(projected(&projection, &doc! {}).unwrap_err().code, code, "{projection}");
        }
    }
}
