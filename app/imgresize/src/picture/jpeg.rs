//! JPEG, read strictly.
//!
//! Decoders made for browsers paint what is missing of a cut file gray and say that all is well. Here two checks
//! stand against it: the file must have its end marker, and the decoder runs in its strict mode, which refuses
//! codes that do not exist. What passes both is damage that looks like data: JPEG has no checksums.

use super::source::Source;
use super::{Error, Format, Header, Picture, check_size};
use image::ColorType;
use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Start of image, and the first byte of the next marker.
pub(super) const MAGIC: &[u8] = &[0xFF, 0xD8, 0xFF];

// Markers, of ITU T.81, table B.1.
const END_OF_IMAGE: u8 = 0xD9;
const RESTART: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;
const TEMPORARY: u8 = 0x01;
const START_OF_SCAN: u8 = 0xDA;
/// Frame headers; three of the numbers among them mean something else.
const FRAMES: std::ops::RangeInclusive<u8> = 0xC0..=0xCF;
const NO_FRAMES: [u8; 3] = [0xC4, 0xC8, 0xCC];
const PROGRESSIVE_FRAMES: [u8; 4] = [0xC2, 0xC6, 0xCA, 0xCE];

pub(super) fn decode(bytes: &[u8]) -> Result<Picture, Error> {
    check_whole(bytes)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(Source::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;

    let info = decoder.info().ok_or_else(|| damaged("it has no frame header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(Format::Jpeg, width, height)?;
    let (space, color) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, ColorType::L8),
        _ => (ColorSpace::RGB, ColorType::Rgb8),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));

    let pixels = decoder.decode().map_err(damaged)?;
    let mut picture = Picture::new(Format::Jpeg, color, width, height, pixels)?;
    picture.profile = decoder.icc_profile();
    if let Some(orientation) = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)) {
        picture.image.apply_orientation(orientation);
    }
    Ok(picture)
}

pub(super) fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, Error> {
    let format = Format::Jpeg;
    let color = match picture.color() {
        ColorType::L8 => jpeg_encoder::ColorType::Luma,
        ColorType::Rgb8 => jpeg_encoder::ColorType::Rgb,
        color => return Err(Error::Unsupported { format, color }),
    };
    let (width, height) = (picture.width(), picture.height());
    let (Ok(width16), Ok(height16)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(Error::TooLarge { format, width, height });
    };
    let refused = |error: jpeg_encoder::EncodingError| Error::Encode { format, why: error.to_string() };

    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    if let Some(profile) = &picture.profile {
        encoder.add_icc_profile(profile).map_err(refused)?;
    }
    encoder.encode(picture.pixels(), width16, height16, color).map_err(refused)?;
    Ok(bytes)
}

/// Walks to the frame header: length, bits, height, width, number of channels (ITU T.81, B.2.2).
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let mut at = 2;
    loop {
        let (marker, after) = next_marker(bytes, at)?;
        if FRAMES.contains(&marker) && !NO_FRAMES.contains(&marker) {
            let frame: &[u8; 8] = bytes.get(after..)?.first_chunk()?;
            let channels = u32::from(frame[7]).min(4);
            // A progressive picture is held as coefficients of two bytes until its last scan.
            let progressive = PROGRESSIVE_FRAMES.contains(&marker);
            return Some(Header {
                width: u16::from_be_bytes([frame[5], frame[6]]).into(),
                height: u16::from_be_bytes([frame[3], frame[4]]).into(),
                bytes_per_pixel: if channels == 1 { 1 } else { 3 },
                decoder_bytes_per_pixel: if progressive { 2 * channels } else { 0 },
            });
        }
        match marker {
            START_OF_SCAN | END_OF_IMAGE => return None,
            TEMPORARY => at = after,
            _ => {
                let length: &[u8; 2] = bytes.get(after..)?.first_chunk()?;
                at = after + usize::from(u16::from_be_bytes(*length));
            }
        }
    }
}

fn damaged(why: impl ToString) -> Error {
    Error::Damaged { format: Format::Jpeg, why: why.to_string() }
}

/// Walks from marker to marker; a file that has been cut anywhere never comes to its end marker. (To look at
/// the last two bytes is not enough: a cut may fall behind the end marker of a preview within the metadata, and
/// cameras append data of their own to whole pictures.)
fn check_whole(bytes: &[u8]) -> Result<(), Error> {
    let cut = || damaged(format!("it was cut, its {} bytes have no end marker", bytes.len()));
    let mut at = 2;
    loop {
        let (marker, after) = next_marker(bytes, at).ok_or_else(cut)?;
        match marker {
            END_OF_IMAGE => return Ok(()),
            TEMPORARY => at = after,
            // A segment with a length. A scan's header is one too, and `next_marker` walks over the data behind it.
            _ => {
                let length = bytes.get(after..after + 2).ok_or_else(cut)?;
                at = after + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
}

/// The next marker at or after `at` and the place behind it: 0xFF and a byte that is neither the zero which
/// follows an 0xFF of a scan's data, nor a restart within it, nor another 0xFF, which is padding.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let found = rest
        .windows(2)
        .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF) && !RESTART.contains(&pair[1]))?;
    Some((rest[found + 1], at + found + 2))
}
