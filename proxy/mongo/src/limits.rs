//! The limits of the database. Crossing one is an error with a code, never a crash.

use std::time::Duration;

/// Bytes of a collection's name.
pub const MAX_COLLECTION_NAME: usize = 120;

/// Bytes of an index's name.
pub const MAX_INDEX_NAME: usize = 128;

/// Collections of a realm.
pub const MAX_COLLECTIONS: usize = 1000;

/// Indexes of a collection, beside that of `_id`.
pub const MAX_INDEXES: usize = 64;

/// Paths of one index, and of one sort.
pub const MAX_KEY_PATHS: usize = 32;

/// Bytes of the key that an `_id` makes.
pub const MAX_ID_KEY: usize = 1 << 10;

/// Bytes of the key that a document makes in one index.
pub const MAX_INDEX_KEY: usize = 8 << 10;

/// Keys that one document makes in one index, by arrays.
pub const MAX_KEYS_OF_DOCUMENT: usize = 10_000;

/// Elements that setting one element may add to an array as nulls before it.
pub const MAX_PADDING: usize = 1500;

/// Documents in one reply, unless the caller asks for fewer.
pub const BATCH_DOCUMENTS: usize = 1000;

/// Bytes after which a reply is full; one document always fits.
pub const BATCH_BYTES: usize = 1 << 20;

/// Bytes of keys that a sort holds where no index has the order.
pub const MAX_SORT_BYTES: usize = 32 << 20;

/// Bytes of the keys of all documents that one update or delete changes.
pub const MAX_CHANGED_BYTES: usize = 64 << 20;

/// Ranges of one index that are looked through for one filter; with more, its filter's other parts have to do.
pub const MAX_RANGES: usize = 4096;

/// Cursors that one proc, and all procs of the realm, hold open.
pub const MAX_CURSORS_OF_CALLER: usize = 64;
pub const MAX_CURSORS: usize = 1024;

/// Bytes that the sorted cursors of the realm hold.
pub const MAX_CURSOR_BYTES: usize = 128 << 20;

/// A cursor of which nobody asks for so long is closed.
pub const CURSOR_IDLE: Duration = Duration::from_secs(60);

/// Calls in flight; more are refused with `Busy`.
pub const MAX_IN_FLIGHT: usize = 4096;

/// Searches through many documents that run at a time; others wait for their turn.
pub const MAX_SEARCHES: usize = 6;

/// Documents that a call looks at before it goes to a thread of its own.
pub const INLINE_DOCUMENTS: usize = 200;

/// Bytes of changes that wait for the thread that writes; more are refused with `Busy`.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// Bytes of changes that are made durable together.
pub const MAX_COMMIT_BYTES: usize = 16 << 20;

/// The longest that one call may take, whatever its caller's deadline is.
pub const LONGEST_CALL: Duration = Duration::from_secs(60);
