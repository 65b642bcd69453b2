//! The limits of the social network. Crossing one is an error with a status, never a crash.

use std::time::Duration;

/// Characters of a user's name, which has letters and digits of ASCII, `_` and `-`.
pub const MAX_NAME: usize = 64;

/// Bytes of a first or last name.
pub const MAX_FULL_NAME: usize = 200;

/// Bytes of a password.
pub const MIN_PASSWORD: usize = 6;
/// See [`MIN_PASSWORD`].
pub const MAX_PASSWORD: usize = 200;

/// Bytes of a post's text.
pub const MAX_TEXT: usize = 10_000;

/// Links of a post, and different names that it mentions.
pub const MAX_LINKS: usize = 50;

/// Bytes of one link.
pub const MAX_LINK: usize = 2_000;

/// Pictures of a post.
pub const MAX_MEDIA: usize = 20;

/// Bytes of a post as it is shown, as JSON: as many as a page has of these fit in a reply.
pub const MAX_POST: usize = 40_000;

/// Bytes of a picture.
pub const MAX_PICTURE: usize = 3 << 20;

/// Pictures that the front end receives or sends at a time; others wait.
pub const MAX_PICTURES: usize = 24;

/// Posts of one page.
pub const MAX_PAGE: u32 = 100;

/// How far back a timeline can be read.
pub const MAX_DEPTH: u32 = 10_000;

/// Entries of a timeline's hot copy; what is older is looked up in the posts.
pub const HOT_ENTRIES: u32 = 128;

/// How long a hot copy is used, so that whatever went wrong with it ends.
pub const HOT_TIME: Duration = Duration::from_secs(300);

/// Timelines that a service makes again at a time; others wait.
pub const MAX_BUILDS: usize = 16;

/// Users that one call registers, for seeds.
pub const MAX_REGISTER: usize = 100;

/// Users that one call looks up.
pub const MAX_FIND: usize = 1_000;

/// Edges that one call adds, for seeds.
pub const MAX_EDGES: usize = 2_000;

/// Passwords that are hashed at a time: each takes 19 MiB. Others wait.
pub const MAX_HASHING: usize = 2;

/// Logins and registrations that wait for that; more are refused.
pub const MAX_LOGINS: usize = 200;

/// How long a service waits for another.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// For how long a call is sent again while its service is away.
pub const AGAIN_FOR: Duration = Duration::from_secs(10);

/// HTTP connections at a time; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 512;

/// Bytes of a request's head.
pub const MAX_HEAD: usize = 16 << 10;

/// Bytes of a form, and of JSON.
pub const MAX_FORM: usize = 128 << 10;

/// Bytes of a body that is too large and is still read, so that its sender hears why it was refused.
pub const MAX_DRAINED: usize = 32 << 20;

/// How long a connection may take for a request's head, its first one or the next.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// From a request's head to its answer, the body included.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(25);

/// How long a client may not read.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(15);

/// How long a login lasts.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Posts of a page of the web page.
pub const WEB_PAGE: u32 = 20;
