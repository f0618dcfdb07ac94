//! Reads a capture file as the events that live capture would have given.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    ClosedBy, Connection, ConnectionKey, Direction, Event, Process, Role,
    format::{Header, Record, VERSION},
};

/// Longest line, bytes. A record of the recorder holds at most one TLS record's worth of bytes; other writers may hold
/// more, but a line past this is no capture.
const MAX_LINE: u64 = 128 << 20;

/// The first bytes of a zstd frame (RFC 8878 section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a capture file cannot be read. No variant carries text of the file: it could be payload.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the capture: {0}")]
    Read(#[from] io::Error),
    #[error("the capture is empty: line 1 must be {{\"llmtap_capture\":1}}")]
    Empty,
    #[error("not a capture file: line 1 must be {{\"llmtap_capture\":1}} (llmtap run --record FILE writes one)")]
    NotACapture,
    #[error("the capture has version {0}; this llmtap reads version {VERSION}: use a newer llmtap")]
    Version(u64),
    #[error("line {line}, column {column}: not a JSON record{}", truncated_hint(*.at_end))]
    NotJson { line: u64, column: usize, at_end: bool },
    #[error("line {line}: {what}")]
    Record { line: u64, what: &'static str },
    #[error("line {line} is longer than {} MiB", MAX_LINE >> 20)]
    LineTooLong { line: u64 },
    #[error(
        "the compressed capture ends early or is damaged after line {line}: what stands before it was used ({source})"
    )]
    Damaged { line: u64, source: io::Error },
}

fn truncated_hint(at_end: bool) -> &'static str {
    if at_end { ": the file ends within a record (cut short?); what stands before it was used" } else { "" }
}

/// A capture file being read. Events come in the order of the file.
pub struct Replay<'a> {
    input: Box<dyn BufRead + 'a>,
    compressed: bool,
    line: Vec<u8>,
    number: u64,
    connections: HashMap<Box<str>, ConnectionKey>,
    next_key: u64,
    unknown_kinds: HashSet<Box<str>>,
}

impl<'a> Replay<'a> {
    /// Begins to read `input`, plain or zstd-compressed, and checks its header.
    pub fn new(input: impl Read + 'a) -> Result<Self, ReplayError> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let compressed = input.fill_buf()?.starts_with(&ZSTD_MAGIC);
        let input: Box<dyn BufRead + 'a> = if compressed {
            Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::with_buffer(input)?))
        } else {
            Box::new(input)
        };
        let mut replay = Self {
            input,
            compressed,
            line: Vec::new(),
            number: 0,
            connections: HashMap::new(),
            next_key: 0,
            unknown_kinds: HashSet::new(),
        };
        if !replay.read_line()? {
            return Err(ReplayError::Empty);
        }
        let header: Header = serde_json::from_slice(&replay.line).map_err(|_| ReplayError::NotACapture)?;
        match header.llmtap_capture {
            VERSION => Ok(replay),
            other => Err(ReplayError::Version(other)),
        }
    }

    /// Appends the events of the next record; `false` at the end of the file.
    pub fn next(&mut self, out: &mut Vec<Event>) -> Result<bool, ReplayError> {
        if !self.read_line()? {
            return Ok(false);
        }
        if self.line.iter().all(u8::is_ascii_whitespace) {
            return Ok(true);
        }
        let line = std::mem::take(&mut self.line);
        let result = match serde_json::from_slice::<Record<'_>>(&line) {
            Ok(record) => self.record(record, out),
            Err(error) => {
                let at_end = self.input.fill_buf().is_ok_and(<[u8]>::is_empty);
                Err(ReplayError::NotJson { line: self.number, column: error.column(), at_end })
            }
        };
        self.line = line;
        result.map(|()| true)
    }

    fn read_line(&mut self) -> Result<bool, ReplayError> {
        self.line.clear();
        let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => return Ok(false),
            Ok(n) if n as u64 == MAX_LINE => return Err(ReplayError::LineTooLong { line: self.number + 1 }),
            Ok(_) => {}
            Err(source) if self.compressed => return Err(ReplayError::Damaged { line: self.number, source }),
            Err(error) => return Err(error.into()),
        }
        self.number += 1;
        Ok(true)
    }

    fn record(&mut self, record: Record<'_>, out: &mut Vec<Event>) -> Result<(), ReplayError> {
        let at = record.ts;
        match &*record.k {
            "open" => {
                let id = self.conn(&record)?;
                let connection = Connection {
                    id: id.into(),
                    pid: record.pid,
                    tid: record.tid,
                    comm: shared(record.comm),
                    exe: shared(record.exe),
                    cgroup: shared(record.cgroup),
                    container_id: shared(record.container_id),
                    tls: shared(record.tls),
                    sni: shared(record.sni),
                    peer: shared(record.peer),
                    role: if record.role.as_deref() == Some("server") { Role::Server } else { Role::Client },
                };
                let key = self.new_key(&connection.id);
                out.push(Event::Open { at, key, connection: Arc::new(connection) });
            }
            "data" => {
                let key = self.known_key(&record, out)?;
                let (direction, offset) = self.place(&record)?;
                let bytes = match (record.text, record.b64) {
                    (Some(text), None) => Bytes::from(text.into_owned()),
                    (None, Some(b64)) => {
                        Bytes::from(STANDARD.decode(b64.as_bytes()).map_err(|_| self.wrong("`b64` is not base64"))?)
                    }
                    _ => return Err(self.wrong("a data record needs one of `text` and `b64`")),
                };
                out.push(Event::Data { at, key, direction, offset, bytes });
            }
            "gap" => {
                let key = self.known_key(&record, out)?;
                let (direction, offset) = self.place(&record)?;
                out.push(Event::Gap { at, key, direction, offset, lost: record.len.unwrap_or(0) });
            }
            "close" => {
                let key = self.known_key(&record, out)?;
                let by = match record.by.as_deref() {
                    Some("local") => ClosedBy::Local,
                    Some("peer") => ClosedBy::Peer,
                    Some("reset") => ClosedBy::Reset,
                    Some("exit") => ClosedBy::Exit,
                    _ => ClosedBy::Unknown,
                };
                self.connections.remove(self.conn(&record)?);
                out.push(Event::Close { at, key, by });
            }
            "proc" => {
                let pid = record.pid.ok_or_else(|| self.wrong("a proc record needs `pid`"))?;
                let process = Process {
                    pid,
                    ppid: record.ppid,
                    start: record.start,
                    exe: shared(record.exe),
                    argv0: shared(record.argv0),
                    uid: record.uid,
                    // The one that was told, whoever stated it.
                    service_is_stated: record.service.is_some(),
                    service: shared(record.service),
                    container: record.container.map(|container| Arc::new(*container)),
                    pod: record.pod.map(|pod| *pod),
                    awaits_pod: record.awaits_pod.unwrap_or_default(),
                    ..Process::default()
                };
                out.push(Event::Process { at, process: Arc::new(process) });
            }
            unknown => {
                // Later versions may add kinds; each is named once.
                if self.unknown_kinds.len() < 16 && self.unknown_kinds.insert(unknown.into()) {
                    tracing::warn!(line = self.number, "skipped records of an unknown kind (key `k`)");
                }
            }
        }
        Ok(())
    }

    fn conn<'r>(&self, record: &'r Record<'_>) -> Result<&'r str, ReplayError> {
        record.conn.as_deref().ok_or_else(|| self.wrong("the record needs `conn`"))
    }

    fn new_key(&mut self, id: &str) -> ConnectionKey {
        self.next_key += 1;
        let key = ConnectionKey(self.next_key);
        self.connections.insert(id.into(), key);
        key
    }

    /// The key of the record's connection. A connection without `open` is opened here, with nothing known of it.
    fn known_key(&mut self, record: &Record<'_>, out: &mut Vec<Event>) -> Result<ConnectionKey, ReplayError> {
        let id = self.conn(record)?;
        if let Some(key) = self.connections.get(id) {
            return Ok(*key);
        }
        let key = self.new_key(id);
        let connection = Arc::new(Connection { id: id.into(), ..Connection::default() });
        out.push(Event::Open { at: record.ts, key, connection });
        Ok(key)
    }

    fn place(&self, record: &Record<'_>) -> Result<(Direction, u64), ReplayError> {
        let direction = match record.dir.as_deref() {
            Some("send") => Direction::Send,
            Some("recv") => Direction::Receive,
            _ => return Err(self.wrong("`dir` must be \"send\" or \"recv\"")),
        };
        Ok((direction, record.off.ok_or_else(|| self.wrong("the record needs `off`"))?))
    }

    fn wrong(&self, what: &'static str) -> ReplayError {
        ReplayError::Record { line: self.number, what }
    }
}

fn shared(text: Option<Cow<'_, str>>) -> Option<Arc<str>> {
    text.map(|text| Arc::from(&*text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(
        "{\"llmtap_capture\":1,\"note\":\"x\"}\n",
        "{\"k\":\"proc\",\"ts\":1,\"pid\":42,\"service\":\"billing\"}\n",
        "{\"k\":\"open\",\"ts\":2,\"conn\":\"a\",\"pid\":42,\"sni\":\"api.example\"}\n",
        "{\"k\":\"data\",\"ts\":3,\"conn\":\"a\",\"dir\":\"send\",\"off\":0,\"text\":\"GET\\r\\n\",\"new\":1}\n",
        "{\"k\":\"data\",\"ts\":4,\"conn\":\"a\",\"dir\":\"recv\",\"off\":0,\"b64\":\"AAEC\"}\n",
        "{\"k\":\"later\",\"ts\":4}\n",
        "{\"k\":\"gap\",\"ts\":5,\"conn\":\"a\",\"dir\":\"recv\",\"off\":3,\"len\":7}\n",
        "{\"k\":\"close\",\"ts\":6,\"conn\":\"a\",\"by\":\"peer\"}\n",
    );

    fn read(file: &[u8]) -> (Vec<Event>, Option<ReplayError>) {
        let mut events = Vec::new();
        let mut replay = match Replay::new(file) {
            Ok(replay) => replay,
            Err(error) => return (events, Some(error)),
        };
        loop {
            match replay.next(&mut events) {
                Ok(true) => {}
                Ok(false) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[test]
    fn reads_every_kind_of_record() {
        let (events, error) = read(FILE.as_bytes());
        assert!(error.is_none());
        assert_eq!(events.len(), 6);
        let key = ConnectionKey(1);
        assert_eq!(
            events[3],
            Event::Data { at: 4, key, direction: Direction::Receive, offset: 0, bytes: Bytes::from_static(&[0, 1, 2]) }
        );
        assert_eq!(events[5], Event::Close { at: 6, key, by: ClosedBy::Peer });
    }

    #[test]
    fn reads_zstd_like_plain_text() {
        let compressed = zstd::encode_all(FILE.as_bytes(), 3).unwrap();
        assert_eq!(read(&compressed).0, read(FILE.as_bytes()).0);
    }

    #[test]
    fn a_cut_file_gives_what_it_holds_and_an_error() {
        let cut = &FILE.as_bytes()[..FILE.len() - 20];
        let (events, error) = read(cut);
        assert_eq!(events.len(), 5);
        assert!(matches!(error, Some(ReplayError::NotJson { line: 8, at_end: true, .. })));

        let compressed = zstd::encode_all(FILE.as_bytes(), 3).unwrap();
        let (_, error) = read(&compressed[..compressed.len() - 10]);
        assert!(matches!(error, Some(ReplayError::Damaged { .. })));
    }

    #[test]
    fn names_what_is_wrong_without_quoting_it() {
        for (file, expected) in [
            ("", "the capture is empty"),
            ("{}\n", "not a capture file"),
            ("{\"llmtap_capture\":9}\n", "version 9"),
            ("{\"llmtap_capture\":1}\n{\"k\":\"data\",\"ts\":\"sk-secret\"}\n{}\n", "line 2, column"),
            ("{\"llmtap_capture\":1}\n{\"k\":\"data\",\"conn\":\"a\",\"dir\":\"up\",\"off\":0}\n", "`dir`"),
        ] {
            let text = read(file.as_bytes()).1.unwrap().to_string();
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("sk-secret"), "{text}");
        }
    }
}
