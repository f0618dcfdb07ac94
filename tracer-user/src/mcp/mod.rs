//! Mcp: tells requests of the Model Context Protocol from other traffic and reads each into one [`Request`].
//!
//! Over HTTP a client POSTs JSON-RPC and is answered by JSON or by an event stream (Streamable HTTP, 2025-03-26 and
//! later, with or without sessions), or, in the transport of 2024-11-05, by messages on an event stream that it holds
//! open beside: <https://modelcontextprotocol.io/specification>. The path is the server's choice, so that the bodies
//! have to prove what they are.
//!
//! What the server asks of the client (sampling, elicitation, roots) is no request of the traced program's: it gets no
//! span.

mod fuzz;
mod legacy;
mod message;
mod recognise;
mod requests;

#[cfg(test)]
mod tests;

pub use fuzz::fuzz;
pub use message::Id;
pub use recognise::could_be_mcp;
pub use requests::{Limits, Requests};

use crate::{carrier::Carrier, llm::call::CallError};

/// One JSON-RPC request or notification that the traced program sent, as it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its end is that of the answer, which may come long before the exchange's.
    pub carrier: Carrier,
    /// 0-based among the messages of its exchange.
    pub number: u32,
    /// `mcp.method.name`.
    pub method: String,
    /// `None` for a notification.
    pub id: Option<Id>,
    /// What `tools/call` calls.
    pub tool: Option<String>,
    /// What `prompts/get` asks for.
    pub prompt: Option<String>,
    pub resource: Option<String>,
    pub protocol_version: Option<String>,
    pub session_id: Option<String>,
    /// Code of a JSON-RPC error.
    pub error_code: Option<String>,
    pub error: Option<CallError>,
}
