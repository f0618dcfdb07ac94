//! Which processes tell of their model calls themselves: what they send to a collector by OTLP is seen like any other
//! request.

use std::collections::{HashMap, HashSet};

use memchr::memmem;

use crate::{
    capture::Role,
    exchange::{Event, ExchangeId},
    proto::{OTLP_TRACES, RequestHead},
};

/// Exports that are read at the same time, and processes that are known. Past them more are not looked at.
const MAX_EXPORTS: usize = 256;
const MAX_PROCESSES: usize = 4096;

/// The path of OTLP over HTTP, below whatever the collector stands at.
const HTTP_PATH: &str = "/v1/traces";

/// The beginning of every attribute's name that the conventions have for models. In JSON and in protobuf names stand as
/// they are.
const NAME: &[u8] = b"gen_ai.";

/// Whether a request exports spans by OTLP, as its head tells.
pub fn exports_spans(head: &RequestHead) -> bool {
    head.method == "POST" && (head.path.ends_with(HTTP_PATH) || head.path == OTLP_TRACES)
}

/// Reads exports of spans as far as to their first attribute of the conventions for models.
#[derive(Debug, Default)]
pub struct Exports {
    /// Those that have none so far, with the end of what was read: a name may be cut.
    open: HashMap<ExchangeId, (u32, Vec<u8>)>,
    telling: HashSet<u32>,
}

impl Exports {
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Request { id, connection, head: Some(head), .. } => {
                if let Some(pid) = connection.pid
                    && connection.role == Role::Client
                    && exports_spans(head)
                    && !self.telling.contains(&pid)
                    && self.open.len() < MAX_EXPORTS
                {
                    self.open.insert(*id, (pid, Vec::new()));
                }
            }
            Event::RequestPiece { id, piece, .. } => {
                // Most exchanges export nothing.
                if self.open.is_empty() {
                    return;
                }
                let (Some((pid, end)), Some(bytes)) = (self.open.get_mut(id), piece.bytes()) else { return };
                let kept = NAME.len() - 1;
                let begin = &bytes[..bytes.len().min(kept)];
                end.extend_from_slice(begin);
                if memmem::find(end, NAME).is_some() || memmem::find(bytes, NAME).is_some() {
                    if self.telling.len() < MAX_PROCESSES && self.telling.insert(*pid) {
                        tracing::info!(pid, "the process exports spans of its model calls itself");
                    }
                    self.open.remove(id);
                    return;
                }
                if bytes.len() >= kept {
                    end.clear();
                    end.extend_from_slice(&bytes[bytes.len() - kept..]);
                } else {
                    end.drain(..end.len().saturating_sub(kept));
                }
            }
            Event::Lost { id, request: true, .. } => {
                if let Some((_, end)) = self.open.get_mut(id) {
                    end.clear();
                }
            }
            Event::RequestEnd { id, .. } | Event::End { id, .. } => {
                self.open.remove(id);
            }
            _ => {}
        }
    }

    /// Whether the process was seen to export spans of its model calls.
    pub fn tells(&self, pid: u32) -> bool {
        self.telling.contains(&pid)
    }

    /// The process has another image now.
    pub fn forget(&mut self, pid: u32) {
        self.telling.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        capture::{Connection, ConnectionKey},
        proto::{End, Piece},
    };

    fn export(exports: &mut Exports, index: u32, path: &str, pieces: &[&[u8]]) {
        let id = ExchangeId { connection: ConnectionKey(1), index };
        let connection = Arc::new(Connection { pid: Some(7), ..Connection::default() });
        let head = RequestHead { method: "POST".into(), path: path.into(), ..RequestHead::default() };
        exports.push(&Event::Request { id, at: 0, connection, head: Some(Arc::new(head)) });
        for piece in pieces {
            exports.push(&Event::RequestPiece { id, at: 0, piece: Piece::Bytes(piece.to_vec().into()) });
        }
        exports.push(&Event::RequestEnd { id, at: 0, end: End::Complete });
        assert!(exports.open.is_empty());
    }

    #[test]
    fn a_process_that_exports_spans_of_models_is_known() {
        let body = b"\x0a\x15gen_ai.operation.name\x12\x06\x0a\x04chat";
        for path in ["/v1/traces", "/api/public/otel/v1/traces", OTLP_TRACES] {
            for cut in 0..body.len() {
                for other in cut..body.len() {
                    let mut exports = Exports::default();
                    export(&mut exports, 0, path, &[&body[..cut], &body[cut..other], &body[other..]]);
                    assert!(exports.tells(7) && !exports.tells(8), "{path} {cut} {other}");
                }
            }
        }
    }

    #[test]
    fn other_spans_and_other_requests_do_not_count() {
        let mut exports = Exports::default();
        export(&mut exports, 0, "/v1/traces", &[b"http.request.method", b"gen_", b"AI."]);
        export(&mut exports, 1, "/v1/logs", &[b"gen_ai.operation.name"]);
        export(&mut exports, 2, "/v1/chat/completions", &[b"what is gen_ai.operation.name?"]);
        assert!(!exports.tells(7));
        export(&mut exports, 3, "/v1/traces", &[b"gen_ai.system"]);
        assert!(exports.tells(7));
        exports.forget(7);
        assert!(!exports.tells(7));
    }
}
