//! Content: what was asked and answered, in the message form of the OpenTelemetry semantic conventions for generative AI.
//!
//! It is a leaf that `llm` fills and that whoever tells or examines a call reads. Nobody fills it unless it is asked for:
//! content is off by default, and then nothing of a body is kept.

mod message;

pub use message::{Content, LeftOut, Message, Part, Place, Tool};
