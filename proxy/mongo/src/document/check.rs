//! Whether bytes are a document: the one place where what callers send is looked at, once, to its depth.
//!
//! What has passed is walked later without asking again.

use super::Raw;
use bytes::Bytes;
use sigma_abi::limits::{MAX_DOCUMENT, MAX_DOCUMENT_DEPTH};
use sigma_abi::{Code, Error, Result};

/// Which types a document may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Those that the embedded store keeps: all but decimals, code, and those that BSON calls deprecated.
    Here,
    /// All that BSON has.
    Anywhere,
}

/// The bytes of a document without a field.
const EMPTY: &[u8] = b"\x05\0\0\0\0";

/// Why bytes are no document, and at which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Malformed(usize),
    TooDeep,
    TooLarge(usize),
    Type(u8),
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Malformed(at) => {
                Self::new(Code::Invalid, format!("this is no BSON document: byte {at} is wrong"))
            }
            Wrong::TooDeep => {
                let text = format!("documents within each other: the limit is {MAX_DOCUMENT_DEPTH}");
                Self::new(Code::TooLarge, text)
            }
            Wrong::TooLarge(length) => {
                let text = format!("a document of {length} bytes: the limit is {MAX_DOCUMENT}");
                Self::new(Code::TooLarge, text)
            }
            Wrong::Type(0x13) => Self::new(
                Code::Unsupported,
                "the embedded store keeps no decimals: use a string or an integer",
            ),
            Wrong::Type(kind) => Self::new(
                Code::Unsupported,
                format!("the embedded store keeps no values of type {kind:#04x}"),
            ),
        }
    }
}

/// The bytes as one document; no bytes at all are one without a field.
///
/// # Errors
/// `Invalid` for what is none; `TooLarge` past the limits of size and depth; `Unsupported` for a type that is not kept.
pub fn check(bytes: &[u8], kept: Kept) -> Result<&Raw> {
    let bytes = if bytes.is_empty() { EMPTY } else { bytes };
    let length = document(bytes, 0, 1, kept)?;
    if length != bytes.len() {
        return Err(Wrong::Malformed(length).into());
    }
    raw(bytes)
}

/// The documents that follow each other in a payload.
///
/// # Errors
/// As [`check`], and which document it is.
pub fn split(payload: &Bytes, kept: Kept) -> Result<Vec<Bytes>> {
    let (mut documents, mut at) = (Vec::new(), 0);
    while at < payload.len() {
        let length = document(&payload[at..], 0, 1, kept);
        let length = length
            .map_err(|wrong| Error::from(wrong).context(format!("document {}", documents.len() + 1)))?;
        documents.push(payload.slice(at..at + length));
        at += length;
    }
    Ok(documents)
}

/// A document that was checked.
///
/// # Errors
/// `Internal` where it was not.
pub fn raw(bytes: &[u8]) -> Result<&Raw> {
    Raw::from_bytes(bytes)
        .map_err(|error| Error::new(Code::Internal, format!("a document is damaged: {error}")))
}

/// Bytes of the document that begins here.
fn document(bytes: &[u8], start: usize, depth: usize, kept: Kept) -> std::result::Result<usize, Wrong> {
    let malformed = |at: usize| Wrong::Malformed(start + at);
    if depth > MAX_DOCUMENT_DEPTH {
        return Err(Wrong::TooDeep);
    }
    let length = length(bytes).ok_or(malformed(0))?;
    if length > MAX_DOCUMENT {
        return Err(Wrong::TooLarge(length));
    }
    if length < EMPTY.len() || bytes.get(length - 1) != Some(&0) {
        return Err(malformed(0));
    }
    let (body, mut at) = (&bytes[..length - 1], 4);
    while at < body.len() {
        let kind = body[at];
        at += 1;
        at += text(&body[at..]).ok_or(malformed(at))?;
        let rest = &body[at..];
        let size = match kind {
            0x03 | 0x04 => document(rest, start + at, depth + 1, kept)?,
            _ => value(kind, rest, kept).map_err(|wrong| wrong.unwrap_or(malformed(at)))?,
        };
        at += size;
    }
    // A value that takes the zero at the end would leave the document without one.
    if at == body.len() { Ok(length) } else { Err(malformed(at)) }
}

/// Bytes of a value that holds no other; an error without a reason is malformed.
fn value(kind: u8, rest: &[u8], kept: Kept) -> std::result::Result<usize, Option<Wrong>> {
    let size = match kind {
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x02 => string(rest).ok_or(None)?,
        0x05 => {
            let length = length(rest).ok_or(None)?;
            if rest.get(4) == Some(&2) && kept == Kept::Here {
                return Err(Some(Wrong::Type(kind)));
            }
            // The oldest subtype has its length twice.
            if rest.get(4) == Some(&2) && self::length(rest.get(5..).ok_or(None)?) != length.checked_sub(4) {
                return Err(None);
            }
            length + 5
        }
        0x07 => 12,
        0x08 => match rest.first() {
            Some(0 | 1) => 1,
            _ => return Err(None),
        },
        0x0a | 0x7f | 0xff => 0,
        0x0b => {
            let pattern = text(rest).ok_or(None)?;
            pattern + text(&rest[pattern..]).ok_or(None)?
        }
        0x10 => 4,
        0x06 | 0x0c | 0x0d | 0x0e | 0x0f | 0x13 if kept == Kept::Here => return Err(Some(Wrong::Type(kind))),
        0x06 => 0,
        0x0c => string(rest).ok_or(None)? + 12,
        0x0d | 0x0e => string(rest).ok_or(None)?,
        // Code with a scope: nobody has needed it for years.
        0x0f => return Err(Some(Wrong::Type(kind))),
        0x13 => 16,
        _ => return Err(None),
    };
    if size <= rest.len() { Ok(size) } else { Err(None) }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(..4)?.try_into().ok().map(i32::from_le_bytes)?;
    usize::try_from(length).ok()
}

/// Bytes of a text up to its zero, and that.
fn text(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok().map(|_| end + 1)
}

/// Bytes of a string with its length before it.
fn string(bytes: &[u8]) -> Option<usize> {
    let length = length(bytes)?;
    let (text, end) = bytes.get(4..4 + length)?.split_at_checked(length.checked_sub(1)?)?;
    (end == [0] && std::str::from_utf8(text).is_ok()).then_some(length + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Binary, Bson, DateTime, Document, Regex, Timestamp, doc, oid::ObjectId, spec::BinarySubtype};
    use proptest::prelude::*;

    fn sample() -> Document {
        let binary = Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] };
        let regex = Regex { pattern: "a.*".try_into().unwrap(), options: "i".try_into().unwrap() };
        doc! {
            "_id": ObjectId::from_bytes([7; 12]), "a": 1, "b": 2_i64, "c": 3.5, "d": "text", "e": [1, "x", { "f": Bson::Null }],
            "g": { "h": true, "": "no name" }, "i": binary, "j": DateTime::from_millis(5), "k": Timestamp { time: 1, increment: 2 },
            "l": regex, "m": Bson::MinKey, "n": Bson::MaxKey,
        }
    }

    #[test]
    fn a_whole_document_passes_and_no_part_of_it_does() {
        let bytes = bson::serialize_to_vec(&sample()).unwrap();
        check(&bytes, Kept::Here).unwrap();
        for end in 1..bytes.len() {
            assert_eq!(check(&bytes[..end], Kept::Anywhere).unwrap_err().code, Code::Invalid, "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(check(&longer, Kept::Here).unwrap_err().code, Code::Invalid);
        let twice = Bytes::from([&bytes[..], &bytes].concat());
        assert_eq!(split(&twice, Kept::Here).unwrap(), [&bytes[..], &bytes]);
    }

    #[test]
    fn depth_and_size_have_limits() {
        let nested = |depth: usize| (1..depth).fold(doc! {}, |inner, _| doc! { "a": inner });
        let bytes = |depth| bson::serialize_to_vec(&nested(depth)).unwrap();
        assert!(check(&bytes(MAX_DOCUMENT_DEPTH), Kept::Here).is_ok());
        let error = check(&bytes(MAX_DOCUMENT_DEPTH + 1), Kept::Here).unwrap_err();
        assert_eq!((error.code, error.message.contains("100")), (Code::TooLarge, true));
        let large = bson::serialize_to_vec(&doc! { "a": "x".repeat(MAX_DOCUMENT) }).unwrap();
        assert_eq!(check(&large, Kept::Here).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn what_the_embedded_store_does_not_keep_is_refused_by_name() {
        let decimal = bson::Decimal128::from_bytes([0; 16]);
        for value in [
            Bson::Decimal128(decimal),
            Bson::Undefined,
            Bson::Symbol("s".into()),
            Bson::JavaScriptCode("1".into()),
        ] {
            let bytes = bson::serialize_to_vec(&doc! { "a": [value] }).unwrap();
            assert_eq!(check(&bytes, Kept::Here).unwrap_err().code, Code::Unsupported);
            check(&bytes, Kept::Anywhere).unwrap();
        }
    }

    proptest! {
        /// Whatever byte is changed: what passes can be walked and read to its end.
        #[test]
        fn spoiled_documents_are_refused_or_can_be_read(at in 0usize..1000, byte: u8, second in 0usize..1000, other: u8) {
            let mut bytes = bson::serialize_to_vec(&sample()).unwrap();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes[second % length] = other;
            for kept in [Kept::Here, Kept::Anywhere] {
                if let Ok(document) = check(&bytes, kept) {
                    prop_assert!(Document::try_from(document).is_ok());
                }
            }
        }

        #[test]
        fn garbage_is_no_document(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            if let Ok(document) = check(&bytes, Kept::Anywhere) {
                prop_assert!(Document::try_from(document).is_ok());
            }
        }
    }
}
