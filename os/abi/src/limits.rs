//! The limits of the wire and the namespace. Crossing one is an error with a code, never a crash.

use std::time::Duration;

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Bytes of the protobuf message in one frame.
pub const MAX_HEAD: usize = 1 << 20;

/// Bytes of the raw payload beside it.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Bytes of a method's name, `Service.Method`.
pub const MAX_METHOD: usize = 128;

/// Descriptors that one frame may carry.
pub const MAX_FDS: usize = 8;

/// Bytes of a whole path.
pub const MAX_PATH: usize = 4096;

/// Bytes of one name in a path.
pub const MAX_NAME: usize = 255;

/// Elections that one change may rest on.
pub const MAX_FENCES: usize = 16;

/// Symlinks followed in one walk.
pub const MAX_LINKS: usize = 8;

/// Bytes of a file in named; larger files belong in `/ux` or `/s3`.
pub const MAX_NAMED_FILE: usize = 1 << 20;

/// Entries of a directory in one page.
pub const DIR_PAGE: usize = 1000;

/// Calls that one connection may have in flight at a server; more are refused with `Busy`.
pub const MAX_IN_FLIGHT: usize = 1024;

/// Calls that a server has in flight over all of its connections, unless it says otherwise; more are refused with `Busy`.
pub const MAX_SERVER_IN_FLIGHT: usize = 16_384;

/// Objects that one connection may hold open at a server.
pub const MAX_HANDLES: usize = 1024;

/// Bytes of a row of `/db`, and of a statement with its parameters: what is around them has to fit into the message, too.
pub const MAX_ROW: usize = MAX_HEAD - (64 << 10);

/// Bytes of a document in `/mongo`: one has to fit into a reply.
pub const MAX_DOCUMENT: usize = MAX_PAYLOAD;

/// Documents and arrays within each other in a document of `/mongo`, itself included.
pub const MAX_DOCUMENT_DEPTH: usize = 100;

/// Bytes of the arguments, and of the environment, of a proc.
pub const MAX_ARGS: usize = 128 << 10;

/// Bytes of the message of an exit status; longer ones are cut.
pub const MAX_STATUS_MESSAGE: usize = 4 << 10;

/// Bytes of the data of an exit status.
pub const MAX_STATUS_DATA: usize = 64 << 10;

/// The least reservation of a latency-critical proc, in thousandths of a core.
pub const LEAST_MCPU: u32 = 10;

/// The memory limit of a proc whose spec names none, in bytes.
pub const DEFAULT_MEMORY: u64 = 256 << 20;

/// The least memory limit: below it a static binary does not start.
pub const LEAST_MEMORY: u64 = 4 << 20;

/// From the request to end until the kernel kills, where the spec does not say.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// The longest grace period that a spec may ask for.
pub const MAX_GRACE: Duration = Duration::from_secs(600);

/// Restarts in a row that may fail before the kernel gives up, where the spec does not say.
pub const DEFAULT_RESTARTS: u32 = 10;

/// The most restarts in a row that a spec may ask for.
pub const MAX_RESTARTS: u32 = 1000;

/// Entries of a namespace unless the operator says otherwise: with their names some 100 MiB of memory at most.
pub const DEFAULT_ENTRIES: u64 = 200_000;

/// Bytes of a machine's disk that are kept for the kernel: with no more than these left, what a realm writes is refused.
pub const DISK_RESERVE: u64 = 64 << 20;

/// Ports that one proc may publish.
pub const MAX_PUBLISHED: usize = 8;

/// How long a call waits for its reply unless the caller says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// The descriptor that is a proc's door.
pub const DOOR_FD: i32 = 3;
