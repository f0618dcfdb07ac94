//! A finished span as plain data: what every exporter takes.

use std::{borrow::Cow, sync::Arc};

use super::{
    ids::{SpanId, TraceId},
    resource::Resource,
};

/// Bit 0 of the W3C trace flags: the caller records this trace.
pub const SAMPLED: u8 = 1;

/// Rough size of a span's fixed part, for the byte count of a queue.
const FIXED_BYTES: usize = 512;

#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<Parent>,
    /// W3C trace flags. Without [`SAMPLED`] the span is shown and counted but not exported.
    pub flags: u8,
    /// W3C `tracestate` of the request, verbatim.
    pub trace_state: Option<String>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Never before `start`.
    pub end: u64,
    pub status: Status,
    /// In a fixed order, each name once.
    pub attributes: Vec<(&'static str, Value)>,
    pub links: Vec<Link>,
    pub resource: Arc<Resource>,
}

impl SpanRecord {
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// By which another span points at it.
    pub fn link(&self) -> Link {
        Link { trace_id: self.trace_id, span_id: self.span_id }
    }

    /// Roughly the memory that the span holds, in bytes; the resource is shared and not counted.
    pub fn weight(&self) -> usize {
        let values: usize = self.attributes.iter().map(|(_, value)| value.weight()).sum();
        FIXED_BYTES + self.name.len() + self.trace_state.as_ref().map_or(0, String::len) + values
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub span_id: SpanId,
    /// It came over the wire: the parent span is another program's.
    pub remote: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Client,
}

/// The conventions leave the status of a call that did not fail unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Unset,
    Error,
}

#[derive(Clone, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    /// What was asked or answered: its `Debug` is hidden.
    Content(String),
    Shared(Arc<str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    Texts(Vec<String>),
}

impl Value {
    pub(super) fn weight(&self) -> usize {
        let heap = match self {
            Self::Text(text) => text.len(),
            Self::Content(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            Self::Shared(_) | Self::Int(_) | Self::Double(_) | Self::Bool(_) => 0,
        };
        size_of::<(&str, Self)>() + heap
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Content(text) => Some(text),
            Self::Shared(text) => Some(text),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Content(text) => write!(f, "Content({} bytes)", text.len()),
            Self::Shared(text) => write!(f, "Shared({text:?})"),
            Self::Int(number) => write!(f, "Int({number})"),
            Self::Double(number) => write!(f, "Double({number:?})"),
            Self::Bool(flag) => write!(f, "Bool({flag})"),
            Self::Texts(texts) => write!(f, "Texts({texts:?})"),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

/// A count past 2^63 is no real count; it stays at the largest number that OTLP can carry.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}
