//! Searches in the bytes of a document.

use memchr::{memchr, memchr2};

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

/// The place of the first quote or backslash. Most strings are short: a search that has to be set up only begins after a
/// few blocks.
#[inline]
pub fn string_special(bytes: &[u8]) -> Option<usize> {
    const VECTORS: usize = 4;
    let mut at = 0;
    for vector in bytes.as_chunks::<VECTOR>().0.iter().take(VECTORS) {
        let found = vector_mask(vector, is_special);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += VECTOR;
    }
    let mut rest = &bytes[at..];
    if rest.len() >= VECTOR {
        return memchr2(b'"', b'\\', rest).map(|length| at + length);
    }
    if let Some((half, behind)) = rest.split_first_chunk::<{ VECTOR / 2 }>() {
        let found = vector_mask(half, is_special);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += half.len();
        rest = behind;
    }
    rest.iter().position(|byte| is_special(*byte)).map(|length| at + length)
}

/// The place of the first byte that matters in a skipped container: a quote, or a bracket of either kind.
#[inline]
pub fn structure(bytes: &[u8]) -> Option<usize> {
    let (vectors, rest) = bytes.as_chunks::<VECTOR>();
    for (at, vector) in vectors.iter().enumerate() {
        let found = vector_mask(vector, is_structure);
        if found != 0 {
            return Some(VECTOR * at + found.trailing_zeros() as usize);
        }
    }
    rest.iter().position(|byte| is_structure(*byte)).map(|length| VECTOR * vectors.len() + length)
}

fn is_structure(byte: u8) -> bool {
    // Square brackets differ from braces in this bit.
    let bracket = byte | 0x20;
    (byte == b'"') | (bracket == b'{') | (bracket == b'}')
}

fn is_special(byte: u8) -> bool {
    // Not `||`, which would be a branch.
    (byte == b'"') | (byte == b'\\')
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

/// Length of the object or array that `bytes` begin with. As elsewhere, what is skipped only has to balance.
pub fn container_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += structure(bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => at = string_end(bytes, at + 1, false).ok()?,
            b'{' | b'[' => depth += 1,
            _ => depth = depth.checked_sub(1)?,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
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
    let mut escaped = false;
    while let Some(block) = input.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        let quotes = mask(block, |byte| byte == b'"');
        if quotes == 0 {
            // Where quotes are few, the backslashes before the next one tell whether it is escaped.
            let start = at + usize::from(escaped);
            let next = memchr(b'"', &input[at + BLOCK..]).map(|length| at + BLOCK + length);
            at = next.unwrap_or(input.len());
            escaped = ends_in_escape(&input[start..at]);
            match (next, escaped) {
                (Some(end), false) => return Ok(end),
                (None, _) => return Err(escaped),
                (Some(_), true) => continue,
            }
        }
        let ends = quotes & !escaped_bytes(mask(block, |byte| byte == b'\\'), &mut escaped);
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

/// Whether these bytes of a string end in the middle of an escape.
fn ends_in_escape(bytes: &[u8]) -> bool {
    bytes.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Escapes that are looked for one by one before a string is read in blocks.
const SINGLE_ESCAPES: usize = 3;
const BLOCK: usize = 64;
const VECTOR: usize = 16;

/// Bit n is set where byte n fits.
#[inline]
fn mask(block: &[u8; BLOCK], fits: impl Fn(u8) -> bool) -> u64 {
    let vectors = block.as_chunks::<VECTOR>().0.iter().enumerate();
    vectors.fold(0, |mask, (at, vector)| mask | vector_mask(vector, &fits) << (VECTOR * at))
}

/// The compiler makes of this loop what processors have for it: a comparison of 8 or 16 bytes and a gathering of its bits.
#[inline]
fn vector_mask<const SIZE: usize>(vector: &[u8; SIZE], fits: impl Fn(u8) -> bool) -> u64 {
    let mut mask = 0_u16;
    for (at, byte) in vector.iter().enumerate() {
        mask |= u16::from(fits(*byte)) << at;
    }
    u64::from(mask)
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
        fn the_first_quote_or_bracket_is_found(
            bytes in prop::collection::vec(prop_oneof![30 => Just(b'a'), 1 => any::<u8>()], 0..80),
        ) {
            let expected = bytes.iter().position(|byte| b"\"{}[]".contains(byte));
            prop_assert_eq!(structure(&bytes), expected);
        }

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
