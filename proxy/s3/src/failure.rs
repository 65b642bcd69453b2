//! What a store said, as a code for programs and a sentence for people.
//!
//! Of an answer of S3 only its status and the name of its error are passed on: the rest may quote the request.

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};
use sigmaos::{Code, Error};
use std::error::Error as StdError;
use std::fmt::Display;
use std::io::{self, ErrorKind};

/// A failed request to the store that is called `system`, about `what`.
pub(crate) fn failed(system: &str, what: &dyn Display, error: &StoreError) -> Error {
    let says = Says::of(error);
    match error {
        StoreError::NotFound { .. } if says.name.as_deref() == Some("NoSuchBucket") => {
            Error::new(Code::NotFound, format!("{what}: the bucket does not exist at {system}"))
        }
        StoreError::NotFound { .. } => {
            Error::new(Code::NotFound, format!("{what} does not exist at {system}"))
        }
        StoreError::AlreadyExists { .. } => Error::new(Code::Exists, format!("{what} exists at {system}")),
        StoreError::Precondition { .. } | StoreError::NotModified { .. } => replaced(what),
        _ => match (kind(error), &says) {
            (Some(kind), _) => disk(system, what, kind),
            (None, Says { status: Some(status), name }) => answered(system, what, *status, name.as_deref()),
            (None, Says { status: None, .. }) => unanswered(system, what, error),
        },
    }
}

/// The object is another one than the one that was opened.
pub(crate) fn replaced(what: &dyn Display) -> Error {
    let text = format!("{what} was replaced or removed while it was being read: open it again");
    Error::new(Code::Version, text)
}

/// S3 answered, and did not do it.
pub(crate) fn answered(system: &str, what: &dyn Display, status: u16, name: Option<&str>) -> Error {
    let said = name.map_or_else(|| status.to_string(), |name| format!("{status} {name}"));
    let (code, why) = match (status, name) {
        (404, Some("NoSuchBucket")) => (Code::NotFound, "the bucket does not exist"),
        (404, _) => (Code::NotFound, "it does not exist"),
        (409, Some("BucketNotEmpty")) => (Code::NotEmpty, "remove what is in it first"),
        (409, Some("BucketAlreadyExists" | "BucketAlreadyOwnedByYou")) => (Code::Exists, "it exists"),
        (409, _) => (Code::Busy, "something else changes it now: try again"),
        (401 | 403, _) => (
            Code::Denied,
            "it does not take the realm's s3.access-key and s3.secret-key, or they may not do this; the operator sets them",
        ),
        (400, Some("EntityTooLarge" | "KeyTooLongError")) | (413, _) => {
            (Code::TooLarge, "it is larger than that store takes")
        }
        (400, _) => (Code::Invalid, "it does not take such a request"),
        (405 | 501, _) => (Code::Unsupported, "it cannot do that"),
        (507, _) | (_, Some("QuotaExceeded")) => (Code::Quota, "it has no room left"),
        (429 | 503, _) => (Code::Busy, "it has too much to do: try again later"),
        (301 | 302 | 307, _) => {
            (Code::Unreachable, "it is in another region: the operator sets s3.endpoint and s3.region")
        }
        _ => (Code::Internal, "it failed"),
    };
    Error::new(code, format!("{what}: {system} answers {said}: {why}"))
}

/// S3 did not answer, or not to the end.
pub(crate) fn unanswered(system: &str, what: &dyn Display, error: &(dyn StdError + 'static)) -> Error {
    match chain(error).find_map(|cause| cause.downcast_ref::<HttpError>()).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => {
            Error::new(Code::Unreachable, format!("{what}: {system} cannot be reached: {}", root(error)))
        }
        Some(HttpErrorKind::Timeout) => {
            Error::maybe_done(Code::Deadline, format!("{what}: {system} did not answer in time"))
        }
        Some(_) => {
            let text = format!("{what}: the connection to {system} broke: {}", root(error));
            Error::maybe_done(Code::Unreachable, text)
        }
        None => Error::maybe_done(Code::Internal, format!("{what}: {system} failed: {}", root(error))),
    }
}

/// The disk under the embedded store did not do it.
pub(crate) fn disk(system: &str, what: &dyn Display, kind: ErrorKind) -> Error {
    let (code, why) = match kind {
        ErrorKind::NotFound => (Code::NotFound, "does not exist"),
        ErrorKind::AlreadyExists => (Code::Exists, "exists"),
        ErrorKind::NotADirectory => (Code::NotDir, "is below an object, which this store does not allow"),
        ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
            (Code::IsDir, "is a directory: there are objects below it")
        }
        ErrorKind::InvalidFilename => (Code::TooLarge, "has a name that is too long for the machine's disk"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (Code::Quota, "finds no room: the machine's disk is full; remove what is not needed")
        }
        ErrorKind::FileTooLarge => (Code::TooLarge, "would be larger than the machine's disk allows"),
        other => {
            return Error::new(
                Code::Internal,
                format!("{what}: {system}: the machine's disk failed: {other}"),
            );
        }
    };
    Error::new(code, format!("{what} {why}"))
}

/// What an answer of S3 says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Says {
    status: Option<u16>,
    /// As `NoSuchKey`.
    name: Option<String>,
}

impl Says {
    fn of(error: &StoreError) -> Self {
        chain(error)
            .map(|cause| Self::in_text(&cause.to_string()))
            .find(|says| says.status.is_some())
            .unwrap_or_default()
    }

    /// The library has no types for it, so it is taken from its text: `… status code: 404 Not Found: <Error><Code>…`.
    fn in_text(text: &str) -> Self {
        let Some((_, rest)) = text.split_once("status code: ") else { return Self::default() };
        Self { status: rest.get(..3).and_then(|status| status.parse().ok()), name: error_name(rest) }
    }
}

/// The name of the error in a body of S3.
pub(crate) fn error_name(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("<Code>")?;
    let (name, _) = rest.split_once("</Code>")?;
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| name.to_owned())
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn kind(error: &StoreError) -> Option<ErrorKind> {
    let of_http = chain(error).any(|cause| cause.is::<HttpError>());
    let io = chain(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    io.filter(|_| !of_http).map(io::Error::kind)
}

/// The last cause: the system's word, as "Connection refused (os error 111)".
fn root(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId><StringToSign>x</StringToSign></Error>";

    #[test]
    fn of_an_answer_the_status_and_the_name_are_told_and_nothing_else() {
        let says = Says::in_text(BODY);
        assert_eq!(says, Says { status: Some(403), name: Some("SignatureDoesNotMatch".into()) });
        let error = StoreError::Generic { store: "S3", source: BODY.into() };
        let told = failed("S3 at http://s:1", &"/b/k", &error);
        assert_eq!(told.code, Code::Denied);
        assert!(told.message.contains("/b/k: S3 at http://s:1 answers 403 SignatureDoesNotMatch"), "{told}");
        assert!(!told.message.contains("AKIA"), "{told}");
        assert_eq!(Says::in_text("a text"), Says::default());
        assert_eq!(error_name("<Code>not a name</Code>"), None);
    }

    #[test]
    fn each_answer_has_its_code() {
        let cases = [
            (404, Some("NoSuchBucket"), Code::NotFound),
            (404, None, Code::NotFound),
            (409, Some("BucketNotEmpty"), Code::NotEmpty),
            (400, Some("EntityTooLarge"), Code::TooLarge),
            (503, Some("SlowDown"), Code::Busy),
            (507, None, Code::Quota),
            (501, Some("NotImplemented"), Code::Unsupported),
            (500, Some("InternalError"), Code::Internal),
        ];
        for (status, name, code) in cases {
            assert_eq!(answered("S3", &"/b", status, name).code, code, "{status} {name:?}");
        }
    }

    #[test]
    fn what_the_disk_says_is_told_of_the_object_and_not_of_the_disk() {
        let source = Box::new(io::Error::from(ErrorKind::NotADirectory));
        let told = failed("the embedded store", &"/b/k/x", &StoreError::Generic { store: "disk", source });
        assert_eq!(
            (told.code, told.message.as_str()),
            (Code::NotDir, "/b/k/x is below an object, which this store does not allow")
        );
    }
}
