//! The social network (thesis, section 3.1) in a realm of its own: each story starts all of it, with the cache and `/mongo`.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod crashes;
mod front;
mod http;
mod net;
mod page;
mod services;
