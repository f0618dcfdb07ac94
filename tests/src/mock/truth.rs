//! What the mock really did, one record an exchange. Only what left on the wire counts as stated.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// How an exchange ended, as the server saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The whole response was written.
    #[default]
    Complete,
    /// An error event ended the stream.
    ErrorEvent,
    /// The server closed the connection before the response's end.
    Closed,
    /// The server reset it.
    Reset,
    /// The server fell silent and gave up.
    Stalled,
    /// The client went away before the response's end.
    ClientGone,
}

/// Nanoseconds since the Unix epoch (`CLOCK_REALTIME`), each taken right before the socket write or right after the
/// socket read that it names. 0 means that it did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Times {
    /// First bytes of the request read.
    pub request_first: u64,
    /// Last byte of the request read.
    pub request_last: u64,
    /// Before the write of the response head.
    pub first_byte: u64,
    /// Before the write of the first event with content (text, reasoning, tool arguments); streams only.
    pub first_token: u64,
    /// Before the write of the last event with content; streams only.
    pub last_token: u64,
    /// After the last write.
    pub end: u64,
}

/// Tokens as stated on the wire, in llmtap's normal form: input includes cached parts, output includes reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolCall {
    pub name: String,
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Truth {
    /// Number of the exchange, in the order of requests.
    pub exchange: u64,
    /// Number of the connection, and of the exchange on it, from 0.
    pub connection: u64,
    pub index: u64,
    pub client_port: u16,
    pub method: String,
    pub path: String,
    pub host: Option<String>,
    pub user_agent: Option<String>,
    /// `gen_ai.provider.name` of a model call; absent for everything else, which must give no span.
    pub provider: Option<String>,
    /// `gen_ai.operation.name` of a model call.
    pub operation: Option<String>,
    pub request_model: Option<String>,
    pub stream: bool,
    /// The client's own count of repetitions.
    pub retry: Option<u32>,
    /// How often the same request came before, of those that are to fail some times.
    pub repeated: u32,
    pub status: u16,
    pub response_id: Option<String>,
    pub response_model: Option<String>,
    pub finish_reasons: Vec<String>,
    pub tool_calls: Vec<ToolCall>,
    pub usage: Usage,
    /// What `error.type` has to say, where a body or a status says it.
    pub error_type: Option<String>,
    pub ended: Ended,
    /// Events with content that were written.
    pub content_events: u64,
    /// All events that were written.
    pub events: u64,
    pub request_bytes: u64,
    /// As written, head and framing included.
    pub response_bytes: u64,
    pub encoding: Option<String>,
    pub times: Times,
}

/// Now, in nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

/// Keeps all records in memory, and in a file as JSON lines when asked.
#[derive(Default)]
pub struct Log {
    kept: Mutex<Vec<Truth>>,
    file: Option<Mutex<File>>,
}

impl Log {
    pub fn new(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| File::create(path).with_context(|| format!("cannot write {}", path.display())))
            .transpose()?;
        Ok(Self { kept: Mutex::default(), file: file.map(Mutex::new) })
    }

    /// Each record is one whole `write`, so that a reader of the file never sees half a line for long.
    pub fn record(&self, truth: Truth) -> anyhow::Result<()> {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_vec(&truth)?;
            line.push(b'\n');
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?;
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(truth);
        Ok(())
    }

    pub fn all(&self) -> Vec<Truth> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a log file back.
pub fn read_log(path: &Path) -> anyhow::Result<Vec<Truth>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    BufReader::new(file)
        .lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(&line?).with_context(|| format!("{}: line {}", path.display(), index + 1))
        })
        .collect()
}
