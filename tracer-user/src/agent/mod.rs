//! Agent: links the calls of one process into turns by the ids of their tool calls.

use std::{borrow::Cow, sync::Arc};

use crate::{capture::Connection, exchange::ExchangeId, llm::call::TraceParent};

/// Names a call after it is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRef {
    pub id: ExchangeId,
    pub connection: Arc<Connection>,
    pub trace_parent: Option<TraceParent>,
}

/// One run of a tool by the traced program, from the end of the answer that asks for it to the start of the request
/// that carries its result: an upper bound.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolRun {
    pub asked_by: CallRef,
    /// First call of the turn, when the turn has a root of ours.
    pub turn: Option<CallRef>,
    /// 0-based among the tool calls of the answer.
    pub number: u32,
    pub name: String,
    pub id: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
}

/// One agent turn: the calls from a question to the answer that asks for no further tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub first: CallRef,
    /// `gen_ai.provider.name` of its first call.
    pub provider: Cow<'static, str>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
}
