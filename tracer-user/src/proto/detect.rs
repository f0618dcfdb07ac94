//! What protocol the first bytes of a direction, or of a record after a loss, can prove.

use super::sse::Likeness;

/// Longest method name that counts: registered ones have at most 17 letters (`UPDATEREDIRECTREF`).
const METHOD_BYTES: usize = 20;

/// Whether `start` begins a request line (RFC 9112 section 3). Methods are case-sensitive, and every registered one is
/// written in capitals.
pub(super) fn request_line(start: &[u8]) -> Likeness {
    let method = start.iter().position(|byte| !(byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')));
    let Some(method) = method else {
        return if start.len() <= METHOD_BYTES { Likeness::TooShort } else { Likeness::No };
    };
    if method == 0 || method > METHOD_BYTES || start[method] != b' ' {
        return Likeness::No;
    }
    match start.get(method + 1) {
        None => return Likeness::TooShort,
        // Origin form, asterisk form, absolute and authority form, IPv6 authority.
        Some(b'/' | b'*' | b'[') => {}
        Some(byte) if byte.is_ascii_alphanumeric() => {}
        Some(_) => return Likeness::No,
    }
    let Some(end) = memchr::memchr(b'\n', start) else {
        return Likeness::TooShort;
    };
    let line = start[..end].strip_suffix(b"\r").unwrap_or(&start[..end]);
    match line {
        [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1'] => Likeness::Yes,
        _ => Likeness::No,
    }
}

/// Whether `start` begins a status line (RFC 9112 section 4).
pub(super) fn status_line(start: &[u8]) -> Likeness {
    const PREFIX: &[u8] = b"HTTP/1.";
    if !start.starts_with(PREFIX) {
        return if PREFIX.starts_with(start) { Likeness::TooShort } else { Likeness::No };
    }
    let rest = &start[PREFIX.len()..];
    let shape = |(position, byte): (usize, &u8)| match position {
        0 => matches!(byte, b'0' | b'1'),
        1 => *byte == b' ',
        _ => byte.is_ascii_digit(),
    };
    if !rest.iter().take(5).enumerate().all(shape) {
        Likeness::No
    } else if rest.len() < 5 {
        Likeness::TooShort
    } else {
        Likeness::Yes
    }
}
