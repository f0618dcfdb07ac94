//! Trace and span ids. Each is a digest of what the span is, so that no table of ids given out is needed: the root of
//! an agent turn has its id before it has its end. Live, a secret of the run goes into the digest and makes the ids
//! random to others; a replay has none, and gives the same ids on every run and machine.

use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest, Sha256};

use crate::{capture::Connection, exchange::ExchangeId};

/// W3C trace id; all zero is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// W3C span id; all zero is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// What a span id is for. Together with a call it names the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The call itself.
    Call,
    /// The agent turn that begins with the call.
    Turn,
    /// The n-th tool call that the answer asks for.
    Tool(u32),
    /// The n-th message that the exchange carries.
    Message(u32),
}

#[derive(Clone)]
pub struct Ids {
    secret: Option<[u8; 32]>,
}

impl Ids {
    /// Ids that nobody can foretell.
    pub fn live() -> Self {
        let random = RandomIdGenerator::default();
        let mut secret = [0; 32];
        for half in secret.as_chunks_mut().0 {
            *half = random.new_trace_id().to_bytes();
        }
        Self { secret: Some(secret) }
    }

    /// Ids derived from the input alone: the connection's id string and the exchange's index.
    pub fn replay() -> Self {
        Self { secret: None }
    }

    /// The trace that begins with this call.
    pub fn trace(&self, connection: &Connection, call: ExchangeId) -> TraceId {
        self.call(connection, call).0
    }

    pub fn span(&self, connection: &Connection, call: ExchangeId, purpose: Purpose) -> SpanId {
        let digest = match purpose {
            Purpose::Call => return self.call(connection, call).1,
            Purpose::Turn => self.digest(b"turn_", connection, call, 0),
            Purpose::Tool(number) => self.digest(b"tool_", connection, call, number),
            Purpose::Message(number) => self.digest(b"messg", connection, call, number),
        };
        SpanId(part(&digest, 0))
    }

    /// The trace that begins with this call, and the call's own span: two parts of one digest.
    pub fn call(&self, connection: &Connection, call: ExchangeId) -> (TraceId, SpanId) {
        let digest = self.digest(b"trace", connection, call, 0);
        (TraceId(part(&digest, 0)), SpanId(part(&digest, 16)))
    }

    /// Everything but the connection's id, which comes last, has a fixed size: no two inputs run together.
    fn digest(&self, purpose: &[u8; 5], connection: &Connection, call: ExchangeId, number: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        if let Some(secret) = &self.secret {
            hash.update(secret);
            // Unique within the run even where the id string is not.
            hash.update(call.connection.0.to_be_bytes());
        }
        hash.update(purpose);
        hash.update(call.index.to_be_bytes());
        hash.update(number.to_be_bytes());
        hash.update(connection.id.as_bytes());
        hash.finalize().into()
    }
}

/// `N` bytes of a digest as an id.
fn part<const N: usize>(digest: &[u8; 32], from: usize) -> [u8; N] {
    let mut id = std::array::from_fn(|byte| digest[from + byte]);
    if id == [0; N] {
        // All zero means "no id".
        id[N - 1] = 1;
    }
    id
}

/// The secret stays out of logs: who knows it can foretell ids.
impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.secret.is_some() { "Ids(live)" } else { "Ids(replay)" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::capture::ConnectionKey;

    fn connection(id: &str) -> Connection {
        Connection { id: id.into(), ..Connection::default() }
    }

    fn call(key: u64, index: u32) -> ExchangeId {
        ExchangeId { connection: ConnectionKey(key), index }
    }

    #[test]
    fn ids_repeat_and_differ_from_each_other() {
        for ids in [Ids::replay(), Ids::live()] {
            let mut seen = HashSet::new();
            for name in ["a", "b", "1", "11"] {
                let connection = connection(name);
                for index in [0, 1, 11] {
                    let call = call(7, index);
                    let trace = ids.trace(&connection, call);
                    assert_eq!(trace, ids.trace(&connection, call));
                    assert!(seen.insert(trace.0[..8].to_vec()));
                    for purpose in
                        [Purpose::Call, Purpose::Turn, Purpose::Tool(0), Purpose::Tool(1), Purpose::Message(0)]
                    {
                        let span = ids.span(&connection, call, purpose);
                        assert_eq!(span, ids.span(&connection, call, purpose));
                        assert!(seen.insert(span.0.to_vec()));
                    }
                }
            }
        }
    }

    #[test]
    fn replayed_ids_are_pinned_and_know_no_key() {
        // A change here changes the output of every replay.
        let connection = connection("c1");
        for key in [0, 9] {
            let trace = Ids::replay().trace(&connection, call(key, 0));
            assert_eq!(format!("{trace:?}"), "2543eb091c9d5b31e901e4fbcd0fc602");
            let span = Ids::replay().span(&connection, call(key, 0), Purpose::Call);
            assert_eq!(format!("{span:?}"), "3766ab35a2a0742c");
        }
    }

    #[test]
    fn live_ids_differ_between_runs_and_connections() {
        let connection = connection("c1");
        let ids = Ids::live();
        assert_ne!(ids.trace(&connection, call(1, 0)), ids.trace(&connection, call(2, 0)));
        assert_ne!(ids.trace(&connection, call(1, 0)), Ids::live().trace(&connection, call(1, 0)));
        assert_eq!(format!("{ids:?}"), "Ids(live)");
    }
}
