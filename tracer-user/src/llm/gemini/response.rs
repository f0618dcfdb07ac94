//! Responses of generateContent: a whole one, events, or the items of an array, all of one shape.

use crate::llm::{
    call::{LlmCall, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Item,
    Id,
    Model,
    Candidates,
    Candidate,
    CandidateIndex,
    FinishReason,
    Text,
    FunctionCall,
    FunctionName,
    FunctionId,
    BlockReason,
    PromptTokens,
    ToolUsePromptTokens,
    CachedTokens,
    CandidatesTokens,
    ThoughtsTokens,
    Failure(Part),
}

use Field as F;

const PART: Shape<F> = Shape::through().members(&[
    ("text", Shape::presence(F::Text)),
    (
        "functionCall",
        Shape::container(F::FunctionCall)
            .members(&[("name", Shape::value(F::FunctionName)), ("id", Shape::value(F::FunctionId))]),
    ),
    ("inlineData", Shape::through().members(&[("data", Shape::presence(F::Text))])),
    ("executableCode", Shape::through().members(&[("code", Shape::presence(F::Text))])),
]);
const CANDIDATE: Shape<F> = Shape::container(F::Candidate).members(&[
    ("index", Shape::value(F::CandidateIndex)),
    ("finishReason", Shape::value(F::FinishReason)),
    ("content", Shape::through().members(&[("parts", Shape::through().items(&PART))])),
]);
const ERROR: Shape<F> = Shape::value(F::Failure(Part::Error))
    .members(&[("code", Shape::value(F::Failure(Part::Code))), ("status", Shape::value(F::Failure(Part::Status)))]);
const MEMBERS: &[(&str, Shape<F>)] = &[
    ("candidates", Shape::container(F::Candidates).items(&CANDIDATE)),
    (
        "usageMetadata",
        Shape::through().members(&[
            ("promptTokenCount", Shape::value(F::PromptTokens)),
            ("toolUsePromptTokenCount", Shape::value(F::ToolUsePromptTokens)),
            ("cachedContentTokenCount", Shape::value(F::CachedTokens)),
            ("candidatesTokenCount", Shape::value(F::CandidatesTokens)),
            ("thoughtsTokenCount", Shape::value(F::ThoughtsTokens)),
        ]),
    ),
    ("modelVersion", Shape::value(F::Model)),
    ("responseId", Shape::value(F::Id)),
    ("promptFeedback", Shape::through().members(&[("blockReason", Shape::value(F::BlockReason))])),
    ("error", ERROR),
];
const WRAPPED: Shape<F> = Shape::through().members(MEMBERS);
const WITH_WRAPPED: &[(&str, Shape<F>)] =
    &[MEMBERS[0], MEMBERS[1], MEMBERS[2], MEMBERS[3], MEMBERS[4], MEMBERS[5], ("response", WRAPPED)];
const ITEM: Shape<F> = Shape::container(F::Item).members(WITH_WRAPPED);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(WITH_WRAPPED).items(&ITEM);

/// A candidate, until it is whole: its `index` may stand last.
#[derive(Default)]
struct Candidate {
    index: Option<u64>,
    finish_reason: Option<String>,
}

pub struct GeminiResponse {
    keep: Keep,
    fits: bool,
    is_json: bool,
    /// The body is an array that grows: its items are what the events of a stream are.
    is_array: bool,
    id: Option<String>,
    model: Option<String>,
    /// By candidate index.
    finish_reasons: Vec<(u64, String)>,
    block_reason: Option<String>,
    candidates: u64,
    candidate: Candidate,
    calls: Vec<ToolCall>,
    usage: Usage,
    tool_use_prompt: Option<u64>,
    failure: Failure,
    seen: Seen,
}

impl GeminiResponse {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            fits: false,
            is_json: false,
            is_array: false,
            id: None,
            model: None,
            finish_reasons: Vec::new(),
            block_reason: None,
            candidates: 0,
            candidate: Candidate::default(),
            calls: Vec::new(),
            usage: Usage::default(),
            tool_use_prompt: None,
            failure: Failure::default(),
            seen: Seen::default(),
        }
    }

    fn latest(&mut self, place: fn(&mut Self) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            *place(self) = Some(count);
            self.seen.news = true;
        }
    }

    fn end_candidate(&mut self) {
        let Candidate { index, finish_reason } = std::mem::take(&mut self.candidate);
        let index = index.unwrap_or(self.candidates);
        self.candidates += 1;
        let Some(reason) = finish_reason else { return };
        self.seen.news = true;
        match self.finish_reasons.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.finish_reasons[at].1 = reason,
            Err(at) if self.keep.entry(self.finish_reasons.len()) => {
                self.finish_reasons.extend(self.keep.text(&reason).map(|reason| (index, reason)));
                self.finish_reasons[at..].rotate_right(1);
            }
            Err(_) => {}
        }
    }

    fn usage(&self) -> Usage {
        let mut usage = self.usage;
        // Prompts of tools and thoughts are stated beside the numbers that they belong to.
        usage.input = sum(usage.input, self.tool_use_prompt);
        usage.output = sum(usage.output, usage.reasoning);
        usage
    }
}

/// The sum of what is stated; `None` when nothing is.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        _ => one.or(other),
    }
}

impl Sink<Field> for GeminiResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Id if self.id.is_none() => {
                self.keep.first(&mut self.id, value);
                self.seen.news = true;
            }
            F::Model if self.model.is_none() => {
                self.keep.first(&mut self.model, value);
                self.seen.news = true;
            }
            F::CandidateIndex => self.candidate.index = value.count(),
            F::FinishReason => {
                // With `enum-encoding=int` it is a number.
                self.candidate.finish_reason = match value {
                    Scalar::Number(number) => Some(number.to_owned()),
                    _ => value.str().map(str::to_owned),
                }
            }
            F::Text => self.seen.content |= value.is_present(),
            F::FunctionName => {
                if let (Some(call), Some(name)) = (self.calls.last_mut(), value.str()) {
                    call.name = self.keep.text(name).unwrap_or_default();
                }
            }
            F::FunctionId => {
                if let (Some(call), Some(id)) = (self.calls.last_mut(), value.str()) {
                    call.id = self.keep.text(id);
                }
            }
            F::BlockReason if self.block_reason.is_none() => {
                self.fits = true;
                self.keep.first(&mut self.block_reason, value);
                self.seen.news = true;
            }
            F::PromptTokens => self.latest(|all| &mut all.usage.input, value),
            F::ToolUsePromptTokens => self.latest(|all| &mut all.tool_use_prompt, value),
            F::CachedTokens => self.latest(|all| &mut all.usage.cache_read, value),
            F::CandidatesTokens => self.latest(|all| &mut all.usage.output, value),
            F::ThoughtsTokens => self.latest(|all| &mut all.usage.reasoning, value),
            F::Failure(part) => {
                self.failure.scalar(part, value);
                self.seen.news |= value.is_present();
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) | (F::Item, Container::Object) => {
                self.is_json = true;
                self.candidates = 0;
            }
            (F::Root, Container::Array) => self.is_array = true,
            (F::Candidates, Container::Array) => self.fits = true,
            (F::Candidate, Container::Object) => self.candidate = Candidate::default(),
            (F::FunctionCall, Container::Object) => {
                self.seen.content = true;
                self.seen.news = true;
                if self.keep.entry(self.calls.len()) {
                    self.calls.push(ToolCall::default());
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
        match field {
            F::Candidate => self.end_candidate(),
            F::Item => self.seen.data = true,
            _ => {}
        }
    }
}

impl ResponseReader for GeminiResponse {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &RESPONSE;

    fn begin_event(&mut self, _: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        true
    }

    fn end_event(&mut self) -> Seen {
        self.seen
    }

    fn end_piece(&mut self) -> Seen {
        // An error is an array of one item, too.
        let seen = std::mem::take(&mut self.seen);
        if self.is_array && self.fits { seen } else { Seen::default() }
    }

    fn evidence(&self) -> Evidence {
        match (self.fits, self.is_json && !self.failure.is_present()) {
            (true, _) => Evidence::Fits,
            (false, true) => Evidence::Contradicts,
            (false, false) => Evidence::None,
        }
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.usage = self.usage();
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.id = self.id.take();
        response.model = self.model.take();
        response.finish_reasons = self.finish_reasons.drain(..).map(|(_, reason)| reason).collect();
        // A blocked prompt has no candidates; the reason stands beside them.
        if response.finish_reasons.is_empty() {
            response.finish_reasons.extend(self.block_reason.take());
        }
        response.tool_calls = std::mem::take(&mut self.calls);
        self.keep.dropped
    }
}
