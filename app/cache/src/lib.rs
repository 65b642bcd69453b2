//! A sharded key-value cache (thesis, section 3.1): shard procs that mount themselves under one directory, and a client
//! that finds the shard of a key by itself.
//!
//! - [`ring`] says which shard holds a key: rendezvous hashing, so that a shard that comes or goes moves its own keys and
//!   no others.
//! - [`members`] follows the shards that there are, by watching the directory. Clients and shards use the same.
//! - [`store`] is what one shard keeps: pure, least recently used goes first, and the clock comes with each call.
//! - [`shard`] serves a store; [`client`] is what other procs use.
//!
//! # What it promises
//! A shard that dies costs its keys and nothing else. A shard keeps the keys alone that are its own as it sees the shards:
//! what went to another shard is dropped and not kept for later. So a value that was replaced elsewhere does not
//! come back when shards come and go. While a change of the shards is on its way to all, for the time that a watch takes,
//! two clients may see different shards of one key: a cache, not a database.

pub mod client;
pub mod members;
pub mod ring;
pub mod shard;
pub mod store;

pub use client::{Cache, Swap, Value};

/// The messages, the trait and the client of a shard, as `proto/cache.proto` defines them.
#[allow(clippy::all)]
pub mod proto {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    sigmaos::include_proto!("cache");
}

/// Bytes of a key.
pub const MAX_KEY: usize = 1 << 10;

/// Keys of one call that takes several.
pub const MAX_KEYS: usize = 1000;

/// Bytes of a value.
pub const MAX_VALUE: usize = 1 << 20;
