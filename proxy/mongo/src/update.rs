//! What changes in a document: updates as MongoDB has them, without I/O.
//!
//! An update is parsed once; what can be wrong with it alone is wrong then. What can be wrong with it and a document, such as to
//! count up a text, leaves the document as it was.

mod arrays;
mod place;
#[cfg(test)]
mod tests;

use crate::document::{Path, Raw, Value, check, field, fields, key};
use crate::filter::{Filter, Test, parse};
use arrays::{Pull, Push};
use bson::{Bson, Document, RawBson};
use place::{get, put, take};
use sigma_abi::{Code, Error, Result};

/// A change of one document.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The whole document, but for its `_id`.
    Replace(Document),
    /// At each path something; no path lies within another's.
    Operators(Vec<(Path, Operator)>),
}

/// What happens at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    Set(Bson),
    /// As `Set`, where a document is added.
    SetOnInsert(Bson),
    Unset,
    Add(Bson),
    /// Keeps the lesser or the greater of both.
    Least(Bson),
    Greatest(Bson),
    Push(Push),
    AddToSet(Vec<Bson>),
    Pull(Pull),
}

impl Update {
    /// Reads an update that was checked: operators, or the document to put in the place of another.
    ///
    /// # Errors
    /// `Invalid` for what an operator does not take, and for paths that meet; `Unsupported` for an operator that is not known
    /// here. Both name the operator.
    pub fn parse(document: &Raw) -> Result<Self> {
        if !parse::is_operators(document) {
            if let Some((name, _)) = fields(document).find(|(name, _)| name.starts_with('$')) {
                let text = format!("{name} stands among fields: an update has operators alone, or none");
                return Err(Error::new(Code::Invalid, text));
            }
            return Ok(Self::Replace(owned(document)?));
        }
        let mut all: Vec<(Path, Operator)> = Vec::new();
        for (name, value) in fields(document) {
            let Value::Document(operands) = value else {
                let text = format!("{name} takes a document of paths, and not {}", kind(value));
                return Err(Error::new(Code::Invalid, text));
            };
            for (path, operand) in fields(operands) {
                let path = Path::parse(path)?;
                let operator = Operator::parse(name, operand)
                    .map_err(|error| error.context(format!("{name} of {path}")))?;
                all.push((path, operator));
            }
        }
        let mut paths: Vec<&Path> = all.iter().map(|(path, _)| path).collect();
        paths.sort();
        // What lies within a path follows it in this order.
        if let Some(pair) = paths.windows(2).find(|pair| pair[0].meets(pair[1])) {
            let text = format!("{} and {} are changed at once, and one lies in the other", pair[0], pair[1]);
            return Err(Error::new(Code::Invalid, text));
        }
        Ok(Self::Operators(all))
    }

    /// The document as it is after the change.
    ///
    /// # Errors
    /// `Invalid` where an operator does not fit what is at its path, or where the `_id` would change.
    pub fn apply(&self, document: &Raw) -> Result<Document> {
        let before = owned(document)?;
        let id = before.get("_id").cloned();
        let after = match self {
            Self::Replace(new) => replaced(id.clone(), new),
            Self::Operators(all) => {
                let mut after = before;
                for (path, operator) in all {
                    if !matches!(operator, Operator::SetOnInsert(_)) {
                        operator.apply(path, &mut after)?;
                    }
                }
                after
            }
        };
        if !same(after.get("_id"), id.as_ref()) {
            return Err(Error::new(Code::Invalid, "the _id of a document cannot change"));
        }
        Ok(after)
    }

    /// The document that is added where none matches: what the filter says that it is, and then the change. It may lack an `_id`.
    ///
    /// # Errors
    /// As [`Update::apply`].
    pub fn insert(&self, filter: &Filter) -> Result<Document> {
        let mut document = Document::new();
        for (path, test) in filter.demands() {
            if let Test::Equal(value) = test {
                put(&mut document, path.names(), bson_of(value)?)?;
            }
        }
        match self {
            Self::Replace(new) => {
                let id = document.remove("_id");
                if id.is_some() && new.contains_key("_id") && !same(new.get("_id"), id.as_ref()) {
                    return Err(Error::new(Code::Invalid, "the filter and the document have different _ids"));
                }
                Ok(replaced(id, new))
            }
            Self::Operators(all) => {
                let id = document.get("_id").cloned();
                for (path, operator) in all {
                    operator.apply(path, &mut document)?;
                }
                if id.is_some() && !same(document.get("_id"), id.as_ref()) {
                    return Err(Error::new(Code::Invalid, "the filter and the update have different _ids"));
                }
                Ok(document)
            }
        }
    }
}

impl Operator {
    fn parse(name: &str, operand: Value<'_>) -> Result<Self> {
        let value = bson(operand)?;
        Ok(match name {
            "$set" => Self::Set(value),
            "$setOnInsert" => Self::SetOnInsert(value),
            "$unset" => Self::Unset,
            "$inc" if is_number(&value) => Self::Add(value),
            "$inc" => {
                return Err(Error::new(Code::Invalid, format!("takes a number, and not {}", kind(operand))));
            }
            "$min" => Self::Least(value),
            "$max" => Self::Greatest(value),
            "$push" => Self::Push(Push::parse(operand)?),
            "$addToSet" => Self::AddToSet(arrays::each(operand)?),
            "$pull" => Self::Pull(Pull::parse(operand)?),
            _ => return Err(parse::unknown(name)),
        })
    }

    fn apply(&self, path: &Path, document: &mut Document) -> Result<()> {
        let names = path.names();
        match self {
            Self::Set(value) | Self::SetOnInsert(value) => put(document, names, value.clone()),
            Self::Unset => {
                take(document, names);
                Ok(())
            }
            Self::Add(by) => {
                let sum = match get(document, names) {
                    None => by.clone(),
                    Some(number) => {
                        add(number, by).map_err(|error| error.context(format!("$inc of {path}")))?
                    }
                };
                put(document, names, sum)
            }
            Self::Least(value) | Self::Greatest(value) => {
                let wanted = if matches!(self, Self::Least(_)) {
                    std::cmp::Ordering::Less
                } else {
                    std::cmp::Ordering::Greater
                };
                let changes = match get(document, names) {
                    None => true,
                    Some(now) => {
                        let (now, value) = (raw(now)?, raw(value)?);
                        key::compare(value.as_raw_bson_ref(), now.as_raw_bson_ref()) == wanted
                    }
                };
                if changes { put(document, names, value.clone()) } else { Ok(()) }
            }
            Self::Push(push) => arrays::change(document, path, "$push", true, |array| {
                push.apply(array);
                Ok(())
            }),
            Self::AddToSet(values) => {
                arrays::change(document, path, "$addToSet", true, |array| arrays::add_to_set(array, values))
            }
            Self::Pull(pull) => arrays::change(document, path, "$pull", false, |array| pull.apply(array)),
        }
    }
}

fn replaced(id: Option<Bson>, new: &Document) -> Document {
    // The _id stands first, as MongoDB has it.
    let mut document = Document::new();
    if let Some(id) = new.get("_id").cloned().or(id) {
        document.insert("_id", id);
    }
    document.extend(
        new.iter().filter(|(name, _)| *name != "_id").map(|(name, value)| (name.clone(), value.clone())),
    );
    document
}

fn same(left: Option<&Bson>, right: Option<&Bson>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => match (raw(left), raw(right)) {
            (Ok(left), Ok(right)) => key::compare(left.as_raw_bson_ref(), right.as_raw_bson_ref()).is_eq(),
            _ => false,
        },
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn is_number(value: &Bson) -> bool {
    matches!(value, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_))
}

/// The sum, of the type that holds it, as MongoDB has it.
fn add(left: &Bson, right: &Bson) -> Result<Bson> {
    let whole = |value: &Bson| match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    };
    match (left, right) {
        (left, _) if !is_number(left) => Err(Error::new(
            Code::Invalid,
            format!("a number cannot be added to {}", kind(raw(left)?.as_raw_bson_ref())),
        )),
        (Bson::Double(left), right) => Ok(Bson::Double(
            left + whole(right).map_or_else(|| right.as_f64().unwrap_or(0.0), |number| number as f64),
        )),
        (left, Bson::Double(right)) => Ok(Bson::Double(whole(left).unwrap_or(0) as f64 + right)),
        (left, right) => {
            let sum = whole(left).unwrap_or(0).checked_add(whole(right).unwrap_or(0));
            let sum = sum.ok_or_else(|| Error::new(Code::Invalid, "the sum is beyond 64 bits"))?;
            let both_small = matches!((left, right), (Bson::Int32(_), Bson::Int32(_)));
            Ok(match i32::try_from(sum) {
                Ok(small) if both_small => Bson::Int32(small),
                _ => Bson::Int64(sum),
            })
        }
    }
}

/// A document that was checked, to be changed.
pub(crate) fn owned(document: &Raw) -> Result<Document> {
    Document::try_from(document)
        .map_err(|error| Error::new(Code::Internal, format!("a document is damaged: {error}")))
}

/// The bytes of a document that was changed.
///
/// # Errors
/// As [`check`](fn@check): it may have grown too large or too deep.
pub(crate) fn encoded(document: &Document) -> Result<Vec<u8>> {
    let bytes = bson::serialize_to_vec(document)
        .map_err(|error| Error::new(Code::Invalid, format!("the document cannot be written: {error}")))?;
    check(&bytes, crate::document::Kept::Here)?;
    Ok(bytes)
}

/// The `_id` of a document, in front or not.
pub(crate) fn id_of(document: &Raw) -> Option<Value<'_>> {
    field(document, "_id")
}

fn bson(value: Value<'_>) -> Result<Bson> {
    Bson::try_from(value)
        .map_err(|error| Error::new(Code::Invalid, format!("a value cannot be read: {error}")))
}

fn bson_of(value: &RawBson) -> Result<Bson> {
    bson(value.as_raw_bson_ref())
}

fn raw(value: &Bson) -> Result<RawBson> {
    RawBson::try_from(value.clone())
        .map_err(|error| Error::new(Code::Invalid, format!("a value cannot be written: {error}")))
}

/// A value's type, for people.
fn kind(value: Value<'_>) -> &'static str {
    match value {
        Value::Double(_) | Value::Int32(_) | Value::Int64(_) => "a number",
        Value::String(_) => "a string",
        Value::Document(_) => "a document",
        Value::Array(_) => "an array",
        Value::Boolean(_) => "a truth value",
        Value::Null => "null",
        Value::ObjectId(_) => "an ObjectId",
        Value::DateTime(_) => "a date",
        _ => "a value of another type",
    }
}
