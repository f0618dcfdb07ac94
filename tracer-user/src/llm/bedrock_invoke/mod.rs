//! Bedrock's InvokeModel and InvokeModelWithResponseStream: the body is the model's own, of which each vendor has its
//! shape. Streamed, it comes in base64 inside the messages of an AWS event stream.
//!
//! - <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>
//! - Bodies: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>

mod decoder;
mod model;
mod native;

use super::{
    Claim, Dialect,
    bedrock::{is_signed, model_and_operation},
    call::Operation,
    decode::{CallLimits, Decoder},
    recognise::Target,
};
use crate::{
    content::{Form, forms::INVOKE},
    proto::RequestHead,
};
use decoder::InvokeDecoder;
use model::Bodies;

pub struct BedrockInvoke;

impl Dialect for BedrockInvoke {
    fn name(&self) -> &'static str {
        "bedrock_invoke"
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        let Some((model, stream)) = model_and_stream(&head.path) else { return Claim::None };
        let bedrock = target.is_none_or(|target| target.provider() == Some("aws.bedrock"));
        match Bodies::of(&model) {
            Bodies::None => Claim::None,
            // Nothing else is called so.
            _ if stream || bedrock || is_signed(head) => Claim::Sure,
            _ => Claim::ByBody,
        }
    }

    fn provider(&self) -> &'static str {
        "aws.bedrock"
    }

    fn operation(&self) -> Operation {
        Operation::TextCompletion
    }

    fn content(&self) -> Option<&'static Form> {
        Some(&INVOKE)
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let (model, stream) = model_and_stream(&target.head.path).unwrap_or_default();
        Box::new(InvokeDecoder::new(model, stream, &target.head.headers, limits))
    }
}

fn model_and_stream(path: &str) -> Option<(String, bool)> {
    let (model, operation) = model_and_operation(path)?;
    match operation {
        "invoke" => Some((model, false)),
        "invoke-with-response-stream" => Some((model, true)),
        _ => None,
    }
}
