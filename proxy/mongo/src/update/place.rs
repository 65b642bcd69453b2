//! Places within a document that is being changed, by the names that lead there.

use crate::document::path::number;
use crate::limits::MAX_PADDING;
use bson::{Bson, Document};
use sigma_abi::{Code, Error, Result};

/// What is at a place.
pub(super) fn get<'a>(document: &'a Document, names: &[String]) -> Option<&'a Bson> {
    let (name, rest) = names.split_first()?;
    get_in(document.get(name)?, rest)
}

fn get_in<'a>(value: &'a Bson, names: &[String]) -> Option<&'a Bson> {
    match (value, names) {
        (value, []) => Some(value),
        (Bson::Document(inner), names) => get(inner, names),
        (Bson::Array(array), [name, rest @ ..]) => get_in(array.get(number(name)?)?, rest),
        _ => None,
    }
}

/// As [`get`], to be changed.
pub(super) fn get_mut<'a>(document: &'a mut Document, names: &[String]) -> Option<&'a mut Bson> {
    let (name, rest) = names.split_first()?;
    rest.iter().try_fold(document.get_mut(name)?, |value, name| match value {
        Bson::Document(inner) => inner.get_mut(name),
        Bson::Array(array) => array.get_mut(number(name)?),
        _ => None,
    })
}

/// Puts a value at a place, and documents on the way where there is nothing.
///
/// # Errors
/// `Invalid` where something on the way is neither document nor array, or where an array would grow by too many nulls.
pub(super) fn put(document: &mut Document, names: &[String], value: Bson) -> Result<()> {
    let Some((name, rest)) = names.split_first() else { return Ok(()) };
    match document.get_mut(name) {
        Some(inside) if !rest.is_empty() => put_in(inside, name, rest, value),
        _ => {
            document.insert(name.clone(), wrapped(rest, value));
            Ok(())
        }
    }
}

fn put_in(target: &mut Bson, above: &str, names: &[String], value: Bson) -> Result<()> {
    let Some((name, rest)) = names.split_first() else {
        *target = value;
        return Ok(());
    };
    match target {
        Bson::Document(inner) => put(inner, names, value),
        Bson::Array(array) => {
            let place = number(name).ok_or_else(|| no_room(name, above, "an array"))?;
            if place >= array.len().saturating_add(MAX_PADDING) {
                let text =
                    format!("element {place} of {above}, which has {}: too many would be null", array.len());
                return Err(Error::new(Code::Invalid, text));
            }
            match array.get_mut(place) {
                Some(element) => put_in(element, name, rest, value),
                None => {
                    array.resize(place, Bson::Null);
                    array.push(wrapped(rest, value));
                    Ok(())
                }
            }
        }
        _ => Err(no_room(name, above, "neither a document nor an array")),
    }
}

/// Takes away what is at a place; an element of an array becomes null, so that the others keep their places.
pub(super) fn take(document: &mut Document, names: &[String]) {
    match names {
        [] => {}
        [name] => drop(document.remove(name)),
        [above @ .., name] => match get_mut(document, above) {
            Some(Bson::Document(inner)) => drop(inner.remove(name)),
            Some(Bson::Array(array)) => {
                if let Some(element) = number(name).and_then(|place| array.get_mut(place)) {
                    *element = Bson::Null;
                }
            }
            _ => {}
        },
    }
}

/// A value within new documents of these names.
fn wrapped(names: &[String], value: Bson) -> Bson {
    names.iter().rev().fold(value, |inner, name| {
        let mut document = Document::new();
        document.insert(name.clone(), inner);
        Bson::Document(document)
    })
}

fn no_room(name: &str, above: &str, what: &str) -> Error {
    Error::new(Code::Invalid, format!("{name} cannot be set in {above}, which is {what}"))
}
