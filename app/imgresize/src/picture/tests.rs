use super::*;

/// A picture with something to see on it.
fn drawn(format: Format, color: ColorType, width: u32, height: u32) -> Picture {
    let channels = u32::from(color.channel_count());
    let pixels = (0..width * height * channels).map(|i| (i * 7 + i / width * 13) as u8).collect();
    Picture::new(format, color, width, height, pixels).unwrap()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(&drawn(Format::Jpeg, ColorType::Rgb8, width, height), 90).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    decode(bytes).expect_err("it should have been refused").to_string()
}

#[test]
fn a_png_comes_back_as_it_was() {
    for color in [ColorType::L8, ColorType::La8, ColorType::Rgb8, ColorType::Rgba8] {
        let picture = drawn(Format::Png, color, 31, 17);
        let back = decode(&encode(&picture, 90).unwrap()).unwrap();
        assert_eq!((back.format(), back.color()), (Format::Png, color));
        assert_eq!((back.width(), back.height()), (31, 17));
        assert_eq!(back.pixels(), picture.pixels());
    }
}

#[test]
fn a_jpeg_comes_back_as_a_jpeg() {
    for color in [ColorType::L8, ColorType::Rgb8] {
        let back = decode(&encode(&drawn(Format::Jpeg, color, 31, 17), 90).unwrap()).unwrap();
        assert_eq!((back.format(), back.color()), (Format::Jpeg, color));
        assert_eq!((back.width(), back.height()), (31, 17));
    }
}

#[test]
fn a_picture_of_one_pixel_is_a_picture() {
    for format in [Format::Jpeg, Format::Png] {
        let back = decode(&encode(&drawn(format, ColorType::Rgb8, 1, 1), 90).unwrap()).unwrap();
        assert_eq!((back.width(), back.height()), (1, 1));
    }
}

/// A lenient decoder paints the missing half gray and reports success.
#[test]
fn a_jpeg_that_is_cut_anywhere_is_refused() {
    let whole = jpeg(64, 48);
    for kept in 3..whole.len() {
        let message = refusal(&whole[..kept]);
        assert!(message.starts_with("not a whole JPEG: "), "{kept} bytes kept: {message}");
    }
    decode(&whole).unwrap();
}

#[test]
fn a_progressive_jpeg_that_is_cut_is_refused() {
    let picture = drawn(Format::Jpeg, ColorType::Rgb8, 160, 120);
    let mut whole = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut whole, 90);
    encoder.set_progressive(true);
    encoder.encode(picture.pixels(), 160, 120, jpeg_encoder::ColorType::Rgb).unwrap();

    decode(&whole).unwrap();
    for tenths in 1..10 {
        refusal(&whole[..whole.len() * tenths / 10]);
    }
}

#[test]
fn what_a_camera_appends_to_a_whole_jpeg_does_no_harm() {
    let appended = [&jpeg(16, 16)[..], b"\xFF\xD8 a second picture"].concat();
    decode(&appended).unwrap();
}

#[test]
fn a_png_that_is_cut_or_damaged_is_refused() {
    let whole = encode(&drawn(Format::Png, ColorType::Rgb8, 160, 120), 90).unwrap();
    for tenths in 1..10 {
        let message = refusal(&whole[..whole.len() * tenths / 10]);
        assert!(message.starts_with("not a whole PNG: "), "{message}");
    }
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    assert!(refusal(&damaged).starts_with("not a whole PNG: "));
}

#[test]
fn garbage_is_refused_with_what_was_found_instead() {
    let refused =
        [(&b""[..], "nothing, it is empty"), (b"GIF89a..", "\"GIF89a..\""), (b"\0\x01", "\"\\x00\\x01\"")];
    for (bytes, found) in refused {
        assert_eq!(refusal(bytes), format!("neither a JPEG nor a PNG: the file begins with {found}"));
    }
    refusal(b"\xFF\xD8\xFF");
    refusal(b"\xFF\xD8\xFF\xD9");
    refusal(&[&b"\xFF\xD8\xFF\xE0"[..], &[0x5A; 4096]].concat());
    refusal(&[png::MAGIC, &[0x5A; 4096]].concat());
}

/// A few bytes that claim a picture of gigabytes must not make us take the memory.
#[test]
fn a_header_that_claims_too_many_pixels_is_refused() {
    let mut bomb = jpeg(16, 16);
    let frame = bomb.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
    assert!(refusal(&bomb).starts_with("a JPEG of 65535 × 65535 pixels: "));

    let mut bomb = encode(&drawn(Format::Png, ColorType::L8, 16, 16), 90).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let sum = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.to_be_bytes());
    assert!(refusal(&bomb).starts_with("a PNG of 16384 × 16384 pixels: "));
}

#[test]
fn a_picture_cannot_be_made_of_what_does_not_fit() {
    let new = |color, width, height, len| Picture::new(Format::Jpeg, color, width, height, vec![0; len]);
    assert!(matches!(new(ColorType::L8, 4, 4, 15), Err(Error::WrongLength { .. })));
    assert!(matches!(new(ColorType::L8, 0, 4, 0), Err(Error::TooLarge { .. })));
    assert!(matches!(new(ColorType::L8, MAX_SIDE + 1, 1, 0), Err(Error::TooLarge { .. })));
    assert!(matches!(new(ColorType::Rgba8, 1, 1, 4), Err(Error::Unsupported { .. })));
}

#[test]
fn a_photograph_taken_sideways_stands_upright_and_keeps_its_profile() {
    // A little-endian TIFF with one entry: orientation (0x0112), a short, 6: turn right by a quarter.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let sideways = drawn(Format::Jpeg, ColorType::Rgb8, 40, 20);
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.add_exif_metadata(exif).unwrap();
    encoder.add_icc_profile(b"a profile").unwrap();
    encoder.encode(sideways.pixels(), 40, 20, jpeg_encoder::ColorType::Rgb).unwrap();

    let upright = decode(&bytes).unwrap();
    assert_eq!((upright.width(), upright.height()), (20, 40));
    let again = decode(&encode(&upright, 90).unwrap()).unwrap();
    assert_eq!(again.profile.as_deref(), Some(&b"a profile"[..]));
}

/// The checksum of a PNG chunk, bit by bit (ISO 15948, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}
