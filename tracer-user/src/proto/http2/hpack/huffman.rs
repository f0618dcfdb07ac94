//! The Huffman code of string literals (RFC 7541 section 5.2 and appendix B).

use super::Invalid;

/// Bits of each symbol's code; the last is the end-of-string symbol. The code is canonical: in the order of length, then
/// of symbol, each code is the one before plus one. The lengths say it all.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

const END_OF_STRING: u16 = 256;

/// Bits of the longest code.
const LONGEST: usize = 30;

struct Code {
    /// Code of each symbol, right-aligned.
    codes: [u32; 257],
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
    /// By length: the first code of that length, aligned to the left of 32 bits, and its place in `symbols`.
    first: [(u32, u16); LONGEST + 1],
    /// By the next 8 bits: the symbol and its length, or a length of 0 for longer codes.
    short: [(u8, u8); 256],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut code =
            Self { codes: [0; 257], symbols: [0; 257], first: [(u32::MAX, 0); LONGEST + 1], short: [(0, 0); 256] };
        let (mut next, mut place, mut length) = (0_u32, 0, 1);
        while length <= LONGEST {
            next <<= 1;
            code.first[length] = (next << (32 - length), place as u16);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    code.codes[symbol] = next;
                    code.symbols[place] = symbol as u16;
                    place += 1;
                    if length <= 8 {
                        let start = (next << (8 - length)) as usize;
                        let mut slot = 0;
                        while slot < 1 << (8 - length) {
                            code.short[start + slot] = (symbol as u8, length as u8);
                            slot += 1;
                        }
                    }
                    next += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        code
    }

    /// Symbol and length of the code that `window` begins with.
    fn longer(&self, window: u32) -> (u16, usize) {
        let mut length = LONGEST;
        while length > 9 && self.first[length].0 > window {
            length -= 1;
        }
        let (first, place) = self.first[length];
        let offset = (window - first) >> (32 - length);
        (self.symbols[usize::from(place) + offset as usize], length)
    }
}

/// Appends the decoded string. It is at most 8/5 as long as its code.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    out.reserve(coded.len() * 8 / 5);
    let mut rest = coded.iter();
    // Bits not yet read, aligned to the left.
    let (mut bits, mut count) = (0_u64, 0_usize);
    loop {
        while count <= 56
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        // Behind the end stands padding, which is ones as well.
        let window = (bits >> 32) as u32 | u32::MAX.checked_shr(count as u32).unwrap_or(0);
        let (symbol, length) = match CODE.short[(window >> 24) as usize] {
            (_, 0) => CODE.longer(window),
            (symbol, length) => (u16::from(symbol), usize::from(length)),
        };
        if length > count {
            // Padding is shorter than a byte and a prefix of the end-of-string code: all ones.
            return if count < 8 && window == u32::MAX { Ok(()) } else { Err(Invalid) };
        }
        if symbol == END_OF_STRING {
            return Err(Invalid);
        }
        out.push(symbol as u8);
        bits <<= length;
        count -= length;
    }
}

/// Bits of the code of `text`.
pub fn coded_bits(text: &[u8]) -> usize {
    text.iter().map(|symbol| usize::from(LENGTHS[usize::from(*symbol)])).sum()
}

/// Appends the code of `text`, padded.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0_u32);
    for symbol in text {
        let length = u32::from(LENGTHS[usize::from(*symbol)]);
        bits = bits << length | u64::from(CODE.codes[usize::from(*symbol)]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
}
