//! Documents as bytes: whether they are any, where their values are, how values compare, and the keys that they make.

pub mod check;
pub mod key;
pub mod path;

pub use check::{Kept, check, split};
pub use path::Path;

/// A value within a document.
pub type Value<'a> = bson::raw::RawBsonRef<'a>;

/// A document that was checked.
pub type Raw = bson::raw::RawDocument;

/// The elements of an array that was checked.
pub fn elements(array: &bson::raw::RawArray) -> impl Iterator<Item = Value<'_>> {
    array.iter_elements().map_while(|element| element.ok()?.value().ok())
}

/// The fields of a document that was checked, in their order.
pub fn fields(document: &Raw) -> impl Iterator<Item = (&str, Value<'_>)> {
    document.iter().map_while(|field| field.ok().map(|(name, value)| (name.as_str(), value)))
}

/// The first field of that name.
pub fn field<'a>(document: &'a Raw, name: &str) -> Option<Value<'a>> {
    let found = document.iter_elements().map_while(Result::ok).find(|element| element.key().as_str() == name);
    found.and_then(|element| element.value().ok())
}
