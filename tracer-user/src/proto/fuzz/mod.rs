//! Fuzz bodies of the decoders.

mod framings;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Connection, Event, Fault, Limits, Part, Piece,
    body::{Body, Coding, Item},
    lines::Lines,
    sse::Sse,
    view::View,
};
use crate::capture::{ClosedBy, Direction, Role};
pub use framings::{array, eventstream, form};

/// Collects events.
pub(super) fn collect(events: &mut Vec<Event<'static>>) -> impl FnMut(Event<'_>) {
    |event| events.push(event.into_owned())
}

/// Small caps, so that short inputs reach them.
pub(super) const SMALL: Limits = Limits {
    head_bytes: 512,
    chunk_line_bytes: 64,
    pending_requests: 4,
    streams: 4,
    header_table_bytes: 256,
    codings: 3,
    decoded_bytes: 1 << 20,
    expansion_ratio: 64,
    expansion_grace: 64 << 10,
    zstd_window_log: 17,
    sse_event_bytes: 256,
    line_bytes: 256,
    websocket_message_bytes: 512,
    held_message_bytes: 64,
    message_bytes: 256,
    element_bytes: 256,
    part_head_bytes: 128,
    part_value_bytes: 64,
    undecided_bytes: 4096,
};

/// A whole connection. The byte 0xFF separates records; the byte behind it says what comes: `>` the client's bytes,
/// `<` the server's, `}` or `{` a loss in their directions, whose length is the record's.
pub fn http1(data: &[u8]) {
    let mut connection = Connection::new(SMALL, Role::Client, |head| !head.path.starts_with("/no"));
    let mut events = Vec::new();
    for (at, record) in (1..).zip(data.split(|byte| *byte == 0xff)) {
        let Some((kind, bytes)) = record.split_first() else { continue };
        let lost = (bytes.len() as u64).checked_sub(1);
        match kind {
            b'}' => connection.gap(at, Direction::Send, lost, &mut collect(&mut events)),
            b'{' => connection.gap(at, Direction::Receive, lost, &mut collect(&mut events)),
            b'<' => connection.push(at, Direction::Receive, &Bytes::copy_from_slice(bytes), &mut collect(&mut events)),
            _ => connection.push(at, Direction::Send, &Bytes::copy_from_slice(bytes), &mut collect(&mut events)),
        }
    }
    connection.close(u64::MAX, ClosedBy::Peer, &mut collect(&mut events));
    check_order(&events);
}

/// Heads come before bodies, bodies before ends, and of each at most one; whatever began has ended. Heads may be lost.
pub(super) fn check_order(events: &[Event]) {
    let mut requests = BTreeMap::new();
    let mut responses = BTreeMap::new();
    for event in events {
        match event {
            Event::RequestHead { stream, .. } => assert_eq!(requests.insert(*stream, false), None),
            Event::RequestBody { stream, .. } => assert!(!*requests.entry(*stream).or_insert(false)),
            Event::RequestEnd { stream, .. } => assert_ne!(requests.insert(*stream, true), Some(true)),
            Event::ResponseHead { stream, .. } => assert_eq!(responses.insert(*stream, false), None),
            Event::ResponseBody { stream, .. } => assert!(!*responses.entry(*stream).or_insert(false)),
            // A response that was lost as a whole has an end only.
            Event::ResponseEnd { stream, .. } => assert_ne!(responses.insert(*stream, true), Some(true)),
            Event::Role(_) | Event::Lost { .. } => {}
        }
    }
    assert!(requests.values().chain(responses.values()).all(|ended| *ended));
}

/// Both directions behind an upgrade. The first byte chooses the extensions. Of each record the first byte says what it
/// is, the second how long: bytes of a direction as they are, a text message of a direction that is framed here, a
/// compressed one, or a loss.
pub fn websocket(data: &[u8]) {
    let [choice, data @ ..] = data else { return };
    let extensions = match choice % 3 {
        0 => "",
        1 => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        _ => "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n",
    };
    let path = if choice & 0x80 == 0 { "/v1/responses" } else { "/socket" };
    let upgrade = format!("GET {path} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    let accept = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{extensions}\r\n");
    let read = |step: usize| {
        let mut connection = Connection::new(SMALL, Role::Client, |_| true);
        let (mut events, mut rest, mut sound) = (Vec::new(), data, true);
        connection.push(0, Direction::Send, &Bytes::copy_from_slice(upgrade.as_bytes()), &mut collect(&mut events));
        connection.push(0, Direction::Receive, &Bytes::copy_from_slice(accept.as_bytes()), &mut collect(&mut events));
        while let [kind, length, more @ ..] = rest {
            let (record, more) = more.split_at(usize::from(*length).min(more.len()));
            rest = more;
            let direction = if kind & 1 == 0 { Direction::Send } else { Direction::Receive };
            let bytes = match kind >> 1 & 7 {
                0 => record.to_vec(),
                1 => framed(0xc1, direction, record),
                2 => framed(0x01, direction, record),
                3 => framed(0x80, direction, record),
                4 => {
                    sound = false;
                    connection.gap(1, direction, (record.len() as u64).checked_sub(1), &mut collect(&mut events));
                    continue;
                }
                _ => framed(0x81, direction, record),
            };
            // Broken framing is found again at a record's start; where broken compression is noticed depends on the
            // cuts.
            sound &= kind >> 1 & 7 > 1;
            for piece in bytes.chunks(step) {
                connection.push(1, direction, &Bytes::copy_from_slice(piece), &mut collect(&mut events));
            }
        }
        connection.close(2, ClosedBy::Peer, &mut collect(&mut events));
        check_order(&events);
        (sound, outline(&events))
    };
    let (sound, whole) = read(usize::MAX);
    let (_, cut) = read(3);
    if sound {
        assert_eq!(whole, cut, "cutting changes the events");
    }
}

fn framed(first: u8, direction: Direction, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let masked = direction == Direction::Send;
    let bit = if masked { 0x80 } else { 0 };
    match u8::try_from(payload.len()).ok().filter(|length| *length < 126) {
        Some(length) => bytes.push(bit | length),
        None => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    if masked {
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes.extend(payload.iter().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// Kind and stream of each event, neighbouring pieces of a body joined, with the bytes that they carry. How much of a
/// broken body comes before the fault is noticed depends on the cuts: losses end the comparison.
fn outline(events: &[Event]) -> Vec<(u8, u32, usize)> {
    let mut lines: Vec<(u8, u32, usize)> = Vec::new();
    for event in events {
        let line = match event {
            Event::RequestHead { stream, .. } => (0, *stream, 0),
            Event::RequestBody { stream, piece: Piece::Bytes(bytes), .. } => (1, *stream, bytes.len()),
            Event::RequestBody { stream, .. } => (1, *stream, 0),
            Event::RequestEnd { stream, .. } => (2, *stream, 0),
            Event::ResponseHead { stream, .. } => (3, *stream, 0),
            Event::ResponseBody { stream, piece: Piece::Sse { data, .. }, .. } => (4, *stream, data.len()),
            Event::ResponseBody { stream, .. } => (4, *stream, 0),
            Event::ResponseEnd { stream, .. } => (5, *stream, 0),
            Event::Lost { .. } => return Vec::new(),
            Event::Role(_) => continue,
        };
        match lines.last_mut() {
            Some((1, stream, bytes)) if line.0 == 1 && *stream == line.1 => *bytes += line.2,
            _ => lines.push(line),
        }
    }
    lines
}

/// Codings and framing of one body: the first byte chooses them, the second how the rest is cut.
pub fn body(data: &[u8]) {
    let [choice, cut, rest @ ..] = data else { return };
    let codings: &[Coding] = match choice & 7 {
        0 => &[Coding::Gzip],
        1 => &[Coding::Deflate],
        2 => &[Coding::Brotli],
        3 => &[Coding::Zstd],
        4 => &[Coding::Zstd, Coding::Gzip],
        5 => &[Coding::Deflate, Coding::Brotli, Coding::Gzip],
        6 => &[Coding::Gzip, Coding::Unsupported],
        _ => &[],
    };
    let content_type = match choice >> 3 & 7 {
        0 => Some("text/event-stream"),
        1 => Some("application/x-ndjson"),
        2 => Some("application/json"),
        3 => Some("application/vnd.amazon.eventstream"),
        4 => Some("multipart/form-data; boundary=b"),
        5 => Some("text/html"),
        _ => None,
    };
    let read = |size: usize| {
        let mut body = Body::new(content_type, codings, true, &SMALL);
        let mut pieces = Vec::new();
        let mut sink = |item: Item<'_>| pieces.push(item.into_owned());
        for piece in rest.chunks(size) {
            body.push(View::of(&Bytes::copy_from_slice(piece)), &SMALL, &mut sink);
        }
        let end = body.finish(true, &SMALL, &mut sink);
        (plain(pieces), end)
    };
    let (whole, end) = read(rest.len().max(1));
    let (cut, cut_end) = read(usize::from(*cut).max(1));
    let most = SMALL.expansion_grace.max(rest.len() as u64 * SMALL.expansion_ratio).min(SMALL.decoded_bytes);
    for (length, encoded) in [(size(&whole), codings.is_empty()), (size(&cut), codings.is_empty())] {
        assert!(encoded || length as u64 <= most, "decoded bytes have a cap");
    }
    // How much of a broken or too large body is decoded before it is noticed depends on the cuts; a sound one's pieces
    // do not, unless an event was over its limit: where that is noticed depends on the cuts as well.
    let sound = |pieces: &[Plain], end: Result<(), Fault>| {
        end.is_ok() && !pieces.iter().any(|piece| matches!(piece, Plain::Dropped))
    };
    if sound(&whole, end) && sound(&cut, cut_end) {
        assert_eq!(whole, cut);
    }
}

/// Event streams against a second reading of the standard that keeps everything in memory.
pub fn sse(data: &[u8]) {
    let limits = Limits::default();
    let expected = read_events(data);
    for size in [data.len().max(1), 1, 2, 7] {
        let mut parser = Sse::default();
        let mut pieces = Vec::new();
        for piece in data.chunks(size) {
            parser.push(View::of(&Bytes::copy_from_slice(piece)), &limits, &mut |item| pieces.push(item.into_owned()));
        }
        parser.finish(true, &limits, &mut |item| pieces.push(item.into_owned()));
        assert_eq!(plain(pieces), expected, "in pieces of {size}");
    }
    let mut small = Sse::default();
    let mut dropped_or_told = 0;
    for (number, piece) in data.chunks(5).enumerate() {
        if number % 16 == 15 {
            small.gap();
        }
        small.push(View::of(&Bytes::copy_from_slice(piece)), &SMALL, &mut |item| {
            dropped_or_told += size(&plain(vec![item]));
        });
    }
    assert!(dropped_or_told <= data.len() + data.len() / 2, "nothing is told twice");
}

fn read_events(data: &[u8]) -> Vec<Plain> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut lines = Vec::new();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        rest = rest[end..].strip_prefix(b"\r\n").unwrap_or(&rest[end + 1..]);
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    // The end of a whole body ends its last event.
    lines.push(b"");
    let mut told = Vec::new();
    let mut name: &[u8] = b"";
    let mut values: Vec<&[u8]> = Vec::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let field = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" if line.is_empty() => {
                if !values.is_empty() {
                    told.push(Plain::Sse(name.to_vec(), values.join(&b'\n')));
                }
                name = b"";
                values.clear();
            }
            b"" => told.push(Plain::Comment),
            b"data" => values.push(value),
            b"event" => name = value,
            _ => {}
        }
    }
    told
}

/// Lines of JSON against splitting the whole.
pub fn lines(data: &[u8]) {
    let limits = Limits::default();
    let lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let expected: Vec<_> = lines.map(|line| Plain::Line(line.to_vec())).collect();
    for size in [data.len().max(1), 1, 3] {
        let mut parser = Lines::default();
        let mut pieces = Vec::new();
        for piece in data.chunks(size) {
            parser.push(View::of(&Bytes::copy_from_slice(piece)), &limits, &mut |item| pieces.push(item.into_owned()));
        }
        parser.finish(true, &mut |item| pieces.push(item.into_owned()));
        assert_eq!(plain(pieces), expected, "in pieces of {size}");
    }
}

/// A piece as values; neighbouring bytes joined.
#[derive(Debug, PartialEq, Eq)]
enum Plain {
    Bytes(Vec<u8>),
    Sse(Vec<u8>, Vec<u8>),
    Comment,
    Line(Vec<u8>),
    Message(Vec<u8>, Vec<u8>, bool),
    Element(Vec<u8>),
    Part(Part),
    Dropped,
}

fn plain(items: Vec<Item>) -> Vec<Plain> {
    let mut told = Vec::new();
    for item in items {
        let next = match item {
            Item::Dropped(_) => Plain::Dropped,
            Item::Piece(Piece::Comment) => Plain::Comment,
            Item::Piece(Piece::Line(line)) => Plain::Line(line.to_vec()),
            Item::Piece(Piece::Sse { event, data }) => Plain::Sse(event.to_vec(), data.to_vec()),
            Item::Piece(Piece::Bytes(bytes)) => Plain::Bytes(bytes.to_vec()),
            Item::Piece(Piece::Message { name, data, exception }) => {
                Plain::Message(name.to_vec(), data.to_vec(), exception)
            }
            Item::Piece(Piece::Element(element)) => Plain::Element(element.to_vec()),
            Item::Piece(Piece::Part(part)) => Plain::Part(*part),
        };
        match (told.last_mut(), next) {
            (Some(Plain::Bytes(last)), Plain::Bytes(bytes)) => last.extend(bytes),
            (_, next) => told.push(next),
        }
    }
    told
}

fn size(pieces: &[Plain]) -> usize {
    let size = |piece: &Plain| match piece {
        Plain::Bytes(bytes) | Plain::Line(bytes) | Plain::Element(bytes) => bytes.len(),
        Plain::Sse(event, data) | Plain::Message(event, data, _) => event.len() + data.len(),
        Plain::Part(part) => part.name.len() + part.value.as_ref().map_or(0, |value| value.len()),
        Plain::Comment | Plain::Dropped => 0,
    };
    pieces.iter().map(size).sum()
}
