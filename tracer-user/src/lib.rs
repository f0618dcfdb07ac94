//! llmtap: zero-code tracing of LLM traffic.
//!
//! The line runs left to right and each stage imports only the output type of the stage before it:
//!
//! ```text
//! capture → flow → proto → exchange → llm → agent → span → export
//! ```

pub mod agent;
pub mod attempts;
pub mod attribution;
pub mod capture;
pub mod carrier;
pub mod changes;
pub mod commands;
pub mod config;
pub mod content;
pub mod credentials;
pub mod diagnostics;
pub mod doctor;
pub mod environment;
pub mod exchange;
pub mod export;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
pub mod guard;
pub mod hop;
pub mod json;
pub mod kubernetes;
pub mod live;
pub mod llm;
pub mod mcp;
pub mod metrics;
mod names;
pub mod observe;
pub mod output;
pub mod pipeline;
pub mod price;
pub mod proto;
pub mod redact;
pub mod retrieval;
pub mod sampling;
pub mod session;
pub mod span;
