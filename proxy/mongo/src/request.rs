//! What callers send, looked at before anything is done with it.

use crate::limits::{MAX_COLLECTION_NAME, MAX_INDEX_NAME};
use bytes::Bytes;
use sigma_abi::limits::MAX_PAYLOAD;
use sigma_abi::{Code, Error, Result};

/// The name of a collection.
///
/// # Errors
/// `Invalid` for one that MongoDB would not take, or that is longer than [`MAX_COLLECTION_NAME`].
pub fn collection(name: &str) -> Result<&str> {
    let wrong =
        |why: &str| Err(Error::new(Code::Invalid, format!("{name:?} is no name of a collection: {why}")));
    if name.is_empty() || name.len() > MAX_COLLECTION_NAME {
        return Err(Error::new(
            Code::Invalid,
            format!("a collection's name has 1 to {MAX_COLLECTION_NAME} bytes"),
        ));
    }
    if name.contains(['$', '\0']) {
        return wrong("it has a $ or a zero");
    }
    if name.starts_with("system.") || name.starts_with('.') || name.ends_with('.') {
        return wrong("it begins with system. or begins or ends with a dot");
    }
    Ok(name)
}

/// The name of an index; an empty one is made of its keys.
///
/// # Errors
/// `Invalid` past [`MAX_INDEX_NAME`].
pub fn index(name: &str) -> Result<()> {
    if name.len() > MAX_INDEX_NAME || name.contains('\0') || name == "*" {
        return Err(Error::new(
            Code::Invalid,
            format!("an index's name has at most {MAX_INDEX_NAME} bytes, and is not *"),
        ));
    }
    Ok(())
}

/// What a call holds beside its message is one document.
///
/// # Errors
/// `Invalid` where there is none.
pub fn required(payload: &Bytes) -> Result<&Bytes> {
    if payload.is_empty() {
        return Err(Error::new(
            Code::Invalid,
            "the call's payload is empty: it has the documents, or the update",
        ));
    }
    Ok(payload)
}

/// What is beside a reply fits into a frame.
///
/// # Errors
/// `TooLarge` past [`MAX_PAYLOAD`].
pub fn reply(documents: Vec<u8>) -> Result<Bytes> {
    if documents.len() > MAX_PAYLOAD {
        let text = format!(
            "a document of {} bytes: a reply holds {MAX_PAYLOAD}; ask for parts of it",
            documents.len()
        );
        return Err(Error::new(Code::TooLarge, text));
    }
    Ok(documents.into())
}
