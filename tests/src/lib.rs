//! What the end-to-end tests and the demo stand on: a mock provider that knows exactly what it said and when, the
//! comparison of traced spans with that truth, and the harness that runs real clients under `llmtap`.

pub mod api_server;
pub mod compare;
pub mod environment;
pub mod harness;
pub mod mock;
pub mod receiver;
pub mod registry;
pub mod spans;
pub mod tracer;
pub mod yard;
