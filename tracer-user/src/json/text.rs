//! Decoding of JSON string text (RFC 8259 section 7).

use std::borrow::Cow;

/// Decodes the escape that `bytes` begins with, into `out`.
pub enum Escape {
    /// This many bytes were used; the text stands in the buffer up to the second number.
    Done(usize, usize),
    /// More bytes are needed to tell.
    More,
}

/// Longest escape that belongs together: a surrogate pair.
pub const ESCAPE_BYTES: usize = 12;

/// `bytes` begins with a backslash. An escape that JSON does not know, and half of a surrogate pair, become U+FFFD.
/// `last` says that no more bytes of this string follow.
pub fn escape(bytes: &[u8], last: bool, out: &mut [u8; 4]) -> Escape {
    let Some(&kind) = bytes.get(1) else {
        return if last { put('\u{fffd}', 1, out) } else { Escape::More };
    };
    match (kind, simple_escape(kind)) {
        (_, Some(plain)) => put(char::from(plain), 2, out),
        (b'u', None) => unicode(bytes, last, out),
        _ => put('\u{fffd}', 2, out),
    }
}

/// What a backslash and this byte stand for, if it is a byte.
pub fn simple_escape(kind: u8) -> Option<u8> {
    Some(match kind {
        b'"' | b'\\' | b'/' => kind,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

fn unicode(bytes: &[u8], last: bool, out: &mut [u8; 4]) -> Escape {
    if bytes.len() < 6 && !last && bytes[2..].iter().all(u8::is_ascii_hexdigit) {
        return Escape::More;
    }
    let Some(unit) = hex(bytes.get(2..6)) else {
        return put('\u{fffd}', 2, out);
    };
    if !(0xd800..0xe000).contains(&unit) {
        return put(char::from_u32(unit).unwrap_or('\u{fffd}'), 6, out);
    }
    if unit >= 0xdc00 {
        return put('\u{fffd}', 6, out);
    }
    // A high surrogate: its other half must follow at once.
    let rest = &bytes[6..];
    let may_follow = match rest {
        [] | [b'\\'] => true,
        [b'\\', b'u', digits @ ..] => digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    };
    if may_follow && !last {
        return Escape::More;
    }
    if let [b'\\', b'u', ..] = rest
        && let Some(low @ 0xdc00..0xe000) = hex(rest.get(2..6))
    {
        let scalar = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return put(char::from_u32(scalar).unwrap_or('\u{fffd}'), 12, out);
    }
    put('\u{fffd}', 6, out)
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)?))
}

fn put(text: char, used: usize, out: &mut [u8; 4]) -> Escape {
    Escape::Done(used, text.encode_utf8(out).len())
}

/// The text of a whole captured string. An escape or character that the cap cut through is left out.
pub fn decode(raw: &[u8], cut: bool) -> Cow<'_, str> {
    let raw = if cut { whole_characters(raw) } else { raw };
    if memchr::memchr(b'\\', raw).is_none() {
        return utf8(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        let mut out = [0; 4];
        match escape(&rest[at..], !cut, &mut out) {
            Escape::Done(used, length) => {
                text.extend_from_slice(&out[..length]);
                rest = &rest[at + used..];
            }
            Escape::More => rest = &[],
        }
    }
    text.extend_from_slice(rest);
    Cow::Owned(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Text as it stands. What is not UTF-8 is replaced.
pub fn utf8(raw: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed)
}

fn whole_characters(raw: &[u8]) -> &[u8] {
    match std::str::from_utf8(raw) {
        Err(error) if error.error_len().is_none() => &raw[..error.valid_up_to()],
        _ => raw,
    }
}
