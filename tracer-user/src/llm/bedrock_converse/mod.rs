//! Bedrock's Converse and ConverseStream: one shape for the models of all vendors. The stream is an AWS event stream.
//!
//! - Request and response: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
//! - Events of a stream: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

mod request;
mod response;

pub use request::ConverseRequest;
pub use response::ConverseResponse;

use super::{
    Claim, Dialect,
    bedrock::model_and_operation,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::Target,
};
use crate::{
    content::{Form, forms::CONVERSE},
    proto::RequestHead,
};

pub struct BedrockConverse;

impl Dialect for BedrockConverse {
    fn name(&self) -> &'static str {
        "bedrock_converse"
    }

    fn claim(&self, head: &RequestHead, _: Option<&Target<'_>>) -> Claim {
        if model_and_stream(&head.path).is_some() { Claim::Sure } else { Claim::None }
    }

    fn provider(&self) -> &'static str {
        "aws.bedrock"
    }

    fn operation(&self) -> Operation {
        Operation::Chat
    }

    fn content(&self) -> Option<&'static Form> {
        Some(&CONVERSE)
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let (model, stream) = model_and_stream(&target.head.path).unzip();
        Box::new(JsonDecoder::new(ConverseRequest::new(model, stream, limits), ConverseResponse::new(limits)))
    }
}

fn model_and_stream(path: &str) -> Option<(String, bool)> {
    let (model, operation) = model_and_operation(path)?;
    match operation {
        "converse" => Some((model, false)),
        "converse-stream" => Some((model, true)),
        _ => None,
    }
}
