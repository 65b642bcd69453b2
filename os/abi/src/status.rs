//! How a proc ended. Every exit says why.

use crate::error::{Code, Error};
use crate::limits::{MAX_STATUS_DATA, MAX_STATUS_MESSAGE};
use crate::pid::Pid;
use crate::proto;
use bytes::Bytes;
use std::fmt;

/// The end of a proc.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It did its work.
    Ok { message: String, data: Bytes },
    /// It says that it could not.
    Err { message: String, data: Bytes },
    /// Somebody asked for its end.
    Killed { message: String },
    /// It ended without saying so.
    Crashed { cause: Cause, message: String },
}

/// Why a proc crashed.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    ExitCode(i32),
    Signal(i32),
    OutOfMemory {
        limit_bytes: u64,
        peak_bytes: u64,
    },
    MachineLost,
    /// It never ran.
    NotStarted(String),
    /// It was BE, and an LC proc needed the memory that it held.
    Evicted {
        /// `None`: an LC proc of another realm.
        for_pid: Option<Pid>,
        memory_bytes: u64,
    },
}

impl Status {
    pub fn ok() -> Self {
        Self::Ok { message: String::new(), data: Bytes::new() }
    }

    pub fn err(message: impl Into<String>) -> Self {
        Self::Err { message: message.into(), data: Bytes::new() }
    }

    pub fn killed(message: impl Into<String>) -> Self {
        Self::Killed { message: message.into() }
    }

    pub fn crashed(cause: Cause) -> Self {
        Self::Crashed { cause, message: String::new() }
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }

    /// One word: `Ok`, `Err`, `Killed` or `Crashed`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "Ok",
            Self::Err { .. } => "Err",
            Self::Killed { .. } => "Killed",
            Self::Crashed { .. } => "Crashed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())?;
        let message = match self {
            Self::Ok { message, .. } | Self::Err { message, .. } | Self::Killed { message } => message,
            Self::Crashed { cause, message } => {
                write!(formatter, ": {cause}")?;
                message
            }
        };
        if !message.is_empty() {
            write!(formatter, ": {message}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => write!(formatter, "signal {signal} ({})", signal_name(*signal)),
            Self::OutOfMemory { limit_bytes, peak_bytes } => {
                write!(
                    formatter,
                    "out of memory: limit {:.1} MiB, peak {:.1} MiB",
                    mib(*limit_bytes),
                    mib(*peak_bytes)
                )
            }
            Self::MachineLost => formatter.write_str("machine lost"),
            Self::NotStarted(reason) => write!(formatter, "not started: {reason}"),
            Self::Evicted { for_pid, memory_bytes } => {
                write!(formatter, "evicted: its {:.1} MiB make room for ", mib(*memory_bytes))?;
                match for_pid {
                    Some(pid) => write!(formatter, "LC proc {pid}"),
                    None => formatter.write_str("an LC proc of another realm"),
                }
            }
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The name of a signal on Linux, man 7 signal.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "unnamed",
    }
}

impl From<Status> for proto::Status {
    fn from(status: Status) -> Self {
        use proto::status::Kind;
        let (kind, message, data, cause) = match status {
            Status::Ok { message, data } => (Kind::Ok, message, data, None),
            Status::Err { message, data } => (Kind::Err, message, data, None),
            Status::Killed { message } => (Kind::Killed, message, Bytes::new(), None),
            Status::Crashed { cause, message } => (Kind::Crashed, message, Bytes::new(), Some(cause.into())),
        };
        Self { kind: kind.into(), message, data, cause }
    }
}

impl From<Cause> for proto::Cause {
    fn from(cause: Cause) -> Self {
        use proto::cause::Cause as Wire;
        let cause = match cause {
            Cause::ExitCode(code) => Wire::ExitCode(code),
            Cause::Signal(signal) => Wire::Signal(signal),
            Cause::OutOfMemory { limit_bytes, peak_bytes } => {
                Wire::OutOfMemory(proto::OutOfMemory { limit_bytes, peak_bytes })
            }
            Cause::MachineLost => Wire::MachineLost(proto::Empty {}),
            Cause::NotStarted(reason) => Wire::NotStarted(reason),
            Cause::Evicted { for_pid, memory_bytes } => {
                let for_pid = for_pid.map(|pid| pid.to_string()).unwrap_or_default();
                Wire::Evicted(proto::Evicted { for_pid, memory_bytes })
            }
        };
        Self { cause: Some(cause) }
    }
}

impl TryFrom<proto::Status> for Status {
    type Error = Error;

    /// # Errors
    /// `Invalid` for an unknown kind, a crash without a cause or a pid that is none; `TooLarge` for data past its limit. A message past
    /// its limit is cut.
    fn try_from(status: proto::Status) -> Result<Self, Error> {
        use proto::status::Kind;
        let proto::Status { kind, mut message, data, cause } = status;
        if data.len() > MAX_STATUS_DATA {
            return Err(Error::new(
                Code::TooLarge,
                format!("status data of {} bytes: the limit is {MAX_STATUS_DATA}", data.len()),
            ));
        }
        message.truncate(message.floor_char_boundary(MAX_STATUS_MESSAGE));
        match Kind::try_from(kind) {
            Ok(Kind::Ok) => Ok(Self::Ok { message, data }),
            Ok(Kind::Err) => Ok(Self::Err { message, data }),
            Ok(Kind::Killed) => Ok(Self::Killed { message }),
            Ok(Kind::Crashed) => {
                let cause = cause
                    .and_then(|cause| cause.cause)
                    .ok_or_else(|| Error::new(Code::Invalid, "a crash must have a cause"))?;
                Ok(Self::Crashed { cause: cause.try_into()?, message })
            }
            Err(_) => Err(Error::new(Code::Invalid, format!("{kind} is not a kind of status"))),
        }
    }
}

impl TryFrom<proto::cause::Cause> for Cause {
    type Error = Error;

    /// # Errors
    /// `Invalid` for a pid that is none.
    fn try_from(cause: proto::cause::Cause) -> Result<Self, Error> {
        use proto::cause::Cause as Wire;
        Ok(match cause {
            Wire::ExitCode(code) => Self::ExitCode(code),
            Wire::Signal(signal) => Self::Signal(signal),
            Wire::OutOfMemory(proto::OutOfMemory { limit_bytes, peak_bytes }) => {
                Self::OutOfMemory { limit_bytes, peak_bytes }
            }
            Wire::MachineLost(_) => Self::MachineLost,
            Wire::NotStarted(reason) => Self::NotStarted(reason),
            Wire::Evicted(proto::Evicted { for_pid, memory_bytes }) => {
                let for_pid = if for_pid.is_empty() { None } else { Some(for_pid.parse()?) };
                Self::Evicted { for_pid, memory_bytes }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_wire_and_reads_as_a_sentence() {
        let check = |status: Status, text: &str| {
            assert_eq!(status.to_string(), text);
            assert_eq!(Status::try_from(proto::Status::from(status.clone())), Ok(status));
        };
        check(Status::ok(), "Ok");
        check(Status::err("no such picture"), "Err: no such picture");
        check(Status::killed("by its parent"), "Killed: by its parent");
        check(Status::crashed(Cause::ExitCode(3)), "Crashed: exit code 3");
        check(Status::crashed(Cause::Signal(11)), "Crashed: signal 11 (SIGSEGV)");
        check(
            Status::crashed(Cause::OutOfMemory { limit_bytes: 1 << 20, peak_bytes: 3 << 19 }),
            "Crashed: out of memory: limit 1.0 MiB, peak 1.5 MiB",
        );
        check(Status::crashed(Cause::MachineLost), "Crashed: machine lost");
        let evicted = |for_pid| Status::crashed(Cause::Evicted { for_pid, memory_bytes: 5 << 20 });
        let pid = "m000000ab-3-42".parse().unwrap();
        check(evicted(Some(pid)), "Crashed: evicted: its 5.0 MiB make room for LC proc m000000ab-3-42");
        check(evicted(None), "Crashed: evicted: its 5.0 MiB make room for an LC proc of another realm");
    }

    #[test]
    fn wrong_statuses_are_refused_and_long_messages_cut() {
        let wire = proto::Status { kind: 9, ..Default::default() };
        assert_eq!(Status::try_from(wire).map_err(|error| error.code), Err(Code::Invalid));
        let wire = proto::Status { kind: proto::status::Kind::Crashed.into(), ..Default::default() };
        assert_eq!(Status::try_from(wire).map_err(|error| error.code), Err(Code::Invalid));
        let wire = proto::Status { message: "ä".repeat(MAX_STATUS_MESSAGE), ..Default::default() };
        let Ok(Status::Ok { message, .. }) = Status::try_from(wire) else { panic!("refused") };
        assert_eq!(message.len(), MAX_STATUS_MESSAGE);
    }
}
