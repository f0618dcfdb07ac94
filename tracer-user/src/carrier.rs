//! The exchange below an operation: what it tells whatever it carries. A leaf that the readers beside `llm` share.

use std::{borrow::Cow, sync::Arc};

use crate::{
    capture::{ClosedBy, Connection, Role},
    exchange::{ExchangeId, Outcome},
    llm::{
        Options,
        call::{CallError, Completeness, TraceParent},
        facts::client_timeout,
        recognise::Target,
        trace_context::trace_parent,
    },
    proto::{End, RequestHead, ResponseHead},
};

/// What one finished exchange tells of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Carrier {
    pub id: ExchangeId,
    pub connection: Arc<Connection>,
    /// Host of the request, without port.
    pub server_address: Option<String>,
    pub server_port: Option<u16>,
    /// `1.0`, `1.1`, `2`.
    pub protocol_version: &'static str,
    /// HTTP status; `None` when no response was seen.
    pub status: Option<u16>,
    /// First request byte, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// Last response byte, or what ended the exchange.
    pub end: u64,
    pub completeness: Completeness,
    pub lost_bytes: Option<u64>,
    pub trace_parent: Option<TraceParent>,
}

/// An exchange in the making.
#[derive(Debug)]
pub struct Track {
    id: ExchangeId,
    pub connection: Arc<Connection>,
    pub head: Arc<RequestHead>,
    pub response: Option<Arc<ResponseHead>>,
    pub server_address: Option<String>,
    pub server_port: Option<u16>,
    start: u64,
    /// Latest time of anything that happened in it.
    pub last_at: u64,
    pub has_request_body: bool,
    pub has_response_body: bool,
    /// Bytes lost; the inner value is `None` when their number is not known.
    lost: Option<Option<u64>>,
    pub request_lost: bool,
    undecodable: bool,
}

impl Track {
    /// `None` for what a traced process answers as a server.
    pub fn new(id: ExchangeId, at: u64, connection: &Arc<Connection>, head: &Arc<RequestHead>) -> Option<Self> {
        if connection.role == Role::Server {
            return None;
        }
        let options = Options::default();
        let target = Target::new(head, connection, &options);
        Some(Self {
            id,
            connection: Arc::clone(connection),
            server_address: target.host.clone(),
            server_port: target.port,
            head: Arc::clone(head),
            response: None,
            start: at,
            last_at: at,
            has_request_body: false,
            has_response_body: false,
            lost: None,
            request_lost: false,
            undecodable: false,
        })
    }

    pub fn request_end(&mut self, at: u64, end: End) {
        self.last_at = at;
        self.undecodable |= matches!(end, End::Undecodable(_));
        self.request_lost |= end != End::Complete;
    }

    pub fn lost(&mut self, at: u64, request: bool, bytes: Option<u64>) {
        self.last_at = at;
        self.request_lost |= request;
        self.lost = Some(match (self.lost, bytes) {
            (None, bytes) => bytes,
            (Some(Some(before)), Some(bytes)) => Some(before.saturating_add(bytes)),
            _ => None,
        });
    }

    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|head| head.status)
    }

    /// What is known when something of it ends at `end`; `outcome` is `None` while the exchange goes on.
    pub fn carrier(&self, end: u64, outcome: Option<Outcome>) -> Carrier {
        let partial = self.lost.is_some() || self.undecodable || matches!(outcome, Some(Outcome::Undecodable(_)));
        Carrier {
            id: self.id,
            connection: Arc::clone(&self.connection),
            server_address: self.server_address.clone(),
            server_port: self.server_port,
            protocol_version: self.head.version.as_str(),
            status: self.status(),
            start: self.start,
            end: end.max(self.start),
            completeness: match partial {
                false => Completeness::Full,
                true if !self.has_request_body && !self.has_response_body => Completeness::HeadersOnly,
                true => Completeness::Partial,
            },
            lost_bytes: self.lost.flatten(),
            trace_parent: trace_parent(&self.head.headers),
        }
    }

    /// Why there is no answer that neither the status nor a body explains.
    pub fn transport_error(&self, at: u64, outcome: Outcome) -> Option<CallError> {
        let kind = match outcome {
            Outcome::Cut { by: ClosedBy::Reset | ClosedBy::Peer, .. } | Outcome::Reset { by_peer: true } => {
                "connection_reset"
            }
            Outcome::Cut { by: ClosedBy::Local | ClosedBy::Exit, .. } | Outcome::Reset { by_peer: false } => {
                let waited = at.saturating_sub(self.start);
                let gave_up = client_timeout(&self.head.headers).is_some_and(|timeout| waited >= timeout);
                if gave_up { "timeout" } else { "cancelled" }
            }
            Outcome::Cut { by: ClosedBy::Unknown, .. } => "_OTHER",
            Outcome::Complete | Outcome::Undecodable(_) | Outcome::Unfinished => return None,
        };
        Some(CallError { kind: Cow::Borrowed(kind) })
    }
}

/// The HTTP status as an error, when it is one.
pub fn status_error(status: Option<u16>) -> Option<CallError> {
    status.filter(|status| *status >= 400).map(|status| CallError { kind: Cow::Owned(status.to_string()) })
}
