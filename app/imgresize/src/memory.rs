//! How much memory a worker may use, from what its picture says of itself.

use crate::picture::Header;
use sigmaos::limits::DEFAULT_MEMORY;

/// Bytes from the beginning of a file in which its size in pixels is looked for.
pub const HEAD: usize = 256 << 10;

/// The program itself, its runtime and its connection.
const PROGRAM: u64 = 16 << 20;

/// The limit of a worker in bytes: for the file (which arrives in pieces and is joined), the decoded picture (twice: it may
/// have to be turned or reduced to 8 bits), what the decoder holds beside it, and the resized picture with the half-way
/// result of resizing; and a quarter more. Where the size cannot be told, the default limit of a proc.
pub fn limit(file_bytes: u64, header: Option<Header>, width: u32) -> u64 {
    let Some(header) = header else { return DEFAULT_MEMORY.max(PROGRAM + 2 * file_bytes) };
    let (from_width, from_height) = (u64::from(header.width), u64::from(header.height));
    let pixel = u64::from(header.bytes_per_pixel);
    let decoded = from_width * from_height * (2 * pixel + u64::from(header.decoder_bytes_per_pixel));
    let width = u64::from(width);
    let height = (from_height * width).div_ceil(from_width.max(1));
    let resized = pixel * (width * from_height.max(height) + 3 * width * height);
    let needed = PROGRAM.saturating_add(2 * file_bytes).saturating_add(decoded).saturating_add(resized);
    needed.saturating_add(needed / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_limit_follows_the_picture() {
        let bytes = sample::jpeg().unwrap();
        let header = Header::of(&bytes[..HEAD]).unwrap();
        assert_eq!((header.width, header.height), (sample::WIDTH, sample::HEIGHT));
        let mib = limit(bytes.len() as u64, Some(header), 800) >> 20;
        assert!((100..200).contains(&mib), "{mib} MiB for 12 megapixels");
        assert_eq!(limit(1000, None, 800), DEFAULT_MEMORY);
        let small = Header { width: 1, height: 1, bytes_per_pixel: 3, decoder_bytes_per_pixel: 0 };
        assert!(limit(100, Some(small), 1) >= PROGRAM);
    }
}
