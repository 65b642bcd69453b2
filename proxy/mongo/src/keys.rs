//! The keys of an index or a sort: paths with a direction each, and the bytes that a document makes of them.

use crate::document::path::Found;
use crate::document::{Path, Raw, Value, elements, fields, key};
use crate::filter::parse::whole;
use crate::limits::{MAX_INDEX_KEY, MAX_KEY_PATHS, MAX_KEYS_OF_DOCUMENT};
use sigma_abi::{Code, Error, Result};
use std::collections::BTreeSet;

/// Paths, the most important first; true: descending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(pub Vec<(Path, bool)>);

impl Keys {
    /// Reads `{path: 1 or -1, …}`.
    ///
    /// # Errors
    /// `Invalid` for another direction, for a path twice, and past [`MAX_KEY_PATHS`].
    pub fn parse(document: &Raw) -> Result<Self> {
        let mut keys: Vec<(Path, bool)> = Vec::new();
        for (name, value) in fields(document) {
            let path = Path::parse(name)?;
            let descending = match (whole(value), value) {
                (Some(1), _) => false,
                (Some(-1), _) => true,
                (_, Value::String(kind)) => {
                    return Err(Error::new(
                        Code::Unsupported,
                        format!("{path}: no {kind} index is known here"),
                    ));
                }
                _ => return Err(Error::new(Code::Invalid, format!("{path}: a direction is 1 or -1"))),
            };
            if keys.iter().any(|(other, _)| *other == path) {
                return Err(Error::new(Code::Invalid, format!("{path} is there twice")));
            }
            keys.push((path, descending));
        }
        if keys.len() > MAX_KEY_PATHS {
            return Err(Error::new(
                Code::Invalid,
                format!("{} paths: the limit is {MAX_KEY_PATHS}", keys.len()),
            ));
        }
        Ok(Self(keys))
    }

    /// The name that MongoDB gives to an index of these keys: `a_1_b_-1`.
    pub fn name(&self) -> String {
        let parts = self
            .0
            .iter()
            .map(|(path, descending)| format!("{path}_{}", if *descending { "-1" } else { "1" }));
        parts.collect::<Vec<_>>().join("_")
    }

    /// The keys of a document in an index: one, or one for each element where an array lies on the way; whether one does.
    ///
    /// # Errors
    /// `TooLarge` past [`MAX_INDEX_KEY`] or [`MAX_KEYS_OF_DOCUMENT`]; `Invalid` where more than one path leads through an array.
    pub fn of(&self, document: &Raw) -> Result<(Vec<Vec<u8>>, bool)> {
        let mut made: Vec<Vec<u8>> = vec![Vec::new()];
        let mut through_array: Option<&Path> = None;
        for (path, descending) in &self.0 {
            let (parts, is_array) = parts(path, *descending, document)?;
            if is_array && let Some(other) = through_array.replace(path) {
                let text = format!("{other} and {path} both hold arrays, and stand in one index");
                return Err(Error::new(Code::Invalid, text));
            }
            made = match parts.len() {
                1 => made.into_iter().map(|key| [&key[..], &parts[0]].concat()).collect(),
                _ => made
                    .iter()
                    .flat_map(|key| parts.iter().map(move |part| [&key[..], part].concat()))
                    .collect(),
            };
        }
        if let Some(key) = made.iter().find(|key| key.len() > MAX_INDEX_KEY) {
            let text = format!(
                "a key of {} bytes in index {}: the limit is {MAX_INDEX_KEY}",
                key.len(),
                self.name()
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        Ok((made, through_array.is_some()))
    }

    /// The key by which a document is sorted. Of several values the least counts, and descending the greatest.
    pub fn sort_key(&self, document: &Raw) -> Vec<u8> {
        let mut sort_key = Vec::new();
        for (path, descending) in &self.0 {
            let mut best: Option<Vec<u8>> = None;
            each(path, document, &mut |mut part, _| {
                if *descending {
                    key::turn(&mut part);
                }
                if best.as_ref().is_none_or(|best| part < *best) {
                    best = Some(part);
                }
            });
            sort_key.extend(best.unwrap_or_default());
        }
        sort_key
    }
}

/// What a document has at a path of an index, each once, and whether an array lies on the way.
fn parts(path: &Path, descending: bool, document: &Raw) -> Result<(Vec<Vec<u8>>, bool)> {
    let (mut parts, mut is_array) = (BTreeSet::new(), false);
    each(path, document, &mut |mut part, of_array| {
        is_array |= of_array;
        if descending {
            key::turn(&mut part);
        }
        if parts.len() <= MAX_KEYS_OF_DOCUMENT {
            parts.insert(part);
        }
    });
    if parts.len() > MAX_KEYS_OF_DOCUMENT {
        let text = format!("{path} has more than {MAX_KEYS_OF_DOCUMENT} values, and is indexed");
        return Err(Error::new(Code::TooLarge, text));
    }
    Ok((parts.into_iter().collect(), is_array || parts_of_arrays(path, document)))
}

/// Whether an array of documents lies on the way, which one that has one document alone does not show by its parts.
fn parts_of_arrays(path: &Path, document: &Raw) -> bool {
    let mut at = Some(Value::Document(document));
    for name in path.names() {
        at = match at {
            Some(Value::Document(inner)) => crate::document::field(inner, name),
            _ => None,
        };
        if matches!(at, Some(Value::Array(_))) {
            return true;
        }
    }
    false
}

/// Shows the key of each value at a path, at least one, and whether it is an element of an array.
fn each(path: &Path, document: &Raw, see: &mut dyn FnMut(Vec<u8>, bool)) {
    let mut any = false;
    let made = |value: Value<'_>| {
        let mut part = Vec::new();
        key::push(value, &mut part);
        part
    };
    path.visit(document, &mut |found| {
        any = true;
        match found {
            Found::Missing => see(made(Value::Null), false),
            Found::Field(Value::Array(array)) => {
                let mut empty = true;
                for element in elements(array) {
                    empty = false;
                    see(made(element), true);
                }
                if empty {
                    see(vec![key::EMPTY_ARRAY], true);
                }
            }
            Found::Field(value) | Found::Element(value) => see(made(value), false),
        }
        false
    });
    // An array without documents lies on the way.
    if !any {
        see(vec![key::EMPTY_ARRAY], true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Kept, check};
    use bson::{Bson, Document, doc};

    fn keys(document: &Document) -> Keys {
        Keys::parse(check(&bson::serialize_to_vec(document).unwrap(), Kept::Here).unwrap()).unwrap()
    }

    fn count(index: Document, document: Document) -> usize {
        let bytes = bson::serialize_to_vec(&document).unwrap();
        keys(&index).of(check(&bytes, Kept::Here).unwrap()).unwrap().0.len()
    }

    #[test]
    fn arrays_make_several_keys() {
        assert_eq!(count(doc! { "a": 1 }, doc! { "a": 5 }), 1);
        assert_eq!(count(doc! { "a": 1 }, doc! {}), 1);
        assert_eq!(count(doc! { "a": 1 }, doc! { "a": [] }), 1);
        assert_eq!(count(doc! { "a": 1 }, doc! { "a": [1, 2, 2] }), 2);
        assert_eq!(
            count(doc! { "a.b": 1, "c": -1 }, doc! { "a": [{ "b": 1 }, { "b": [2, 3] }, 4], "c": 1 }),
            3
        );
        assert_eq!(count(doc! { "a.b": 1 }, doc! { "a": [1] }), 1);
        let both = bson::serialize_to_vec(&doc! { "a": [1, 2], "b": [{ "c": 1 }] }).unwrap();
        let error = keys(&doc! { "a": 1, "b.c": 1 }).of(check(&both, Kept::Here).unwrap()).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
    }

    #[test]
    fn documents_sort_by_the_least_or_the_greatest_of_an_array() {
        let sorted = |by: Document, mut documents: Vec<Document>| {
            let by = keys(&by);
            documents.sort_by_cached_key(|document| {
                let bytes = bson::serialize_to_vec(document).unwrap();
                by.sort_key(check(&bytes, Kept::Here).unwrap())
            });
            documents
        };
        let [low, wide, none, empty] = [doc! { "a": 2 }, doc! { "a": [1, 9] }, doc! {}, doc! { "a": [] }];
        let all = vec![low.clone(), wide.clone(), none.clone(), empty.clone()];
        let ascending = vec![empty.clone(), none.clone(), wide.clone(), low.clone()];
        assert_eq!(sorted(doc! { "a": 1 }, all.clone()), ascending);
        assert_eq!(sorted(doc! { "a": -1 }, all), [wide, low, none, empty]);
        let pairs = vec![doc! { "a": 1, "b": 1 }, doc! { "a": 1, "b": 2 }, doc! { "a": 0, "b": Bson::Null }];
        assert_eq!(
            sorted(doc! { "a": 1, "b": -1 }, pairs.clone()),
            [pairs[2].clone(), pairs[1].clone(), pairs[0].clone()]
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (document, code) in [
            (doc! { "a": 2 }, Code::Invalid),
            (doc! { "a": "text" }, Code::Unsupported),
            (doc! { "a.$": 1 }, Code::Unsupported),
            (doc! { "a": true }, Code::Invalid),
        ] {
            let bytes = bson::serialize_to_vec(&document).unwrap();
            assert_eq!(Keys::parse(check(&bytes, Kept::Here).unwrap()).unwrap_err().code, code, "{document}");
        }
        assert_eq!(keys(&doc! { "a.b": 1, "c": -1 }).name(), "a.b_1_c_-1");
    }
}
