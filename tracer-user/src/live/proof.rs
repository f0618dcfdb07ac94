//! Whether hooks that were found without symbols show what they should: the first words of a conversation.
//!
//! A function that was taken for `SSL_read` or `SSL_write` by mistake would hand over bytes that mean nothing. So the
//! first bytes of each connection of such a process are looked at until one of them is a beginning that is known; if the
//! first few connections have none, the privileged half is asked to take the hooks away. It does so only for hooks that
//! stand on no symbol, and it can do no harm in any case.

use std::collections::HashMap;

use crate::capture::{ByConnection, Direction, Event};

/// Connections without a known beginning after which the hooks go. One may be joined in the middle, or speak a binary
/// protocol.
const ATTEMPTS: u32 = 4;
/// Processes under trial; beyond, they are taken for proven.
const MAX_PROCESSES: usize = 1024;
/// Connections under trial.
const MAX_CONNECTIONS: usize = 4096;
/// Bytes of text that are proof enough.
const TEXT: usize = 12;

/// The libraries that are searched for without symbols.
const SEARCHED: [&str; 2] = ["boringssl", "aws-lc"];

#[derive(Debug, Default)]
pub struct Proofs {
    /// `None` once proven, or judged.
    processes: HashMap<u32, Option<u32>>,
    connections: ByConnection<u32>,
}

impl Proofs {
    /// Takes one event; a process whose hooks should go is the answer.
    pub fn push(&mut self, event: &Event) -> Option<u32> {
        match event {
            Event::Open { key, connection, .. } => {
                let searched = connection.tls.as_deref().is_some_and(|tls| SEARCHED.contains(&tls));
                let pid = connection.pid.filter(|_| searched && self.connections.len() < MAX_CONNECTIONS)?;
                if self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&pid) {
                    let trial = self.processes.entry(pid).or_insert(Some(0));
                    if trial.is_some() {
                        self.connections.insert(*key, pid);
                    }
                }
                None
            }
            Event::Data { key, direction, offset: 0, bytes, .. } => {
                let pid = *self.connections.get(key)?;
                let trial = self.processes.get_mut(&pid)?;
                if is_beginning(*direction, bytes) {
                    *trial = None;
                    self.connections.remove(key);
                    return None;
                }
                // The answer is the second chance of a connection.
                if *direction == Direction::Send {
                    return None;
                }
                self.connections.remove(key);
                let attempts = trial.as_mut()?;
                *attempts += 1;
                if *attempts < ATTEMPTS {
                    return None;
                }
                *trial = None;
                Some(pid)
            }
            Event::Close { key, .. } => {
                self.connections.remove(key);
                None
            }
            // Another program, perhaps, with other hooks.
            Event::Process { process, .. } => {
                self.processes.remove(&process.pid);
                None
            }
            Event::Data { .. } | Event::Gap { .. } | Event::Unread { .. } => None,
        }
    }
}

/// The first bytes of HTTP/1 (RFC 9112 section 2), of HTTP/2 (RFC 9113 section 3.4), or of anything that is text.
fn is_beginning(direction: Direction, bytes: &[u8]) -> bool {
    let is_settings = matches!(bytes, [0, _, _, 4, _, 0, 0, 0, 0, ..]);
    let is_text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t'));
    direction == Direction::Receive && is_settings || !bytes.is_empty() && is_text(bytes.get(..TEXT).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::capture::{Connection, ConnectionKey};

    fn open(key: u64, tls: &str) -> Event {
        let connection = Connection { pid: Some(7), tls: Some(tls.into()), ..Connection::default() };
        Event::Open { at: 0, key: ConnectionKey(key), connection: Arc::new(connection) }
    }

    fn data(key: u64, direction: Direction, bytes: &'static [u8]) -> Event {
        Event::Data { at: 0, key: ConnectionKey(key), direction, offset: 0, bytes: Bytes::from_static(bytes) }
    }

    /// Connections with these first bytes, and whether the hooks go.
    fn withdrawn(tls: &str, conversations: &[(&'static [u8], &'static [u8])]) -> bool {
        let mut proofs = Proofs::default();
        let mut asked = false;
        for (key, (sent, received)) in (0..).zip(conversations) {
            asked |= proofs.push(&open(key, tls)).is_some();
            asked |= proofs.push(&data(key, Direction::Send, sent)).is_some();
            asked |= proofs.push(&data(key, Direction::Receive, received)).is_some();
        }
        asked
    }

    #[test]
    fn noise_on_every_connection_takes_the_hooks_away() {
        let noise: (&[u8], &[u8]) = (b"\x8f\x01\xfe\x02", b"\x91\x00\x13");
        assert!(withdrawn("boringssl", &[noise; 4]));
        assert!(!withdrawn("boringssl", &[noise; 3]));
        assert!(!withdrawn("openssl 3.0.15", &[noise; 9]));
    }

    #[test]
    fn one_known_beginning_is_proof() {
        let noise: (&[u8], &[u8]) = (b"\x8f\x01\xfe\x02", b"\x91\x00\x13");
        for known in [
            (&b"POST /v1/messages HTTP/1.1\r\n"[..], &b"\x91\x00\x13"[..]),
            (b"\x8f\x01\xfe\x02", b"HTTP/1.1 200 OK\r\n"),
            (b"\x8f\x01\xfe\x02", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
            (b"PRI * HTTP/2.0\r\n\r\n", b"\x91\x00\x13"),
        ] {
            assert!(!withdrawn("boringssl", &[noise, known, noise, noise, noise, noise, noise]));
        }
    }
}
