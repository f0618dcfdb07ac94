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
    at += usize::from(escaped);
    // Most strings have few escapes. Text with many, such as a document in a prompt, is read in blocks.
    for _ in 0..SINGLE_ESCAPES {
        let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) else { return Err(at > input.len()) };
        let Some(length) = string_special(rest) else { return Err(false) };
        at += length;
        if input[at] == b'"' {
            return Ok(at);
        }
        at += 2;
    }
    let (blocks, _) = input.get(at..).unwrap_or_default().as_chunks::<BLOCK>();
    let mut escaped = false;
    for block in blocks {
        let ends = mask(block, b'"') & !escaped_bytes(mask(block, b'\\'), &mut escaped);
        if ends != 0 {
            return Ok(at + ends.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    at += usize::from(escaped);
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

/// Escapes that are looked for one by one before a string is read in blocks.
const SINGLE_ESCAPES: usize = 3;
const BLOCK: usize = 64;

/// Bit n is set where byte n is `byte`.
#[inline]
fn mask(block: &[u8; BLOCK], byte: u8) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const SEVEN: u64 = LOW * 0x7f;
    // Moves the lowest bit of byte n to bit 56 + n.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let wanted = LOW * u64::from(byte);
    let mut mask = 0;
    for (at, word) in block.as_chunks::<8>().0.iter().enumerate() {
        let other = u64::from_le_bytes(*word) ^ wanted;
        // The high bit of each byte that is zero, and of no other: the sum cannot carry into the next byte.
        let equal = !(((other & SEVEN) + SEVEN) | other | SEVEN);
        mask |= ((equal >> 7).wrapping_mul(GATHER) >> 56) << (8 * at);
    }
    mask
}

/// The bytes that a backslash takes away their meaning, of a block in which `slashes` are the backslashes. `first` says
/// so of the first byte, and is left saying it of the one behind the block.
///
/// A run of backslashes escapes by turns, from its start. Subtracting the starts of runs from the bytes behind
/// backslashes carries through each run, so that what is left of the alternating pattern marks every other byte of it.
#[inline]
fn escaped_bytes(slashes: u64, first: &mut bool) -> u64 {
    const EVERY_OTHER: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let before = u64::from(*first);
    let acting = slashes & !before;
    let turns = ((acting << 1) | EVERY_OTHER).wrapping_sub(acting) ^ EVERY_OTHER;
    *first = (turns & slashes) >> 63 != 0;
    turns ^ (slashes | before)
}

/// Where this piece of a string ends, whether the string ends there, and whether the next byte is escaped.
pub fn bounds(input: &[u8], at: usize, escaped: bool) -> (usize, bool, bool) {
    match string_end(input, at, escaped) {
        Ok(end) => (end, true, false),
        Err(escaped) => (input.len(), false, escaped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_by_byte(input: &[u8], mut at: usize, escaped: bool) -> Result<usize, bool> {
        at += usize::from(escaped);
        while at < input.len() {
            match input[at] {
                b'"' => return Ok(at),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        Err(at > input.len())
    }

    proptest! {
        #[test]
        fn a_string_ends_where_a_reader_of_bytes_ends_it(
            pieces in prop::collection::vec(prop_oneof![
                6 => "[a-z]{0,40}", 3 => Just("\\\"".to_owned()), 2 => "\\\\{1,70}", 1 => Just("\\\\".to_owned()),
            ], 0..40),
            ends in any::<bool>(),
            escaped in any::<bool>(),
        ) {
            let input = pieces.concat() + if ends { "\" and more" } else { "" };
            for at in 0..input.len().min(3) {
                prop_assert_eq!(
                    string_end(input.as_bytes(), at, escaped),
                    byte_by_byte(input.as_bytes(), at, escaped)
                );
            }
        }
    }
}
