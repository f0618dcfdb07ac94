//! AWS event streams (`application/vnd.amazon.eventstream`).
//!
//! A message is: total length (u32), length of the headers (u32), CRC-32 of these eight bytes; headers (length of the
//! name as u8, name, type as u8, value); payload; CRC-32 of everything before. All numbers are big-endian.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>

use std::borrow::Cow;

use bytes::BytesMut;

use super::{Limits, Piece, body::Item, sse::Likeness, view::View};

pub(super) const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// Most bytes of one message's headers, by the specification.
const MOST_HEADERS: usize = 128 << 10;

/// A message that lies in one input piece is handed on as a slice of it; only what straddles is copied.
#[derive(Default)]
pub(super) struct EventStream {
    /// A message begun by earlier input; while searching, the bytes that a prelude may begin with.
    partial: BytesMut,
    state: State,
    dropped: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Reading,
    /// In a message over the limit, of which so many bytes follow.
    Skipping(usize),
    /// Bytes were lost or make no sense: no message is provable before the next prelude whose checksum is right.
    Searching,
}

impl EventStream {
    pub(super) fn push(&mut self, mut input: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        while !input.is_empty() {
            match self.state {
                State::Reading => self.read(&mut input, limits, sink),
                State::Skipping(left) => {
                    let skipped = left.min(input.len());
                    input.advance(skipped);
                    self.dropped += skipped as u64;
                    self.state = State::Skipping(left - skipped);
                    if skipped == left {
                        self.state = State::Reading;
                        self.report_dropped(sink);
                    }
                }
                State::Searching => self.search(&mut input, limits, sink),
            }
        }
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self) {
        self.dropped += self.partial.len() as u64;
        self.partial.clear();
        self.state = State::Searching;
    }

    /// Ends the stream: what has begun is cut.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        self.dropped += self.partial.len() as u64;
        self.partial = BytesMut::new();
        self.report_dropped(sink);
    }

    fn read(&mut self, input: &mut View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let direct = self.partial.is_empty() && input.len() >= PRELUDE;
        if !direct {
            self.hold(PRELUDE, input);
            if self.partial.len() < PRELUDE {
                return;
            }
        }
        match total_length(if direct { input } else { &self.partial }) {
            // What is held is searched, too.
            None => self.state = State::Searching,
            Some(total) if total > limits.message_bytes => {
                self.dropped += self.partial.len() as u64;
                self.state = State::Skipping(total - self.partial.len());
                self.partial.clear();
            }
            Some(total) if direct && total <= input.len() => self.message(input.split_to(total), sink),
            Some(total) => {
                self.hold(total, input);
                if self.partial.len() == total {
                    let message = self.partial.split().freeze();
                    self.message(View::of(&message), sink);
                }
            }
        }
    }

    /// Keeps the beginning of `input` until so many bytes are held.
    fn hold(&mut self, wanted: usize, input: &mut View<'_>) {
        let part = wanted.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..part]);
        input.advance(part);
    }

    fn search(&mut self, input: &mut View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(input);
            input.clear();
            let joined = self.partial.split().freeze();
            return self.push(View::of(&joined), limits, sink);
        }
        let found = input.windows(PRELUDE).position(|window| total_length(window).is_some());
        let passed = found.unwrap_or(input.len().saturating_sub(PRELUDE - 1));
        self.dropped += passed as u64;
        input.advance(passed);
        if found.is_some() {
            self.state = State::Reading;
            self.report_dropped(sink);
        } else {
            self.partial.extend_from_slice(input);
            input.clear();
        }
    }

    /// A message whose checksum is wrong, or whose headers make no sense, is dropped; its length was proven.
    fn message(&mut self, message: View<'_>, sink: &mut impl FnMut(Item<'_>)) {
        match piece(message) {
            Some(piece) => sink(Item::Piece(piece)),
            None => {
                self.dropped += message.len() as u64;
                self.report_dropped(sink);
            }
        }
    }

    fn report_dropped(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if self.dropped > 0 {
            sink(Item::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

/// Whether a body that its content type announces as an event stream begins with a message: servers answer in JSON when
/// they fail.
pub(super) fn begins_message(start: &[u8]) -> Likeness {
    match start.len() < PRELUDE {
        true => Likeness::TooShort,
        false if total_length(start).is_some() => Likeness::Yes,
        false => Likeness::No,
    }
}

/// Length of the message whose prelude `bytes` begin with, if the checksum proves that it is one.
fn total_length(bytes: &[u8]) -> Option<usize> {
    let prelude = bytes.first_chunk::<PRELUDE>()?;
    let (total, headers) = (number(&prelude[..4])?, number(&prelude[4..8])?);
    let fits = headers <= MOST_HEADERS && total >= PRELUDE + CHECKSUM + headers;
    (fits && crc32fast::hash(&prelude[..8]) as usize == number(&prelude[8..])?).then_some(total)
}

fn number(bytes: &[u8]) -> Option<usize> {
    bytes.try_into().ok().map(|bytes| u32::from_be_bytes(bytes) as usize)
}

/// The event or exception that a whole message is.
fn piece(message: View<'_>) -> Option<Piece<'_>> {
    let end = message.len() - CHECKSUM;
    if crc32fast::hash(&message[..end]) as usize != number(&message[end..])? {
        return None;
    }
    let headers_end = PRELUDE + number(&message[4..8])?;
    let mut headers = message.part(PRELUDE..headers_end);
    let (mut exception, mut name) = (false, None);
    while !headers.is_empty() {
        let (header, value) = header(&mut headers)?;
        match &header[..] {
            // `error` is one that the service does not model; it has a code in place of a type.
            b":message-type" => exception = matches!(&value[..], b"exception" | b"error"),
            b":event-type" | b":exception-type" | b":error-code" => name = Some(value),
            _ => {}
        }
    }
    let name = name.map_or_else(Cow::default, |name: View<'_>| name.borrow());
    Some(Piece::Message { name, data: message.part(headers_end..end).borrow(), exception })
}

/// Takes one header from the front. A value that is no string is told as its bytes.
fn header<'a>(rest: &mut View<'a>) -> Option<(View<'a>, View<'a>)> {
    let length = usize::from(*rest.first()?);
    rest.advance(1);
    let name = take(rest, length)?;
    let kind = *rest.first()?;
    rest.advance(1);
    let length = match kind {
        // true, false
        0 | 1 => 0,
        // byte, short, int, long
        2 => 1,
        3 => 2,
        4 => 4,
        // a time is a long
        5 | 8 => 8,
        // bytes, string
        6 | 7 => usize::from(u16::from_be_bytes(take(rest, 2)?.first_chunk().copied()?)),
        // uuid
        9 => 16,
        _ => return None,
    };
    Some((name, take(rest, length)?))
}

fn take<'a>(rest: &mut View<'a>, length: usize) -> Option<View<'a>> {
    (length <= rest.len()).then(|| rest.split_to(length))
}
