//! The scanner's state machine.

mod strings;

use super::{
    Container, Scalar, Shape, Sink, Take, VALUE_BYTES,
    bytes::{bounds, is_delimiter, next, number_length, string_end, string_special, structure},
    text::{self, ESCAPE_BYTES},
};

/// Longest key that is compared. No wanted name is longer.
const KEY_BYTES: usize = 64;
/// Longest number or literal.
const ATOM_BYTES: usize = 64;
/// Deepest nesting of skipped containers.
const SKIP_DEPTH: u32 = 1 << 20;
/// Most scalars of one document whose places are remembered, see [`Scanner::passed`].
const PASSED: usize = 12;

/// What is known about a document so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing but white space was seen.
    Empty,
    /// One whole value.
    Complete,
    /// The beginning of a value.
    Truncated,
    /// Not JSON from some byte on, or bytes were lost. What was handed over before stands.
    Invalid,
}

/// A value that the scanner passed over, by its place in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed<F> {
    pub start: u32,
    pub end: u32,
    pub what: Passing<F>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing<F> {
    /// A string's text, without its quotes. Whether it is empty was told if `told`.
    Text { told: bool },
    /// A number that nobody wants.
    Number,
    /// A number that was handed over, and that can be again by itself.
    Told(F),
    /// An object or an array that nobody wants.
    Container,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value, or with `end` the end of the array that has just begun.
    Value {
        end: bool,
    },
    /// A key, or with `end` the end of the object that has just begun.
    Key {
        end: bool,
    },
    KeyText {
        escaped: bool,
        long: bool,
    },
    Colon,
    /// A comma or the end of the innermost container.
    After,
    Atom {
        wanted: bool,
    },
    /// In a string of which only the end is sought.
    Pass {
        escaped: bool,
        empty: bool,
    },
    /// In a string that is captured up to this many bytes.
    Take {
        escaped: bool,
        cap: u32,
        cut: bool,
    },
    /// In a string that is handed over in pieces.
    Pieces {
        empty: bool,
    },
    /// In a container that nobody wants.
    Skip {
        depth: u32,
    },
    SkipText {
        depth: u32,
        escaped: bool,
    },
    Done,
    Invalid,
}

struct Frame<F: 'static> {
    shape: &'static Shape<F>,
    kind: Container,
}

/// Reads one document after another; [`Scanner::reset`] stands between them.
pub struct Scanner<F: 'static> {
    root: &'static Shape<F>,
    /// Shape of the value that comes or is being read; `None` when nobody wants it.
    shape: Option<&'static Shape<F>>,
    state: State,
    /// Containers that hold wanted places: no deeper than the shape.
    frames: Vec<Frame<F>>,
    /// A key, atom or captured string that a cut went through: at most the cap of its kind.
    held: Vec<u8>,
    escape: ([u8; ESCAPE_BYTES], usize),
    started: bool,
    passed: Vec<Passed<F>>,
    /// All are remembered: of whole documents only.
    passed_all: bool,
    /// Where the container begins that is being skipped; only a whole document remembers.
    skipped_from: usize,
}

impl<F: Copy + 'static> Scanner<F> {
    pub fn new(root: &'static Shape<F>) -> Self {
        Self {
            root,
            shape: Some(root),
            state: State::Value { end: false },
            frames: Vec::new(),
            held: Vec::new(),
            escape: ([0; ESCAPE_BYTES], 0),
            started: false,
            passed: Vec::new(),
            passed_all: false,
            skipped_from: 0,
        }
    }

    /// Forgets the document and begins the next.
    pub fn reset(&mut self) {
        self.shape = Some(self.root);
        self.state = State::Value { end: false };
        self.frames.clear();
        self.held.clear();
        self.escape.1 = 0;
        self.started = false;
        self.passed.clear();
        self.passed_all = false;
    }

    /// Bytes are missing here: nothing after them has a known place.
    pub fn gap(&mut self) {
        if self.state != State::Done {
            self.state = State::Invalid;
        }
    }

    /// Tells what the document was. A number that stands alone ends here, too.
    pub fn finish(&mut self, sink: &mut impl Sink<F>) -> Ending {
        if let State::Atom { wanted } = self.state
            && self.frames.is_empty()
        {
            self.end_atom(wanted, None, sink);
        }
        match self.state {
            State::Done => Ending::Complete,
            State::Invalid => Ending::Invalid,
            _ if self.started => Ending::Truncated,
            _ => Ending::Empty,
        }
    }

    /// Reads one whole document.
    pub fn document(&mut self, document: &[u8], sink: &mut impl Sink<F>) -> Ending {
        self.reset();
        self.passed_all = true;
        self.push(document, sink);
        self.finish(sink)
    }

    /// The values that the last [`Scanner::document`] passed over at places next to wanted ones, in their order: what
    /// they are had no influence on what was told, but for a string's being empty, and for a [`Passing::Told`]. `None`
    /// when there were too many.
    pub fn passed(&self) -> Option<&[Passed<F>]> {
        self.passed_all.then_some(&self.passed)
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity() + self.passed.capacity() * size_of::<Passed<F>>()
    }

    pub fn push(&mut self, input: &[u8], sink: &mut impl Sink<F>) {
        let mut at = 0;
        while at < input.len() {
            at = match self.state {
                State::Value { end } => self.value(input, at, end, sink),
                State::Key { end } => self.key(input, at, end, sink),
                State::KeyText { escaped, long } => self.key_text(input, at, escaped, long),
                State::Colon => match next(input, at) {
                    Some(at) if input[at] == b':' => {
                        self.state = State::Value { end: false };
                        at + 1
                    }
                    Some(_) => self.fail(input),
                    None => input.len(),
                },
                State::After => match next(input, at) {
                    Some(at) => self.after(input, at, sink),
                    None => input.len(),
                },
                State::Atom { wanted } => self.atom(input, at, wanted, sink),
                State::Pass { escaped, empty } => self.pass(input, at, escaped, empty, sink),
                State::Take { escaped, cap, cut } => self.take(input, at, escaped, cap, cut, sink),
                State::Pieces { empty } => self.pieces(input, at, empty, sink),
                State::Skip { depth } => self.skip(input, at, depth, sink),
                State::SkipText { depth, escaped } => match string_end(input, at, escaped) {
                    Ok(end) => {
                        self.state = State::Skip { depth };
                        end + 1
                    }
                    Err(escaped) => {
                        self.state = State::SkipText { depth, escaped };
                        input.len()
                    }
                },
                State::Done => match next(input, at) {
                    Some(_) => self.fail(input),
                    None => input.len(),
                },
                State::Invalid => return,
            };
        }
    }

    fn fail(&mut self, input: &[u8]) -> usize {
        self.state = State::Invalid;
        input.len()
    }

    fn value(&mut self, input: &[u8], at: usize, end: bool, sink: &mut impl Sink<F>) -> usize {
        let Some(at) = next(input, at) else {
            return input.len();
        };
        self.started = true;
        match input[at] {
            b'"' => {
                let (take, field) = self.shape.map_or((Take::Skip, None), |shape| (shape.take, shape.field));
                self.held.clear();
                self.state = match (take, field) {
                    (Take::Value(cap), _) => State::Take { escaped: false, cap, cut: false },
                    (Take::Number, _) => State::Take { escaped: false, cap: VALUE_BYTES, cut: false },
                    (Take::Text, Some(field)) if sink.wants_text(field) => State::Pieces { empty: true },
                    _ => State::Pass { escaped: false, empty: true },
                };
                at + 1
            }
            b'{' => self.open(Container::Object, sink, at),
            b'[' => self.open(Container::Array, sink, at),
            b']' if end => self.close(sink, at),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let wanted = self.shape.is_some_and(|shape| shape.take != Take::Skip);
                self.held.clear();
                self.state = State::Atom { wanted };
                at
            }
            _ => self.fail(input),
        }
    }

    fn open(&mut self, kind: Container, sink: &mut impl Sink<F>, at: usize) -> usize {
        self.skipped_from = at;
        let Some(shape) = self.shape else {
            self.state = State::Skip { depth: 1 };
            return at + 1;
        };
        if let Some(field) = shape.field {
            sink.open(field, kind);
        }
        self.state = match kind {
            Container::Object if !shape.members.is_empty() => {
                self.frames.push(Frame { shape, kind });
                State::Key { end: true }
            }
            Container::Array if shape.items.is_some() => {
                self.frames.push(Frame { shape, kind });
                self.shape = shape.items;
                State::Value { end: true }
            }
            _ => State::Skip { depth: 1 },
        };
        at + 1
    }

    /// Ends the innermost container whose frame is kept.
    fn close(&mut self, sink: &mut impl Sink<F>, at: usize) -> usize {
        if let Some(frame) = self.frames.pop()
            && let Some(field) = frame.shape.field
        {
            sink.close(field);
        }
        self.end_value();
        at + 1
    }

    fn end_value(&mut self) {
        self.state = if self.frames.is_empty() { State::Done } else { State::After };
    }

    fn after(&mut self, input: &[u8], at: usize, sink: &mut impl Sink<F>) -> usize {
        let Some(frame) = self.frames.last() else {
            return self.fail(input);
        };
        match (input[at], frame.kind) {
            (b',', Container::Object) => self.state = State::Key { end: false },
            (b',', Container::Array) => {
                self.shape = frame.shape.items;
                self.state = State::Value { end: false };
            }
            (b'}', Container::Object) | (b']', Container::Array) => return self.close(sink, at),
            _ => return self.fail(input),
        }
        at + 1
    }

    fn key(&mut self, input: &[u8], at: usize, end: bool, sink: &mut impl Sink<F>) -> usize {
        let Some(at) = next(input, at) else {
            return input.len();
        };
        match input[at] {
            b'"' => {
                let rest = &input[at + 1..];
                if let Some(length) = string_special(&rest[..rest.len().min(KEY_BYTES)])
                    && rest[length] == b'"'
                {
                    self.named(&rest[..length]);
                    return match input.get(at + length + 2) {
                        // The usual way to write it, without another turn.
                        Some(b':') => {
                            self.state = State::Value { end: false };
                            at + length + 3
                        }
                        _ => at + length + 2,
                    };
                }
                self.held.clear();
                self.state = State::KeyText { escaped: false, long: false };
                at + 1
            }
            b'}' if end => self.close(sink, at),
            _ => self.fail(input),
        }
    }

    fn named(&mut self, key: &[u8]) {
        self.shape = self.frames.last().and_then(|frame| frame.shape.member(key));
        self.state = State::Colon;
    }

    fn key_text(&mut self, input: &[u8], at: usize, escaped: bool, long: bool) -> usize {
        let (end, done, escaped) = bounds(input, at, escaped);
        let long = long || !hold(&mut self.held, &input[at..end], 6 * KEY_BYTES);
        if !done {
            self.state = State::KeyText { escaped, long };
            return end;
        }
        if long {
            self.shape = None;
            self.state = State::Colon;
        } else {
            let held = std::mem::take(&mut self.held);
            self.named(text::decode(&held, false).as_bytes());
            self.held = held;
        }
        end + 1
    }

    fn atom(&mut self, input: &[u8], at: usize, wanted: bool, sink: &mut impl Sink<F>) -> usize {
        let rest = &input[at..];
        let length = rest.iter().position(|byte| is_delimiter(*byte));
        let whole = self.held.is_empty().then_some(length).flatten();
        if let Some(length) = whole {
            // As when it comes in pieces.
            if wanted && length > ATOM_BYTES {
                return self.fail(input);
            }
            let number = match self.shape {
                Some(Shape { take: Take::Number, field: Some(field), .. }) => Some(Passing::Told(*field)),
                _ => (!wanted).then_some(Passing::Number),
            };
            if let Some(what) = number.filter(|_| number_length(rest) == Some(length)) {
                self.remember(at, at + length, what);
            }
            self.end_atom(wanted, Some(&rest[..length]), sink);
            return if self.state == State::Invalid { input.len() } else { at + length };
        }
        if !hold(&mut self.held, &rest[..length.unwrap_or(rest.len())], ATOM_BYTES) && wanted {
            return self.fail(input);
        }
        match length {
            Some(length) => {
                self.end_atom(wanted, None, sink);
                if self.state == State::Invalid { input.len() } else { at + length }
            }
            None => input.len(),
        }
    }

    /// Ends the atom `whole`, or the one that is held.
    fn end_atom(&mut self, wanted: bool, whole: Option<&[u8]>, sink: &mut impl Sink<F>) {
        if wanted {
            let Some(scalar) = atom(whole.unwrap_or(&self.held)) else {
                self.state = State::Invalid;
                return;
            };
            self.scalar(scalar, sink);
        }
        self.end_value();
    }

    fn scalar(&self, scalar: Scalar<'_>, sink: &mut impl Sink<F>) {
        if let Some(field) = self.shape.and_then(|shape| shape.field) {
            sink.scalar(field, scalar);
        }
    }

    fn remember(&mut self, start: usize, end: usize, what: Passing<F>) {
        if !self.passed_all {
            return;
        }
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) if self.passed.len() < PASSED => self.passed.push(Passed { start, end, what }),
            _ => self.passed_all = false,
        }
    }

    fn skip(&mut self, input: &[u8], mut at: usize, mut depth: u32, sink: &mut impl Sink<F>) -> usize {
        loop {
            let Some(length) = structure(&input[at..]) else {
                self.state = State::Skip { depth };
                return input.len();
            };
            at += length;
            match input[at] {
                b'"' => match string_end(input, at + 1, false) {
                    Ok(end) => at = end,
                    Err(escaped) => {
                        self.state = State::SkipText { depth, escaped };
                        return input.len();
                    }
                },
                b'{' | b'[' if depth == SKIP_DEPTH => return self.fail(input),
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            at += 1;
            if depth == 0 {
                match self.shape {
                    Some(Shape { field: Some(field), .. }) => sink.close(*field),
                    Some(_) => {}
                    None => self.remember(self.skipped_from, at, Passing::Container),
                }
                self.end_value();
                return at;
            }
        }
    }
}

fn atom(bytes: &[u8]) -> Option<Scalar<'_>> {
    Some(match bytes {
        b"null" => Scalar::Null,
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        [b'-' | b'0'..=b'9', ..] => Scalar::Number(std::str::from_utf8(bytes).ok()?),
        _ => return None,
    })
}

/// Appends to `held` up to `cap`; false when not everything fitted.
fn hold(held: &mut Vec<u8>, bytes: &[u8], cap: usize) -> bool {
    let room = cap.saturating_sub(held.len());
    held.extend_from_slice(&bytes[..bytes.len().min(room)]);
    bytes.len() <= room
}
