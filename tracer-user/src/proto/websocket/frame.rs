//! Frames (RFC 6455 section 5.2): their headers, masking, and what proves that one begins here.

/// Longest header: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES: usize = 14;

/// Which end sent a direction's bytes: clients mask their frames, servers never do (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    /// Ping or pong.
    Heartbeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The last frame of its message.
    pub(super) last: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6). On the first frame of a message only.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(super) length: u64,
}

pub(super) enum Parsed {
    /// A header and its own length in bytes.
    Header(Header, usize),
    TooShort,
    Invalid,
}

/// Reads the header at the start of `bytes`.
pub(super) fn header(bytes: &[u8], sender: Sender) -> Parsed {
    let Some(first) = bytes.first() else { return Parsed::TooShort };
    let last = first & 0x80 != 0;
    let compressed = first & 0x40 != 0;
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 | 10 => Opcode::Heartbeat,
        _ => return Parsed::Invalid,
    };
    // RSV2 and RSV3 belong to no extension in use.
    if first & 0x30 != 0 || (compressed && !matches!(opcode, Opcode::Text | Opcode::Binary)) {
        return Parsed::Invalid;
    }
    let Some(second) = bytes.get(1) else { return Parsed::TooShort };
    let masked = second & 0x80 != 0;
    if masked != (sender == Sender::Client) {
        return Parsed::Invalid;
    }
    let short = second & 0x7f;
    // Control frames are short and whole (section 5.5).
    let control = matches!(opcode, Opcode::Close | Opcode::Heartbeat);
    if control && (short > 125 || !last) {
        return Parsed::Invalid;
    }
    let (length, at) = match short {
        126 => match bytes.get(2..4) {
            Some(digits) => (digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit)), 4),
            None => return Parsed::TooShort,
        },
        127 => match bytes.get(2..10) {
            Some(digits) => (digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit)), 10),
            None => return Parsed::TooShort,
        },
        short => (u64::from(short), 2),
    };
    // The shortest form is required, and the highest bit is 0.
    if (short == 126 && length < 126) || (short == 127 && !(1 << 16..1 << 63).contains(&length)) {
        return Parsed::Invalid;
    }
    if !masked {
        return Parsed::Header(Header { last, compressed, opcode, mask: None, length }, at);
    }
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => {
            Parsed::Header(Header { last, compressed, opcode, mask: Some([a, b, c, d]), length }, at + 4)
        }
        _ => Parsed::TooShort,
    }
}

/// Undoes the masking of payload bytes that begin `position` bytes into their frame (section 5.3).
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], position: u64) {
    let mut mask = mask;
    mask.rotate_left((position % 4) as usize);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

/// Whether a record that follows a loss begins with a frame: it does when its frames end exactly where it ends, or when
/// the first is text, not compressed, that begins as a JSON object does. Text in the middle of a payload proves
/// nothing: no printable ASCII byte can begin a frame.
pub(super) fn is_proven(record: &[u8], sender: Sender) -> bool {
    let mut at = 0;
    loop {
        let Parsed::Header(header, size) = self::header(&record[at..], sender) else { return false };
        if at == 0 && begins_object(&header, &record[size..]) {
            return true;
        }
        let end = usize::try_from(header.length).ok().and_then(|length| length.checked_add(at + size));
        match end.map(|end| end.cmp(&record.len())) {
            Some(std::cmp::Ordering::Less) => at = end.unwrap_or(record.len()),
            Some(std::cmp::Ordering::Equal) => return true,
            _ => return false,
        }
    }
}

/// Whether a record begins with a client's text message that holds a JSON object: what a connection shows whose upgrade
/// was not seen.
pub(super) fn begins_client_object(record: &[u8]) -> bool {
    match header(record, Sender::Client) {
        Parsed::Header(header, size) => begins_object(&header, &record[size..]),
        _ => false,
    }
}

fn begins_object(header: &Header, payload: &[u8]) -> bool {
    if header.opcode != Opcode::Text || header.compressed || header.length < 2 {
        return false;
    }
    let [a, b, c, d] = header.mask.unwrap_or_default();
    let start = payload.iter().zip([a, b, c, d]).map(|(byte, mask)| byte ^ mask);
    let mut start = start.skip_while(u8::is_ascii_whitespace);
    matches!((start.next(), start.next()), (Some(b'{'), Some(b'"' | b' ' | b'\r' | b'\n' | b'\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length() {
        let read = |bytes: &[u8], sender| match header(bytes, sender) {
            Parsed::Header(header, size) => Some((header.length, size)),
            Parsed::TooShort => Some((0, 0)),
            Parsed::Invalid => None,
        };
        let server = |bytes: &[u8]| read(bytes, Sender::Server);
        assert_eq!(server(&[0x81, 5]), Some((5, 2)));
        assert_eq!(server(&[0x81, 126, 0, 126]), Some((126, 4)));
        assert_eq!(server(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Some((1 << 16, 10)));
        assert_eq!(read(&[0x81, 0x85, 1, 2, 3, 4], Sender::Client), Some((5, 6)));
        for short in [&[][..], &[0x81], &[0x81, 126, 0], &[0x81, 127, 0, 0, 0, 0, 0, 1, 0]] {
            assert_eq!(server(short), Some((0, 0)), "{short:?}");
        }
        // Not the shortest form; opcodes and bits that nobody uses; a control frame that is long or in pieces; a mask on
        // the wrong side.
        for invalid in [
            &[0x81, 126, 0, 125][..],
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255],
            &[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0],
            &[0x83],
            &[0x8b],
            &[0xa1],
            &[0xc0],
            &[0x89, 126, 0, 126],
            &[0x09, 1],
            &[0x81, 0x85, 1, 2, 3, 4],
        ] {
            assert_eq!(server(invalid), None, "{invalid:?}");
        }
        assert_eq!(read(&[0x81, 5], Sender::Client), None);
    }

    #[test]
    fn unmasking_goes_on_across_cuts() {
        let mask = [1, 20, 250, 7];
        let plain: Vec<u8> = (0..100).collect();
        let masked: Vec<u8> = plain.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for cut in 0..plain.len() {
            let mut bytes = masked.clone();
            let (one, other) = bytes.split_at_mut(cut);
            unmask(one, mask, 0);
            unmask(other, mask, cut as u64);
            assert_eq!(bytes, plain, "cut at {cut}");
        }
    }

    #[test]
    fn only_whole_frames_or_objects_prove_a_start() {
        let proven = |bytes: &[u8]| is_proven(bytes, Sender::Server);
        assert!(proven(b"\x81\x02{}"));
        assert!(proven(b"\x81\x7e\x10\x00{\"type\":"));
        assert!(proven(b"\x89\x00\x81\x03abc"));
        assert!(!proven(b"\x81\x7e\x10\x00abcdef"));
        assert!(!proven(b"\x81\x03abcd"));
        assert!(!proven(b"delta\":\"text\"}"));
        assert!(!proven(b""));
    }
}
