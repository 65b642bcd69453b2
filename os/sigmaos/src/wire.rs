//! Connections: frames over a unix stream socket, many calls in flight both ways.
//!
//! A [`Connection`] is the calling side, cheap to clone. A [`Driver`] is the one task of a connection: it reads frames,
//! completes calls, runs the session's answers and writes what did not fit at once. Guarantees:
//! - What a peer sends never makes memory grow past the limits below; a peer that does not read is not read from.
//! - A malformed frame closes this connection with a reason, and nothing else.
//! - When a connection ends, every call on it ends with `Unreachable`, which says whether it may have been done.

mod busy;
mod connection;
mod driver;
mod outbox;
mod piped;
mod socket;

pub(crate) use busy::BusyPoll;
pub use connection::{Connection, Tag, WeakConnection};
pub use driver::{Driver, Greeter, Session};
pub use piped::Piped;
pub use socket::Incoming;

use crate::{Code, Error};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::limits::PROTOCOL_VERSION;
use sigma_abi::proto;

/// Bytes that wait to be written on one connection, past which callers wait and servers stop reading.
pub const MAX_QUEUED: usize = 1 << 20;

/// Bytes that may wait on a connection when a descriptor is to follow them; past that its peer does not read, and each
/// further descriptor would be one less for everybody else.
pub const MAX_QUEUED_BEFORE_DESCRIPTORS: usize = 4 << 10;

/// Bytes that a peer may have left unread when a descriptor is to follow them, as the system counts them: some forty frames. A
/// descriptor that is on its way is nobody's, and there is no other limit to how many are.
pub const MAX_UNREAD_BEFORE_DESCRIPTORS: usize = 32 << 10;

/// Bytes of calls that one connection may have in flight at a server, past which the server stops reading.
pub const MAX_IN_FLIGHT_BYTES: usize = 16 << 20;

/// The first frame of a side that has nothing to say about itself.
pub fn hello(caller: Option<proto::Caller>) -> Frame {
    Frame::new(Kind::Hello, 0, "", &hello_message(caller))
}

/// What the first frame of a side says.
pub(crate) fn hello_message(caller: Option<proto::Caller>) -> proto::Hello {
    proto::Hello { version: PROTOCOL_VERSION, caller, realm: String::new() }
}

/// Reads the first frame of the other side.
///
/// # Errors
/// `Protocol` where it is no Hello; `Version` where this build does not speak the other side's version.
pub fn read_hello(frame: &Frame) -> Result<proto::Hello, Error> {
    if frame.kind != Kind::Hello {
        return Err(Error::new(Code::Protocol, "the first frame must be a Hello"));
    }
    let hello: proto::Hello =
        frame.message().map_err(|error| Error::new(Code::Protocol, error.to_string()))?;
    if hello.version != PROTOCOL_VERSION {
        return Err(Error::new(
            Code::Version,
            format!("the other side speaks protocol version {}, this one {PROTOCOL_VERSION}", hello.version),
        ));
    }
    Ok(hello)
}
