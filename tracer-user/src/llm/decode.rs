//! What all JSON dialects share: a reader for the request, a reader for the response, and the way through them.

use std::collections::VecDeque;

use super::{
    call::{LlmCall, Operation, Request},
    json::{Beside, Ending, Scalar, Scanner, Shape, Sink},
    repeat::Repeat,
};
use crate::{
    attribution::{Place, Reading},
    proto::{Part, ResponseHead},
};

/// Caps on what one open call keeps.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// Bytes of all strings that one side of a call keeps (ids, names, reasons).
    pub text_bytes: usize,
    /// Choices, tool calls, tool results: each kind at most this many.
    pub entries: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { text_bytes: 64 << 10, entries: 256 }
    }
}

/// Counts the strings that are kept, and what no longer fits.
#[derive(Debug)]
pub struct Keep {
    left: usize,
    entries: usize,
    /// Values that a cap left out.
    pub dropped: u64,
}

impl Keep {
    pub fn new(limits: CallLimits) -> Self {
        Self { left: limits.text_bytes, entries: limits.entries, dropped: 0 }
    }

    pub fn text(&mut self, text: &str) -> Option<String> {
        if text.len() > self.left {
            self.dropped += 1;
            return None;
        }
        self.left -= text.len();
        Some(text.to_owned())
    }

    /// Keeps a string that is not empty; the first one stays.
    pub fn first(&mut self, place: &mut Option<String>, value: Scalar<'_>) {
        if place.is_none()
            && let Some(text) = value.str()
        {
            *place = self.text(text);
        }
    }

    /// Keeps the latest of a list: of a long history it is the end that later calls refer to.
    pub fn latest(&mut self, list: &mut VecDeque<String>, text: &str) {
        while list.len() >= self.entries || (text.len() > self.left && !list.is_empty()) {
            let Some(oldest) = list.pop_front() else { break };
            self.left += oldest.len();
            self.dropped += 1;
        }
        list.extend(self.text(text));
    }

    /// Whether a list of this length may grow.
    pub fn entry(&mut self, length: usize) -> bool {
        let fits = length < self.entries;
        self.dropped += u64::from(!fits);
        fits
    }
}

/// What one event of a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// It is a data event: not a ping, not the terminator, not noise.
    pub data: bool,
    /// It carries text, reasoning or a tool call.
    pub content: bool,
    /// It says that the stream ends here.
    pub end: bool,
    /// It told something that the call keeps, beyond having content.
    pub news: bool,
}

impl std::ops::BitOrAssign for Seen {
    fn bitor_assign(&mut self, other: Self) {
        self.data |= other.data;
        self.content |= other.content;
        self.end |= other.end;
        self.news |= other.news;
    }
}

/// Whether what was seen belongs to the dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing speaks for it or against it.
    None,
    Fits,
    Contradicts,
}

impl Evidence {
    /// Of a body that has what only the dialect has (`fits`), or that is whole enough to be judged without it.
    pub fn of(fits: bool, judged: bool) -> Self {
        match (fits, judged) {
            (true, _) => Self::Fits,
            (false, true) => Self::Contradicts,
            (false, false) => Self::None,
        }
    }
}

/// Reads one exchange. It never fails: it tells what it knows.
pub trait Decoder: Send {
    /// Bytes of the request's body. Whom it is for is read on the way.
    fn request(&mut self, bytes: &[u8], whom: &mut Reading);
    /// One part of a request that is a form.
    fn request_part(&mut self, part: &Part);
    /// The head of the response. It comes before the body.
    fn response_head(&mut self, head: &ResponseHead) {
        let _ = head;
    }
    /// Bytes of a response body without message framing.
    fn response(&mut self, bytes: &[u8]);
    /// One event, line, message or element of a streamed response. `name` is empty when it has none.
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen;
    /// An exception of this name ends the stream.
    fn exception(&mut self, name: &[u8]) -> Seen;
    /// Bytes are missing here.
    fn lost(&mut self, request: bool);
    /// What the request's body says, as far as it was seen.
    fn request_evidence(&mut self) -> Evidence;
    /// Whether the request names the model that it is for.
    fn names_model(&self) -> bool {
        false
    }
    /// What the response's body says.
    fn response_evidence(&self) -> Evidence;
    /// The operation that the response's body itself names, where several APIs answer in one form.
    fn response_operation(&self) -> Option<Operation> {
        None
    }
    /// Adds what the bodies told. Called once, last.
    fn finish(&mut self, call: &mut LlmCall) -> Finish;
}

/// How the bodies ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// Of a body without message framing: `Empty` when it had events.
    pub response: Ending,
    /// Values that a cap left out.
    pub dropped: u64,
}

pub trait RequestReader: Sink<Self::Field> + Send {
    type Field: Copy + Send + Sync + 'static;
    /// The places that it wants.
    fn shape(&self) -> &'static Shape<Self::Field>;
    /// One part of a request that is a form.
    fn part(&mut self, part: &Part) {
        let _ = part;
    }
    fn evidence(&self) -> Evidence;
    /// Whether the request names the model that it is for.
    fn names_model(&self) -> bool {
        false
    }
    fn finish(&mut self, request: &mut Request) -> u64;
}

pub trait ResponseReader: Sink<Self::Field> + Send {
    type Field: Copy + Send + Sync + 'static;
    /// The places that it wants.
    fn shape(&self) -> &'static Shape<Self::Field>;
    /// An event begins; `false` when it is to be passed over (a ping by its name).
    fn begin_event(&mut self, name: &[u8]) -> bool {
        let _ = name;
        true
    }
    /// What the event that ends now was.
    fn end_event(&mut self) -> Seen;
    /// The head of the response. It comes before the body.
    fn head(&mut self, head: &ResponseHead) {
        let _ = head;
    }
    /// The stream ends with an exception of this name.
    fn exception(&mut self, name: &[u8]) {
        let _ = name;
    }
    fn evidence(&self) -> Evidence;
    /// The operation that the response itself names, where several APIs answer in one form.
    fn operation(&self) -> Option<Operation> {
        None
    }
    fn finish(&mut self, call: &mut LlmCall) -> u64;
}

pub struct JsonDecoder<Q: RequestReader, P: ResponseReader> {
    request: Q,
    /// There from the first byte on.
    request_scanner: Option<Scanner<Beside<Q::Field, Place>>>,
    /// Bytes of the request were lost before.
    request_lost: bool,
    response: P,
    response_scanner: Scanner<P::Field>,
    repeat: Repeat<P::Field>,
    has_events: bool,
}

impl<Q: RequestReader, P: ResponseReader> JsonDecoder<Q, P> {
    pub fn new(request: Q, response: P) -> Self {
        Self {
            request,
            request_scanner: None,
            request_lost: false,
            response_scanner: Scanner::new(response.shape()),
            response,
            repeat: Repeat::default(),
            has_events: false,
        }
    }
}

impl<Q: RequestReader, P: ResponseReader> Decoder for JsonDecoder<Q, P> {
    fn request(&mut self, bytes: &[u8], whom: &mut Reading) {
        let scanner = self.request_scanner.get_or_insert_with(|| Scanner::new(whom.beside(self.request.shape())));
        if self.request_lost {
            scanner.gap();
        }
        scanner.push(bytes, &mut whom.values(&mut self.request));
    }

    fn request_part(&mut self, part: &Part) {
        self.request.part(part);
    }

    fn response_head(&mut self, head: &ResponseHead) {
        self.response.head(head);
    }

    fn response(&mut self, bytes: &[u8]) {
        self.response_scanner.push(bytes, &mut self.response);
    }

    fn exception(&mut self, name: &[u8]) -> Seen {
        self.has_events = true;
        self.response.exception(name);
        Seen { data: true, end: true, news: true, ..Seen::default() }
    }

    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen {
        // Most events of a stream differ from the one before in a piece of text only.
        if let Some(seen) = self.repeat.matches(name, data) {
            for (field, start, end) in self.repeat.told() {
                let number = std::str::from_utf8(&data[*start..*end]).unwrap_or_default();
                self.response.scalar(*field, Scalar::Number(number));
            }
            return seen;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.has_events = true;
            return Seen { end: true, ..Seen::default() };
        }
        if !self.response.begin_event(name) {
            return Seen::default();
        }
        let ending = self.response_scanner.document(data, &mut self.response);
        let mut seen = self.response.end_event();
        self.has_events = true;
        seen.data &= ending == Ending::Complete;
        if seen.data && seen.content && !seen.news {
            self.repeat.learn(name, data, self.response_scanner.passed(), seen);
        }
        seen
    }

    fn lost(&mut self, request: bool) {
        if request {
            self.request_lost = true;
        } else {
            self.response_scanner.gap();
        }
    }

    fn request_evidence(&mut self) -> Evidence {
        self.request.evidence()
    }

    fn names_model(&self) -> bool {
        self.request.names_model()
    }

    fn response_evidence(&self) -> Evidence {
        self.response.evidence()
    }

    fn response_operation(&self) -> Option<Operation> {
        self.response.operation()
    }

    fn finish(&mut self, call: &mut LlmCall) -> Finish {
        let response = match self.has_events {
            true => Ending::Empty,
            false => self.response_scanner.finish(&mut self.response),
        };
        let dropped = self.request.finish(&mut call.request) + self.response.finish(call);
        Finish { response, dropped }
    }
}
