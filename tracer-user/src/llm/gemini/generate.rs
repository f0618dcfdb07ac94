//! generateContent. Names in requests come in camelCase or, from older clients, in snake_case: the API takes both. A
//! whole response, an event and an item of an array are all of one shape.

use super::{model_and_method, numbers::NUMBERS, path_facts};
use crate::content::forms::GEMINI;
use crate::llm::{
    Claim,
    answer::{Counter, Field as A, Form, Side},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    openai_compatible::Reasoning,
    request::{Field as F, STOP},
};

pub static GENERATE: JsonDialect = JsonDialect {
    path: path_facts,
    streams_arrays: true,
    content: Some(&GEMINI),
    ..JsonDialect::new(
        "gemini",
        "gcp.gemini",
        Operation::GenerateContent,
        |head, _| match model_and_method(&head.path) {
            Some((_, "generateContent" | "streamGenerateContent")) => Claim::Sure,
            _ => Claim::None,
        },
        &REQUEST,
        &ANSWER,
    )
};

const RESULT: Shape<F> = Shape::through().members(&[("id", Shape::value(F::ToolResult))]);
const PART: Shape<F> = Shape::through().members(&[("functionResponse", RESULT), ("function_response", RESULT)]);
const CONTENT: Shape<F> = Shape::container(F::Message).members(&[("parts", Shape::through().items(&PART))]);
const SYSTEM_PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::System))]);
const SYSTEM: Shape<F> = Shape::through().members(&[("parts", SYSTEM_PART.items(&SYSTEM_PART))]);
const THINKING: Shape<F> = Shape::through().members(&[
    ("thinkingLevel", Shape::value(F::ReasoningLevel)),
    ("thinking_level", Shape::value(F::ReasoningLevel)),
]);
const MODALITIES: Shape<F> = Shape::through().items(&Shape::value(F::Modality));
const CONFIG: Shape<F> = Shape::through().members(&[
    ("temperature", Shape::value(F::Temperature)),
    ("topP", Shape::value(F::TopP)),
    ("top_p", Shape::value(F::TopP)),
    ("topK", Shape::value(F::TopK)),
    ("top_k", Shape::value(F::TopK)),
    ("maxOutputTokens", Shape::value(F::MaxTokens)),
    ("max_output_tokens", Shape::value(F::MaxTokens)),
    ("stopSequences", STOP),
    ("stop_sequences", STOP),
    ("seed", Shape::value(F::Seed)),
    ("candidateCount", Shape::value(F::ChoiceCount)),
    ("candidate_count", Shape::value(F::ChoiceCount)),
    ("frequencyPenalty", Shape::value(F::FrequencyPenalty)),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presencePenalty", Shape::value(F::PresencePenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("responseMimeType", Shape::value(F::Format)),
    ("response_mime_type", Shape::value(F::Format)),
    ("responseModalities", MODALITIES),
    ("response_modalities", MODALITIES),
    ("thinkingConfig", THINKING),
    ("thinking_config", THINKING),
]);
const FUNCTIONS: Shape<F> = Shape::container(F::Tools).items(&Shape::container(F::Tool));
const TOOL: Shape<F> =
    Shape::through().members(&[("functionDeclarations", FUNCTIONS), ("function_declarations", FUNCTIONS)]);

const ASKED: &[(&str, Shape<F>)] = &[
    ("contents", Shape::container(F::Messages).items(&CONTENT)),
    ("systemInstruction", SYSTEM),
    ("system_instruction", SYSTEM),
    ("generationConfig", CONFIG),
    ("generation_config", CONFIG),
    // One object may stand there without a list around it.
    ("tools", Shape::container(F::Tools).members(&[("functionDeclarations", FUNCTIONS)]).items(&TOOL)),
];
const WRAPPED: Shape<F> = Shape::through().members(ASKED);
const REQUEST: Shape<F> =
    Shape::container(F::Root).members(ASKED).and(&[("model", Shape::value(F::Model)), ("request", WRAPPED)]);

const DATA: Shape<A> = Shape::through().members(&[("data", Shape::presence(A::Content))]);
const ANSWER_PART: Shape<A> = Shape::through().members(&[
    ("text", Shape::presence(A::Content)),
    (
        "functionCall",
        Shape::container(A::WholeCall).members(&[("name", Shape::value(A::CallName)), ("id", Shape::value(A::CallId))]),
    ),
    ("inlineData", DATA),
    ("executableCode", Shape::through().members(&[("code", Shape::presence(A::Content))])),
    ("codeExecutionResult", Shape::through().members(&[("output", Shape::presence(A::Content))])),
]);
const LOGPROB: Shape<A> = Shape::through().members(&[("logProbability", Shape::number(A::Logprob))]);
const CANDIDATE: Shape<A> = Shape::container(A::Choice).members(&[
    ("index", Shape::value(A::ChoiceIndex)),
    ("finishReason", Shape::value(A::FinishReason)),
    ("content", Shape::through().members(&[("parts", Shape::through().items(&ANSWER_PART))])),
    ("logprobsResult", Shape::through().members(&[("chosenCandidates", Shape::through().items(&LOGPROB))])),
]);
const MODALITY: &[(&str, Shape<A>)] =
    &[("modality", Shape::value(A::DetailModality)), ("tokenCount", Shape::value(A::DetailCount))];
const ERROR: Shape<A> = Shape::value(A::Failure(Part::Error))
    .members(&[("code", Shape::value(A::Failure(Part::Code))), ("status", Shape::value(A::Failure(Part::Status)))]);
pub const USAGE: Shape<A> = Shape::container(A::Usage).members(&[
    ("promptTokenCount", Shape::number(A::Count(Counter::Input))),
    ("toolUsePromptTokenCount", Shape::number(A::Count(Counter::ToolInput))),
    ("cachedContentTokenCount", Shape::number(A::Count(Counter::CacheRead))),
    ("candidatesTokenCount", Shape::number(A::Count(Counter::Output))),
    // Embeddings and the Live API name it so.
    ("responseTokenCount", Shape::number(A::Count(Counter::Output))),
    ("thoughtsTokenCount", Shape::number(A::Count(Counter::Reasoning))),
    ("promptTokensDetails", Shape::through().items(&Shape::container(A::Detail(Side::Input)).members(MODALITY))),
    ("cacheTokensDetails", Shape::through().items(&Shape::container(A::Detail(Side::Cached)).members(MODALITY))),
    ("candidatesTokensDetails", Shape::through().items(&Shape::container(A::Detail(Side::Output)).members(MODALITY))),
    // What priority or flex processing was used: so it stands on Vertex AI, such as `ON_DEMAND_PRIORITY`,
    ("trafficType", Shape::value(A::ServiceTier)),
    // and so in the Gemini API.
    ("serviceTier", Shape::value(A::ServiceTier)),
]);
const MEMBERS: &[(&str, Shape<A>)] = &[
    ("candidates", Shape::container(A::Proof).items(&CANDIDATE)),
    ("usageMetadata", USAGE),
    ("modelVersion", Shape::value(A::Model)),
    ("responseId", Shape::value(A::Id)),
    ("promptFeedback", Shape::through().members(&[("blockReason", Shape::value(A::BlockReason))])),
    ("error", ERROR),
];
const WRAPPED_ANSWER: &[(&str, Shape<A>)] = &[("response", Shape::through().members(MEMBERS))];
const RESPONSE: Shape<A> = Shape::container(A::Root).members(MEMBERS).and(WRAPPED_ANSWER);
static ANSWER: Form = Form { reasoning: Reasoning::Apart, numbers: Some(&NUMBERS), ..Form::new(&RESPONSE) };
