//! Fuzz bodies of HTTP/2.

use bytes::Bytes;

use super::{
    super::{
        Connection,
        fuzz::{SMALL, check_order, collect},
    },
    hpack::{self, huffman},
};
use crate::capture::{ClosedBy, Direction, Role};

/// A whole connection, in records: a byte that says what comes, two of its length, and its bytes. `>` are the client's,
/// `<` the server's, `}` or `{` a loss in their directions; any other byte sends as the client.
pub fn http2(mut data: &[u8]) {
    let mut connection = Connection::new(SMALL, Role::Client, |head| !head.path.starts_with("/no"));
    let mut events = Vec::new();
    let mut at = 0;
    while let [kind, high, low, rest @ ..] = data {
        at += 1;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (bytes, rest) = rest.split_at(if matches!(kind, b'}' | b'{') { 0 } else { length.min(rest.len()) });
        data = rest;
        let lost = (length as u64).checked_sub(1);
        let bytes = Bytes::copy_from_slice(bytes);
        match kind {
            b'}' => connection.gap(at, Direction::Send, lost, &mut collect(&mut events)),
            b'{' => connection.gap(at, Direction::Receive, lost, &mut collect(&mut events)),
            b'<' => connection.push(at, Direction::Receive, &bytes, &mut collect(&mut events)),
            _ => connection.push(at, Direction::Send, &bytes, &mut collect(&mut events)),
        }
    }
    connection.close(u64::MAX, ClosedBy::Peer, &mut collect(&mut events));
    check_order(&events);
}

/// Header blocks, each behind a byte of its length; a length of 0 loses what came before. Each is read by a decoder that
/// saw all, and by one that joined at the second block: what the latter knows, the former knows as well.
pub fn hpack(mut data: &[u8]) {
    let mut whole = hpack::Decoder::new(SMALL.header_table_bytes);
    let mut joined = hpack::Decoder::new(SMALL.header_table_bytes);
    joined.lose();
    let mut first = true;
    while let [length, rest @ ..] = data {
        let (block, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        let mut fields = Vec::new();
        let sound = whole.decode(block, |field| fields.push((field.name, field.value))).is_ok();
        if !std::mem::take(&mut first) && sound {
            let mut known = Vec::new();
            let read = joined.decode(block, |field| known.push((field.name, field.value)));
            assert!(read.is_ok(), "what one decoder can read, the other can");
            assert_eq!(known.len(), fields.len());
            for (known, field) in known.iter().zip(&fields) {
                let agree = known.0 == field.0 && known.1 == field.1;
                assert!(agree || known.0.is_none() || field.0.is_none(), "an unknown entry is not guessed");
            }
        } else if !sound {
            joined.lose();
        }
        let mut text = Vec::new();
        if huffman::decode(block, &mut text).is_ok() {
            let mut coded = Vec::new();
            huffman::encode(&text, &mut coded);
            assert_eq!(coded, block, "every string has one code");
            assert_eq!(coded.len(), huffman::coded_bits(&text).div_ceil(8));
        }
    }
}
