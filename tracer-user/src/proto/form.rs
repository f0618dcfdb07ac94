//! Forms with files: `multipart/form-data` (RFC 7578, RFC 2046 section 5.1).
//!
//! Of a file only its name and its size are told, of another field its value up to a cap; contents pass through.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::{Limits, Part, Piece, body::Item, view::View};

/// Longest boundary (RFC 2046 section 5.1.1).
const MOST_BOUNDARY: usize = 70;

pub(super) struct Form {
    /// CR LF, two hyphens, and the boundary: what ends a part.
    delimiter: Vec<u8>,
    /// The end of the input so far, where a delimiter may have begun, or a head that is not whole.
    partial: BytesMut,
    state: State,
}

enum State {
    /// Before the first delimiter; also behind a loss, up to the next delimiter.
    Preamble,
    /// Behind a delimiter: the last one has two more hyphens.
    Delimited,
    Head,
    Content(Open),
    /// Behind the last delimiter.
    Epilogue,
}

/// The part whose content is being read.
struct Open {
    part: Part,
    /// The value so far; `None` when it is not kept.
    value: Option<BytesMut>,
}

impl Form {
    /// `None` without a usable boundary.
    pub(super) fn new(content_type: &str) -> Option<Self> {
        let parameters = content_type.split_once(';')?.1.as_bytes();
        let boundary = parameter(parameters, b"boundary")?;
        if boundary.is_empty() || boundary.len() > MOST_BOUNDARY {
            return None;
        }
        let delimiter = [b"\r\n--", &boundary[..]].concat();
        // The first delimiter may stand at the very start: the line end before it is thought there.
        Some(Self { delimiter, partial: BytesMut::from(&b"\r\n"[..]), state: State::Preamble })
    }

    pub(super) fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        let mut input = bytes.keep();
        while !input.is_empty() {
            match &mut self.state {
                State::Preamble | State::Content(_) => self.content(&mut input, limits, sink),
                State::Delimited => {
                    self.join(&mut input);
                    match input.get(..2) {
                        Some(b"--") => self.state = State::Epilogue,
                        Some(_) => self.state = State::Head,
                        None => return self.partial.extend_from_slice(&input),
                    }
                }
                State::Head => self.head(&mut input, limits, sink),
                State::Epilogue => return,
            }
        }
    }

    /// Bytes are missing here: the next part is behind the next delimiter.
    pub(super) fn gap(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        self.partial.clear();
        match std::mem::replace(&mut self.state, State::Preamble) {
            State::Content(open) => open.cut(sink),
            State::Epilogue => self.state = State::Epilogue,
            State::Preamble | State::Delimited | State::Head => {}
        }
    }

    /// Ends the body: a part without its delimiter is cut.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if let State::Content(open) = std::mem::replace(&mut self.state, State::Epilogue) {
            open.cut(sink);
        }
    }

    /// Puts what is held before the input.
    fn join(&mut self, input: &mut Bytes) {
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(input);
            *input = self.partial.split().freeze();
        }
    }

    /// Collects a part's head: the rest of the delimiter's line, the fields, and the empty line behind them.
    fn head(&mut self, input: &mut Bytes, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        // The line end before the empty line may be here already.
        let scanned = self.partial.len().saturating_sub(3);
        let room = (limits.part_head_bytes - self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..room]);
        if let Some(end) = memmem::find(&self.partial[scanned..], b"\r\n\r\n") {
            let head = self.partial.split_to(scanned + end + 4);
            input.advance(room - self.partial.len());
            self.partial.clear();
            self.state = open(&head);
            return;
        }
        input.advance(room);
        if self.partial.len() == limits.part_head_bytes {
            self.partial.clear();
            self.state = State::Preamble;
            sink(Item::Dropped(limits.part_head_bytes as u64));
        }
    }

    /// Passes content up to the next delimiter.
    fn content(&mut self, input: &mut Bytes, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        self.join(input);
        let found = memmem::find(input, &self.delimiter);
        let content = input.split_to(found.unwrap_or_else(|| input.len() - begun(input, &self.delimiter)));
        if let State::Content(open) = &mut self.state {
            open.content(&content, limits);
        }
        if found.is_none() {
            self.partial.extend_from_slice(input);
            return input.clear();
        }
        input.advance(self.delimiter.len());
        if let State::Content(open) = std::mem::replace(&mut self.state, State::Delimited) {
            open.end(sink);
        }
    }
}

impl Open {
    fn content(&mut self, content: &[u8], limits: &Limits) {
        self.part.bytes = self.part.bytes.map(|bytes| bytes + content.len() as u64);
        match &mut self.value {
            Some(value) if value.len() + content.len() <= limits.part_value_bytes => value.extend_from_slice(content),
            value => *value = None,
        }
    }

    fn end(self, sink: &mut impl FnMut(Item<'_>)) {
        let value = self.value.map(BytesMut::freeze);
        sink(Item::Piece(Piece::Part(Box::new(Part { value, ..self.part }))));
    }

    /// How long the content is, and what it would have said, is not known.
    fn cut(self, sink: &mut impl FnMut(Item<'_>)) {
        Self { part: Part { bytes: None, ..self.part }, value: None }.end(sink);
    }
}

/// Length of the delimiter's beginning with which the input ends.
fn begun(input: &[u8], delimiter: &[u8]) -> usize {
    let tail = &input[input.len().saturating_sub(delimiter.len() - 1)..];
    let starts = memchr::memchr_iter(b'\r', tail).map(|start| tail.len() - start);
    starts.into_iter().find(|length| delimiter.starts_with(&tail[tail.len() - length..])).unwrap_or(0)
}

/// What comes behind a part's head. A part that does not say its name is passed over.
fn open(head: &[u8]) -> State {
    let Some((name, file_name)) = disposition(head) else { return State::Preamble };
    let value = file_name.is_none().then(BytesMut::new);
    State::Content(Open { part: Part { name, file_name, value: None, bytes: Some(0) }, value })
}

/// Name and file name that a part's head states.
pub(super) fn disposition(head: &[u8]) -> Option<(Bytes, Option<Bytes>)> {
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line[..colon].trim_ascii(), &line[colon + 1..]);
        name.eq_ignore_ascii_case(b"content-disposition").then_some(value)
    })?;
    let file_name = parameter(value, b"filename").or_else(|| parameter(value, b"filename*"));
    Some((parameter(value, b"name")?, file_name))
}

/// The value of a parameter, `name=token` or `name="quoted"`. In quotes a backslash escapes a quote or a backslash only:
/// older clients write the paths of files with plain ones.
fn parameter(parameters: &[u8], wanted: &[u8]) -> Option<Bytes> {
    let mut rest = parameters;
    loop {
        let equals = memchr::memchr2(b'=', b';', rest)?;
        let (name, after) = (rest[..equals].trim_ascii(), &rest[equals + 1..]);
        if rest[equals] == b';' {
            rest = after;
            continue;
        }
        let (value, after) = match after.trim_ascii_start() {
            [b'"', quoted @ ..] => unquoted(quoted),
            token => {
                let end = memchr::memchr(b';', token).unwrap_or(token.len());
                (token[..end].trim_ascii().to_vec(), &token[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.into());
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    loop {
        match rest {
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                text.push(*escaped);
                rest = after;
            }
            [b'"', after @ ..] => return (text, after),
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
            [] => return (text, rest),
        }
    }
}
