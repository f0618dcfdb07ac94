//! Responses of chat completions, completions and embeddings, whole or in chunks: a chunk has the members of the whole
//! response with `delta` in place of `message`.

use crate::llm::{
    call::{LlmCall, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
    openai_compatible::Reasoning,
};

/// The member that makes a response one of this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Choices,
    Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Id,
    Model,
    ServiceTier,
    SystemFingerprint,
    Data,
    Choices,
    Choice,
    ChoiceIndex,
    FinishReason,
    StopReason,
    /// Text, reasoning, a refusal: what a reader of the stream waits for.
    Content,
    ToolCalls,
    ToolCall,
    ToolIndex,
    ToolId,
    FunctionCall,
    FunctionName,
    Usage,
    PromptTokens,
    CompletionTokens,
    TotalTokens,
    CachedTokens,
    CachedTokensAbove,
    CacheWriteTokens,
    PromptAudioTokens,
    ReasoningTokens,
    CompletionAudioTokens,
    Cost,
    Failure(Part),
}

use Field as F;

const PROMPT_DETAILS: Shape<F> = Shape::through().members(&[
    ("cached_tokens", Shape::value(F::CachedTokens)),
    ("cache_write_tokens", Shape::value(F::CacheWriteTokens)),
    ("audio_tokens", Shape::value(F::PromptAudioTokens)),
]);
const COMPLETION_DETAILS: Shape<F> = Shape::through().members(&[
    ("reasoning_tokens", Shape::value(F::ReasoningTokens)),
    ("audio_tokens", Shape::value(F::CompletionAudioTokens)),
]);
const USAGE: Shape<F> = Shape::container(F::Usage).members(&[
    ("prompt_tokens", Shape::value(F::PromptTokens)),
    ("completion_tokens", Shape::value(F::CompletionTokens)),
    ("total_tokens", Shape::value(F::TotalTokens)),
    ("prompt_tokens_details", PROMPT_DETAILS),
    ("completion_tokens_details", COMPLETION_DETAILS),
    // Writer's names.
    ("prompt_token_details", PROMPT_DETAILS),
    ("completion_token_details", COMPLETION_DETAILS),
    // DeepSeek, Together and Moonshot, gateways before Anthropic's models.
    ("prompt_cache_hit_tokens", Shape::value(F::CachedTokensAbove)),
    ("cached_tokens", Shape::value(F::CachedTokensAbove)),
    ("cache_read_input_tokens", Shape::value(F::CachedTokensAbove)),
    ("cache_creation_input_tokens", Shape::value(F::CacheWriteTokens)),
    ("reasoning_tokens", Shape::value(F::ReasoningTokens)),
    // OpenRouter states a number; Perplexity an object.
    ("cost", Shape::value(F::Cost).members(&[("total_cost", Shape::value(F::Cost))])),
]);

const FUNCTION: Shape<F> = Shape::through().members(&[("name", Shape::value(F::FunctionName))]);
const TOOL_CALL: Shape<F> = Shape::container(F::ToolCall).members(&[
    ("index", Shape::value(F::ToolIndex)),
    ("id", Shape::value(F::ToolId)),
    ("function", FUNCTION),
    ("custom", FUNCTION),
]);
const CONTENT_PART: Shape<F> = Shape::container(F::Content);
const MESSAGE: Shape<F> = Shape::through().members(&[
    ("content", Shape::presence(F::Content).items(&CONTENT_PART)),
    ("reasoning_content", Shape::presence(F::Content)),
    ("reasoning", Shape::presence(F::Content)),
    ("refusal", Shape::presence(F::Content)),
    (
        "audio",
        Shape::through().members(&[("transcript", Shape::presence(F::Content)), ("data", Shape::presence(F::Content))]),
    ),
    ("tool_calls", Shape::container(F::ToolCalls).items(&TOOL_CALL)),
    ("function_call", Shape::container(F::FunctionCall).members(&[("name", Shape::value(F::FunctionName))])),
]);
const CHOICE: Shape<F> = Shape::container(F::Choice).members(&[
    ("index", Shape::value(F::ChoiceIndex)),
    ("delta", MESSAGE),
    ("message", MESSAGE),
    ("text", Shape::presence(F::Content)),
    ("finish_reason", Shape::value(F::FinishReason)),
    // Mistral's and DeepSeek's models on Bedrock; vLLM states a stop token here, beside the finish reason.
    ("stop_reason", Shape::value(F::StopReason)),
    // Moonshot states the usage of a stream here; OpenRouter an error.
    ("usage", USAGE),
    ("error", ERROR),
]);
const ERROR: Shape<F> = Shape::value(F::Failure(Part::Error)).members(&[
    ("code", Shape::value(F::Failure(Part::Code))),
    ("type", Shape::value(F::Failure(Part::Type))),
    ("status", Shape::value(F::Failure(Part::Status))),
]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    ("id", Shape::value(F::Id)),
    ("model", Shape::value(F::Model)),
    ("choices", Shape::container(F::Choices).items(&CHOICE)),
    ("usage", USAGE),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("system_fingerprint", Shape::value(F::SystemFingerprint)),
    // Groq states the usage of a stream here.
    ("x_groq", Shape::through().members(&[("usage", USAGE), ("error", ERROR)])),
    ("data", Shape::container(F::Data)),
    // Writer's stream of a text completion: `{"value": "…"}`.
    ("value", Shape::presence(F::Content)),
    ("error", ERROR),
    ("code", Shape::value(F::Failure(Part::TopCode))),
    ("type", Shape::value(F::Failure(Part::TopType))),
]);

/// What one item of `choices` said, until it is whole: its `index` may stand last.
#[derive(Default)]
struct Choice {
    index: Option<u64>,
    finish_reason: Option<String>,
    /// The same, under another name.
    stop_reason: Option<String>,
    calls: Vec<CallPart>,
}

#[derive(Default)]
struct CallPart {
    /// `None` for the older `function_call`, of which a choice has one.
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
}

struct Call {
    choice: u64,
    index: Option<u64>,
    call: ToolCall,
}

pub struct OpenAiResponse {
    body: Body,
    reasoning: Reasoning,
    keep: Keep,
    fits: bool,
    is_object: bool,
    id: Option<String>,
    model: Option<String>,
    service_tier: Option<String>,
    system_fingerprint: Option<String>,
    /// By choice index.
    finish_reasons: Vec<(u64, String)>,
    calls: Vec<Call>,
    choices: u64,
    choice: Choice,
    /// Tool calls of the `tool_calls` that is being read.
    position: u64,
    usage: Usage,
    total: Option<u64>,
    cached_above: Option<u64>,
    cost: Option<f64>,
    failure: Failure,
    seen: Seen,
}

impl OpenAiResponse {
    pub fn new(body: Body, reasoning: Reasoning, limits: CallLimits) -> Self {
        Self {
            body,
            reasoning,
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            id: None,
            model: None,
            service_tier: None,
            system_fingerprint: None,
            finish_reasons: Vec::new(),
            calls: Vec::new(),
            choices: 0,
            choice: Choice::default(),
            position: 0,
            usage: Usage::default(),
            total: None,
            cached_above: None,
            cost: None,
            failure: Failure::default(),
            seen: Seen::default(),
        }
    }

    /// Keeps the first text that is not empty.
    fn first(&mut self, place: fn(&mut Self) -> &mut Option<String>, value: Scalar<'_>) {
        if place(self).is_some() {
            return;
        }
        if let Some(text) = value.str() {
            *place(self) = self.keep.text(text);
            self.seen.news = true;
        }
    }

    /// Keeps the latest number that is stated.
    fn latest(&mut self, place: fn(&mut Self) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            *place(self) = Some(count);
            self.seen.news = true;
        }
    }

    fn end_choice(&mut self) {
        let Choice { index, finish_reason, stop_reason, calls } = std::mem::take(&mut self.choice);
        let choice = index.unwrap_or(self.choices);
        self.choices += 1;
        if let Some(reason) = finish_reason.or(stop_reason) {
            self.seen.news = true;
            match self.finish_reasons.binary_search_by_key(&choice, |(choice, _)| *choice) {
                Ok(at) => self.finish_reasons[at].1 = reason,
                Err(at) if self.keep.entry(self.finish_reasons.len()) => {
                    self.finish_reasons.extend(self.keep.text(&reason).map(|reason| (choice, reason)));
                    self.finish_reasons[at..].rotate_right(1);
                }
                Err(_) => {}
            }
        }
        for part in calls {
            self.add_call(choice, part);
        }
    }

    fn add_call(&mut self, choice: u64, part: CallPart) {
        // A fragment belongs to the latest call of its index. Services that leave the index out or at 0 start a new call
        // by a new id together with a name; an id alone is not enough, since some make one up for each fragment.
        let known = self.calls.iter_mut().rev().find(|call| call.choice == choice && call.index == part.index);
        let (part_id, part_name) = (part.id.as_deref(), part.name.as_deref());
        if let Some(Call { call, .. }) = known
            && (part_name.is_none() || part_id.is_none() || call.id.is_none() || call.id.as_deref() == part_id)
        {
            if let (None, Some(id)) = (&call.id, part_id) {
                call.id = self.keep.text(id);
                self.seen.news = true;
            }
            if let (true, Some(name)) = (call.name.is_empty(), part_name) {
                call.name = self.keep.text(name).unwrap_or_default();
                self.seen.news = true;
            }
            return;
        }
        if self.keep.entry(self.calls.len()) {
            let name = part_name.and_then(|name| self.keep.text(name)).unwrap_or_default();
            let call = ToolCall { name, id: part_id.and_then(|id| self.keep.text(id)) };
            self.calls.push(Call { choice, index: part.index, call });
        }
        self.seen.news = true;
    }

    fn usage(&mut self) -> Usage {
        let mut usage = self.usage;
        usage.cache_read = usage.cache_read.or(self.cached_above);
        if let (Some(input), Some(output), Some(reasoning @ 1..)) = (usage.input, usage.output, usage.reasoning) {
            let on_top = input.saturating_add(output).saturating_add(reasoning);
            // The stated total proves whether the output includes reasoning; the service's habit decides without it.
            let additional = match self.total {
                Some(total) => total == on_top,
                None => self.reasoning == Reasoning::Additional,
            };
            if additional {
                usage.output = Some(output.saturating_add(reasoning));
            }
        }
        usage
    }
}

impl Sink<Field> for OpenAiResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Id => self.first(|all| &mut all.id, value),
            F::Model => self.first(|all| &mut all.model, value),
            F::ServiceTier => self.first(|all| &mut all.service_tier, value),
            F::SystemFingerprint => self.first(|all| &mut all.system_fingerprint, value),
            F::Content => self.seen.content |= value.is_present(),
            F::ChoiceIndex => self.choice.index = value.count(),
            F::FinishReason => self.choice.finish_reason = value.str().map(str::to_owned),
            F::StopReason => self.choice.stop_reason = value.str().map(str::to_owned),
            F::ToolIndex => {
                if let (Some(index), Some(part)) = (value.count(), self.choice.calls.last_mut()) {
                    part.index = Some(index);
                }
            }
            F::ToolId => {
                if let Some(part) = self.choice.calls.last_mut() {
                    part.id = value.str().map(str::to_owned);
                }
            }
            F::FunctionName => {
                if let Some(part) = self.choice.calls.last_mut() {
                    part.name = value.str().map(str::to_owned);
                }
            }
            F::PromptTokens => self.latest(|all| &mut all.usage.input, value),
            F::CompletionTokens => self.latest(|all| &mut all.usage.output, value),
            F::TotalTokens => self.latest(|all| &mut all.total, value),
            F::CachedTokens => self.latest(|all| &mut all.usage.cache_read, value),
            F::CachedTokensAbove => self.latest(|all| &mut all.cached_above, value),
            F::CacheWriteTokens => self.latest(|all| &mut all.usage.cache_write, value),
            F::PromptAudioTokens => self.latest(|all| &mut all.usage.input_audio, value),
            F::ReasoningTokens => self.latest(|all| &mut all.usage.reasoning, value),
            F::CompletionAudioTokens => self.latest(|all| &mut all.usage.output_audio, value),
            F::Cost => {
                if let Some(cost) = value.float().filter(|cost| *cost >= 0.0) {
                    self.cost = Some(cost);
                    self.seen.news = true;
                }
            }
            F::Failure(part) => {
                self.failure.scalar(part, value);
                self.seen.news |= value.is_present();
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => {
                self.is_object = true;
                self.choices = 0;
            }
            (F::Choices, Container::Array) => self.fits |= self.body == Body::Choices,
            (F::Data, Container::Array) => self.fits |= self.body == Body::Data,
            (F::Choice, Container::Object) => self.choice = Choice::default(),
            (F::Content, Container::Object) => self.seen.content = true,
            (F::ToolCalls, Container::Array) => self.position = 0,
            (F::ToolCall, Container::Object) => {
                self.seen.content = true;
                if self.keep.entry(self.choice.calls.len()) {
                    self.choice.calls.push(CallPart { index: Some(self.position), ..CallPart::default() });
                }
                self.position += 1;
            }
            (F::FunctionCall, Container::Object) => {
                self.seen.content = true;
                if self.keep.entry(self.choice.calls.len()) {
                    self.choice.calls.push(CallPart::default());
                }
            }
            (F::Failure(Part::Error), Container::Object) => {
                self.failure.begin();
                self.seen.news = true;
            }
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        if field == F::Choice {
            self.end_choice();
        }
    }
}

impl ResponseReader for OpenAiResponse {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &RESPONSE;

    fn begin_event(&mut self, name: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        if name == b"error" {
            self.failure.begin();
            self.seen.news = true;
        }
        name != b"ping"
    }

    fn end_event(&mut self) -> Seen {
        self.seen
    }

    fn evidence(&self) -> Evidence {
        match (self.fits, self.is_object && !self.failure.is_present()) {
            (true, _) => Evidence::Fits,
            (false, true) => Evidence::Contradicts,
            (false, false) => Evidence::None,
        }
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        // The end of the body may have cut a choice short.
        self.end_choice();
        call.usage = self.usage();
        call.provider_cost = self.cost.or(call.provider_cost);
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.id = self.id.take();
        response.model = self.model.take();
        response.service_tier = self.service_tier.take();
        response.system_fingerprint = self.system_fingerprint.take();
        response.finish_reasons = self.finish_reasons.drain(..).map(|(_, reason)| reason).collect();
        response.tool_calls = self.calls.drain(..).map(|call| call.call).filter(|call| !call.name.is_empty()).collect();
        self.keep.dropped
    }
}
