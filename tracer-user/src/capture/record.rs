//! Writes a capture file while tracing: what [`super::replay`] reads.
//!
//! Only connections that carry model traffic have their bytes written. Until a connection is judged its bytes wait here,
//! bounded; of a connection that is never judged so, only `open` and `close` (with byte counts) are written.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    io::{self, Write},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;

use super::{
    ClosedBy, Connection, ConnectionKey, Direction, Event, Role,
    format::{Header, Record, VERSION},
    mask::{self, Mask},
};

/// Most bytes that wait for the judgement of one connection. A request head is far smaller.
const MAX_WAITING_PER_CONNECTION: usize = 256 << 10;

/// Most bytes that wait in all.
const MAX_WAITING: usize = 16 << 20;

struct Waiting {
    at: u64,
    direction: Direction,
    offset: u64,
    bytes: Bytes,
}

#[derive(Default)]
struct State {
    /// `None` once `open` is written.
    open: Option<(u64, Arc<Connection>)>,
    id: Arc<str>,
    model_traffic: bool,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    send: Side,
    receive: Side,
    last_at: u64,
}

#[derive(Default)]
struct Side {
    mask: Mask,
    /// Bytes that the mask has not settled yet: their times, and how many of `held` each has.
    pieces: VecDeque<(u64, usize)>,
    held: Vec<u8>,
    /// Offset after the last byte that went to the mask.
    masked: u64,
    /// Offset after the last byte seen.
    next: u64,
    /// Bytes seen.
    bytes: u64,
}

/// A capture file being written.
pub struct Recorder<W: Write> {
    out: W,
    connections: HashMap<ConnectionKey, State>,
    waiting_bytes: usize,
    /// Bytes that were let go before their connection was judged.
    pub let_go: u64,
}

#[derive(Serialize)]
struct Counts<'a> {
    #[serde(flatten)]
    record: Record<'a>,
    sent_bytes: u64,
    received_bytes: u64,
}

impl<W: Write> Recorder<W> {
    /// Writes the header.
    pub fn new(mut out: W) -> io::Result<Self> {
        write_line(&mut out, &Header { llmtap_capture: VERSION })?;
        Ok(Self { out, connections: HashMap::new(), waiting_bytes: 0, let_go: 0 })
    }

    /// Takes one event, in the order observed.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Process { at, process } => {
                let service = process.service_name();
                let record = Record {
                    pid: Some(process.pid),
                    ppid: process.ppid,
                    start: process.start,
                    uid: process.uid,
                    exe: lent(&process.exe),
                    argv0: lent(&process.argv0),
                    service: lent(&service),
                    container: process.container.as_deref().cloned().map(Box::new),
                    pod: process.pod.clone().map(Box::new),
                    awaits_pod: process.awaits_pod.then_some(true),
                    ..kind("proc", *at)
                };
                write_line(&mut self.out, &record)
            }
            Event::Open { at, key, connection } => {
                let state = State {
                    open: Some((*at, connection.clone())),
                    id: connection.id.clone(),
                    last_at: *at,
                    ..State::default()
                };
                self.connections.insert(*key, state);
                Ok(())
            }
            Event::Data { at, key, direction, offset, bytes } => self.data(*key, *at, *direction, *offset, bytes),
            Event::Gap { at, key, direction, offset, lost } => self.gap(*key, *at, *direction, *offset, *lost),
            Event::Unread { at, key, direction, offset, bytes } => self.gap(*key, *at, *direction, *offset, *bytes),
            Event::Close { at, key, by } => self.close(*key, *at, Some(*by)),
        }
    }

    /// The connection speaks HTTP/2, where credentials stand in other places. To be said before it is judged.
    pub fn speaks_http2(&mut self, key: ConnectionKey) {
        if let Some(state) = self.connections.get_mut(&key).filter(|state| !state.model_traffic) {
            state.send.mask = Mask::http2();
            state.receive.mask = Mask::http2();
        }
    }

    /// The connection carries model traffic: its bytes are written from its beginning on.
    pub fn model_traffic(&mut self, key: ConnectionKey) -> io::Result<()> {
        let Some(state) = self.connections.get_mut(&key).filter(|state| !state.model_traffic) else {
            return Ok(());
        };
        state.model_traffic = true;
        self.waiting_bytes -= std::mem::take(&mut state.waiting_bytes);
        for waiting in std::mem::take(&mut state.waiting) {
            write_data(&mut self.out, state, waiting.at, waiting.direction, waiting.offset, &waiting.bytes)?;
        }
        Ok(())
    }

    /// Writes what is due and flushes. Connections that are still open get no `close`.
    pub fn finish(mut self) -> io::Result<W> {
        let keys: BTreeMap<u64, ConnectionKey> = self.connections.keys().map(|key| (key.0, *key)).collect();
        for key in keys.into_values() {
            if let Some(state) = self.connections.get_mut(&key) {
                write_open(&mut self.out, state)?;
                give_up(&mut self.out, state, Direction::Send, 0)?;
                give_up(&mut self.out, state, Direction::Receive, 0)?;
            }
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn data(
        &mut self,
        key: ConnectionKey,
        at: u64,
        direction: Direction,
        offset: u64,
        bytes: &Bytes,
    ) -> io::Result<()> {
        let Some(state) = self.connections.get_mut(&key) else { return Ok(()) };
        let side = state.side(direction);
        side.next = offset + bytes.len() as u64;
        side.bytes += bytes.len() as u64;
        if state.model_traffic {
            return write_data(&mut self.out, state, at, direction, offset, bytes);
        }
        let full = state.waiting_bytes + bytes.len() > MAX_WAITING_PER_CONNECTION
            || self.waiting_bytes + bytes.len() > MAX_WAITING;
        if full {
            // Judged later, the jump in offsets tells what is missing.
            self.let_go += bytes.len() as u64;
            return Ok(());
        }
        state.waiting_bytes += bytes.len();
        self.waiting_bytes += bytes.len();
        state.waiting.push(Waiting { at, direction, offset, bytes: bytes.clone() });
        Ok(())
    }

    fn gap(&mut self, key: ConnectionKey, at: u64, direction: Direction, offset: u64, lost: u64) -> io::Result<()> {
        let Some(state) = self.connections.get_mut(&key).filter(|state| state.model_traffic) else { return Ok(()) };
        give_up(&mut self.out, state, direction, lost)?;
        let at = state.clamp(at);
        let id = state.id.clone();
        let record = Record {
            conn: Some(Cow::Borrowed(&id)),
            dir: Some(Cow::Borrowed(direction_name(direction))),
            off: Some(offset),
            len: Some(lost),
            ..kind("gap", at)
        };
        write_line(&mut self.out, &record)
    }

    fn close(&mut self, key: ConnectionKey, at: u64, by: Option<ClosedBy>) -> io::Result<()> {
        let Some(mut state) = self.connections.remove(&key) else { return Ok(()) };
        self.waiting_bytes -= state.waiting_bytes;
        write_open(&mut self.out, &mut state)?;
        give_up(&mut self.out, &mut state, Direction::Send, 0)?;
        give_up(&mut self.out, &mut state, Direction::Receive, 0)?;
        let by = match by {
            Some(ClosedBy::Local) => Some("local"),
            Some(ClosedBy::Peer) => Some("peer"),
            Some(ClosedBy::Reset) => Some("reset"),
            Some(ClosedBy::Exit) => Some("exit"),
            Some(ClosedBy::Unknown) | None => None,
        };
        let at = state.clamp(at);
        let record = Counts {
            record: Record { conn: Some(Cow::Borrowed(&state.id)), by: by.map(Cow::Borrowed), ..kind("close", at) },
            sent_bytes: state.send.bytes,
            received_bytes: state.receive.bytes,
        };
        write_line(&mut self.out, &record)
    }
}

impl State {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Send => &mut self.send,
            Direction::Receive => &mut self.receive,
        }
    }

    /// Times do not decrease within a connection, although a send carries the time of its entry and is seen after a
    /// receive that ended in between.
    fn clamp(&mut self, at: u64) -> u64 {
        self.last_at = self.last_at.max(at);
        self.last_at
    }
}

fn write_open(out: &mut impl Write, state: &mut State) -> io::Result<()> {
    let Some((at, connection)) = state.open.take() else { return Ok(()) };
    let record = Record {
        conn: Some(Cow::Borrowed(&connection.id)),
        pid: connection.pid,
        tid: connection.tid,
        comm: lent(&connection.comm),
        exe: lent(&connection.exe),
        cgroup: lent(&connection.cgroup),
        container_id: lent(&connection.container_id),
        tls: lent(&connection.tls),
        sni: lent(&connection.sni),
        peer: lent(&connection.peer),
        role: (connection.role == Role::Server).then_some(Cow::Borrowed("server")),
        ..kind("open", at)
    };
    write_line(out, &record)
}

fn write_data(
    out: &mut impl Write,
    state: &mut State,
    at: u64,
    direction: Direction,
    offset: u64,
    bytes: &Bytes,
) -> io::Result<()> {
    write_open(out, state)?;
    let side = state.side(direction);
    let missing = offset.saturating_sub(side.masked);
    if missing > 0 {
        give_up(out, state, direction, missing)?;
    }
    let side = state.side(direction);
    side.masked = offset + bytes.len() as u64;
    side.pieces.push_back((at, bytes.len()));
    side.held.extend_from_slice(bytes);
    let settled = side.mask.mask(&mut side.held);
    write_settled(out, state, direction, settled)
}

/// What the mask still waits for does not come: what waits for it is blackened.
fn give_up(out: &mut impl Write, state: &mut State, direction: Direction, lost: u64) -> io::Result<()> {
    let side = state.side(direction);
    mask::blacken(&mut side.held);
    side.mask.gap(lost);
    let settled = side.held.len();
    write_settled(out, state, direction, settled)
}

/// Writes the first `settled` bytes of those that wait, in the pieces in which they came.
fn write_settled(out: &mut impl Write, state: &mut State, direction: Direction, settled: usize) -> io::Result<()> {
    let side = state.side(direction);
    let mut offset = side.masked - side.held.len() as u64;
    let mut bytes: Vec<u8> = side.held.drain(..settled).collect();
    while !bytes.is_empty() {
        let Some((at, length)) = state.side(direction).pieces.pop_front() else { return Ok(()) };
        let rest = bytes.split_off(length.min(bytes.len()));
        if bytes.len() < length {
            state.side(direction).pieces.push_front((at, length - bytes.len()));
        }
        write_piece(out, state, at, direction, offset, &bytes)?;
        offset += bytes.len() as u64;
        bytes = rest;
    }
    Ok(())
}

fn write_piece(
    out: &mut impl Write,
    state: &mut State,
    at: u64,
    direction: Direction,
    offset: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let at = state.clamp(at);
    let (text, b64) = match std::str::from_utf8(bytes) {
        Ok(text) => (Some(Cow::Borrowed(text)), None),
        Err(_) => (None, Some(Cow::Owned(STANDARD.encode(bytes)))),
    };
    let record = Record {
        conn: Some(Cow::Borrowed(&state.id)),
        dir: Some(Cow::Borrowed(direction_name(direction))),
        off: Some(offset),
        text,
        b64,
        ..kind("data", at)
    };
    write_line(out, &record)
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send",
        Direction::Receive => "recv",
    }
}

fn kind(k: &'static str, ts: u64) -> Record<'static> {
    Record { k: Cow::Borrowed(k), ts, ..Record::default() }
}

fn lent(text: &Option<Arc<str>>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn write_line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{Process, container::Container, replay::Replay},
        kubernetes::InPod,
    };

    fn open(key: u64) -> Event {
        let connection = Connection { id: format!("c{key}").into(), pid: Some(7), ..Connection::default() };
        Event::Open { at: 10, key: ConnectionKey(key), connection: Arc::new(connection) }
    }

    fn data(key: u64, at: u64, direction: Direction, offset: u64, bytes: &'static [u8]) -> Event {
        Event::Data { at, key: ConnectionKey(key), direction, offset, bytes: Bytes::from_static(bytes) }
    }

    fn record(events: &[Event], judged: &[u64]) -> String {
        let mut recorder = Recorder::new(Vec::new()).unwrap();
        for event in events {
            recorder.push(event).unwrap();
            if let Event::Data { key, .. } = event
                && judged.contains(&key.0)
            {
                recorder.model_traffic(*key).unwrap();
            }
        }
        String::from_utf8(recorder.finish().unwrap()).unwrap()
    }

    #[test]
    fn what_is_recorded_replays_as_the_same_events() {
        let process = Process {
            pid: 7,
            uid: Some(0),
            service: Some("s".into()),
            service_is_stated: true,
            container: Some(Arc::new(Container { id: "ef2b".into(), ..Container::default() })),
            pod: Some(InPod { name: Some("agent-0".into()), ..InPod::default() }),
            awaits_pod: true,
            ..Process::default()
        };
        let events = [
            Event::Process { at: 1, process: Arc::new(process) },
            open(1),
            data(1, 20, Direction::Send, 0, b"POST / HTTP/1.1\r\n\r\n"),
            data(1, 30, Direction::Receive, 0, b"\xff\x00"),
            Event::Gap { at: 31, key: ConnectionKey(1), direction: Direction::Receive, offset: 2, lost: 5 },
            Event::Close { at: 40, key: ConnectionKey(1), by: ClosedBy::Reset },
        ];
        let text = record(&events, &[1]);
        let mut replay = Replay::new(text.as_bytes()).unwrap();
        let mut again = Vec::new();
        while replay.next(&mut again).unwrap() {}
        assert_eq!(again, events);
    }

    #[test]
    fn the_service_that_was_told_is_the_one_that_is_replayed() {
        let pod = InPod { service: Some("agent".into()), ..InPod::default() };
        let process = Process { pid: 7, service: Some("python3".into()), pod: Some(pod), ..Process::default() };
        let text = record(&[Event::Process { at: 1, process: Arc::new(process) }], &[]);
        let mut again = Vec::new();
        assert!(Replay::new(text.as_bytes()).unwrap().next(&mut again).unwrap());
        let [Event::Process { process, .. }] = again.as_slice() else { panic!("{again:?}") };
        assert_eq!(process.service_name().as_deref(), Some("agent"));
    }

    #[test]
    fn bytes_of_other_connections_and_credentials_are_never_written() {
        let events = [
            open(1),
            open(2),
            data(1, 20, Direction::Send, 0, b"POST / HTTP/1.1\r\nAuthorization: Bearer sk-se"),
            data(2, 20, Direction::Send, 0, b"private mail"),
            data(1, 21, Direction::Send, 43, b"cret\r\n\r\n"),
            Event::Close { at: 40, key: ConnectionKey(2), by: ClosedBy::Local },
        ];
        let text = record(&events, &[1]);
        assert!(!text.contains("cret") && !text.contains("private"), "{text}");
        assert!(text.contains("\"sent_bytes\":12"), "{text}");
    }
}
