//! The worker's whole job: decode, shrink, encode.
//!
//! Thesis, section 3.2: a task resizes one picture many times over, which is what makes it a batch job; each time
//! begins with the decoded picture, so that each costs the same and the last is as good as the first.

use crate::picture::{self, MAX_PIXELS, MAX_SIDE, Picture};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ColorType;

/// The quality of the JPEGs that are made, of 100.
pub const QUALITY: u8 = 85;

/// The most times that one task resizes its picture.
pub const MAX_TIMES: u32 = 10_000;

/// Why a picture could not be resized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Picture(#[from] picture::Error),
    #[error("resizing to a width of {0}: it must be from 1 to {MAX_SIDE}")]
    Width(u32),
    #[error(
        "resizing to {width} × {height} pixels: at most {MAX_PIXELS} pixels and {MAX_SIDE} on a side are allowed"
    )]
    TooLarge { width: u32, height: u64 },
    #[error("resizing {0} times: it must be from 1 to {MAX_TIMES}")]
    Times(u32),
    #[error("resizing {from} to {to} pixels: {why}")]
    Refused { from: String, to: String, why: String },
}

/// A finished picture: the bytes of its file, in the format that came in, and its size in pixels.
#[derive(Clone, Debug)]
pub struct Output {
    pub bytes: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

/// Decodes a JPEG or PNG, resizes it `times` times to `width` pixels, and encodes the last result.
///
/// # Errors
/// `Width`, `Times` and `TooLarge` for a wrong request; `Picture` for a file that is not a whole picture.
pub fn thumbnail(bytes: &[u8], width: u32, times: u32) -> Result<Output, Error> {
    check_request(width, times)?;
    let small = resize_repeatedly(&picture::decode(bytes)?, width, times)?;
    Ok(Output { bytes: picture::encode(&small, QUALITY)?, width: small.width(), height: small.height() })
}

/// Resizes to `width` pixels with Lanczos3, keeping the aspect ratio, `times` times from the same picture, and
/// returns the last result.
///
/// # Errors
/// `Width`, `Times` and `TooLarge` for a wrong request.
pub fn resize_repeatedly(picture: &Picture, width: u32, times: u32) -> Result<Picture, Error> {
    check_request(width, times)?;
    let height = height_for(picture, width)?;
    let kind = match picture.color() {
        ColorType::L8 => PixelType::U8,
        ColorType::La8 => PixelType::U8x2,
        ColorType::Rgba8 => PixelType::U8x4,
        _ => PixelType::U8x3,
    };
    let refused = |why: String| Error::Refused {
        from: format!("{} × {}", picture.width(), picture.height()),
        to: format!("{width} × {height}"),
        why,
    };

    let from = ImageRef::new(picture.width(), picture.height(), picture.pixels(), kind)
        .map_err(|error| refused(error.to_string()))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    let mut to = Image::new(width, height, kind);
    let mut resizer = Resizer::new();
    for _ in 0..times {
        resizer.resize(&from, &mut to, &options).map_err(|error| refused(error.to_string()))?;
    }
    Ok(picture.with_pixels(width, height, to.into_vec())?)
}

fn check_request(width: u32, times: u32) -> Result<(), Error> {
    if !(1..=MAX_SIDE).contains(&width) {
        return Err(Error::Width(width));
    }
    if !(1..=MAX_TIMES).contains(&times) {
        return Err(Error::Times(times));
    }
    Ok(())
}

/// The height that keeps the aspect ratio, to the nearest pixel and at least 1.
fn height_for(picture: &Picture, width: u32) -> Result<u32, Error> {
    let (from_width, from_height) = (u64::from(picture.width()), u64::from(picture.height()));
    let height = ((from_height * u64::from(width) + from_width / 2) / from_width).max(1);
    match u32::try_from(height) {
        Ok(fitting) if fitting <= MAX_SIDE && u64::from(width) * height <= MAX_PIXELS => Ok(fitting),
        _ => Err(Error::TooLarge { width, height }),
    }
}

#[cfg(test)]
mod tests;
