//! A decoded picture, and the way from and to the bytes of a file.
//!
//! Guarantees:
//! - What decodes is whole: a file that was cut is an error, never a picture that is half gray.
//! - A picture has at most [`MAX_PIXELS`] pixels, which is checked against the file's header before memory is
//!   taken for them.
//! - A picture stands upright (a JPEG's Exif orientation is applied, since it does not outlive decoding), and its
//!   colour profile is kept.

mod header;
mod jpeg;
mod png;
mod source;

pub use header::Header;

use image::{ColorType, DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use std::fmt;

/// The most pixels that a picture may have: 256 MiB when each takes four bytes.
pub const MAX_PIXELS: u64 = 64 << 20;

/// The widest and highest that a picture may be: what a JPEG can say.
pub const MAX_SIDE: u32 = u16::MAX as u32;

/// Why bytes are not a picture, or a picture not bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("neither a JPEG nor a PNG: the file begins with {0}")]
    UnknownFormat(String),
    #[error("not a whole {format}: {why}")]
    Damaged { format: Format, why: String },
    #[error(
        "a {format} of {width} × {height} pixels: at most {MAX_PIXELS} pixels and {MAX_SIDE} on a side are allowed"
    )]
    TooLarge { format: Format, width: u32, height: u32 },
    #[error("a picture of {width} × {height} pixels of {color:?} needs other than the {len} bytes given")]
    WrongLength { color: ColorType, width: u32, height: u32, len: usize },
    #[error("a {format} cannot hold {color:?}")]
    Unsupported { format: Format, color: ColorType },
    #[error("cannot encode a {format}: {why}")]
    Encode { format: Format, why: String },
}

/// A file format: what comes in as one goes out as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
}

impl Format {
    /// The format that the first bytes of a file claim.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(jpeg::MAGIC) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(png::MAGIC) {
            Some(Self::Png)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
        })
    }
}

/// A whole picture in memory: gray or RGB, 8 bits a channel, with alpha if it came as a PNG that has it.
#[derive(Clone)]
pub struct Picture {
    format: Format,
    image: DynamicImage,
    /// The ICC profile that says what the numbers mean as colours.
    profile: Option<Vec<u8>>,
}

impl Picture {
    /// A picture from rows of pixels, top down, without padding.
    ///
    /// # Errors
    /// `TooLarge`, also for a side of 0; `WrongLength`; `Unsupported` for more than 8 bits a channel, and for a
    /// JPEG with alpha.
    pub fn new(
        format: Format,
        color: ColorType,
        width: u32,
        height: u32,
        pixels: Vec<u8>,
    ) -> Result<Self, Error> {
        check_size(format, width, height)?;
        let len = pixels.len();
        let image = match (color, format) {
            (ColorType::L8, _) => GrayImage::from_raw(width, height, pixels).map(Into::into),
            (ColorType::Rgb8, _) => RgbImage::from_raw(width, height, pixels).map(Into::into),
            (ColorType::La8, Format::Png) => GrayAlphaImage::from_raw(width, height, pixels).map(Into::into),
            (ColorType::Rgba8, Format::Png) => RgbaImage::from_raw(width, height, pixels).map(Into::into),
            _ => return Err(Error::Unsupported { format, color }),
        };
        let image: DynamicImage = image.ok_or(Error::WrongLength { color, width, height, len })?;
        Ok(Self { format, image, profile: None })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn width(&self) -> u32 {
        self.image.width()
    }

    pub fn height(&self) -> u32 {
        self.image.height()
    }

    /// What a pixel consists of: one of `L8`, `La8`, `Rgb8` and `Rgba8`.
    pub fn color(&self) -> ColorType {
        self.image.color()
    }

    /// The rows of pixels, top down, without padding.
    pub fn pixels(&self) -> &[u8] {
        self.image.as_bytes()
    }

    /// A picture of the same format and profile with other pixels.
    pub(crate) fn with_pixels(&self, width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, Error> {
        let picture = Self::new(self.format, self.color(), width, height, pixels)?;
        Ok(Self { profile: self.profile.clone(), ..picture })
    }
}

/// Without the pixels, which would fill pages.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} × {} {:?}", self.format, self.width(), self.height(), self.color())
    }
}

/// Reads a JPEG or a PNG; 16 bits a channel are reduced to 8, palettes resolved.
///
/// # Errors
/// `UnknownFormat`, `TooLarge`, or `Damaged`, which says what is wrong.
pub fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    match Format::of(bytes) {
        Some(Format::Jpeg) => jpeg::decode(bytes),
        Some(Format::Png) => png::decode(bytes),
        None => Err(Error::UnknownFormat(beginning(bytes))),
    }
}

/// Writes a picture in its own format. `quality` is that of a JPEG, from 1 to 100; a PNG loses nothing.
///
/// # Errors
/// `Encode`, when the encoder refuses.
pub fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, Error> {
    match picture.format {
        Format::Jpeg => jpeg::encode(picture, quality),
        Format::Png => png::encode(picture),
    }
}

fn check_size(format: Format, width: u32, height: u32) -> Result<(), Error> {
    let sides = 1..=MAX_SIDE;
    let fits = sides.contains(&width) && sides.contains(&height);
    if fits && u64::from(width) * u64::from(height) <= MAX_PIXELS {
        Ok(())
    } else {
        Err(Error::TooLarge { format, width, height })
    }
}

/// The first bytes as text, for an error message.
fn beginning(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing, it is empty".to_owned(),
        _ => format!("\"{}\"", bytes[..bytes.len().min(8)].escape_ascii()),
    }
}

#[cfg(test)]
mod tests;
