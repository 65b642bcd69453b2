//! What a MongoDB and its driver say, as our codes.

use mongodb::error::{ErrorKind, WriteFailure};
use sigma_abi::{Code, Error};

/// An error of the driver, for a caller. `changes`: the call may have changed something where its answer is lost.
pub(super) fn told(system: &str, changes: bool, error: &mongodb::error::Error) -> Error {
    let by_server = |number: i32, text: &str| Error::new(code(number), format!("{system}: {text}"));
    match &*error.kind {
        ErrorKind::Command(command) => by_server(command.code, &command.message),
        ErrorKind::Write(WriteFailure::WriteError(write)) => by_server(write.code, &write.message),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            // It is done, and not as safely as was asked for.
            Error::maybe_done(Code::Unreachable, format!("{system}: {}", concern.message))
        }
        ErrorKind::InsertMany(many) => match many.write_errors.as_ref().and_then(|errors| errors.first()) {
            Some(first) => {
                let place = format!("document {}", first.index + 1);
                Error { maybe_done: first.index > 0, ..by_server(first.code, &first.message).context(place) }
            }
            None => Error::maybe_done(
                Code::Unreachable,
                format!("{system}: the write is not as safe as was asked for"),
            ),
        },
        ErrorKind::Authentication { .. } => {
            Error::new(Code::Denied, format!("{system} refused what is set as mongo.user and mongo.password"))
        }
        ErrorKind::ServerSelection { .. } => {
            Error::new(Code::Unreachable, format!("{system} cannot be reached"))
        }
        ErrorKind::ConnectionPoolCleared { .. } => Error {
            maybe_done: changes,
            ..Error::new(Code::Unreachable, format!("{system}: the connection was lost"))
        },
        ErrorKind::Io(io) => {
            let text = format!("{system}: the connection was lost: {}", io.kind());
            Error { maybe_done: changes, ..Error::new(Code::Unreachable, text) }
        }
        ErrorKind::InvalidArgument { message, .. } => {
            Error::new(Code::Invalid, format!("{system}: {message}"))
        }
        ErrorKind::IncompatibleServer { message, .. } => {
            Error::new(Code::Unsupported, format!("{system}: {message}"))
        }
        // What else a driver can say is about the conversation; it may quote what it was given.
        _ => Error {
            maybe_done: changes,
            ..Error::new(Code::Internal, format!("{system}: the driver does not understand the answer"))
        },
    }
}

/// The numbers of a MongoDB's errors.
fn code(number: i32) -> Code {
    match number {
        11000 | 11001 | 12582 | 85 | 86 | 68 => Code::Exists,
        26 | 27 => Code::NotFound,
        8 | 13 | 18 => Code::Denied,
        50 | 262 => Code::Deadline,
        43 => Code::Closed,
        59 | 115 | 238 => Code::Unsupported,
        10334 | 17280 | 17419 | 17420 | 292 | 96 => Code::TooLarge,
        6 | 7 | 89 | 91 | 189 | 10107 | 11600 | 11602 | 13435 | 13436 => Code::Unreachable,
        _ => Code::Invalid,
    }
}
