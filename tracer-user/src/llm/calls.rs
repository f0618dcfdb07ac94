//! The open calls: follows each exchange that could be a model call, and tells one [`LlmCall`] when it ends.

use std::{borrow::Cow, collections::HashMap, hash::BuildHasherDefault, sync::Arc};

use super::{
    ALL, Claim, Dialect, EndedCall, LlmCall,
    background::{Background, retrieved},
    call::{Billing, CallError, Completeness, Fingerprint, Operation, Request, Response, Times, Usage},
    could_be_model_call,
    decode::{CallLimits, Decoder, Evidence, Finish, Seen},
    facts,
    json::Ending,
    pace::Pace,
    recognise::{Options, Target},
    trace_context::trace_parent,
};
use crate::{
    attribution::{Attribution, Reading},
    capture::{ClosedBy, Connection, KeyHasher, Role},
    content,
    exchange::{Event, ExchangeId, Outcome},
    proto::{End, Piece, RequestHead, ResponseHead},
};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Exchanges that are followed at the same time.
    pub open_calls: usize,
    /// Responses in the background that are waited for.
    pub background_calls: usize,
    pub call: CallLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_calls: 4096, background_calls: 256, call: CallLimits::default() }
    }
}

/// What was left out, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were not followed because too many were open.
    pub refused: u64,
    /// Values of calls that a cap left out; contents for which the memory of all contents did not suffice among them.
    pub dropped_values: u64,
}

/// A call that has not ended.
#[derive(Debug)]
pub struct Active<'a> {
    pub connection: &'a Connection,
    pub provider: Cow<'static, str>,
    /// `None` while bodies are to tell.
    pub operation: Option<Operation>,
    pub server_address: Option<&'a str>,
    pub server_port: Option<u16>,
}

pub struct Calls {
    limits: Limits,
    /// Contents are read, in this memory.
    content: Option<(content::Limits, content::Pool)>,
    options: Options,
    attribution: Attribution,
    open: HashMap<ExchangeId, Box<Open>, BuildHasherDefault<KeyHasher>>,
    background: Background,
    counts: Counts,
}

impl Calls {
    /// From now on calls are recognised so; those that are open stay what they are.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    pub fn new(limits: Limits, options: Options) -> Self {
        Self {
            limits,
            content: None,
            options,
            attribution: Attribution::default(),
            open: HashMap::default(),
            background: Background::default(),
            counts: Counts::default(),
        }
    }

    /// Also reads what is asked and answered: not even a test is made of bodies otherwise.
    #[must_use]
    pub fn with_content(mut self, limits: content::Limits, pool_bytes: usize) -> Self {
        self.set_content(Some((limits, pool_bytes)));
        self
    }

    /// From now on contents are read or not; of calls that are open it stays as it is.
    pub fn set_content(&mut self, content: Option<(content::Limits, usize)>) {
        self.content = content.map(|(limits, pool_bytes)| (limits, content::Pool::new(pool_bytes)));
    }

    /// From now on calls are attributed by these rules; those that are open keep theirs.
    pub fn set_attribution(&mut self, attribution: Attribution) {
        self.attribution = attribution;
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Number of calls that are open now.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The open calls that are surely calls, as far as they are known.
    pub fn active(&self) -> impl Iterator<Item = Active<'_>> {
        self.open.values().filter(|open| !open.retrieves).filter_map(|open| {
            let Candidate { dialect, claim, .. } = open.candidates.first()?;
            let sure = open.known || matches!(claim, Claim::Sure | Claim::ByRequest);
            let operation = (open.candidates.len() == 1).then(|| dialect.operation());
            sure.then(|| Active {
                connection: &open.connection,
                provider: open.provider(*dialect),
                operation,
                server_address: open.server_address.as_deref(),
                server_port: open.server_port,
            })
        })
    }

    /// Takes the next event. Returns whether it begins what its head does not refuse as a model call.
    pub fn push(&mut self, event: &Event, calls: &mut Vec<EndedCall>) -> bool {
        match event {
            Event::Request { id, at, connection, head } => {
                self.background.expire(*at, calls);
                let Some(head) = head else {
                    self.begin(*id, *at, connection, None);
                    return true;
                };
                // Whatever is claimed here could be one.
                if head.method == "POST" && self.begin(*id, *at, connection, Some(head)) {
                    return true;
                }
                let by_head = could_be_model_call(head);
                // Without a method the head was seen in part: only the bodies can say what it is.
                if head.method.is_empty() || by_head && head.method != "POST" {
                    self.begin(*id, *at, connection, Some(head));
                }
                return by_head;
            }
            Event::RequestPiece { id, at, piece } => self.on(id, |open| open.request_piece(*at, piece)),
            Event::RequestEnd { id, at, end } => self.on(id, |open| open.request_end(*at, *end)),
            Event::Response { id, at, head } => self.on(id, |open| open.response(*at, head)),
            Event::ResponsePiece { id, at, piece } => self.on(id, |open| open.response_piece(*at, piece)),
            Event::Lost { id, at, request, bytes } => self.on(id, |open| open.lost(*at, *request, *bytes)),
            Event::End { id, at, outcome } => {
                if let Some(open) = self.open.remove(id) {
                    self.end(*id, open, *at, *outcome, calls);
                }
            }
        }
        false
    }

    /// Ends what is still open, in the order of the exchanges.
    pub fn finish(&mut self, calls: &mut Vec<EndedCall>) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (id, open) in open {
            let at = open.last_at;
            self.end(id, open, at, Outcome::Unfinished, calls);
        }
        self.background.finish(calls);
    }

    /// Follows the exchange if a dialect claims it; whether one does.
    fn begin(
        &mut self,
        id: ExchangeId,
        at: u64,
        connection: &Arc<Connection>,
        head: Option<&Arc<RequestHead>>,
    ) -> bool {
        let unseen = Arc::default();
        let head = head.unwrap_or(&unseen);
        if connection.role == Role::Server && !self.options.server_side {
            return false;
        }
        let target = Target::new(head, connection, &self.options);
        let websocket = head.is_websocket();
        // What is asked for with GET was asked of the model before.
        let retrieves = head.method == "GET" && !websocket;
        let awaited = || retrieved(&head.path).is_some_and(|id| self.background.awaits(target.host.as_deref(), id));
        if retrieves && !awaited() {
            return false;
        }
        let candidates: Vec<_> = ALL
            .iter()
            .filter(|dialect| !websocket || dialect.over_websocket())
            .filter_map(|dialect| {
                // Without its path only the bodies can say what a request is.
                let claim = match head.path.is_empty() {
                    true => Claim::Unseen,
                    false => dialect.claim(head, Some(&target)),
                };
                (claim != Claim::None).then(|| {
                    let decoder = dialect.decoder(&target, self.limits.call);
                    Candidate { dialect: *dialect, claim, decoder }
                })
            })
            .collect();
        if candidates.is_empty() {
            return false;
        }
        if self.open.len() >= self.limits.open_calls {
            self.counts.refused += 1;
            return true;
        }
        let reads = candidates.iter().any(|candidate| candidate.dialect.content().is_some());
        let content = self.content.as_ref().filter(|_| reads);
        let open = Open {
            content: content.map(|(limits, pool)| Box::new(content::Reader::new(*limits, pool))),
            retrieves,
            connection: connection.clone(),
            provider: target.provider().map(|name| match target.service {
                Some(service) if service.provider == name => Cow::Borrowed(service.provider),
                _ => Cow::Owned(name.to_owned()),
            }),
            known: target.is_known(),
            billing: target.billing(),
            server_address: target.host,
            server_port: target.port,
            head: head.clone(),
            candidates,
            response_head: None,
            times: Times { start: at, ..Times::default() },
            pace: Pace::default(),
            last_at: at,
            request_bytes: 0,
            request_sum: Some(request_sum(head)),
            attribution: self.attribution.reading(&head.headers),
            has_response_body: false,
            streamed: false,
            terminated: false,
            lost: None,
            undecodable: false,
        };
        self.open.insert(id, Box::new(open));
        true
    }

    fn on(&mut self, id: &ExchangeId, action: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.get_mut(id) {
            action(open);
        }
    }

    fn end(&mut self, id: ExchangeId, open: Box<Open>, at: u64, outcome: Outcome, calls: &mut Vec<EndedCall>) {
        let retrieves = open.retrieves;
        let Some((call, dropped)) = open.end(id, at, outcome) else { return };
        self.counts.dropped_values += dropped;
        if retrieves {
            self.background.retrieved(call, calls);
        } else {
            self.background.hold(call, self.limits.background_calls, calls);
        }
    }
}

struct Candidate {
    dialect: &'static dyn Dialect,
    claim: Claim,
    decoder: Box<dyn Decoder>,
}

struct Open {
    /// Reads what is said, if anybody wants it.
    content: Option<Box<content::Reader>>,
    /// It is no call itself: it asks for the result of an earlier one.
    retrieves: bool,
    connection: Arc<Connection>,
    head: Arc<RequestHead>,
    response_head: Option<Arc<ResponseHead>>,
    /// Mostly one: several when only the bodies tell the dialects apart.
    candidates: Vec<Candidate>,
    provider: Option<Cow<'static, str>>,
    /// Host or configuration say that models are served there.
    known: bool,
    billing: Billing,
    server_address: Option<String>,
    server_port: Option<u16>,
    times: Times,
    pace: Pace,
    last_at: u64,
    request_bytes: u64,
    /// Of [`Fingerprint`]; `None` once it cannot be told.
    request_sum: Option<crc32fast::Hasher>,
    attribution: Reading,
    has_response_body: bool,
    streamed: bool,
    /// The stream said itself that it was over.
    terminated: bool,
    lost: Option<Lost>,
    undecodable: bool,
}

#[derive(Clone, Copy)]
struct Lost {
    /// `None` when some loss is of unknown size.
    bytes: Option<u64>,
}

/// The beginning of a request's check sum: whom it asks for what.
fn request_sum(head: &RequestHead) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    let authority = head.authority.as_deref().unwrap_or_default();
    for part in [authority, &head.path, &head.query] {
        sum.update(part.as_bytes());
        sum.update(b"\n");
    }
    sum
}

impl Open {
    fn request_piece(&mut self, at: u64, piece: &Piece) {
        self.last_at = at;
        // A request has no message framing but that of a form, whatever its content type says.
        if let Piece::Part(part) = piece {
            self.request_bytes += part.bytes.unwrap_or(0);
            self.request_sum = None;
            self.attribution.part(part);
            for candidate in &mut self.candidates {
                candidate.decoder.request_part(part);
            }
        }
        let Some(bytes) = piece.bytes() else { return };
        self.request_bytes += bytes.len() as u64;
        if let Some(content) = &mut self.content {
            content.request(bytes);
        }
        if let Some(sum) = &mut self.request_sum {
            sum.update(bytes);
        }
        for candidate in &mut self.candidates {
            candidate.decoder.request(bytes, &mut self.attribution);
        }
    }

    fn request_end(&mut self, at: u64, end: End) {
        self.last_at = at;
        self.times.request_end = (end == End::Complete).then_some(at);
        if end != End::Complete {
            self.request_sum = None;
        }
        self.undecodable |= matches!(end, End::Undecodable(_));
        // What the request refutes need not be read further.
        self.candidates.retain_mut(|candidate| {
            candidate.claim == Claim::Sure || candidate.decoder.request_evidence() != Evidence::Contradicts
        });
    }

    fn response(&mut self, at: u64, head: &Arc<ResponseHead>) {
        self.last_at = at;
        self.times.first_byte = Some(at);
        self.response_head = Some(head.clone());
        for candidate in &mut self.candidates {
            candidate.decoder.response_head(head);
        }
    }

    fn response_piece(&mut self, at: u64, piece: &Piece) {
        self.last_at = at;
        self.has_response_body = true;
        let mut seen = Seen::default();
        let failed = self.response_head.as_ref().is_some_and(|head| head.status >= 400);
        self.read_content(piece, failed);
        for Candidate { dialect, decoder, .. } in &mut self.candidates {
            seen |= match piece {
                Piece::Bytes(bytes) => {
                    decoder.response(bytes);
                    continue;
                }
                Piece::Sse { event, data } => decoder.event(event, data),
                Piece::Line(line) => decoder.event(b"", line),
                Piece::Message { name, exception: true, .. } => decoder.exception(name),
                Piece::Message { name, data, .. } => decoder.event(name, data),
                Piece::Element(element) => {
                    let seen = decoder.event(b"", element);
                    // An error is an array of one element, too.
                    if failed || !dialect.streams_arrays() {
                        continue;
                    }
                    seen
                }
                Piece::Comment | Piece::Part(_) => Seen::default(),
            };
            self.streamed = true;
        }
        if self.streamed && self.candidates.len() > 1 {
            self.narrow();
        }
        self.terminated |= seen.end;
        if seen.data {
            self.times.first_chunk.get_or_insert(at);
            self.pace.event(at);
        }
        if seen.content {
            self.times.first_token.get_or_insert(at);
            self.times.last_token = Some(at);
        }
    }

    fn read_content(&mut self, piece: &Piece, failed: bool) {
        let Some(content) = &mut self.content else { return };
        let forms = self.candidates.iter().filter_map(|candidate| candidate.dialect.content());
        match piece {
            Piece::Bytes(bytes) => content.response(bytes),
            Piece::Element(_) | Piece::Message { exception: true, .. } if failed => {}
            Piece::Element(element) => {
                let whole = !self.candidates.iter().any(|candidate| candidate.dialect.streams_arrays());
                content.event(forms, element, whole);
            }
            Piece::Sse { data, .. } | Piece::Line(data) | Piece::Message { data, exception: false, .. } => {
                content.event(forms, data, false);
            }
            Piece::Message { .. } | Piece::Comment | Piece::Part(_) => {}
        }
    }

    /// An event that bears one dialect out and contradicts another is none of the other's: that is not read further.
    fn narrow(&mut self) {
        let evidence = |candidate: &Candidate| candidate.decoder.response_evidence();
        if !self.candidates.iter().any(|candidate| evidence(candidate) == Evidence::Contradicts) {
            return;
        }
        for index in 0..self.candidates.len() {
            if evidence(&self.candidates[index]) == Evidence::Fits && self.is_model_call(index) {
                return self.candidates.retain(|candidate| evidence(candidate) != Evidence::Contradicts);
            }
        }
    }

    fn lost(&mut self, at: u64, request: bool, bytes: Option<u64>) {
        self.last_at = at;
        self.lost = Some(match (self.lost, bytes) {
            (None, bytes) => Lost { bytes },
            (Some(Lost { bytes: Some(before) }), Some(bytes)) => Lost { bytes: Some(before.saturating_add(bytes)) },
            _ => Lost { bytes: None },
        });
        if let Some(content) = &mut self.content {
            content.lost(request);
        }
        if request {
            self.request_sum = None;
        }
        for candidate in &mut self.candidates {
            candidate.decoder.lost(request);
        }
    }

    fn end(mut self: Box<Self>, id: ExchangeId, at: u64, outcome: Outcome) -> Option<(EndedCall, u64)> {
        let fitting: Vec<_> = (0..self.candidates.len()).filter(|index| self.is_model_call(*index)).collect();
        let index = *fitting.first()?;
        let operation = |index: &usize| self.candidates[*index].dialect.operation();
        // Bodies that say no more than that a model was asked do not say what for.
        let Candidate { claim, decoder, .. } = &self.candidates[index];
        if *claim == Claim::Unseen
            && decoder.response_operation().is_none()
            && fitting.iter().any(|other| operation(other) != operation(&index))
        {
            return None;
        }
        let Candidate { dialect, claim, mut decoder } = self.candidates.swap_remove(index);
        self.times.end = at;
        let mut call = Box::new(self.call(id, dialect, outcome));
        let Finish { response, mut dropped, .. } = decoder.finish(&mut call);
        let named = call.request.model.is_some() || call.response.model.is_some();
        if claim == Claim::Unseen && !named {
            return None;
        }
        if let Some(head) = &self.response_head {
            facts::usage(&head.headers, &mut call.usage);
        }
        call.response.streamed = self.streamed;
        call.request.attributed = self.attribution.finish();
        let whole = self.times.request_end.is_some() && !self.head.partial;
        call.request.fingerprint = self
            .request_sum
            .take_if(|_| whole)
            .map(|sum| Fingerprint { sum: sum.finalize(), bytes: self.request_bytes });
        let guardrail = || facts::guardrail(&self.head.headers);
        call.request.guardrail_id = call.request.guardrail_id.take().or_else(guardrail);
        if let (None, Some(head)) = (&call.response.service_tier, &self.response_head) {
            call.response.service_tier = facts::service_tier(&head.headers);
        }
        let whole = self.terminated || response == Ending::Complete;
        let cut = matches!(outcome, Outcome::Cut { .. } | Outcome::Reset { .. }) && !whole;
        call.aborted = cut && self.response_head.is_some();
        if cut && call.error.is_none() {
            call.error = self.transport_error(outcome).map(|kind| CallError { kind: Cow::Borrowed(kind) });
        }
        let speaks = !matches!(call.operation, Operation::Embeddings | Operation::Rerank);
        if let (Some(content), Some(form), true) = (self.content.take(), dialect.content(), speaks) {
            dropped += u64::from(content.is_starved());
            let failed = call.error.is_some() && !self.streamed;
            call.content = content.finish(form, &call.response.finish_reasons, failed).map(Box::new);
        }
        Some((call, dropped))
    }

    /// Whether the bodies bear out what the head claims.
    fn is_model_call(&mut self, index: usize) -> bool {
        let Candidate { dialect, claim, decoder } = &mut self.candidates[index];
        let (request, response) = (decoder.request_evidence(), decoder.response_evidence());
        let unseen = self.request_bytes == 0 || self.lost.is_some() || self.undecodable;
        let failed = self.response_head.as_ref().is_some_and(|head| head.status >= 400);
        match claim {
            Claim::None => false,
            Claim::Sure => self.known || unseen || request == Evidence::Fits || response == Evidence::Fits,
            // A path that only models have; the request tells of which of several APIs this one is.
            Claim::ByRequest => request == Evidence::Fits || (unseen && response == Evidence::Fits),
            Claim::Unseen if decoder.response_operation().is_some_and(|named| named != dialect.operation()) => false,
            Claim::ByBodyOrError
                if failed && request == Evidence::Fits && response == Evidence::None && decoder.names_model() =>
            {
                true
            }
            Claim::ByBody | Claim::ByBodyOrError | Claim::Unseen => {
                response == Evidence::Fits && (request == Evidence::Fits || (unseen && request == Evidence::None))
            }
        }
    }

    fn call(&self, id: ExchangeId, dialect: &dyn Dialect, outcome: Outcome) -> LlmCall {
        let headers = &self.head.headers;
        let mut response = Response::default();
        if let Some(head) = &self.response_head {
            facts::of_response(head, &mut response);
        }
        let partial = self.lost.is_some()
            || self.undecodable
            || self.head.partial
            || self.head.method.is_empty()
            || self.response_head.as_ref().is_some_and(|head| head.partial)
            || matches!(outcome, Outcome::Undecodable(_));
        let completeness = match partial {
            false => Completeness::Full,
            true if self.request_bytes == 0 && !self.has_response_body => Completeness::HeadersOnly,
            true => Completeness::Partial,
        };
        LlmCall {
            id,
            connection: self.connection.clone(),
            provider: self.provider(dialect),
            operation: dialect.operation(),
            api_type: dialect.api_type(),
            server_address: self.server_address.clone(),
            server_port: self.server_port,
            protocol_version: self.head.version.as_str(),
            request: Request { body_bytes: self.request_bytes, ..Request::default() },
            response,
            usage: Usage::default(),
            asides: Vec::new(),
            billing: self.billing,
            provider_cost: self.response_head.as_ref().and_then(|head| facts::cost(&head.headers)),
            cache_hit: self.response_head.as_ref().and_then(|head| facts::cache_hit(&head.headers)),
            fallback: self.response_head.as_ref().and_then(|head| facts::fallback(&head.headers)),
            error: None,
            times: self.times,
            chunks: self.pace.chunks(),
            completeness,
            lost_bytes: self.lost.and_then(|lost| lost.bytes),
            aborted: false,
            outcome,
            attempt: facts::attempt(headers),
            trace_parent: trace_parent(headers),
            content: None,
        }
    }

    fn provider(&self, dialect: &dyn Dialect) -> Cow<'static, str> {
        if let Some(provider) = &self.provider {
            return provider.clone();
        }
        let is_litellm = self.response_head.as_ref().is_some_and(|head| head.headers.has("x-litellm-call-id"));
        Cow::Borrowed(if is_litellm { "litellm" } else { dialect.provider() })
    }

    /// Why there is no answer, or only a part of one, that neither the status nor a body explains.
    fn transport_error(&self, outcome: Outcome) -> Option<&'static str> {
        let answered = self.response_head.is_some();
        match outcome {
            Outcome::Cut { by: ClosedBy::Reset | ClosedBy::Peer, .. } | Outcome::Reset { by_peer: true } => {
                Some("connection_reset")
            }
            // Whoever reads a part of an answer and goes away has what it wanted.
            _ if answered => None,
            Outcome::Cut { by: ClosedBy::Local | ClosedBy::Exit, .. } | Outcome::Reset { by_peer: false } => {
                let waited = self.times.end.saturating_sub(self.times.start);
                let gave_up = facts::client_timeout(&self.head.headers).is_some_and(|timeout| waited >= timeout);
                Some(if gave_up { "timeout" } else { "cancelled" })
            }
            _ => Some("_OTHER"),
        }
    }
}
