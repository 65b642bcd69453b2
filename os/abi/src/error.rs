//! Errors as they cross the wire: a closed code for programs, a sentence for people.

use crate::proto;

/// What went wrong, for programs to branch on.
pub type Code = proto::Code;

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call: what was attempted on what, and why it failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub code: Code,
    pub message: String,
    /// The call may have been carried out all the same. False: it surely was not.
    pub maybe_done: bool,
    /// With [`Code::Moved`]: where to go on.
    pub moved: Option<Box<proto::Moved>>,
}

impl Error {
    /// A call that was surely not carried out.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), maybe_done: false, moved: None }
    }

    /// A call of which nobody knows whether it was carried out.
    pub fn maybe_done(code: Code, message: impl Into<String>) -> Self {
        Self { maybe_done: true, ..Self::new(code, message) }
    }

    /// The path leads into the tree of another server.
    pub fn moved(mount: impl Into<String>, rest: impl Into<String>) -> Self {
        let (mount, rest) = (mount.into(), rest.into());
        let message = format!("{mount} is served by another server");
        Self { moved: Some(Box::new(proto::Moved { mount, rest })), ..Self::new(Code::Moved, message) }
    }

    /// Puts what was attempted before the reason.
    #[must_use]
    pub fn context(mut self, attempted: impl std::fmt::Display) -> Self {
        self.message = format!("{attempted}: {}", self.message);
        self
    }
}

impl From<Error> for proto::Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            maybe_done: error.maybe_done,
            moved: error.moved.map(|moved| *moved),
        }
    }
}

impl From<proto::Failure> for Error {
    fn from(failure: proto::Failure) -> Self {
        Self {
            // A newer peer may know more codes than this build; the text still says what happened.
            code: Code::try_from(failure.code).unwrap_or(Code::Unspecified),
            message: failure.message,
            maybe_done: failure.maybe_done,
            moved: failure.moved.map(Box::new),
        }
    }
}

/// The code as people write it: `NotFound`, `TooLarge`.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Unspecified => "Unspecified",
        Code::NotFound => "NotFound",
        Code::Exists => "Exists",
        Code::NotEmpty => "NotEmpty",
        Code::NotDir => "NotDir",
        Code::IsDir => "IsDir",
        Code::Invalid => "Invalid",
        Code::Denied => "Denied",
        Code::Quota => "Quota",
        Code::TooLarge => "TooLarge",
        Code::Busy => "Busy",
        Code::Stale => "Stale",
        Code::Version => "Version",
        Code::Closed => "Closed",
        Code::Deadline => "Deadline",
        Code::Unreachable => "Unreachable",
        Code::Unsupported => "Unsupported",
        Code::Moved => "Moved",
        Code::Loop => "Loop",
        Code::Protocol => "Protocol",
        Code::Internal => "Internal",
        Code::Ended => "Ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let mut error = Error::maybe_done(Code::Unreachable, "put /a: the server died");
        assert_eq!(Error::from(proto::Failure::from(error.clone())), error);
        error = Error::moved("/ux/m1", "/a/b");
        assert_eq!(Error::from(proto::Failure::from(error.clone())), error);
    }

    #[test]
    fn an_unknown_code_keeps_its_text() {
        let failure = proto::Failure { code: 999, message: "from the future".into(), ..Default::default() };
        let error = Error::from(failure);
        assert_eq!((error.code, error.message.as_str()), (Code::Unspecified, "from the future"));
    }
}
