//! The open exchanges that could be MCP's, and what their messages become.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Request,
    legacy::{Peer, Unanswered},
    message::{Answer, Message, Messages, answer_of},
    recognise::{could_be_mcp, has_own_headers, is_legacy, is_mcp},
};
use crate::{
    capture::{Connection, KeyHasher},
    carrier::{Carrier, Track, status_error},
    exchange::{Event, ExchangeId, Outcome},
    llm::{
        CallLimits,
        call::{CallError, Completeness},
        trace_context,
    },
    proto::{Headers, Piece, RequestHead},
};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Exchanges that are followed at the same time.
    pub open: usize,
    /// Of each side of an exchange.
    pub body: CallLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open: 1024, body: CallLimits { text_bytes: 16 << 10, entries: 64 } }
    }
}

/// Follows each exchange that could be MCP's and tells one [`Request`] for each message of the client's, as it is
/// answered.
#[derive(Default)]
pub struct Requests {
    limits: Limits,
    open: HashMap<ExchangeId, Box<Open>, BuildHasherDefault<KeyHasher>>,
    unanswered: Unanswered,
    /// Exchanges that were not followed because too many were open.
    pub refused: u64,
}

/// A message of the client's, not yet answered.
pub struct Asked {
    pub message: Message,
    number: u32,
    /// Known from header fields alone: its id is not known.
    from_headers: bool,
    carrier: Carrier,
    session_id: Option<String>,
    protocol_version: Option<String>,
}

struct Open {
    track: Track,
    sent: Messages,
    received: Messages,
    kind: Kind,
    request_ended: bool,
    /// Messages that are not answered, but for those that wait among [`Unanswered`].
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A GET: messages of the server's.
    Listening,
    /// A POST, answered in its own response.
    Streamable,
    /// A POST of the older transport.
    Legacy,
}

impl Requests {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Number of exchanges that are followed now.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes the next event. Returns whether it proves that its exchange is MCP's.
    pub fn push(&mut self, event: &Event, out: &mut Vec<Request>) -> bool {
        match event {
            Event::Request { id, at, connection, head } => {
                if let Some(head) = head.as_ref().filter(|head| could_be_mcp(head)) {
                    self.begin(*id, *at, connection, head);
                }
                return false;
            }
            _ if self.open.is_empty() => return false,
            _ => {}
        }
        match event {
            Event::Request { .. } => false,
            Event::RequestPiece { id, at, piece } => {
                if let (Some(open), Some(bytes)) = (self.open.get_mut(id), piece.bytes()) {
                    open.track.last_at = *at;
                    open.track.has_request_body = true;
                    match piece {
                        Piece::Element(element) => open.sent.element(element),
                        _ => open.sent.push(bytes),
                    }
                }
                false
            }
            Event::RequestEnd { id, at, end } => {
                let Some(open) = self.open.get_mut(id) else { return false };
                open.track.request_end(*at, *end);
                self.sent(*id, out)
            }
            Event::Response { id, at, head } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.track.last_at = *at;
                    open.track.response = Some(Arc::clone(head));
                }
                false
            }
            Event::ResponsePiece { id, at, piece } => self.received(*id, *at, piece, out),
            Event::Lost { id, at, request, bytes } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.track.lost(*at, *request, *bytes);
                    let side = if *request { &mut open.sent } else { &mut open.received };
                    side.gap();
                }
                false
            }
            Event::End { id, at, outcome } => {
                // A request that was cut may have said enough.
                let proof = self.sent(*id, out);
                if let Some(open) = self.open.remove(id) {
                    self.end(*id, *open, *at, *outcome, out);
                }
                proof
            }
        }
    }

    /// Ends what is still open, in the order of the exchanges.
    pub fn finish(&mut self, out: &mut Vec<Request>) {
        let open: BTreeMap<_, _> = self.open.drain().collect();
        for (id, open) in open {
            let at = open.track.last_at;
            self.end(id, *open, at, Outcome::Unfinished, out);
        }
        out.extend(self.unanswered.all().into_iter().map(Asked::unanswered));
    }

    fn begin(&mut self, id: ExchangeId, at: u64, connection: &Arc<Connection>, head: &Arc<RequestHead>) {
        if self.open.len() >= self.limits.open {
            self.refused += 1;
            return;
        }
        let Some(track) = Track::new(id, at, connection, head) else { return };
        let kind = match head.method.as_str() {
            "GET" => Kind::Listening,
            _ if is_legacy(head) => Kind::Legacy,
            _ => Kind::Streamable,
        };
        let body = self.limits.body;
        let open = Open {
            track,
            sent: Messages::new(body),
            received: Messages::new(body),
            kind,
            request_ended: false,
            asked: Vec::new(),
        };
        self.open.insert(id, Box::new(open));
    }

    /// All that the client sent is known. What is not MCP's is not followed further.
    fn sent(&mut self, id: ExchangeId, out: &mut Vec<Request>) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        if open.kind == Kind::Listening || std::mem::replace(&mut open.request_ended, true) {
            return false;
        }
        let asked = open.messages();
        // A client's answer to what the server asked for is MCP's, too, but no request.
        if asked.is_empty() {
            self.open.remove(&id);
            return false;
        }
        if open.kind == Kind::Legacy {
            let (notifications, requests) = asked.into_iter().partition(Asked::is_notification);
            open.asked = notifications;
            let gone = self.unanswered.add(&Peer::of(&open.track), id, requests);
            out.extend(gone.into_iter().map(Asked::unanswered));
        } else {
            open.asked = asked;
        }
        true
    }

    fn received(&mut self, id: ExchangeId, at: u64, piece: &Piece, out: &mut Vec<Request>) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        open.track.last_at = at;
        open.track.has_response_body = true;
        let (name, data): (&[u8], _) = match piece {
            Piece::Bytes(bytes) => {
                open.received.push(bytes);
                return false;
            }
            Piece::Sse { event, data } => (event, data),
            // A batch is an array of messages.
            Piece::Line(message) | Piece::Element(message) => (b"", message),
            Piece::Message { .. } | Piece::Part(_) | Piece::Comment => return false,
        };
        let listening = open.kind == Kind::Listening;
        // The older transport's server names the address for the POSTs first.
        let mut proof = listening && name == b"endpoint";
        for message in open.received.event(data) {
            let carrier = open.track.carrier(at, None);
            proof |= open.answer(id, &carrier, &message, &mut self.unanswered, out) && listening;
        }
        proof
    }

    fn end(&mut self, id: ExchangeId, mut open: Open, at: u64, outcome: Outcome, out: &mut Vec<Request>) {
        if open.kind == Kind::Listening {
            // Nothing else brings their answers.
            out.extend(self.unanswered.of_peer(&Peer::of(&open.track)).into_iter().map(Asked::unanswered));
            return;
        }
        let carrier = open.track.carrier(at, Some(outcome));
        for message in open.received.take() {
            open.answer(id, &carrier, &message, &mut self.unanswered, out);
        }
        let Open { track, asked, .. } = open;
        let error = status_error(carrier.status).or_else(|| track.transport_error(at, outcome));
        for asked in asked {
            // A stream of notices lasts until somebody ends it.
            let listens = asked.message.method.as_deref() == Some("subscriptions/listen");
            let error = error.clone().filter(|_| !listens || carrier.status.is_none_or(|status| status >= 400));
            let settled = listens || asked.is_notification() || error.is_some();
            let asked = asked.with(&track, &carrier);
            out.push(if settled { asked.told(error) } else { asked.unanswered() });
        }
        // A request that was only acknowledged waits on.
        let gone = self.unanswered.of_exchange(id, |asked| {
            asked.carrier = carrier.clone();
            error.is_some()
        });
        out.extend(gone.into_iter().map(|asked| asked.told(error.clone())));
    }
}

impl Open {
    /// What the client sent, if it is MCP's.
    fn messages(&mut self) -> Vec<Asked> {
        let head = &self.track.head;
        let own_headers = has_own_headers(head);
        let mut messages = self.sent.take();
        messages.retain(|message| message.method.is_some());
        let mut from_headers = false;
        // Since 2026-07-28 the head repeats what intermediaries need.
        if messages.is_empty()
            && self.track.request_lost
            && let Some(method) = head.headers.get("mcp-method")
        {
            from_headers = true;
            let name = mirrored(&head.headers, "mcp-name");
            let is_resource = method.starts_with("resources/");
            messages.push(Message {
                is_json_rpc: true,
                method: Some(method.to_owned()),
                uri: name.clone().filter(|_| is_resource),
                name: name.filter(|_| !is_resource),
                ..Message::default()
            });
        }
        if !messages.iter().any(|message| is_mcp(message, own_headers)) {
            return Vec::new();
        }
        let session_id = head.headers.get("mcp-session-id").map(str::to_owned);
        let protocol_version = head.headers.get("mcp-protocol-version").map(str::to_owned);
        let carrier = self.track.carrier(self.track.last_at, None);
        let asked = (0..).zip(messages).map(|(number, message)| Asked {
            message,
            number,
            from_headers,
            carrier: carrier.clone(),
            session_id: session_id.clone(),
            protocol_version: protocol_version.clone(),
        });
        asked.collect()
    }
}

impl Open {
    /// Tells the requests that a message of the server's answers; whether it did answer one.
    fn answer(
        &mut self,
        id: ExchangeId,
        carrier: &Carrier,
        message: &Message,
        unanswered: &mut Unanswered,
        out: &mut Vec<Request>,
    ) -> bool {
        let Some(answer) = answer_of(message) else { return false };
        let own = |asked: Asked| asked.with(&self.track, carrier);
        let asked: Vec<Asked> = match (&message.id, self.kind) {
            (_, Kind::Listening) => {
                let mut asked = unanswered.answered(&Peer::of(&self.track), message);
                if let Some(asked) = &mut asked {
                    asked.carrier.end = carrier.end.max(asked.carrier.start);
                }
                asked.into_iter().collect()
            }
            // An error that belongs to no request in particular belongs to all of them.
            (None, Kind::Streamable) => self.asked.drain(..).map(own).collect(),
            (None, Kind::Legacy) => unanswered.of_exchange(id, |_| true).into_iter().map(own).collect(),
            (Some(rpc), Kind::Streamable) => {
                let asked = take(&mut self.asked, |asked| asked.message.id.as_ref() == Some(rpc));
                let asked = asked.or_else(|| take(&mut self.asked, |asked| asked.from_headers));
                asked.map(own).into_iter().collect()
            }
            (Some(rpc), Kind::Legacy) => {
                let fits = |asked: &mut Asked| asked.message.id.as_ref() == Some(rpc);
                unanswered.of_exchange(id, fits).into_iter().map(own).collect()
            }
        };
        let answered = !asked.is_empty();
        out.extend(asked.into_iter().map(|asked| asked.answered(answer, message)));
        answered
    }
}

fn take(asked: &mut Vec<Asked>, fits: impl Fn(&Asked) -> bool) -> Option<Asked> {
    let at = asked.iter().position(fits)?;
    Some(asked.remove(at))
}

impl Asked {
    fn is_notification(&self) -> bool {
        self.message.id.is_none() && !self.from_headers
    }

    /// With what its exchange tells by now.
    fn with(mut self, track: &Track, carrier: &Carrier) -> Self {
        self.carrier = carrier.clone();
        // A session begins with the answer to `initialize`.
        if self.session_id.is_none()
            && let Some(response) = &track.response
        {
            self.session_id = response.headers.get("mcp-session-id").map(str::to_owned);
        }
        self
    }

    fn answered(mut self, answer: &Answer, answering: &Message) -> Request {
        // What `initialize` agrees on goes before what it asks for.
        if answering.protocol_version.is_some() {
            self.message.protocol_version.clone_from(&answering.protocol_version);
        }
        let (error_code, kind) = match answer {
            Answer::Result { tool_failed: false } => (None, None),
            Answer::Result { tool_failed: true } => (None, Some(Cow::Borrowed("tool_error"))),
            Answer::Error { code } => (code.clone(), Some(code.clone().map_or(Cow::Borrowed("_OTHER"), Cow::Owned))),
        };
        Request { error_code, ..self.told(kind.map(|kind| CallError { kind })) }
    }

    /// Its answer was not seen, and nothing says that there was none.
    fn unanswered(mut self) -> Request {
        if self.carrier.completeness == Completeness::Full {
            self.carrier.completeness = Completeness::Partial;
        }
        self.told(None)
    }

    fn told(self, error: Option<CallError>) -> Request {
        let Self { message, number, mut carrier, session_id, protocol_version, .. } = self;
        let trace_parent = message.trace_parent.and_then(|parent| {
            trace_context::parse(parent.as_bytes(), || trace_context::checked_state(message.trace_state?))
        });
        // The message's own context goes before the one of the exchange, which may carry several messages.
        carrier.trace_parent = trace_parent.or(carrier.trace_parent);
        let method = message.method.unwrap_or_default();
        let is = |wanted: &str| method == wanted;
        Request {
            number,
            id: message.id,
            tool: message.name.clone().filter(|_| is("tools/call")),
            prompt: message.name.filter(|_| is("prompts/get")),
            resource: message.uri,
            protocol_version: protocol_version.or(message.meta_protocol_version).or(message.protocol_version),
            session_id,
            error_code: None,
            error,
            carrier,
            method,
        }
    }
}

/// A header field that repeats a part of the body, undone of its encoding (2026-07-28, "Value Encoding").
fn mirrored(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}
