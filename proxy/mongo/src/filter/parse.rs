//! From a document to a filter.

use super::{Bound, Filter, Test};
use crate::document::{Path, Raw, Value, elements, fields, key};
use bson::RawBson;
use sigma_abi::{Code, Error, Result};

impl Filter {
    /// Reads a filter that was checked.
    ///
    /// # Errors
    /// `Invalid` for an operand that an operator does not take; `Unsupported` for an operator that is not known here. Both name
    /// the operator.
    pub fn parse(document: &Raw) -> Result<Self> {
        let mut all = Vec::new();
        for (name, value) in fields(document) {
            match name {
                "$and" => all.push(Self::All(several(name, value)?)),
                "$or" => all.push(Self::Any(several(name, value)?)),
                "$nor" => all.push(Self::Neither(several(name, value)?)),
                "$comment" => {}
                _ if name.starts_with('$') => return Err(unknown(name)),
                _ => {
                    let path = Path::parse(name)?;
                    let tests = tests(value).map_err(|error| error.context(name))?;
                    all.extend(tests.into_iter().map(|test| Self::At(path.clone(), test)));
                }
            }
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Self::All(all) })
    }
}

/// What a condition asks of one value: operators, or to be equal. For what an update takes out of arrays, too.
pub(crate) fn tests(condition: Value<'_>) -> Result<Vec<Test>> {
    match condition {
        Value::Document(document) if is_operators(document) => operators(document),
        value => Ok(vec![Test::Equal(operand(value)?)]),
    }
}

/// Whether a document holds operators, and is no value.
pub(crate) fn is_operators(document: &Raw) -> bool {
    fields(document).next().is_some_and(|(name, _)| name.starts_with('$'))
}

fn operators(document: &Raw) -> Result<Vec<Test>> {
    fields(document).map(|(name, value)| operator(name, value)).collect()
}

fn operator(name: &str, value: Value<'_>) -> Result<Test> {
    let bound = |inclusive| Ok::<_, Error>(Bound { value: operand(value)?, inclusive });
    Ok(match name {
        "$eq" => Test::Equal(operand(value)?),
        "$ne" => Test::Not(vec![Test::Equal(operand(value)?)]),
        "$gt" => Test::Greater(bound(false)?),
        "$gte" => Test::Greater(bound(true)?),
        "$lt" => Test::Less(bound(false)?),
        "$lte" => Test::Less(bound(true)?),
        "$in" => Test::In(list(name, value)?),
        "$nin" => Test::Not(vec![Test::In(list(name, value)?)]),
        "$exists" if is_true(value) => Test::Exists,
        "$exists" => Test::Not(vec![Test::Exists]),
        "$size" => {
            Test::Size(whole(value).filter(|size| *size >= 0).ok_or_else(|| takes(name, "a whole number"))?)
        }
        "$not" => match value {
            Value::Document(inner) if is_operators(inner) => Test::Not(operators(inner)?),
            Value::RegularExpression(_) => return Err(unknown("a regular expression")),
            _ => return Err(takes(name, "operators")),
        },
        "$elemMatch" => element(value)?,
        "$all" => all(value)?,
        _ => return Err(unknown(name)),
    })
}

fn element(value: Value<'_>) -> Result<Test> {
    let Value::Document(inner) = value else { return Err(takes("$elemMatch", "a document")) };
    let logical = |name: &str| matches!(name, "$and" | "$or" | "$nor");
    match fields(inner).next() {
        Some((name, _)) if name.starts_with('$') && !logical(name) => Ok(Test::Element(operators(inner)?)),
        _ => Ok(Test::Document(Box::new(Filter::parse(inner)?))),
    }
}

fn all(value: Value<'_>) -> Result<Test> {
    let Value::Array(array) = value else { return Err(takes("$all", "an array")) };
    let tests = elements(array).map(|value| match value {
        Value::Document(inner) if is_operators(inner) => match fields(inner).next() {
            Some(("$elemMatch", inner)) => element(inner),
            _ => Err(takes("$all", "values, or $elemMatch")),
        },
        value => Ok(Test::Equal(operand(value)?)),
    });
    let tests = tests.collect::<Result<Vec<_>>>()?;
    // Nothing has all of nothing.
    Ok(if tests.is_empty() { Test::In(Vec::new()) } else { Test::All(tests) })
}

fn several(name: &str, value: Value<'_>) -> Result<Vec<Filter>> {
    let Value::Array(array) = value else { return Err(takes(name, "an array of filters")) };
    let filters = elements(array).map(|value| match value {
        Value::Document(document) => Filter::parse(document),
        _ => Err(takes(name, "an array of filters")),
    });
    let filters = filters.collect::<Result<Vec<_>>>()?;
    if filters.is_empty() { Err(takes(name, "at least one filter")) } else { Ok(filters) }
}

fn list(name: &str, value: Value<'_>) -> Result<Vec<RawBson>> {
    let Value::Array(array) = value else { return Err(takes(name, "an array")) };
    let mut values = elements(array).map(operand).collect::<Result<Vec<_>>>()?;
    values.sort_by(|left, right| key::compare(left.as_raw_bson_ref(), right.as_raw_bson_ref()));
    values.dedup_by(|left, right| key::compare(left.as_raw_bson_ref(), right.as_raw_bson_ref()).is_eq());
    Ok(values)
}

fn operand(value: Value<'_>) -> Result<RawBson> {
    match value {
        Value::RegularExpression(_) => Err(unknown("a regular expression")),
        value => Ok(RawBson::from(value)),
    }
}

/// A number without a fraction.
pub(crate) fn whole(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int32(number) => Some(number.into()),
        Value::Int64(number) => Some(number),
        Value::Double(number) if number.trunc() == number && number.abs() < 9e15 => Some(number as i64),
        _ => None,
    }
}

/// As MongoDB sees truth: all but false, null and zero.
pub(crate) fn is_true(value: Value<'_>) -> bool {
    match value {
        Value::Boolean(truth) => truth,
        Value::Null => false,
        Value::Double(number) => number != 0.0,
        value => whole(value) != Some(0),
    }
}

fn takes(name: &str, what: &str) -> Error {
    Error::new(Code::Invalid, format!("{name} takes {what}"))
}

pub(crate) fn unknown(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("{what}: the embedded store does not have it"))
}
