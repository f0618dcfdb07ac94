//! Texts within texts: the forms in which a secret goes through JSON, URLs and headers. What is written with the escapes
//! of JSON (`\u0073k-…`, `\/`) or of URLs (`sk%2D…`), or as base64, is read by whoever gets it, and so it is read here.

use std::ops::Range;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Shortest base64 that is looked into: no secret is shorter than 12 bytes.
const BASE64_BYTES: usize = 16;

/// The letters of both alphabets.
const IS_BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/' | b'-' | b'_');
        byte += 1;
    }
    table
};

const INDIFFERENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, INDIFFERENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, INDIFFERENT);

/// A text without its escapes, and where each piece of it came from.
pub struct Unescaped {
    pub text: String,
    /// Behind each escape: where it ends in `text`, and in the source.
    ends: Vec<(usize, usize)>,
}

impl Unescaped {
    /// `None` when nothing in the text is written with an escape that stands for an ASCII character. Others hide no secret.
    pub fn new(source: &str) -> Option<Self> {
        let bytes = source.as_bytes();
        let mut out = Self { text: String::new(), ends: Vec::new() };
        let mut copied = 0;
        let mut at = 0;
        while let Some(next) = memchr::memchr2(b'\\', b'%', &bytes[at..]) {
            let start = at + next;
            let Some((length, character)) = escape(&bytes[start..]) else {
                at = start + 1;
                continue;
            };
            out.text.push_str(&source[copied..start]);
            out.text.push(character);
            at = start + length;
            copied = at;
            out.ends.push((out.text.len(), at));
        }
        if out.ends.is_empty() {
            return None;
        }
        out.text.push_str(&source[copied..]);
        Some(out)
    }

    /// Where a range of the text came from; `None` when no escape is in it, so that it stands in the source as it is.
    pub fn source(&self, range: &Range<usize>) -> Option<Range<usize>> {
        // Escapes whose character stands before `range`, and before its end.
        let before = self.ends.partition_point(|(end, _)| *end <= range.start);
        let within = self.ends.partition_point(|(end, _)| *end <= range.end);
        (within > before).then(|| self.place(before, range.start)..self.place(within, range.end))
    }

    /// Where in the source a place of the text is that has so many escapes before it.
    fn place(&self, escapes: usize, at: usize) -> usize {
        match escapes.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some((end, source)) => source + (at - end),
            None => at,
        }
    }
}

/// Length and character of the escape at the beginning, if it stands for an ASCII character. Backslashes before `u` can be
/// many: JSON within JSON doubles them.
fn escape(bytes: &[u8]) -> Option<(usize, char)> {
    let hex = |digits: &[u8]| {
        let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(text, 16).ok().filter(u8::is_ascii).map(char::from)
    };
    if let Some(rest) = bytes.strip_prefix(b"%") {
        return Some((3, hex(rest.get(..2)?)?));
    }
    let slashes = bytes.iter().take(8).take_while(|byte| **byte == b'\\').count();
    match &bytes[slashes..] {
        [b'/', ..] => Some((slashes + 1, '/')),
        [b'u' | b'U', b'0', b'0', rest @ ..] => Some((slashes + 5, hex(rest.get(..2)?)?)),
        _ => None,
    }
}

/// Shows each piece of base64 that is text: where it stands, and what it says.
pub fn base64(text: &str, see: &mut dyn FnMut(Range<usize>, &str)) {
    let bytes = text.as_bytes();
    let is_base64 = |byte: &u8| IS_BASE64[usize::from(*byte)];
    // Where a piece begins.
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + BASE64_BYTES) {
        // From its end: most texts need not be looked at byte by byte.
        if let Some(other) = window.iter().rposition(|byte| !is_base64(byte)) {
            at += other + 1;
            continue;
        }
        let length = bytes[at..].iter().take_while(|byte| is_base64(byte)).count();
        let found = at..at + length;
        // What ended it is none either.
        at = found.end + 1;
        if !piece(text, found.clone(), see) && bytes[found.clone()].contains(&b'/') {
            // In a path, what stands before it is no part of it.
            let mut start = found.start;
            for segment in text[found].split('/') {
                if segment.len() >= BASE64_BYTES {
                    piece(text, start..start + segment.len(), see);
                }
                start += segment.len() + 1;
            }
        }
    }
}

/// Shows what one piece says, if it is text.
fn piece(text: &str, found: Range<usize>, see: &mut dyn FnMut(Range<usize>, &str)) -> bool {
    let piece = &text.as_bytes()[found.clone()];
    let engine = if piece.iter().any(|byte| b"-_".contains(byte)) { &URL_SAFE } else { &STANDARD };
    // A letter too many, as at a cut end, is no reason not to look.
    let whole = &piece[..piece.len() - usize::from(piece.len() % 4 == 1)];
    let Ok(decoded) = engine.decode(whole) else { return false };
    let Ok(decoded) = std::str::from_utf8(&decoded) else { return false };
    let padding = text.as_bytes()[found.end..].iter().take(2).take_while(|byte| **byte == b'=').count();
    see(found.start..found.end + padding, decoded);
    true
}
