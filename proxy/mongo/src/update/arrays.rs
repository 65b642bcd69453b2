//! What updates do to arrays: `$push`, `$addToSet`, `$pull`.

use super::place::{get_mut, put};
use super::{bson, kind, raw};
use crate::document::{Path, Value, elements, fields, key};
use crate::filter::{Filter, Test, parse};
use bson::{Bson, Document};
use sigma_abi::{Code, Error, Result};
use std::collections::BTreeSet;

/// Elements that are added, where, and what is kept of the array.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    each: Vec<Bson>,
    /// From the beginning, or from the end where it is negative; none: at the end.
    position: Option<i64>,
    /// So many of the first, or of the last where it is negative; none: all.
    slice: Option<i64>,
}

/// What is taken out of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Pull {
    /// The elements that pass all of these.
    Passing(Vec<Test>),
    /// The documents that match.
    Matching(Filter),
}

/// The elements that `{$each: […]}` names, or the one value.
pub(super) fn each(operand: Value<'_>) -> Result<Vec<Bson>> {
    match operand {
        Value::Document(document) if fields(document).next().is_some_and(|(name, _)| name == "$each") => {
            if let Some((name, _)) = fields(document).nth(1) {
                return Err(parse::unknown(name));
            }
            Ok(Push::parse(operand)?.each)
        }
        value => Ok(vec![bson(value)?]),
    }
}

impl Push {
    pub(super) fn parse(operand: Value<'_>) -> Result<Self> {
        let document = match operand {
            Value::Document(document) if fields(document).any(|(name, _)| name == "$each") => document,
            value => return Ok(Self { each: vec![bson(value)?], position: None, slice: None }),
        };
        let mut push = Self { each: Vec::new(), position: None, slice: None };
        for (name, value) in fields(document) {
            let number = || {
                let wrong = || {
                    Error::new(Code::Invalid, format!("{name} takes a whole number, and not {}", kind(value)))
                };
                parse::whole(value).ok_or_else(wrong)
            };
            match (name, value) {
                ("$each", Value::Array(array)) => {
                    push.each = elements(array).map(bson).collect::<Result<_>>()?
                }
                ("$each", _) => return Err(Error::new(Code::Invalid, "$each takes an array")),
                ("$position", _) => push.position = Some(number()?),
                ("$slice", _) => push.slice = Some(number()?),
                _ => return Err(parse::unknown(name)),
            }
        }
        Ok(push)
    }

    pub(super) fn apply(&self, array: &mut Vec<Bson>) {
        let length = array.len();
        let at = match self.position {
            None => length,
            Some(at) if at >= 0 => usize::try_from(at).map_or(length, |at| at.min(length)),
            Some(from_end) => {
                length.saturating_sub(usize::try_from(from_end.unsigned_abs()).unwrap_or(length))
            }
        };
        array.splice(at..at, self.each.iter().cloned());
        match self.slice {
            None => {}
            Some(first) if first >= 0 => array.truncate(usize::try_from(first).unwrap_or(usize::MAX)),
            Some(last) => {
                let kept = usize::try_from(last.unsigned_abs()).unwrap_or(usize::MAX);
                array.drain(..array.len().saturating_sub(kept));
            }
        }
    }
}

impl Pull {
    pub(super) fn parse(operand: Value<'_>) -> Result<Self> {
        match operand {
            Value::Document(document) if !parse::is_operators(document) => {
                Ok(Self::Matching(Filter::parse(document)?))
            }
            condition => Ok(Self::Passing(parse::tests(condition)?)),
        }
    }

    pub(super) fn apply(&self, array: &mut Vec<Bson>) -> Result<()> {
        let mut kept = Vec::with_capacity(array.len());
        for element in std::mem::take(array) {
            let bytes = raw(&element)?;
            let value = bytes.as_raw_bson_ref();
            let goes = match self {
                Self::Passing(tests) => tests.iter().all(|test| test.is_of(value)),
                Self::Matching(filter) => {
                    value.as_document().is_some_and(|document| filter.matches(document))
                }
            };
            if !goes {
                kept.push(element);
            }
        }
        *array = kept;
        Ok(())
    }
}

/// Adds the values that are not there yet.
pub(super) fn add_to_set(array: &mut Vec<Bson>, values: &[Bson]) -> Result<()> {
    let key_of = |value: &Bson| {
        let mut bytes = Vec::new();
        key::push(raw(value)?.as_raw_bson_ref(), &mut bytes);
        Ok::<_, Error>(bytes)
    };
    let mut there = array.iter().map(key_of).collect::<Result<BTreeSet<_>>>()?;
    for value in values {
        if there.insert(key_of(value)?) {
            array.push(value.clone());
        }
    }
    Ok(())
}

/// Changes the array at a path; one that is missing is made, or left alone.
pub(super) fn change(
    document: &mut Document,
    path: &Path,
    operator: &str,
    make: bool,
    by: impl FnOnce(&mut Vec<Bson>) -> Result<()>,
) -> Result<()> {
    match get_mut(document, path.names()) {
        Some(Bson::Array(array)) => by(array),
        Some(_) => Err(Error::new(Code::Invalid, format!("{operator} of {path}: there is no array"))),
        None if make => {
            let mut array = Vec::new();
            by(&mut array)?;
            put(document, path.names(), Bson::Array(array))
        }
        None => Ok(()),
    }
}
