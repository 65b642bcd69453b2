//! What the beginning of a file says of the picture, without decoding it.

use super::{Format, jpeg, png};

/// The size that a file claims. Nothing is checked: it helps to plan, and decoding finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    /// Of the decoded picture, before it is reduced to 8 bits a channel.
    pub bytes_per_pixel: u32,
    /// What the decoder holds beside it.
    pub decoder_bytes_per_pixel: u32,
}

impl Header {
    /// Reads the beginning of a file; `None` where that is no picture, or too short to tell.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match Format::of(bytes)? {
            Format::Jpeg => jpeg::header(bytes),
            Format::Png => png::header(bytes),
        }
    }
}
