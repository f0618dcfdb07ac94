//! What requests of chat completions, completions, embeddings and others have in common.

use crate::llm::{
    json::Shape,
    request::{FORMAT, Field as F, STOP, TOOLS},
};

/// Members of all requests but for what the model is given to work on.
pub const SETTINGS: &[(&str, Shape<F>)] = &[
    ("model", Shape::value(F::Model)),
    // IBM's name.
    ("model_id", Shape::value(F::Model)),
    ("stream", Shape::value(F::Stream)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("max_completion_tokens", Shape::value(F::MaxTokensNewer)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("top_k", Shape::value(F::TopK)),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("stop", STOP),
    ("seed", Shape::value(F::Seed)),
    // Mistral's name for the same.
    ("random_seed", Shape::value(F::Seed)),
    ("n", Shape::value(F::ChoiceCount)),
    ("reasoning_effort", Shape::value(F::ReasoningLevel)),
    // OpenRouter's form.
    ("reasoning", Shape::through().members(&[("effort", Shape::value(F::ReasoningLevel))])),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("response_format", FORMAT),
    ("modalities", Shape::through().items(&Shape::value(F::Modality))),
    ("dimensions", Shape::value(F::Dimensions)),
    // Voyage's and Mistral's name.
    ("output_dimension", Shape::value(F::Dimensions)),
    // Nomic's.
    ("dimensionality", Shape::value(F::Dimensions)),
    ("tools", TOOLS),
    // The older form of tools.
    ("functions", TOOLS),
];
