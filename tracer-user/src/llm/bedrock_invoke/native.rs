//! Bodies of one vendor each that share little: Amazon Titan, Meta Llama, Mistral's and AI21's older text models,
//! TwelveLabs, images of Stability and Amazon. No two give one member two meanings, so that one reader knows them all.

use crate::llm::{
    call::{LlmCall, Operation, Request, Usage},
    decode::{CallLimits, Evidence, Keep, RequestReader, ResponseReader, Seen},
    failure::Failure,
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Root,
    Prompt,
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    Stop,
    Seed,
    ChoiceCount,
    FrequencyPenalty,
    PresencePenalty,
    Dimensions,
}

use Asked as Q;

const STOP: Shape<Q> = Shape::value(Q::Stop);
const STOPS: Shape<Q> = Shape::value(Q::Stop).items(&STOP);
/// AI21 states an object.
const FREQUENCY: Shape<Q> = Shape::value(Q::FrequencyPenalty).members(&[("scale", Shape::value(Q::FrequencyPenalty))]);
const PRESENCE: Shape<Q> = Shape::value(Q::PresencePenalty).members(&[("scale", Shape::value(Q::PresencePenalty))]);
const TITAN: Shape<Q> = Shape::through().members(&[
    ("maxTokenCount", Shape::value(Q::MaxTokens)),
    ("temperature", Shape::value(Q::Temperature)),
    ("topP", Shape::value(Q::TopP)),
    ("stopSequences", STOPS),
]);
const REQUEST: Shape<Q> = Shape::container(Q::Root).members(&[
    ("prompt", Shape::presence(Q::Prompt)),
    // Titan
    ("inputText", Shape::presence(Q::Prompt)),
    ("inputImage", Shape::presence(Q::Prompt)),
    ("textGenerationConfig", TITAN),
    ("dimensions", Shape::value(Q::Dimensions)),
    ("embeddingConfig", Shape::through().members(&[("outputEmbeddingLength", Shape::value(Q::Dimensions))])),
    // Images of Amazon; embeddings of Nova
    ("taskType", Shape::presence(Q::Prompt)),
    (
        "imageGenerationConfig",
        Shape::through().members(&[("numberOfImages", Shape::value(Q::ChoiceCount)), ("seed", Shape::value(Q::Seed))]),
    ),
    ("singleEmbeddingParams", Shape::through().members(&[("embeddingDimension", Shape::value(Q::Dimensions))])),
    // Stability's older models
    ("text_prompts", Shape::presence(Q::Prompt)),
    // TwelveLabs
    ("inputPrompt", Shape::presence(Q::Prompt)),
    ("inputType", Shape::presence(Q::Prompt)),
    ("maxOutputTokens", Shape::value(Q::MaxTokens)),
    // Llama
    ("max_gen_len", Shape::value(Q::MaxTokens)),
    // Mistral
    ("max_tokens", Shape::value(Q::MaxTokens)),
    ("stop", STOPS),
    // AI21
    ("maxTokens", Shape::value(Q::MaxTokens)),
    ("stopSequences", STOPS),
    ("numResults", Shape::value(Q::ChoiceCount)),
    ("frequencyPenalty", FREQUENCY),
    ("presencePenalty", PRESENCE),
    ("temperature", Shape::value(Q::Temperature)),
    ("top_p", Shape::value(Q::TopP)),
    ("topP", Shape::value(Q::TopP)),
    ("top_k", Shape::value(Q::TopK)),
    ("seed", Shape::value(Q::Seed)),
]);

pub struct NativeRequest {
    keep: Keep,
    request: Request,
    is_object: bool,
    has_prompt: bool,
}

impl NativeRequest {
    pub fn new(limits: CallLimits) -> Self {
        Self { keep: Keep::new(limits), request: Request::default(), is_object: false, has_prompt: false }
    }
}

impl Sink<Asked> for NativeRequest {
    fn scalar(&mut self, field: Asked, value: Scalar<'_>) {
        let request = &mut self.request;
        match field {
            Q::Prompt => self.has_prompt |= value.is_present(),
            Q::MaxTokens => request.max_tokens = value.count(),
            Q::Temperature => request.temperature = value.float(),
            Q::TopP => request.top_p = value.float(),
            Q::TopK => request.top_k = value.float(),
            Q::Stop => {
                if let Scalar::Text { value, cut: false } = value {
                    let stops = request.stop_sequences.get_or_insert_default();
                    if self.keep.entry(stops.len()) {
                        stops.extend(self.keep.text(value));
                    }
                }
            }
            Q::Seed => request.seed = value.signed(),
            Q::ChoiceCount => request.choice_count = value.count(),
            Q::FrequencyPenalty => request.frequency_penalty = value.float(),
            Q::PresencePenalty => request.presence_penalty = value.float(),
            Q::Dimensions => request.embedding_dimensions = value.count(),
            Q::Root => {}
        }
    }

    fn open(&mut self, field: Asked, container: Container) {
        match (field, container) {
            (Q::Root, Container::Object) => self.is_object = true,
            (Q::Prompt, _) => self.has_prompt = true,
            (Q::Stop, Container::Array) => {
                self.request.stop_sequences.get_or_insert_default();
            }
            _ => {}
        }
    }
}

impl RequestReader for NativeRequest {
    type Field = Asked;

    fn shape(&self) -> &'static Shape<Asked> {
        &REQUEST
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.is_object && self.has_prompt, self.is_object)
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        *request = Request { body_bytes: request.body_bytes, ..std::mem::take(&mut self.request) };
        self.keep.dropped
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Root,
    Id,
    /// What only a text model answers.
    Text,
    Embedding,
    Image,
    FinishReason,
    InputTokens,
    OutputTokens,
    /// Of one of several results.
    ResultTokens,
}

use Answered as A;

const RESULT: Shape<A> = Shape::through().members(&[
    ("outputText", Shape::presence(A::Text)),
    ("tokenCount", Shape::value(A::ResultTokens)),
    ("completionReason", Shape::value(A::FinishReason)),
]);
const OUTPUT: Shape<A> =
    Shape::through().members(&[("text", Shape::presence(A::Text)), ("stop_reason", Shape::value(A::FinishReason))]);
const COMPLETION: Shape<A> = Shape::through().members(&[
    ("data", Shape::through().members(&[("text", Shape::presence(A::Text))])),
    ("finishReason", Shape::through().members(&[("reason", Shape::value(A::FinishReason))])),
]);
const DATUM: Shape<A> = Shape::through().members(&[("embedding", Shape::container(A::Embedding))]);
const ARTIFACT: Shape<A> = Shape::through().members(&[("finishReason", Shape::value(A::FinishReason))]);
const REASON: Shape<A> = Shape::value(A::FinishReason);
const RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    // Titan: whole, and the chunks of a stream
    ("results", Shape::through().items(&RESULT)),
    ("outputText", Shape::presence(A::Text)),
    ("completionReason", Shape::value(A::FinishReason)),
    ("inputTextTokenCount", Shape::value(A::InputTokens)),
    ("totalOutputTextTokenCount", Shape::value(A::OutputTokens)),
    ("embedding", Shape::container(A::Embedding)),
    ("embeddingsByType", Shape::container(A::Embedding)),
    // Nova, TwelveLabs
    ("embeddings", Shape::container(A::Embedding)),
    ("data", Shape::through().members(&[("embedding", Shape::container(A::Embedding))]).items(&DATUM)),
    // Llama
    ("generation", Shape::presence(A::Text)),
    ("prompt_token_count", Shape::value(A::InputTokens)),
    ("generation_token_count", Shape::value(A::OutputTokens)),
    ("stop_reason", Shape::value(A::FinishReason)),
    // Mistral
    ("outputs", Shape::through().items(&OUTPUT)),
    // AI21, whose ids are numbers
    ("id", Shape::value(A::Id)),
    ("completions", Shape::through().items(&COMPLETION)),
    // TwelveLabs
    ("message", Shape::presence(A::Text)),
    ("finishReason", Shape::value(A::FinishReason)),
    // Images. Stability gives a reason for an image that it holds back.
    ("images", Shape::container(A::Image)),
    ("artifacts", Shape::container(A::Image).items(&ARTIFACT)),
    ("finish_reasons", Shape::through().items(&REASON)),
]);

pub struct NativeResponse {
    keep: Keep,
    is_object: bool,
    fits: bool,
    operation: Operation,
    /// The response proved the operation.
    is_proven: bool,
    id: Option<String>,
    finish_reasons: Vec<String>,
    usage: Usage,
    failure: Failure,
    seen: Seen,
}

impl NativeResponse {
    /// `operation` is the one that the model's name suggests.
    pub fn new(operation: Operation, limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            is_object: false,
            fits: false,
            operation,
            is_proven: false,
            id: None,
            finish_reasons: Vec::new(),
            usage: Usage::default(),
            failure: Failure::default(),
            seen: Seen::default(),
        }
    }

    fn proves(&mut self, operation: Operation) {
        self.fits = true;
        if !std::mem::replace(&mut self.is_proven, true) {
            self.operation = operation;
            self.seen.news = true;
        }
    }
}

impl Sink<Answered> for NativeResponse {
    fn scalar(&mut self, field: Answered, value: Scalar<'_>) {
        let count = value.count();
        self.seen.news |= count.is_some();
        match field {
            A::Text if !matches!(value, Scalar::Null) => {
                self.seen.content |= value.is_present();
                self.proves(Operation::TextCompletion);
            }
            A::Id if self.id.is_none() => {
                let text = if let Scalar::Number(number) = value { Some(number) } else { value.str() };
                self.id = text.and_then(|id| self.keep.text(id));
            }
            A::FinishReason => {
                if let Some(reason) = value.str()
                    && self.keep.entry(self.finish_reasons.len())
                {
                    self.finish_reasons.extend(self.keep.text(reason));
                    self.seen.news = true;
                }
            }
            A::InputTokens => self.usage.input = count.or(self.usage.input),
            A::OutputTokens => self.usage.output = count.or(self.usage.output),
            A::ResultTokens => {
                if let Some(count) = count {
                    self.usage.output = Some(self.usage.output.unwrap_or(0).saturating_add(count));
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Answered, container: Container) {
        match (field, container) {
            (A::Root, Container::Object) => self.is_object = true,
            (A::Embedding, _) => self.proves(Operation::Embeddings),
            (A::Image, Container::Array) => self.proves(Operation::GenerateContent),
            _ => {}
        }
    }
}

impl ResponseReader for NativeResponse {
    type Field = Answered;

    fn shape(&self) -> &'static Shape<Answered> {
        &RESPONSE
    }

    fn begin_event(&mut self, _: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        true
    }

    fn end_event(&mut self) -> Seen {
        self.seen
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.fits, self.is_object)
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.operation = self.operation;
        call.usage = self.usage;
        call.error = self.failure.error(call.response.status);
        call.response.id = self.id.take().filter(|_| self.fits);
        call.response.finish_reasons = std::mem::take(&mut self.finish_reasons);
        if self.operation == Operation::GenerateContent {
            call.request.output_type = Some("image");
        }
        self.keep.dropped
    }
}

/// What a model with such a name does, where its answer is not seen.
pub fn operation(model: &str) -> Operation {
    if ["embed", "marengo"].iter().any(|part| model.contains(part)) {
        Operation::Embeddings
    } else if ["image", "canvas", "stability."].iter().any(|part| model.contains(part)) {
        Operation::GenerateContent
    } else {
        Operation::TextCompletion
    }
}
