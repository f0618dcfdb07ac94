//! Content: what was asked and answered, in the message form of the OpenTelemetry semantic conventions for generative AI.
//!
//! It is a leaf that `llm` fills and that whoever tells or examines a call reads. Nobody fills it unless it is asked for:
//! content is off by default, and then nothing of a body is kept.

mod answer;
mod excerpt;
pub mod forms;
mod json;
mod message;
mod options;
mod parts;
mod reader;
mod render;
mod request;
mod share;

#[cfg(test)]
pub(crate) mod shape;

pub use forms::Form;
pub use message::{Content, LeftOut, Message, Part, Place, Tool};
pub use options::{Capture, Options, Teller, To};
pub use reader::Reader;
pub use render::{Filter, Rendered};
pub use share::Pool;

/// What the content of one call may hold while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The copy of a body without its binary strings; beyond it the history in the middle is left out. In bytes.
    pub body_bytes: usize,
    /// A string that is longer is left out whole, in bytes as written; at least 4 KiB.
    pub string_bytes: usize,
    /// What the pieces of a streamed answer come to, in bytes.
    pub answer_bytes: usize,
    /// Choices, and parts of each, that a streamed answer may have.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 1 << 20, string_bytes: 256 << 10, answer_bytes: 1 << 20, parts: 1024 }
    }
}

/// What all open calls may hold together, in bytes.
pub const POOL_BYTES: usize = 128 << 20;
