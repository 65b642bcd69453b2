//! Dotted paths into documents, through arrays as MongoDB goes through them.

use super::{Raw, Value, elements, field};
use bson::raw::RawArray;
use sigma_abi::limits::MAX_DOCUMENT_DEPTH;
use sigma_abi::{Code, Error, Result};
use std::fmt;

/// Names in a path that are numbers.
const MAX_NUMBERS: usize = 8;

/// `a.b.c`: at least one name, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<String>);

/// What lies at a path.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// The path ends here, by names of fields.
    Field(Value<'a>),
    /// It ends at an element that it names by its number.
    Element(Value<'a>),
    /// It goes on where nothing is.
    Missing,
}

impl Path {
    /// # Errors
    /// `Invalid` for an empty name, or one that begins with `$`.
    pub fn parse(text: &str) -> Result<Self> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        if names.iter().any(|name| name.is_empty() || name.contains('\0')) {
            return Err(Error::new(Code::Invalid, format!("{text:?} is no path: it has an empty name")));
        }
        if let Some(name) = names.iter().find(|name| name.starts_with('$')) {
            let text = format!("{text:?}: {name} is no name of a field, and no operator that is known here");
            return Err(Error::new(Code::Unsupported, text));
        }
        // Each may be the number of an element and the name of a field: two ways to go on.
        let numbers = names.iter().filter(|name| number(name).is_some()).count();
        if names.len() > MAX_DOCUMENT_DEPTH || numbers > MAX_NUMBERS {
            let text = format!(
                "a path of {} names, {numbers} of them numbers: the limits are {MAX_DOCUMENT_DEPTH} and {MAX_NUMBERS}",
                names.len()
            );
            return Err(Error::new(Code::Invalid, text));
        }
        Ok(Self(names))
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// It names elements of arrays by their numbers, or might.
    pub fn has_numbers(&self) -> bool {
        self.0.iter().any(|name| number(name).is_some())
    }

    /// One of them leads to the other, or to what lies within.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(left, right)| left == right)
    }

    /// Shows `see` what lies at the path until it says that it has seen enough: whether it did.
    ///
    /// Where an array lies on the way, each of its documents is gone through, and the element that the next name is the number of.
    /// What lies at the end is shown as it is: an array, and not its elements.
    pub fn visit<'a>(&self, document: &'a Raw, see: &mut dyn FnMut(Found<'a>) -> bool) -> bool {
        visit(document, &self.0, see)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

/// The number that a name is: digits, without zeros in front.
pub fn number(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if plain { name.parse().ok() } else { None }
}

fn visit<'a>(document: &'a Raw, names: &[String], see: &mut dyn FnMut(Found<'a>) -> bool) -> bool {
    let Some((name, rest)) = names.split_first() else { return false };
    match field(document, name) {
        None => see(Found::Missing),
        Some(value) if rest.is_empty() => see(Found::Field(value)),
        Some(Value::Document(inner)) => visit(inner, rest, see),
        Some(Value::Array(array)) => visit_array(array, rest, see),
        Some(_) => see(Found::Missing),
    }
}

fn visit_array<'a>(array: &'a RawArray, names: &[String], see: &mut dyn FnMut(Found<'a>) -> bool) -> bool {
    let named = names.first().and_then(|name| number(name));
    for (place, element) in elements(array).enumerate() {
        if let Value::Document(inner) = element
            && visit(inner, names, see)
        {
            return true;
        }
        if named == Some(place) {
            let seen = match (element, &names[1..]) {
                (element, []) => see(Found::Element(element)),
                (Value::Document(inner), rest) => visit(inner, rest, see),
                (Value::Array(inner), rest) => visit_array(inner, rest, see),
                _ => false,
            };
            if seen {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, Document, doc};

    fn seen(document: Document, path: &str) -> Vec<String> {
        let bytes = bson::serialize_to_vec(&document).unwrap();
        let raw = super::super::check(&bytes, super::super::Kept::Here).unwrap();
        let mut all = Vec::new();
        Path::parse(path).unwrap().visit(raw, &mut |found| {
            all.push(match found {
                Found::Missing => "missing".to_owned(),
                Found::Field(value) | Found::Element(value) => Bson::try_from(value).unwrap().to_string(),
            });
            false
        });
        all
    }

    #[test]
    fn paths_lead_through_documents_and_arrays() {
        let check = |document: Document, path: &str, expect: &[&str]| {
            assert_eq!(seen(document.clone(), path), expect, "{path} in {document}");
        };
        check(doc! { "a": 1 }, "a", &["1"]);
        check(doc! { "a": 1 }, "b", &["missing"]);
        check(doc! { "a": 1 }, "a.b", &["missing"]);
        check(doc! { "a": { "b": 2 } }, "a.b", &["2"]);
        check(doc! { "a": [1, 2] }, "a", &["[1, 2]"]);
        check(doc! { "a": [{ "b": 1 }, { "b": [2, 3] }, { "c": 4 }, 5] }, "a.b", &["1", "[2, 3]", "missing"]);
        check(doc! { "a": [] }, "a.b", &[]);
        check(doc! { "a": [5, [2, 4]] }, "a.1", &["[2, 4]"]);
        check(doc! { "a": [{ "b": 1 }] }, "a.0.b", &["missing", "1"]);
        check(doc! { "a": [[{ "b": 1 }]] }, "a.b", &[]);
        check(doc! { "a": [[{ "b": 1 }]] }, "a.0.b", &["1"]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, code) in
            [("", Code::Invalid), ("a..b", Code::Invalid), (".a", Code::Invalid), ("a.$", Code::Unsupported)]
        {
            assert_eq!(Path::parse(text).unwrap_err().code, code, "{text}");
        }
        let meets = |left, right| Path::parse(left).unwrap().meets(&Path::parse(right).unwrap());
        assert!(meets("a", "a.b") && meets("a.b.c", "a.b") && !meets("a.b", "a.c") && !meets("ab", "a"));
    }
}
