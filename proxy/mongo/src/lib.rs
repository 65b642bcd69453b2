//! The document database of a realm: `/mongo/rpc`.
//!
//! What documents are, which of them a filter means and what an update makes of them is decided without I/O, on bytes that were checked
//! once ([`document`], [`filter`], [`update`], [`keys`], [`plan`], [`projection`]). The [`embedded`] store keeps them in one file.
//! Where the operator has set `mongo.url`, a MongoDB does all of that ([`outside`]).

pub mod cursors;
pub mod document;
pub mod embedded;
pub mod filter;
pub mod keys;
pub mod limits;
pub mod outside;
pub mod plan;
pub mod projection;
pub mod request;
pub mod update;
