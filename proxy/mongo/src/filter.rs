//! Which documents are meant: filters as MongoDB has them, without I/O.
//!
//! A filter is parsed once, with every operand checked, and then asked of documents that were checked. It is asked of the bytes;
//! nothing is copied.

pub(crate) mod parse;
#[cfg(test)]
mod tests;

use crate::document::path::Found;
use crate::document::{Path, Raw, Value, elements, key};
use bson::RawBson;
use std::cmp::Ordering;

/// What a document has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these; none of them: every document.
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Neither(Vec<Filter>),
    /// What lies at a path passes a test.
    At(Path, Test),
}

/// What a value has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Equal(RawBson),
    Less(Bound),
    Greater(Bound),
    /// One of these, which are sorted.
    In(Vec<RawBson>),
    /// There is one.
    Exists,
    /// An array of so many elements.
    Size(i64),
    /// An array of which one document matches.
    Document(Box<Filter>),
    /// An array of which one element passes all of these.
    Element(Vec<Test>),
    /// All of these, each by any value at the path.
    All(Vec<Test>),
    /// Not all of these.
    Not(Vec<Test>),
}

/// A bound of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub value: RawBson,
    /// It is within.
    pub inclusive: bool,
}

impl Filter {
    /// Whether a document is meant.
    pub fn matches(&self, document: &Raw) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.matches(document)),
            Self::Any(any) => any.iter().any(|filter| filter.matches(document)),
            Self::Neither(none) => !none.iter().any(|filter| filter.matches(document)),
            Self::At(path, test) => test.passes(path, document),
        }
    }

    /// The tests that every document that is meant passes, with their paths.
    pub fn demands(&self) -> Vec<(&Path, &Test)> {
        match self {
            Self::All(all) => all.iter().flat_map(Self::demands).collect(),
            Self::Any(any) if any.len() == 1 => any[0].demands(),
            Self::At(path, Test::All(tests)) => tests.iter().map(|test| (path, test)).collect(),
            Self::At(path, test) => vec![(path, test)],
            Self::Any(_) | Self::Neither(_) => Vec::new(),
        }
    }
}

impl Test {
    fn passes(&self, path: &Path, document: &Raw) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.passes(path, document)),
            Self::Not(tests) => !tests.iter().all(|test| test.passes(path, document)),
            Self::Exists => path.visit(document, &mut |found| !matches!(found, Found::Missing)),
            test => path.visit(document, &mut |found| match found {
                Found::Missing => test.is_of_nothing(),
                Found::Element(value) => test.is_of(value),
                Found::Field(value) => {
                    test.is_of(value)
                        || value.as_array().is_some_and(|all| elements(all).any(|one| test.is_of(one)))
                }
            }),
        }
    }

    /// Whether a missing value passes, as null does.
    fn is_of_nothing(&self) -> bool {
        match self {
            Self::Equal(_) | Self::Less(_) | Self::Greater(_) | Self::In(_) => self.is_of(Value::Null),
            _ => false,
        }
    }

    /// Whether one value passes, seen as a whole.
    pub fn is_of(&self, value: Value<'_>) -> bool {
        match self {
            Self::Equal(operand) => key::compare(value, operand.as_raw_bson_ref()).is_eq(),
            Self::Less(bound) => bound.admits(value, Ordering::Less),
            Self::Greater(bound) => bound.admits(value, Ordering::Greater),
            Self::In(operands) => {
                operands.binary_search_by(|one| key::compare(one.as_raw_bson_ref(), value)).is_ok()
            }
            Self::Exists => true,
            Self::Size(size) => value.as_array().is_some_and(|all| elements(all).count() as i64 == *size),
            Self::Document(filter) => value.as_array().is_some_and(|all| {
                elements(all).any(|one| one.as_document().is_some_and(|document| filter.matches(document)))
            }),
            Self::Element(tests) => value
                .as_array()
                .is_some_and(|all| elements(all).any(|one| tests.iter().all(|test| test.is_of(one)))),
            Self::All(tests) => tests.iter().all(|test| test.is_of(value)),
            Self::Not(tests) => !tests.iter().all(|test| test.is_of(value)),
        }
    }
}

impl Bound {
    /// Whether a value lies on that side of the bound, or on it. Only values of the same type do, unless the bound is one of the two
    /// that are beyond all; what is no number is neither less nor greater than any.
    fn admits(&self, value: Value<'_>, side: Ordering) -> bool {
        let bound = self.value.as_raw_bson_ref();
        let beyond_all = matches!(bound, Value::MinKey | Value::MaxKey);
        if !beyond_all && key::rank(value) != key::rank(bound) {
            return false;
        }
        let order = key::compare(value, bound);
        (order == side && !is_nan(value) && !is_nan(bound)) || (order.is_eq() && self.inclusive)
    }
}

fn is_nan(value: Value<'_>) -> bool {
    matches!(value, Value::Double(double) if double.is_nan())
}
