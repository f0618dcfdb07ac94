//! A mock of the providers' HTTP interfaces with scripted behaviour and a log of what it really sent.
//!
//! `serve` accepts and runs connections; `http1` reads requests and writes responses with control over every write;
//! `directive` says what a request asks the mock to do; `answer` finds the API at its path, and `api` turns both into
//! bodies and event streams (`plan`), which `play` sends; `truth` records what went out. `http2` is
//! the other transport; `reply` is what `play` asks of both.

mod answer;
mod api;
mod beside;
pub(crate) mod certificate;
mod directive;
mod encoding;
mod failure;
pub(crate) mod http1;
mod http2;
mod plan;
mod play;
mod reply;
mod serve;
mod truth;
mod websocket;

pub use directive::{Directive, HELP};
pub use serve::{MockProvider, Options};
pub use truth::{Ended, Times, ToolCall, Truth, Usage, read_log};

#[cfg(test)]
mod tests;
