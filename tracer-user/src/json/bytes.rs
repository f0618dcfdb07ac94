//! Searches in the bytes of a document.

use memchr::memchr2;

/// Bytes that matter in a skipped container.
pub static STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

pub fn next(input: &[u8], at: usize) -> Option<usize> {
    // Most documents are written without white space.
    if !is_space(&input[at]) {
        return Some(at);
    }
    input[at..].iter().position(|byte| !is_space(byte)).map(|length| at + length)
}

pub fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

pub fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
}

/// The place of the first quote or backslash. Most strings are short: a search by vectors only begins after a few words.
#[inline]
pub fn string_special(bytes: &[u8]) -> Option<usize> {
    const WORDS: usize = 4;
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    // Sets the high bit of each byte that is zero, and perhaps of bytes above it: the lowest set bit is right.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let mut at = 0;
    for word in bytes.as_chunks().0.iter().take(WORDS) {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (LOW * u64::from(b'"'))) | zeros(word ^ (LOW * u64::from(b'\\')));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = &bytes[at..];
    let found = match rest.len() {
        ..8 => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')),
        _ => memchr2(b'"', b'\\', rest),
    };
    found.map(|length| at + length)
}

/// Length of the string text that `bytes` begin with, up to its quote.
pub fn string_length(bytes: &[u8]) -> Option<usize> {
    string_end(bytes, 0, false).ok()
}

/// Length of the number that `bytes` begin with, up to what ends it.
pub fn number_length(bytes: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = bytes.iter().position(|byte| !is_part(byte))?;
    (length > 0 && is_delimiter(bytes[length])).then_some(length)
}

/// The place of the quote that ends the string; else whether the input ends in the middle of an escape.
pub fn string_end(input: &[u8], mut at: usize, escaped: bool) -> Result<usize, bool> {
    if escaped {
        at += 1;
    }
    while at < input.len() {
        let Some(length) = string_special(&input[at..]) else { return Err(false) };
        at += length;
        if input[at] == b'"' {
            return Ok(at);
        }
        at += 2;
    }
    Err(at > input.len())
}

/// Where this piece of a string ends, whether the string ends there, and whether the next byte is escaped.
pub fn bounds(input: &[u8], at: usize, escaped: bool) -> (usize, bool, bool) {
    match string_end(input, at, escaped) {
        Ok(end) => (end, true, false),
        Err(escaped) => (input.len(), false, escaped),
    }
}
