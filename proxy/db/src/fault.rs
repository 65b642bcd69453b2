//! Errors of engines as errors of ours: a code to branch on, the engine's own words, and never a secret.

use sigmaos::{Code, Error};
use sqlx::error::{DatabaseError, ErrorKind};
use std::fmt::Display;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// The connection is of no use any more.
    pub(crate) broken: bool,
}

/// What came of a statement.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// The statement is at fault, and the connection is well.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { error: Error::new(code, text), broken: false }
    }

    /// Of a statement that was sent to `system`. `code` knows the engine's own codes.
    pub(crate) fn of_statement(
        system: &str,
        error: sqlx::Error,
        code: impl Fn(&dyn DatabaseError) -> Code,
    ) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = match error.kind() {
                    ErrorKind::UniqueViolation => Code::Exists,
                    ErrorKind::ForeignKeyViolation
                    | ErrorKind::NotNullViolation
                    | ErrorKind::CheckViolation => Code::Invalid,
                    _ => code(&*error),
                };
                let broken = code == Code::Unreachable;
                let text = format!("{system}: {}", words(&*error));
                Self { error: Error { maybe_done: broken, ..Error::new(code, text) }, broken }
            }
            sqlx::Error::Encode(error) => Self::new(Code::Invalid, format!("a parameter: {error}")),
            sqlx::Error::TypeNotFound { type_name } => {
                Self::new(Code::Invalid, format!("{system}: there is no type {type_name}"))
            }
            sqlx::Error::Io(error) => Self::lost(system, &error),
            sqlx::Error::WorkerCrashed => Self::lost(system, &"its thread has ended"),
            // What the drivers say where the count of parameters is wrong is among these; nothing was carried out then.
            sqlx::Error::Protocol(text) if text.contains("parameters") => {
                Self { error: Error::new(Code::Invalid, format!("{system}: {text}")), broken: true }
            }
            error => {
                Self { error: Error::maybe_done(Code::Internal, format!("{system}: {error}")), broken: true }
            }
        }
    }

    /// Of an attempt to connect to `system`.
    pub(crate) fn of_connecting(
        system: &str,
        error: sqlx::Error,
        code: impl Fn(&dyn DatabaseError) -> Code,
    ) -> Error {
        match error {
            sqlx::Error::Database(error) => {
                Error::new(code(&*error), format!("{system}: {}", words(&*error)))
            }
            // The library tells of a handshake as of a broken connection.
            error
                if matches!(error, sqlx::Error::Tls(_) | sqlx::Error::Io(_))
                    && error.to_string().contains("certificate") =>
            {
                let text = format!(
                    "{system} is not believed to be who it is: {error}; the operator sets db.NAME.ca, who signs for it"
                );
                Error::new(Code::Unreachable, text)
            }
            error => Error::new(Code::Unreachable, format!("{system} cannot be reached: {error}")),
        }
    }

    fn lost(system: &str, why: &dyn Display) -> Self {
        let text = format!("{system} has gone before it answered: {why}");
        Self { error: Error::maybe_done(Code::Unreachable, text), broken: true }
    }
}

/// The engine's message, with the detail that PostgreSQL tells beside it.
fn words(error: &dyn DatabaseError) -> String {
    let detail = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
    match detail {
        Some(detail) => format!("{} ({detail})", error.message()),
        None => error.message().to_owned(),
    }
}
