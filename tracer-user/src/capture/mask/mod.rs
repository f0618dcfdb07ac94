//! Overwrites credentials in the plaintext of a connection, byte for byte, so that offsets and framing stay.

mod http2;
mod lines;

use self::{http2::Frames, lines::Scanner};

/// What overwrites a secret byte.
const MASK: u8 = b'*';

/// Where the masking of one direction of one connection stands.
pub enum Mask {
    /// HTTP/1.x, and whatever is no HTTP/2.
    Lines(Scanner),
    Http2(Box<Frames>),
}

impl Default for Mask {
    fn default() -> Self {
        Self::Lines(Scanner::default())
    }
}

impl Mask {
    pub fn http2() -> Self {
        Self::Http2(Box::default())
    }

    /// Overwrites what is secret in the next bytes of the stream, and gives how many of them are settled. The others wait
    /// for what follows: they come again, with more.
    pub fn mask(&mut self, bytes: &mut [u8]) -> usize {
        match self {
            Self::Lines(scanner) => {
                scanner.mask(bytes);
                bytes.len()
            }
            Self::Http2(frames) => frames.mask(bytes),
        }
    }

    /// So many bytes are missing, 0 for an unknown number: what follows may start anywhere, also inside a secret. Bytes
    /// that still wait are given up.
    pub fn gap(&mut self, lost: u64) {
        match self {
            Self::Lines(scanner) => scanner.gap(),
            Self::Http2(frames) => frames.gap(lost),
        }
    }
}

/// Overwrites bytes of which it is not known what they are.
pub fn blacken(bytes: &mut [u8]) {
    bytes.fill(MASK);
}
