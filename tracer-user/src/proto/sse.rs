//! Event streams by the rules of WHATWG HTML section 9.2.6, "interpreting an event stream".
//!
//! Lines end with LF, CRLF or CR; a blank line dispatches the event. `id` and `retry` fields steer reconnection and say
//! nothing about a model call: they are read over.

use bytes::{Bytes, BytesMut};

use super::{Limits, Piece, body::Item, view::View};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event or a line that lies in one input piece is handed on as a slice of it; only what straddles is copied.
#[derive(Default)]
pub(super) struct Sse {
    /// The line begun by earlier input; without its end.
    partial: BytesMut,
    /// The last line ended with CR at the end of the input: a LF that follows belongs to it.
    skip_line_feed: bool,
    /// A line was read: a byte order mark can no longer come.
    begun: bool,
    event: Bytes,
    /// The event's only `data` field so far.
    data: Option<Bytes>,
    /// Several `data` fields, with line ends between them.
    joined: BytesMut,
    recovery: Recovery,
    /// Bytes of the event that is being dropped.
    dropped: u64,
}

/// The fields that matter.
enum Name {
    Data,
    Event,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Recovery {
    #[default]
    Reading,
    /// Bytes were lost: what comes up to the next line end is the rest of some line.
    InLine,
    /// Whole lines again, but of an event whose start is lost or that was over the limit: up to the next blank line.
    InEvent,
}

impl Sse {
    pub(super) fn push(&mut self, input: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let bytes = input.bytes();
        let mut start = 0;
        if self.skip_line_feed && !bytes.is_empty() {
            self.skip_line_feed = false;
            start = usize::from(bytes[0] == b'\n');
        }
        while let Some(first) = bytes.get(start) {
            if self.is_between()
                && let Some(event) = WholeEvent::at_start(&input, start)
                && event.data.len() <= limits.sse_event_bytes
            {
                start = event.end;
                sink(Item::Piece(Piece::Sse { event: event.name.borrow(), data: event.data.borrow() }));
                continue;
            }
            // Every event has a blank line, where no search is needed.
            let end = match first {
                b'\n' => start,
                _ => match memchr::memchr2(b'\n', b'\r', &bytes[start..]) {
                    Some(length) => start + length,
                    None => return self.hold(&bytes[start..], limits),
                },
            };
            let mut next = end + 1;
            if bytes[end] == b'\r' {
                match bytes.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    None => self.skip_line_feed = true,
                }
            }
            if self.partial.is_empty() {
                self.line(input.part(start..end), limits, sink);
            } else {
                self.hold(&bytes[start..end], limits);
                let line = self.partial.split().freeze();
                self.line(View::of(&line), limits, sink);
            }
            start = next;
        }
    }

    /// Bytes are missing here: no event is provable before the next blank line.
    pub(super) fn gap(&mut self) {
        self.dropped += self.partial.len() as u64;
        self.partial.clear();
        self.abandon_event();
        self.skip_line_feed = false;
        self.begun = true;
        self.recovery = Recovery::InLine;
    }

    /// What comes next begins an event.
    pub(super) fn resume(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        self.recovery = Recovery::Reading;
        self.report_dropped(sink);
    }

    /// Ends the stream. The standard discards an event that no blank line ends; providers do end a whole body so (the
    /// last `data: [DONE]` or usage chunk), so that a complete body gives it. Of a body that was cut, the last line may
    /// be half: only whole lines count.
    pub(super) fn finish(&mut self, complete: bool, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let line = self.partial.split().freeze();
        if complete && !line.is_empty() {
            self.line(View::of(&line), limits, sink);
        }
        if self.recovery == Recovery::Reading {
            self.dispatch(sink);
        } else {
            self.report_dropped(sink);
        }
    }

    /// An event may begin here; the first one does so by way of its line.
    fn is_between(&self) -> bool {
        self.begun
            && self.partial.is_empty()
            && self.event.is_empty()
            && self.data.is_none()
            && self.joined.is_empty()
            && self.recovery == Recovery::Reading
    }

    /// Keeps the part of a line that this input holds.
    fn hold(&mut self, part: &[u8], limits: &Limits) {
        if self.recovery != Recovery::Reading {
            // Only whether the line is blank matters: one byte is enough to tell.
            let kept = usize::from(self.partial.is_empty()).min(part.len());
            self.partial.extend_from_slice(&part[..kept]);
            self.dropped += (part.len() - kept) as u64;
            return;
        }
        if self.partial.len() + part.len() > limits.sse_event_bytes {
            self.dropped += (self.partial.len() + part.len()) as u64;
            self.partial = BytesMut::from(&b":"[..]);
            self.abandon_event();
            self.recovery = Recovery::InEvent;
            return;
        }
        self.partial.extend_from_slice(part);
    }

    fn line(&mut self, mut line: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        if self.recovery != Recovery::Reading {
            return self.passed_line(&line, sink);
        }
        if !self.begun {
            self.begun = true;
            if line.starts_with(BYTE_ORDER_MARK) {
                line.advance(BYTE_ORDER_MARK.len());
            }
        }
        let (name, colon) = match line.bytes() {
            [] => return self.dispatch(sink),
            [b':', ..] => return sink(Item::Piece(Piece::Comment)),
            [b'd', b'a', b't', b'a', b':', ..] => (Name::Data, 4),
            [b'e', b'v', b'e', b'n', b't', b':', ..] => (Name::Event, 5),
            // Without a colon the whole line is the name.
            b"data" => (Name::Data, 4),
            b"event" => (Name::Event, 5),
            _ => return,
        };
        line.advance((colon + 1).min(line.len()));
        if line.first() == Some(&b' ') {
            line.advance(1);
        }
        match name {
            Name::Data => self.append(line, limits),
            Name::Event => self.event = line.keep(),
        }
    }

    /// A line of an event that is not read.
    fn passed_line(&mut self, line: &[u8], sink: &mut impl FnMut(Item<'_>)) {
        self.dropped += line.len() as u64;
        if self.recovery == Recovery::InLine {
            self.recovery = Recovery::InEvent;
        } else if line.is_empty() {
            self.recovery = Recovery::Reading;
            self.report_dropped(sink);
        }
    }

    fn append(&mut self, value: View<'_>, limits: &Limits) {
        let held = self.held();
        if held + value.len() > limits.sse_event_bytes {
            self.dropped += value.len() as u64;
            self.abandon_event();
            self.recovery = Recovery::InEvent;
        } else if held == 0 {
            self.data = Some(value.keep());
        } else {
            if let Some(first) = self.data.take() {
                self.joined.extend_from_slice(&first);
            }
            self.joined.extend_from_slice(b"\n");
            self.joined.extend_from_slice(&value);
        }
    }

    /// Bytes of the `data` fields so far, each with a line end behind it.
    fn held(&self) -> usize {
        match &self.data {
            Some(data) => data.len() + 1,
            None if self.joined.is_empty() => 0,
            None => self.joined.len() + 1,
        }
    }

    /// An event without any `data` line is none.
    fn dispatch(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        let event = std::mem::take(&mut self.event);
        let data = match self.data.take() {
            None if self.joined.is_empty() => return,
            None => self.joined.split().freeze(),
            Some(data) => data,
        };
        sink(Item::Piece(Piece::Sse { event: (&*event).into(), data: (&*data).into() }));
    }

    fn abandon_event(&mut self) {
        self.dropped += self.held().saturating_sub(1) as u64;
        self.data = None;
        self.joined = BytesMut::new();
        self.event = Bytes::new();
    }

    fn report_dropped(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if self.dropped > 0 {
            sink(Item::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

/// An event that lies in the input as nearly all do: a name or none, one line of data, a blank line. Whatever looks
/// different is read line by line.
struct WholeEvent<'a> {
    name: View<'a>,
    data: View<'a>,
    /// Where in the input the next event begins.
    end: usize,
}

impl<'a> WholeEvent<'a> {
    fn at_start(input: &View<'a>, start: usize) -> Option<Self> {
        let bytes = input.bytes();
        let mut at = start;
        let mut field = |mark: &[u8]| {
            let value = at + mark.len();
            let rest = bytes[at..].strip_prefix(mark)?;
            let length = memchr::memchr2(b'\n', b'\r', rest)?;
            at = value + length + 1;
            (rest[length] == b'\n').then(|| input.part(value..value + length))
        };
        let name = match bytes.get(start)? {
            b'e' => field(b"event: ")?,
            _ => input.part(start..start),
        };
        let data = field(b"data: ")?;
        (bytes.get(at) == Some(&b'\n')).then_some(Self { name, data, end: at + 1 })
    }
}

/// Whether a body begins like an event stream. If its content type announces one, only what begins like JSON or markup
/// is none: to the standard that would be a stream of unknown fields, but servers answer so when they fail.
pub(super) fn begins_event_stream(start: &[u8], announced: bool) -> Likeness {
    let start = match start.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest,
        None if BYTE_ORDER_MARK.starts_with(start) => return Likeness::TooShort,
        None => start,
    };
    if announced {
        return match start.first() {
            None => Likeness::TooShort,
            Some(b'{' | b'[' | b'<') => Likeness::No,
            Some(_) => Likeness::Yes,
        };
    }
    let mut likeness = Likeness::No;
    for prefix in [&b":"[..], b"data:", b"event:", b"id:", b"retry:"] {
        if start.starts_with(prefix) {
            return Likeness::Yes;
        }
        if prefix.starts_with(start) {
            likeness = Likeness::TooShort;
        }
    }
    likeness
}

/// Verdict of a test on the first bytes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    Yes,
    No,
    TooShort,
}
