//! Llm: tells model calls from other traffic and reads each API's dialect into one [`LlmCall`].

pub mod call;

pub use call::LlmCall;
