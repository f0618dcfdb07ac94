//! Requests of generateContent. Names come in camelCase or, from older clients, in snake_case: the API takes both.

use crate::llm::{
    call::Request,
    decode::{CallLimits, Evidence, Keep, RequestReader},
    instructions::Instructions,
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Model,
    Contents,
    Content,
    ToolResultId,
    SystemText,
    Temperature,
    TopP,
    TopK,
    MaxTokens,
    Stop,
    Seed,
    ChoiceCount,
    FrequencyPenalty,
    PresencePenalty,
    MimeType,
    ThinkingLevel,
    Tools,
    Functions,
    Function,
}

use Field as F;

const RESULT: Shape<F> = Shape::through().members(&[("id", Shape::value(F::ToolResultId))]);
const PART: Shape<F> = Shape::through().members(&[("functionResponse", RESULT), ("function_response", RESULT)]);
const CONTENT: Shape<F> = Shape::container(F::Content).members(&[("parts", Shape::through().items(&PART))]);
const SYSTEM_PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::SystemText))]);
const SYSTEM: Shape<F> = Shape::through().members(&[("parts", SYSTEM_PART.items(&SYSTEM_PART))]);
const STOP: Shape<F> = Shape::value(F::Stop);
const THINKING: Shape<F> = Shape::through()
    .members(&[("thinkingLevel", Shape::value(F::ThinkingLevel)), ("thinking_level", Shape::value(F::ThinkingLevel))]);
const CONFIG: Shape<F> = Shape::through().members(&[
    ("temperature", Shape::value(F::Temperature)),
    ("topP", Shape::value(F::TopP)),
    ("top_p", Shape::value(F::TopP)),
    ("topK", Shape::value(F::TopK)),
    ("top_k", Shape::value(F::TopK)),
    ("maxOutputTokens", Shape::value(F::MaxTokens)),
    ("max_output_tokens", Shape::value(F::MaxTokens)),
    ("stopSequences", Shape::through().items(&STOP)),
    ("stop_sequences", Shape::through().items(&STOP)),
    ("seed", Shape::value(F::Seed)),
    ("candidateCount", Shape::value(F::ChoiceCount)),
    ("candidate_count", Shape::value(F::ChoiceCount)),
    ("frequencyPenalty", Shape::value(F::FrequencyPenalty)),
    ("presencePenalty", Shape::value(F::PresencePenalty)),
    ("responseMimeType", Shape::value(F::MimeType)),
    ("response_mime_type", Shape::value(F::MimeType)),
    ("thinkingConfig", THINKING),
    ("thinking_config", THINKING),
]);
const FUNCTION: Shape<F> = Shape::container(F::Function);
const FUNCTIONS: Shape<F> = Shape::container(F::Functions).items(&FUNCTION);
const TOOL: Shape<F> =
    Shape::through().members(&[("functionDeclarations", FUNCTIONS), ("function_declarations", FUNCTIONS)]);

const WRAPPED: Shape<F> = Shape::through().members(MEMBERS);
const WITH_WRAPPED: &[(&str, Shape<F>)] = &[
    MEMBERS[0],
    MEMBERS[1],
    MEMBERS[2],
    MEMBERS[3],
    MEMBERS[4],
    MEMBERS[5],
    ("model", Shape::value(F::Model)),
    ("request", WRAPPED),
];
const REQUEST: Shape<F> = Shape::container(F::Root).members(WITH_WRAPPED);
const MEMBERS: &[(&str, Shape<F>)] = &[
    ("contents", Shape::container(F::Contents).items(&CONTENT)),
    ("systemInstruction", SYSTEM),
    ("system_instruction", SYSTEM),
    ("generationConfig", CONFIG),
    ("generation_config", CONFIG),
    ("tools", Shape::container(F::Tools).items(&TOOL)),
];

pub struct GeminiRequest {
    keep: Keep,
    request: Request,
    is_object: bool,
    instructions: Instructions,
}

impl GeminiRequest {
    /// The path states the model and whether a stream is asked for.
    pub fn new(model: Option<String>, stream: Option<bool>, limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            request: Request { model, stream, ..Request::default() },
            is_object: false,
            instructions: Instructions::default(),
        }
    }
}

impl Sink<Field> for GeminiRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::ToolResultId => {
                if let Some(id) = value.str()
                    && keep.entry(request.tool_results.len())
                {
                    request.tool_results.extend(keep.text(id));
                }
            }
            F::Model => keep.first(&mut request.model, value),
            F::SystemText => self.instructions.end_part(),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::TopK => request.top_k = value.float(),
            F::MaxTokens => request.max_tokens = value.count(),
            F::Stop => {
                let stops = request.stop_sequences.get_or_insert_default();
                if let Scalar::Text { value, cut: false } = value
                    && keep.entry(stops.len())
                {
                    stops.extend(keep.text(value));
                }
            }
            F::Seed => request.seed = value.signed(),
            F::ChoiceCount => request.choice_count = value.count(),
            F::FrequencyPenalty => request.frequency_penalty = value.float(),
            F::PresencePenalty => request.presence_penalty = value.float(),
            F::MimeType => {
                request.output_type = match value.str() {
                    Some("text/plain") => Some("text"),
                    Some("application/json") => Some("json"),
                    _ => None,
                }
            }
            F::ThinkingLevel => keep.first(&mut request.reasoning_level, value),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        let request = &mut self.request;
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Contents, Container::Array) => request.messages = Some(0),
            (F::Contents, Container::Object) => request.messages = Some(1),
            (F::Content, Container::Object) => request.messages = request.messages.map(|count| count + 1),
            (F::Tools | F::Functions, Container::Array) => {
                request.tools.get_or_insert(0);
            }
            (F::Function, Container::Object) => request.tools = request.tools.map(|count| count + 1),
            _ => {}
        }
    }

    fn text(&mut self, _: Field, piece: &[u8]) {
        self.instructions.text(piece);
    }
}

impl RequestReader for GeminiRequest {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &REQUEST;

    fn evidence(&self) -> Evidence {
        match (self.is_object, self.request.messages) {
            (true, Some(_)) => Evidence::Fits,
            (true, None) => Evidence::Contradicts,
            (false, _) => Evidence::None,
        }
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        *request = Request {
            system_prompt_hash: std::mem::take(&mut self.instructions).hash(),
            body_bytes: request.body_bytes,
            ..std::mem::take(&mut self.request)
        };
        self.keep.dropped
    }
}
