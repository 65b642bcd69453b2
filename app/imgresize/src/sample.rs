//! A picture made on the spot, for a demonstration without a photograph at hand.
//!
//! It stands for the 6.3 MB JPEG of the thesis (section 4.4): 12 megapixels of soft gradients under noise, which
//! costs a decoder about what a detailed photograph does. It is the same, byte for byte, each time.

use crate::picture::{Error, Format, Picture, encode};
use image::ColorType;

pub const WIDTH: u32 = 4_000;
pub const HEIGHT: u32 = 3_000;

/// The quality of its JPEG, of 100.
const QUALITY: u8 = 90;

/// How far the noise moves a channel, up or down, of 255. Tuned so that the JPEG has 6.3 MB.
const NOISE: u32 = 37;

/// The sample as a file, a JPEG of about 6,300,000 bytes.
///
/// # Errors
/// None in practice; those of [`encode`].
pub fn jpeg() -> Result<Vec<u8>, Error> {
    encode(&picture()?, QUALITY)
}

/// The sample in memory.
///
/// # Errors
/// None in practice; those of [`Picture::new`].
pub fn picture() -> Result<Picture, Error> {
    let mut noise = Noise(0x5161_6D61);
    let mut pixels = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            // The same noise for all channels, as the grain of a film: it is the brightness that costs bytes.
            let grain = noise.below(2 * NOISE);
            let red = x * 180 / WIDTH;
            let green = y * 180 / HEIGHT;
            let blue = 180 - (x + y) * 180 / (WIDTH + HEIGHT);
            pixels.extend([red + grain, green + grain, blue + grain].map(|channel| channel.min(255) as u8));
        }
    }
    Picture::new(Format::Jpeg, ColorType::Rgb8, WIDTH, HEIGHT, pixels)
}

/// Numbers that look random and never change: xorshift32 (Marsaglia 2003).
struct Noise(u32);

impl Noise {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resize::thumbnail;

    #[test]
    fn the_sample_weighs_what_the_photograph_of_the_thesis_does_and_can_be_resized() {
        let bytes = jpeg().unwrap();
        let off = (bytes.len() as f64 / 6_300_000.0 - 1.0).abs();
        assert!(off < 0.05, "{} bytes", bytes.len());

        let small = thumbnail(&bytes, 800, 2).unwrap();
        assert_eq!((small.width, small.height), (800, 600));
    }
}
