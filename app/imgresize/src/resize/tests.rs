use super::*;
use crate::picture::{Format, decode, encode};

fn flat(format: Format, color: ColorType, width: u32, height: u32) -> Picture {
    let len = width * height * u32::from(color.channel_count());
    Picture::new(format, color, width, height, vec![0x80; len as usize]).unwrap()
}

#[test]
fn the_aspect_ratio_is_kept_to_the_nearest_pixel() {
    let check = |(width, height), to, expect| {
        let small = resize_repeatedly(&flat(Format::Jpeg, ColorType::Rgb8, width, height), to, 1).unwrap();
        assert_eq!((small.width(), small.height()), (to, expect), "{width} × {height} to {to}");
    };
    check((400, 300), 100, 75);
    check((300, 400), 90, 120);
    check((100, 33), 10, 3);
    check((100, 35), 10, 4);
    check((1000, 1), 10, 1);
    check((1, 1), 1, 1);
    check((1, 1), 64, 64);
    check((16, 16), 32, 32);
}

#[test]
fn every_kind_of_pixel_is_resized_as_what_it_is() {
    for color in [ColorType::L8, ColorType::La8, ColorType::Rgb8, ColorType::Rgba8] {
        let small = resize_repeatedly(&flat(Format::Png, color, 64, 32), 16, 1).unwrap();
        assert_eq!((small.color(), small.format()), (color, Format::Png));
        assert!(small.pixels().iter().all(|channel| channel.abs_diff(0x80) <= 1), "{color:?}");
    }
}

#[test]
fn each_time_begins_with_the_decoded_picture() {
    let pixels = (0..64 * 64).map(|i| (i * 31 % 251) as u8).collect();
    let picture = Picture::new(Format::Png, ColorType::L8, 64, 64, pixels).unwrap();
    let once = resize_repeatedly(&picture, 20, 1).unwrap();
    let often = resize_repeatedly(&picture, 20, 20).unwrap();
    assert_eq!(once.pixels(), often.pixels());
}

#[test]
fn a_thumbnail_has_the_format_that_came_in() {
    for format in [Format::Jpeg, Format::Png] {
        let input = encode(&flat(format, ColorType::Rgb8, 120, 80), 90).unwrap();
        let output = thumbnail(&input, 30, 3).unwrap();
        assert_eq!((output.width, output.height), (30, 20));
        let back = decode(&output.bytes).unwrap();
        assert_eq!((back.format(), back.width(), back.height()), (format, 30, 20));
    }
}

#[test]
fn wrong_requests_are_refused_by_name() {
    let input = encode(&flat(Format::Png, ColorType::L8, 2, 60), 90).unwrap();
    let check = |width, times, expect: &str| {
        let message = thumbnail(&input, width, times).unwrap_err().to_string();
        assert!(message.starts_with(expect), "{message}");
    };
    check(0, 1, "resizing to a width of 0: ");
    check(70_000, 1, "resizing to a width of 70000: ");
    check(2, 0, "resizing 0 times: ");
    check(2, MAX_TIMES + 1, "resizing 10001 times: ");
    check(60_000, 1, "resizing to 60000 × 1800000 pixels: ");
}

#[test]
fn half_a_picture_is_refused() {
    let input = encode(&flat(Format::Jpeg, ColorType::Rgb8, 120, 80), 90).unwrap();
    let error = thumbnail(&input[..input.len() / 2], 30, 1).unwrap_err();
    assert!(matches!(error, Error::Picture(picture::Error::Damaged { .. })), "{error}");
}
