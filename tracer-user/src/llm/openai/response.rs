//! What responses of chat completions, completions, embeddings and others have in common.

use crate::llm::{
    answer::{Counter, Field as F},
    call::Operation,
    failure::Part,
    json::Shape,
};

const PROMPT_DETAILS: Shape<F> = Shape::through().members(&[
    ("cached_tokens", Shape::number(F::Count(Counter::CacheRead))),
    ("cache_write_tokens", Shape::number(F::Count(Counter::CacheWrite))),
    // DashScope's and Qwen's name.
    ("cache_creation_input_tokens", Shape::number(F::Count(Counter::CacheWrite))),
    ("text_tokens", Shape::number(F::Count(Counter::InputText))),
    ("audio_tokens", Shape::number(F::Count(Counter::InputAudio))),
    ("image_tokens", Shape::number(F::Count(Counter::InputImage))),
]);
const COMPLETION_DETAILS: Shape<F> = Shape::through().members(&[
    ("reasoning_tokens", Shape::number(F::Count(Counter::Reasoning))),
    ("text_tokens", Shape::number(F::Count(Counter::OutputText))),
    ("audio_tokens", Shape::number(F::Count(Counter::OutputAudio))),
    ("image_tokens", Shape::number(F::Count(Counter::OutputImage))),
]);

/// `usage`, under all names that services have for its parts.
pub const USAGE: Shape<F> = Shape::container(F::Usage)
    .members(&[
        ("prompt_tokens", Shape::number(F::Count(Counter::Input))),
        ("completion_tokens", Shape::number(F::Count(Counter::Output))),
        ("total_tokens", Shape::number(F::Count(Counter::Total))),
        ("prompt_tokens_details", PROMPT_DETAILS),
        ("completion_tokens_details", COMPLETION_DETAILS),
        // Images and audio.
        ("input_tokens", Shape::number(F::Count(Counter::Input))),
        ("output_tokens", Shape::number(F::Count(Counter::Output))),
        ("input_tokens_details", PROMPT_DETAILS),
        ("input_token_details", PROMPT_DETAILS),
        ("output_tokens_details", COMPLETION_DETAILS),
        ("output_token_details", COMPLETION_DETAILS),
        ("seconds", Shape::value(F::Seconds)),
    ])
    .and(&[
        // Writer's names.
        ("prompt_token_details", PROMPT_DETAILS),
        ("completion_token_details", COMPLETION_DETAILS),
        // DeepSeek, Together and Moonshot, gateways before Anthropic's models.
        ("prompt_cache_hit_tokens", Shape::number(F::Count(Counter::CacheReadToo))),
        ("cached_tokens", Shape::number(F::Count(Counter::CacheReadToo))),
        ("cache_read_input_tokens", Shape::number(F::Count(Counter::CacheReadToo))),
        ("cache_creation_input_tokens", Shape::number(F::Count(Counter::CacheWrite))),
        ("reasoning_tokens", Shape::number(F::Count(Counter::Reasoning))),
        // OpenRouter and Vercel state a number; Perplexity an object.
        ("cost", Shape::value(F::Cost).members(&[("total_cost", Shape::value(F::Cost))])),
        // xAI.
        ("cost_in_usd_ticks", Shape::value(F::CostTicks)),
    ]);

const FLAG: Shape<F> = Shape::through().members(&[("filtered", Shape::value(F::Filtered))]);
/// What Azure's filters say of a prompt or a choice, by category; with the asynchronous filter in chunks of their own, behind
/// the text. <https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter>
pub const FILTERS: Shape<F> = Shape::through()
    .members(&[
        ("hate", FLAG),
        ("sexual", FLAG),
        ("violence", FLAG),
        ("self_harm", FLAG),
        ("jailbreak", FLAG),
        ("indirect_attack", FLAG),
    ])
    .and(&[
        ("profanity", FLAG),
        ("custom_blocklists", FLAG),
        ("protected_material_text", FLAG),
        ("protected_material_code", FLAG),
        ("ungrounded_material", FLAG),
        ("personally_identifiable_information", FLAG),
    ]);
/// The same of the prompts.
pub const PROMPT_FILTERS: Shape<F> =
    Shape::through().items(&Shape::through().members(&[("content_filter_results", FILTERS)]));

/// A list of tokens with their log probabilities.
pub const LOGPROBS_LIST: Shape<F> =
    Shape::through().items(&Shape::through().members(&[("logprob", Shape::number(F::Logprob))]));
/// Log probabilities of the answer's tokens, in the newer form of chat completions and in the older one of completions.
pub const LOGPROBS: Shape<F> = Shape::through()
    .members(&[("content", LOGPROBS_LIST), ("token_logprobs", Shape::through().items(&Shape::number(F::Logprob)))]);

const FUNCTION: Shape<F> = Shape::through().members(&[("name", Shape::value(F::CallName))]);
const TOOL_CALL: Shape<F> = Shape::container(F::Call).members(&[
    ("index", Shape::value(F::CallIndex)),
    ("id", Shape::value(F::CallId)),
    ("function", FUNCTION),
    ("custom", FUNCTION),
]);

/// `message` of a whole answer, `delta` of a chunk.
pub const MESSAGE: Shape<F> = Shape::container(F::Of(Operation::Chat)).members(&[
    ("content", Shape::presence(F::Content).items(&Shape::container(F::Content))),
    ("reasoning_content", Shape::presence(F::Content)),
    ("reasoning", Shape::presence(F::Content)),
    ("refusal", Shape::presence(F::Refusal)),
    (
        "audio",
        Shape::through().members(&[("transcript", Shape::presence(F::Content)), ("data", Shape::presence(F::Content))]),
    ),
    // OpenRouter's and others' pictures.
    ("images", Shape::through().items(&Shape::container(F::Content))),
    ("tool_calls", Shape::container(F::Calls).items(&TOOL_CALL)),
    ("function_call", Shape::container(F::OldCall).members(&[("name", Shape::value(F::CallName))])),
]);

/// Errors beside `error`: at the top level, and MiniMax's, which come with status 200.
pub const TOP_ERRORS: &[(&str, Shape<F>)] = &[
    ("error", crate::llm::answer::ERROR),
    ("errors", Shape::through().items(&ERROR_ITEM)),
    ("code", Shape::value(F::Failure(Part::TopCode))),
    ("error_code", Shape::value(F::Failure(Part::TopCode))),
    ("type", Shape::value(F::Failure(Part::TopType))),
    ("error_type", Shape::value(F::Failure(Part::TopType))),
    ("base_resp", Shape::through().members(&[("status_code", Shape::value(F::Failure(Part::ResultCode)))])),
];
const ERROR_ITEM: Shape<F> =
    Shape::container(F::Failure(Part::Error)).members(&[("code", Shape::value(F::Failure(Part::Code)))]);
