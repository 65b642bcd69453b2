//! PNG, whose chunks carry checksums: a damaged file is refused by the decoder itself.

use super::{Error, Format, Header, Picture, check_size};
use image::codecs::png::{PngDecoder, PngEncoder};
use image::{ColorType, DynamicImage, ImageDecoder, ImageEncoder, Limits};
use std::io::Cursor;

pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The most bytes that the decoder may take beside the pixels: compressed profiles and texts unfold.
const MAX_SCRATCH: u64 = 64 << 20;

pub(super) fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    let damaged = |error: image::ImageError| Error::Damaged { format: Format::Png, why: error.to_string() };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_SCRATCH);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(Format::Png, width, height)?;
    let profile = decoder.icc_profile().map_err(damaged)?;
    let image = to_8_bits(DynamicImage::from_decoder(decoder).map_err(damaged)?);
    Ok(Picture { format: Format::Png, image, profile })
}

/// The first chunk begins at byte 8: length, name, width, height, bits a channel, kind of colour (PNG, 11.2.1).
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let first: &[u8; 18] = bytes.get(8..)?.first_chunk()?;
    let number = |at: usize| u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    let channels = match first[17] {
        0 => 1,
        4 => 2,
        2 => 3,
        // Of a palette each colour may be transparent.
        _ => 4,
    };
    let bytes_per_pixel = if first[16] == 16 { 2 * channels } else { channels };
    Some(Header { width: number(8), height: number(12), bytes_per_pixel, decoder_bytes_per_pixel: 0 })
}

pub(super) fn encode(picture: &Picture) -> Result<Vec<u8>, Error> {
    let refused = |why: String| Error::Encode { format: Format::Png, why };
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    if let Some(profile) = &picture.profile {
        encoder.set_icc_profile(profile.clone()).map_err(|error| refused(error.to_string()))?;
    }
    encoder
        .write_image(picture.pixels(), picture.width(), picture.height(), picture.color().into())
        .map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

fn to_8_bits(image: DynamicImage) -> DynamicImage {
    match image.color() {
        ColorType::L16 => image.into_luma8().into(),
        ColorType::La16 => image.into_luma_alpha8().into(),
        ColorType::Rgb16 => image.into_rgb8().into(),
        ColorType::Rgba16 => image.into_rgba8().into(),
        _ => image,
    }
}
