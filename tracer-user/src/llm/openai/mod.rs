//! What the OpenAI dialects share: the members of their requests and responses. Services that speak these APIs add
//! members and leave some out; what they state under OpenAI's names means the same.

mod request;
mod response;

pub use request::{OpenAiRequest, Prompt};
pub use response::{Body, OpenAiResponse};
