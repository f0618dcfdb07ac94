//! What the two APIs of Bedrock share: paths, errors, header fields.
//!
//! - Operations and their header fields: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html>
//! - Errors: <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization>

use super::{
    call::{LlmCall, Usage},
    failure::{Failure, Part},
    json::Scalar,
    recognise::percent_decoded,
};
use crate::proto::{Headers, RequestHead, ResponseHead};

/// `{model}` and `{operation}` of `…/model/{model}/{operation}`. The model is an id or a whole ARN, percent-encoded; some
/// gateways decode it, so that it holds slashes.
pub fn model_and_operation(path: &str) -> Option<(String, &str)> {
    let (rest, operation) = path.trim_end_matches('/').rsplit_once('/')?;
    let (before, model) = rest.split_once("model/")?;
    let is_one = !model.contains('/') || model.starts_with("arn:");
    let fits = (before.is_empty() || before.ends_with('/')) && !model.is_empty() && is_one;
    fits.then(|| (percent_decoded(model), operation))
}

/// Whether a request bears the marks of an AWS SDK, or of the API itself.
pub fn is_signed(head: &RequestHead) -> bool {
    ["amz-sdk-invocation-id", "amz-sdk-request", "x-amz-date", "x-amzn-bedrock-accept"]
        .iter()
        .any(|name| head.headers.has(name))
}

/// Takes the error's name from the header: `Name`, `Name:http://…`, or `namespace#Name`.
pub fn failed(head: &ResponseHead, failure: &mut Failure) {
    if head.status >= 400
        && let Some(name) = head.headers.get("x-amzn-errortype")
    {
        named(name, failure);
    }
}

/// An error of this name, with or without what may stand around it.
pub fn named(name: &str, failure: &mut Failure) {
    let name = name.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default().trim();
    failure.begin();
    failure.scalar(Part::Code, Scalar::Text { value: name, cut: false });
}

/// Tokens as Bedrock counts them beside the model's own body: input without what came from or went to the cache.
#[derive(Default, Clone, Copy)]
pub struct Counted {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
}

impl Counted {
    pub fn of(headers: &Headers) -> Self {
        let count = |name| headers.get(name).and_then(|count| count.parse().ok());
        Self {
            input: count("x-amzn-bedrock-input-token-count"),
            output: count("x-amzn-bedrock-output-token-count"),
            cache_read: count("x-amzn-bedrock-cache-read-input-token-count"),
            cache_write: count("x-amzn-bedrock-cache-write-input-token-count"),
        }
    }

    /// Fills what the model's body left open. The cache is told only with the input that it belongs to.
    pub fn complete(&self, usage: &mut Usage) {
        if usage.input.is_none() && self.input.is_some() {
            usage.cache_read = usage.cache_read.or(self.cache_read);
            usage.cache_write = usage.cache_write.or(self.cache_write);
            usage.input = whole_input(self.input, usage);
        }
        usage.output = usage.output.or(self.output);
    }
}

/// The input with what came from and went to the cache, which Bedrock states beside it.
pub fn whole_input(input: Option<u64>, usage: &Usage) -> Option<u64> {
    input
        .map(|input| input.saturating_add(usage.cache_read.unwrap_or(0)).saturating_add(usage.cache_write.unwrap_or(0)))
}

/// Inference that is optimised for latency has prices of its own, like a service tier.
pub fn priced_latency(call: &mut LlmCall, latency: Option<&str>) {
    let tier = call.response.service_tier.as_deref();
    if let (Some(latency @ "optimized"), None | Some("default")) = (latency, tier) {
        call.response.service_tier = Some(latency.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_model_and_operation() {
        for (path, model, operation) in [
            ("/model/amazon.nova-lite-v1%3A0/converse", "amazon.nova-lite-v1:0", "converse"),
            ("/gateway/model/m/invoke/", "m", "invoke"),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.m/converse-stream",
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.m",
                "converse-stream",
            ),
            (
                "/model/arn:aws:bedrock:us-east-1:1:custom-model/a/b/invoke",
                "arn:aws:bedrock:us-east-1:1:custom-model/a/b",
                "invoke",
            ),
        ] {
            assert_eq!(model_and_operation(path), Some((model.to_owned(), operation)), "{path}");
        }
        for path in
            ["/model/m", "/model//invoke", "/model/a/b/invoke", "/supermodel/m/invoke", "/models/m/invoke", "/", ""]
        {
            assert_eq!(model_and_operation(path), None, "{path}");
        }
    }

    #[test]
    fn error_names_stand_alone() {
        for name in
            ["ThrottlingException", "ThrottlingException:http://internal.example/x/", "com.example#ThrottlingException"]
        {
            let mut failure = Failure::default();
            named(name, &mut failure);
            assert_eq!(failure.error(Some(429)).unwrap().kind, "ThrottlingException");
        }
    }

    #[test]
    fn counts_fill_what_is_open() {
        let counted = Counted { input: Some(4), output: Some(5), cache_read: Some(100), cache_write: None };
        let mut usage = Usage::default();
        counted.complete(&mut usage);
        assert_eq!((usage.input, usage.output, usage.cache_read), (Some(104), Some(5), Some(100)));
        let mut usage = Usage { input: Some(7), ..Usage::default() };
        counted.complete(&mut usage);
        assert_eq!((usage.input, usage.output, usage.cache_read), (Some(7), Some(5), None));
    }
}
