//! The baseline: what `serde_json` takes to parse each JSON text once into types that hold what a client library reads.

use std::{borrow::Cow, hint::black_box};

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::Result;

/// What a JSON text is like, and so the type that it is parsed into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Question,
    /// Chunks and answers of chat completions and completions, events and answers of Anthropic.
    Chat,
    Responses,
    Gemini,
    Cohere,
    Ollama,
    Embeddings,
    Converse,
    /// Of any kind: for the owned parse a tree of values, for the borrowed one a check of the syntax, the least that
    /// `serde_json` can do.
    Any,
}

impl Shape {
    pub fn of(dialect: &str) -> Self {
        match dialect {
            "openai_chat" | "openai_completions" | "anthropic" | "anthropic_complete" => Self::Chat,
            "openai_responses" => Self::Responses,
            "gemini" => Self::Gemini,
            "cohere_chat" | "cohere_generate" => Self::Cohere,
            "ollama_chat" | "ollama_generate" => Self::Ollama,
            "bedrock_converse" => Self::Converse,
            "openai_embeddings" | "cohere_embed" | "ollama_embed" => Self::Embeddings,
            _ => Self::Any,
        }
    }

    pub fn parse<'a, T: Text<'a>>(self, text: &'a str) -> Result<()> {
        fn into<'a, T: Deserialize<'a>>(text: &'a str) -> Result<()> {
            black_box(serde_json::from_str::<T>(text)?);
            Ok(())
        }
        match self {
            Self::Question => into::<Question<T>>(text),
            Self::Chat => into::<Answer<T>>(text),
            Self::Responses => into::<ResponsesEvent<T>>(text),
            Self::Gemini => into::<Generated<T>>(text),
            Self::Cohere => into::<CohereEvent<T>>(text),
            Self::Ollama => into::<OllamaLine<T>>(text),
            Self::Embeddings => into::<Embeddings<T>>(text),
            Self::Converse => into::<Conversed<T>>(text),
            Self::Any => into::<T::Any>(text),
        }
    }
}

/// How the baseline takes texts: `Owned` as client libraries do, `Borrowed` where the text has no escapes.
pub trait Text<'de>: Deserialize<'de> {
    /// What it takes for a text of any shape.
    type Any: Deserialize<'de>;
}

#[derive(Deserialize)]
#[serde(transparent)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
pub struct Owned(String);
impl Text<'_> for Owned {
    type Any = serde_json::Value;
}

#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
pub struct Borrowed<'a>(Cow<'a, str>);
impl<'de> Text<'de> for Borrowed<'de> {
    type Any = IgnoredAny;
}

/// serde borrows a `Cow` that is a field, not one inside an `Option` or a `Vec`.
impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Field<'a>(#[serde(borrow)] Cow<'a, str>);
        Field::deserialize(deserializer).map(|field| Self(field.0))
    }
}

/// What a client library reads of a chunk, an event or an answer, of either family.
#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Answer<T> {
    id: Option<T>,
    model: Option<T>,
    created: Option<u64>,
    service_tier: Option<T>,
    system_fingerprint: Option<T>,
    choices: Option<Vec<Choice<T>>>,
    #[serde(rename = "type")]
    kind: Option<T>,
    index: Option<u32>,
    delta: Option<Delta<T>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Choice<T> {
    index: u32,
    #[serde(alias = "delta")]
    message: Option<Delta<T>>,
    text: Option<T>,
    finish_reason: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Delta<T> {
    #[serde(rename = "type")]
    kind: Option<T>,
    role: Option<T>,
    content: Option<T>,
    text: Option<T>,
    partial_json: Option<T>,
    stop_reason: Option<T>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Usage {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Question<T> {
    model: Option<T>,
    stream: Option<bool>,
    messages: Option<Vec<Message<T>>>,
    /// `prompt`, `input`, `contents` of other APIs.
    #[serde(alias = "input", alias = "contents", alias = "texts", alias = "message")]
    prompt: Option<Tree<T>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Message<T> {
    role: T,
    content: Option<Tree<T>>,
}

/// A part of any shape: parsed like a text of any shape, and dropped.
struct Tree<T>(std::marker::PhantomData<T>);

impl<'de, T: Text<'de>> Deserialize<'de> for Tree<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        T::Any::deserialize(deserializer).map(|any| {
            black_box(any);
            Self(std::marker::PhantomData)
        })
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct ResponsesEvent<T> {
    #[serde(rename = "type")]
    kind: Option<T>,
    sequence_number: Option<u64>,
    item_id: Option<T>,
    output_index: Option<u32>,
    content_index: Option<u32>,
    delta: Option<T>,
    text: Option<T>,
    response: Option<ResponsesAnswer<T>>,
    id: Option<T>,
    model: Option<T>,
    status: Option<T>,
    output: Option<Vec<Tree<T>>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct ResponsesAnswer<T> {
    id: Option<T>,
    model: Option<T>,
    status: Option<T>,
    output: Option<Vec<Tree<T>>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
#[serde(rename_all = "camelCase")]
struct Generated<T> {
    candidates: Option<Vec<Candidate<T>>>,
    usage_metadata: Option<GeneratedUsage>,
    model_version: Option<T>,
    response_id: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
#[serde(rename_all = "camelCase")]
struct Candidate<T> {
    index: Option<u32>,
    finish_reason: Option<T>,
    content: Option<Parts<T>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Parts<T> {
    role: Option<T>,
    parts: Option<Vec<Part<T>>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Part<T> {
    text: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct GeneratedUsage {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    total_token_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct CohereEvent<T> {
    #[serde(rename = "type", alias = "event_type")]
    kind: Option<T>,
    id: Option<T>,
    index: Option<u32>,
    delta: Option<Tree<T>>,
    message: Option<Tree<T>>,
    text: Option<T>,
    finish_reason: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct OllamaLine<T> {
    model: Option<T>,
    created_at: Option<T>,
    message: Option<OllamaMessage<T>>,
    response: Option<T>,
    done: Option<bool>,
    done_reason: Option<T>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    total_duration: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct OllamaMessage<T> {
    role: Option<T>,
    content: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Embeddings<T> {
    id: Option<T>,
    model: Option<T>,
    data: Option<Vec<Embedding>>,
    /// Ollama's list of lists; Cohere's by type.
    embeddings: Option<Tree<T>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Embedding {
    index: Option<u32>,
    embedding: Vec<f64>,
}

/// Events and answers of Bedrock's Converse.
#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
#[serde(rename_all = "camelCase")]
struct Conversed<T> {
    content_block_index: Option<u32>,
    delta: Option<Delta<T>>,
    role: Option<T>,
    stop_reason: Option<T>,
    output: Option<Tree<T>>,
    usage: Option<ConversedUsage>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
#[serde(rename_all = "camelCase")]
struct ConversedUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}
