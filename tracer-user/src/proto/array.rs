//! One JSON array of objects whose elements come one by one, as Gemini streams them by default.

use bytes::BytesMut;

use super::{Limits, Piece, body::Item, sse::Likeness, view::View};
use crate::json::string_end;

/// White space before the first element that is waited for.
const MOST_SPACE: usize = 64;

/// An element that lies in one input piece is handed on as a slice of it; only what straddles is copied.
#[derive(Default)]
pub(super) struct Array {
    /// The element begun by earlier input.
    partial: BytesMut,
    state: State,
    /// The current element is over the limit: its end is sought, its bytes are not kept.
    skipping: bool,
    dropped: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the array.
    #[default]
    Start,
    /// Outside of elements.
    Between,
    Element {
        depth: usize,
        string: bool,
        escaped: bool,
    },
    /// Bytes were lost or make no sense, see [`Trail`].
    Searching(Trail),
    Done,
}

/// What was passed of the mark that proves an element's beginning: a comma, white space with a line end, and an opening
/// brace at the very start of the line. Strings hold no raw line ends (RFC 8259 section 7), and what is nested in an
/// element is either on its line or indented.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trail {
    None,
    Comma,
    LineStart,
}

impl Array {
    pub(super) fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Start => {
                    self.state = if bytes[at] == b'[' { State::Between } else { State::Start };
                    at += 1;
                }
                State::Between => {
                    match bytes[at] {
                        b'{' => {
                            self.state = State::Element { depth: 0, string: false, escaped: false };
                            continue;
                        }
                        b']' => self.state = State::Done,
                        b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
                        _ => {
                            self.dropped += 1;
                            self.state = State::Searching(Trail::None);
                        }
                    }
                    at += 1;
                }
                State::Element { .. } => {
                    let end = self.scan(&bytes, at);
                    self.hold(bytes.part(at..end), limits, sink);
                    at = end;
                }
                State::Searching(trail) => {
                    let trail = match (trail, bytes[at]) {
                        (Trail::LineStart, b'{') => {
                            self.state = State::Between;
                            self.report_dropped(sink);
                            continue;
                        }
                        (_, b',') => Trail::Comma,
                        (Trail::Comma | Trail::LineStart, b'\n') => Trail::LineStart,
                        (Trail::Comma | Trail::LineStart, b' ' | b'\t' | b'\r') => Trail::Comma,
                        _ => Trail::None,
                    };
                    self.state = State::Searching(trail);
                    self.dropped += 1;
                    at += 1;
                }
                State::Done => return,
            }
        }
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self) {
        if self.state != State::Done {
            self.dropped += self.partial.len() as u64;
            self.partial.clear();
            self.skipping = false;
            self.state = State::Searching(Trail::None);
        }
    }

    /// Ends the body: an element that has begun is cut.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        self.dropped += self.partial.len() as u64;
        self.partial = BytesMut::new();
        self.report_dropped(sink);
    }

    /// Where the element ends, or the input; the state follows.
    fn scan(&mut self, bytes: &[u8], mut at: usize) -> usize {
        let State::Element { mut depth, mut string, mut escaped } = self.state else { return at };
        while at < bytes.len() {
            if string {
                match string_end(bytes, at, escaped) {
                    Ok(end) => {
                        (string, escaped) = (false, false);
                        at = end + 1;
                    }
                    Err(cut) => {
                        escaped = cut;
                        at = bytes.len();
                    }
                }
            } else {
                match bytes[at] {
                    b'"' => string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            self.state = State::Between;
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        self.state = State::Element { depth, string, escaped };
        at
    }

    /// Takes a part of the element, and tells the element once it is whole.
    fn hold(&mut self, part: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let whole = self.state == State::Between;
        if self.skipping {
            self.dropped += part.len() as u64;
        } else if self.partial.len() + part.len() > limits.element_bytes {
            self.dropped += (self.partial.len() + part.len()) as u64;
            self.partial = BytesMut::new();
            self.skipping = true;
        } else if whole && self.partial.is_empty() {
            return sink(Item::Piece(Piece::Element(part.borrow())));
        } else {
            self.partial.extend_from_slice(&part);
        }
        if whole {
            match std::mem::take(&mut self.skipping) {
                true => self.report_dropped(sink),
                false => sink(Item::Piece(Piece::Element((&*self.partial.split()).into()))),
            }
        }
    }

    fn report_dropped(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if self.dropped > 0 {
            sink(Item::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

/// Whether a body of JSON begins like an array of objects.
pub(super) fn begins_array(start: &[u8]) -> Likeness {
    let mut marks = start.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (marks.next(), marks.next()) {
        (Some(b'['), Some(b'{')) => Likeness::Yes,
        (Some(b'[') | None, None) if start.len() < MOST_SPACE => Likeness::TooShort,
        _ => Likeness::No,
    }
}
