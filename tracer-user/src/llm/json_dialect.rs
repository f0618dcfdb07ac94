//! A dialect whose bodies the shared readers read: all of it is data.

use super::{
    Claim, Dialect,
    answer::{Answer, Form},
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    json::Shape,
    openai_compatible::Reasoning,
    recognise::Target,
    request::{Draft, Field},
};
use crate::{content, proto::RequestHead};

/// What a path states of the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PathFacts {
    /// It goes before what the body names.
    pub model: Option<String>,
    pub stream: Option<bool>,
}

/// One API. [`JsonDialect::new`] fills in what most have in common.
pub struct JsonDialect {
    pub name: &'static str,
    pub provider: &'static str,
    pub operation: Operation,
    pub api_type: Option<&'static str>,
    pub claim: fn(&RequestHead, Option<&Target<'_>>) -> Claim,
    pub path: fn(&str) -> PathFacts,
    pub request: &'static Shape<Field>,
    /// A request without a model is not one of this API.
    pub needs_model: bool,
    /// `gen_ai.output.type` where the endpoint decides it.
    pub output_type: Option<&'static str>,
    /// Whether an array of objects in answer is a stream of them.
    pub streams_arrays: bool,
    pub response: &'static Form,
    /// How its answers say what they say; `None`: its content is not read.
    pub content: Option<&'static content::Form>,
}

impl JsonDialect {
    pub const fn new(
        name: &'static str,
        provider: &'static str,
        operation: Operation,
        claim: fn(&RequestHead, Option<&Target<'_>>) -> Claim,
        request: &'static Shape<Field>,
        response: &'static Form,
    ) -> Self {
        Self {
            name,
            provider,
            operation,
            api_type: None,
            claim,
            path: |_| PathFacts { model: None, stream: None },
            request,
            needs_model: false,
            output_type: None,
            streams_arrays: false,
            response,
            content: None,
        }
    }

    /// With the form of what its answers say.
    pub const fn with_content(self, form: &'static content::Form) -> Self {
        Self { content: Some(form), ..self }
    }
}

impl Dialect for JsonDialect {
    fn name(&self) -> &'static str {
        self.name
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        (self.claim)(head, target)
    }

    fn provider(&self) -> &'static str {
        self.provider
    }

    fn operation(&self) -> Operation {
        self.operation
    }

    fn api_type(&self) -> Option<&'static str> {
        self.api_type
    }

    fn streams_arrays(&self) -> bool {
        self.streams_arrays
    }

    fn content(&self) -> Option<&'static content::Form> {
        self.content
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let PathFacts { model, stream } = (self.path)(&target.head.path);
        let request = Draft::new(self.request, limits).with_model(model).with_stream(stream);
        let mut request = request.with_output_type(self.output_type);
        if self.needs_model {
            request = request.needing_model();
        }
        let reasoning = match (self.response.reasoning, target.service) {
            (Reasoning::Included, Some(service)) => service.reasoning,
            (reasoning, _) => reasoning,
        };
        let response = Answer::new(self.response, limits).with_reasoning(reasoning);
        Box::new(JsonDecoder::new(request, response))
    }
}
