//! A social network (thesis, section 3.1): ten services, each a proc of its own in one realm, that find each other by path.
//!
//! ```text
//!                         ┌────────────▶ user ◀───────────┐
//!   people ──HTTP──▶ front ──▶ compose ──▶ text ──▶ url   │
//!                     │ │ │       ├──────▶ media          │
//!                     │ │ │       ├──────▶ post ◀──┐      │
//!                     │ │ │       ├──▶ timeline ───┤      │
//!                     │ │ │       └──▶ home ───────┴──▶ graph
//!                     │ │ └──▶ timeline, home, graph, url, media
//!   /mongo: user, graph, post, url, media       /sn/cache: user, post, timeline, home
//! ```
//!
//! # What it promises
//! A post is one document in `/mongo`; it is stored before any timeline shows it. Timelines are made of posts and of who follows
//! whom, and the cache holds hot copies of them alone: without it they are made again, and nothing is lost. A post that was
//! answered for is stored and on every timeline that is to show it, whichever proc has died meanwhile.

pub mod clock;
pub mod graph;
pub mod hot;
pub mod http;
pub mod limits;
pub mod options;
pub mod peer;
pub mod seed;
pub mod service;
pub mod up;
pub mod words;

/// The messages, traits and clients of the services, as `proto/*.proto` define them.
#[allow(clippy::all)]
pub mod proto {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    sigmaos::include_proto!("socialnet");
}
