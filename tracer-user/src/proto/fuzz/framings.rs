//! Fuzz bodies of the framings that are not lines: each against a second, simple reading of the whole.

use bytes::{BufMut, Bytes};
use serde_json::value::RawValue;

use super::{
    super::{
        Limits, Part,
        array::Array,
        body::Item,
        eventstream::{EventStream, PRELUDE, begins_message},
        form::Form,
        sse::Likeness,
        view::View,
    },
    Plain, SMALL, plain, size,
};

/// What the framings have in common, for the checks that they share.
trait Framing {
    fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item));
    fn gap(&mut self, sink: &mut impl FnMut(Item));
    fn finish(&mut self, sink: &mut impl FnMut(Item));
}

impl Framing for EventStream {
    fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item)) {
        self.push(bytes, limits, sink);
    }
    fn gap(&mut self, _: &mut impl FnMut(Item)) {
        self.gap();
    }
    fn finish(&mut self, sink: &mut impl FnMut(Item)) {
        self.finish(sink);
    }
}

impl Framing for Array {
    fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item)) {
        self.push(bytes, limits, sink);
    }
    fn gap(&mut self, _: &mut impl FnMut(Item)) {
        self.gap();
    }
    fn finish(&mut self, sink: &mut impl FnMut(Item)) {
        self.finish(sink);
    }
}

impl Framing for Form {
    fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item)) {
        self.push(bytes, limits, sink);
    }
    fn gap(&mut self, sink: &mut impl FnMut(Item)) {
        self.gap(sink);
    }
    fn finish(&mut self, sink: &mut impl FnMut(Item)) {
        self.finish(sink);
    }
}

/// Reads `data` in pieces of `cut` bytes; with `gaps`, a loss of unknown size stands before each of these pieces.
fn read(mut framing: impl Framing, data: &[u8], cut: usize, limits: &Limits, gaps: &[usize]) -> Vec<Plain> {
    let mut items = Vec::new();
    let mut sink = |item: Item<'_>| items.push(item.into_owned());
    for (number, piece) in data.chunks(cut.max(1)).enumerate() {
        if gaps.contains(&number) {
            framing.gap(&mut sink);
        }
        framing.push(View::of(&Bytes::copy_from_slice(piece)), limits, &mut sink);
    }
    framing.finish(&mut sink);
    plain(items)
}

/// However the data is cut the same comes out; with losses nothing is told twice. Gives what the whole tells, without
/// what was dropped.
fn check<F: Framing>(new: impl Fn() -> F, data: &[u8]) -> Vec<Plain> {
    for limits in [Limits::default(), SMALL] {
        let whole = read(new(), data, data.len(), &limits, &[]);
        for cut in [1, 3, 16] {
            assert_eq!(read(new(), data, cut, &limits, &[]), whole, "in pieces of {cut}");
        }
        let lossy = read(new(), data, 5, &limits, &[3, 17, 18, 40]);
        assert!(size(&lossy) <= data.len(), "nothing is told twice");
    }
    let mut told = read(new(), data, data.len(), &Limits::default(), &[]);
    told.retain(|piece| *piece != Plain::Dropped);
    told
}

/// AWS event streams: as they are, and as messages whose lengths and checksums are made right. Then the byte 0xFF
/// separates messages; of each, the first byte is the length of its headers.
pub fn eventstream(data: &[u8]) {
    check(EventStream::default, data);
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    for message in data.split(|byte| *byte == 0xff) {
        let Some((length, rest)) = message.split_first() else { continue };
        if *length == b'!' {
            // Bytes that are no message: the next one is found behind them.
            if rest.windows(PRELUDE).all(|bytes| begins_message(bytes) == Likeness::No) {
                stream.extend_from_slice(rest);
            }
            continue;
        }
        let (headers, payload) = rest.split_at(rest.len().min(usize::from(*length)));
        stream.extend(self::message(headers, payload));
        if let Some((name, exception)) = names(headers) {
            expected.push(Plain::Message(name, payload.to_vec(), exception));
        }
    }
    assert_eq!(check(EventStream::default, &stream), expected);
}

fn message(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.put_u32((headers.len() + payload.len() + 16) as u32);
    message.put_u32(headers.len() as u32);
    message.put_u32(crc32fast::hash(&message));
    message.extend_from_slice(headers);
    message.extend_from_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message
}

/// The name that the headers give, and whether it is an exception's; `None` when they are malformed.
fn names(mut headers: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (mut told, mut exception) = (Vec::new(), false);
    while let [length, rest @ ..] = headers {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        let (length, rest) = match (kind, rest) {
            (0 | 1, rest) => (0, rest),
            (2, rest) => (1, rest),
            (3, rest) => (2, rest),
            (4, rest) => (4, rest),
            (5 | 8, rest) => (8, rest),
            (9, rest) => (16, rest),
            (6 | 7, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        match name {
            b":message-type" => exception = value == b"exception" || value == b"error",
            b":event-type" | b":exception-type" | b":error-code" => told = value.to_vec(),
            _ => {}
        }
        headers = rest;
    }
    Some((told, exception))
}

/// Arrays of objects against a full parse.
pub fn array(data: &[u8]) {
    let told = check(Array::default, data);
    let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(data) else { return };
    if elements.iter().all(|element| element.get().starts_with('{')) {
        let expected: Vec<_> = elements.iter().map(|element| Plain::Element(element.get().into())).collect();
        assert_eq!(told, expected);
    }
}

/// Forms against splitting the whole.
pub fn form(data: &[u8]) {
    const TYPE: &str = "multipart/form-data; charset=x; boundary=\"b-\\\"1\"";
    const DELIMITER: &[u8] = b"\r\n--b-\"1";
    let new = || Form::new(TYPE).unwrap_or_else(|| unreachable!("the boundary is usable"));
    let told = check(new, data);
    let body = [b"\r\n", data].concat();
    let mut rest = &body[..];
    let mut expected = Vec::new();
    while let Some(start) = find(rest, DELIMITER) {
        rest = &rest[start + DELIMITER.len()..];
        if rest.starts_with(b"--") {
            break;
        }
        if rest.len() < 2 {
            break;
        }
        // A delimiter that stands within a head ends nothing.
        let Some(end) = find(rest, b"\r\n\r\n") else { break };
        if end + 4 > Limits::default().part_head_bytes {
            return;
        }
        let (head, content) = rest.split_at(end + 4);
        rest = content;
        let Some((name, file_name)) = disposition(head) else { continue };
        let end = find(content, DELIMITER);
        let part = Part { name, value: None, bytes: end.map(|end| end as u64), file_name };
        let value = end.filter(|end| part.file_name.is_none() && *end <= Limits::default().part_value_bytes);
        expected.push(Plain::Part(Part { value: value.map(|end| content[..end].to_vec().into()), ..part }));
    }
    assert_eq!(told, expected);
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// As the decoder reads it: what is compared here is where parts begin and end.
fn disposition(head: &[u8]) -> Option<(Bytes, Option<Bytes>)> {
    super::super::form::disposition(head)
}
