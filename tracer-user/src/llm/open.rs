//! One exchange that could be a model call: what its messages tell as they come, and the call that it was in the end.

use std::{borrow::Cow, sync::Arc};

use super::{
    Claim, Dialect, EndedCall, LlmCall,
    call::{Billing, CallError, Completeness, Fingerprint, Operation, Request, Response, Times, Usage},
    decode::{Decoder, Evidence, Finish, Seen},
    facts,
    json::Ending,
    pace::Pace,
    recognise::Target,
    trace_context::trace_parent,
};
use crate::{
    attribution::Reading,
    capture::{ClosedBy, Connection},
    content,
    exchange::{ExchangeId, Outcome},
    proto::{End, Piece, RequestHead, ResponseHead},
};

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

/// A dialect that the exchange may be of.
pub(super) struct Candidate {
    pub(super) dialect: &'static dyn Dialect,
    pub(super) claim: Claim,
    pub(super) decoder: Box<dyn Decoder>,
}

/// An exchange that is followed.
pub(super) struct Open {
    /// Reads what is said, if anybody wants it.
    pub(super) content: Option<Box<content::Reader>>,
    /// It is no call itself: it asks for the result of an earlier one.
    pub(super) retrieves: bool,
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
    pub(super) last_at: u64,
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

impl Open {
    pub(super) fn new(
        at: u64,
        connection: &Arc<Connection>,
        target: Target<'_>,
        head: &Arc<RequestHead>,
        candidates: Vec<Candidate>,
        attribution: Reading,
    ) -> Self {
        Self {
            content: None,
            retrieves: false,
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
            attribution,
            has_response_body: false,
            streamed: false,
            terminated: false,
            lost: None,
            undecodable: false,
        }
    }

    /// As far as it is known, if it is surely a call.
    pub(super) fn active(&self) -> Option<Active<'_>> {
        let Candidate { dialect, claim, .. } = self.candidates.first()?;
        let sure = self.known || matches!(claim, Claim::Sure | Claim::ByRequest);
        let operation = (self.candidates.len() == 1).then(|| dialect.operation());
        (sure && !self.retrieves).then(|| Active {
            connection: &self.connection,
            provider: self.provider(*dialect),
            operation,
            server_address: self.server_address.as_deref(),
            server_port: self.server_port,
        })
    }

    pub(super) fn request_piece(&mut self, at: u64, piece: &Piece) {
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

    pub(super) fn request_end(&mut self, at: u64, end: End) {
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

    pub(super) fn response(&mut self, at: u64, head: &Arc<ResponseHead>) {
        self.last_at = at;
        self.times.first_byte = Some(at);
        self.response_head = Some(head.clone());
        for candidate in &mut self.candidates {
            candidate.decoder.response_head(head);
        }
    }

    pub(super) fn response_piece(&mut self, at: u64, piece: &Piece) {
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

    pub(super) fn lost(&mut self, at: u64, request: bool, bytes: Option<u64>) {
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

    pub(super) fn end(mut self: Box<Self>, id: ExchangeId, at: u64, outcome: Outcome) -> Option<(EndedCall, u64)> {
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
