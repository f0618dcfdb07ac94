//! Lines of OTLP/JSON: one `TracesData` object a line, as the Collector's file exporter writes it and its OTLP/JSON
//! receivers read it.

use std::io::{self, Write};

use opentelemetry_proto::tonic::{logs::v1::LogsData, trace::v1::TracesData};
use serde::Serialize;

use super::convert;
use crate::span::{EventRecord, SpanRecord};

/// Writes each span as one line and flushes it, so that a reader of a pipe sees a call when it ends.
#[derive(Debug)]
pub struct Jsonl<W> {
    out: W,
    /// One line; kept so that its memory is used again.
    line: Vec<u8>,
}

impl<W: Write> Jsonl<W> {
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    /// Also writes spans that the traced program's own sampling left out: their flags say so.
    pub fn write(&mut self, record: SpanRecord) -> io::Result<()> {
        self.line(&TracesData { resource_spans: convert::resource_spans([record]) })
    }

    /// The same of an event: a `LogsData` object, as the Collector's file exporter writes it among the others.
    pub fn event(&mut self, record: EventRecord) -> io::Result<()> {
        self.line(&LogsData { resource_logs: convert::resource_logs([record]) })
    }

    fn line(&mut self, data: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, data)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.out.flush()
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

#[cfg(test)]
mod tests;
