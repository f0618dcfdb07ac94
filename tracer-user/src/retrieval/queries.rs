//! The open exchanges that could be queries of a vector store.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    sync::Arc,
};

use super::{
    Proof, Query, Retrieval, Store, could_be_retrieval, queried,
    reader::{Field, Seen},
};
use crate::json::{Ending, Scanner};
use crate::{
    capture::{Connection, KeyHasher},
    carrier::{Track, status_error},
    exchange::{Event, ExchangeId, Outcome},
    llm::{CallLimits, call::CallError},
    proto::RequestHead,
};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Exchanges that are followed at the same time.
    pub open: usize,
    pub body: CallLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open: 1024, body: CallLimits { text_bytes: 4 << 10, entries: 1 } }
    }
}

/// Follows each exchange that could be a query and tells one [`Retrieval`] when it ends.
#[derive(Default)]
pub struct Queries {
    limits: Limits,
    open: HashMap<ExchangeId, Box<Open>, BuildHasherDefault<KeyHasher>>,
    /// Exchanges that were not followed because too many were open.
    pub refused: u64,
}

struct Open {
    track: Track,
    store: &'static dyn Store,
    query: Query,
    request: Scanner<Field>,
    response: Scanner<Field>,
    seen: Seen,
}

impl Queries {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Number of exchanges that are followed now.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes the next event. Returns whether it proves that its exchange is a query.
    pub fn push(&mut self, event: &Event, out: &mut Vec<Retrieval>) -> bool {
        match event {
            Event::Request { id, at, connection, head } => {
                if let Some(head) = head {
                    self.begin(*id, *at, connection, head);
                }
            }
            _ if self.open.is_empty() => {}
            Event::RequestPiece { id, at, piece } => {
                if let (Some(open), Some(bytes)) = (self.open.get_mut(id), piece.bytes()) {
                    open.track.last_at = *at;
                    open.track.has_request_body = true;
                    open.request.push(bytes, &mut open.seen);
                }
            }
            Event::RequestEnd { id, at, end } => {
                let Some(open) = self.open.get_mut(id) else { return false };
                open.track.request_end(*at, *end);
                if !open.request_fits() {
                    self.open.remove(id);
                    return false;
                }
                return open.query.proof != Proof::Both;
            }
            Event::Response { id, at, head } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.track.last_at = *at;
                    open.track.response = Some(Arc::clone(head));
                }
            }
            Event::ResponsePiece { id, at, piece } => {
                if let (Some(open), Some(bytes)) = (self.open.get_mut(id), piece.bytes()) {
                    open.track.last_at = *at;
                    open.track.has_response_body = true;
                    open.response.push(bytes, &mut open.seen);
                }
            }
            Event::Lost { id, at, request, bytes } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.track.lost(*at, *request, *bytes);
                    let side = if *request { &mut open.request } else { &mut open.response };
                    side.gap();
                }
            }
            Event::End { id, at, outcome } => {
                if let Some(open) = self.open.remove(id) {
                    let before = out.len();
                    out.extend(open.end(*at, *outcome));
                    return out.len() > before;
                }
            }
        }
        false
    }

    /// Ends what is still open, in the order of the exchanges.
    pub fn finish(&mut self, out: &mut Vec<Retrieval>) {
        let open: BTreeMap<_, _> = self.open.drain().collect();
        out.extend(open.into_values().filter_map(|open| {
            let at = open.track.last_at;
            open.end(at, Outcome::Unfinished)
        }));
    }

    fn begin(&mut self, id: ExchangeId, at: u64, connection: &Arc<Connection>, head: &Arc<RequestHead>) {
        if !could_be_retrieval(head) {
            return;
        }
        let Some(track) = Track::new(id, at, connection, head) else { return };
        let host = track.server_address.as_deref();
        let Some((store, query)) = queried(head, host) else { return };
        if self.open.len() >= self.limits.open {
            self.refused += 1;
            return;
        }
        let (request, response) = (Scanner::new(query.request), Scanner::new(query.response));
        let seen = Seen::new(self.limits.body);
        self.open.insert(id, Box::new(Open { track, store, query, request, response, seen }));
    }
}

impl Open {
    /// Whether the request bears out what the path claims.
    fn request_fits(&self) -> bool {
        let seen = &self.seen;
        let by_vector = match self.query.system {
            "weaviate" => seen.graphql.by_vector,
            "elasticsearch" | "opensearch" => seen.vector || seen.neural || seen.semantic,
            _ => seen.fits,
        };
        by_vector || (self.query.proof == Proof::Path && self.track.request_lost)
    }

    fn end(mut self, at: u64, outcome: Outcome) -> Option<Retrieval> {
        let answered = self.response.finish(&mut self.seen) == Ending::Complete;
        let proven = self.query.proof != Proof::Both || self.seen.rows.is_some();
        if !self.request_fits() || !proven {
            return None;
        }
        let carrier = self.track.carrier(at, Some(outcome));
        let Self { track, store, query, mut seen, .. } = self;
        let system = store.system(&query, &seen, track.response.as_deref());
        // Milvus numbers its failures, and says 0 (in its first version 200) when there is none.
        let code = seen.code.filter(|code| !matches!(code, 0 | 200)).map(|code| code.to_string());
        let said = code
            .map(|code| CallError { kind: Cow::Owned(code) })
            .or_else(|| seen.failure.error(carrier.status))
            .or_else(|| seen.failed.then_some(CallError { kind: Cow::Borrowed("_OTHER") }));
        let http = carrier.status.map(|status| status.to_string());
        let own_word = |kind: &str| kind != "_OTHER" && Some(kind) != http.as_deref();
        let status_code = said.as_ref().filter(|said| own_word(&said.kind)).map(|said| said.kind.clone().into_owned());
        let error = said
            .or_else(|| status_error(carrier.status))
            .or_else(|| track.transport_error(at, outcome).filter(|_| !answered));
        Some(Retrieval {
            store: system,
            operation: query.operation,
            collection: query.collection.or(seen.collection).or(seen.graphql.class),
            namespace: query.namespace.or(seen.namespace),
            // What limits the answer goes before what limits the search.
            top_k: seen.size.or(seen.top_k).or(seen.graphql.limit),
            returned: seen.rows.filter(|_| answered && error.is_none()),
            status_code,
            error,
            carrier,
        })
    }
}
