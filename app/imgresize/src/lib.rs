//! Serverless image resizing (thesis, section 3.2).
//!
//! The core is pure: bytes go in, bytes come out; where they come from is the procs' business.

pub mod picture;
pub mod resize;
pub mod sample;
