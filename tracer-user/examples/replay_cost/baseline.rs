//! The baseline: what `serde_json` takes to parse each JSON text once into types that hold what a client library reads.

use std::{borrow::Cow, hint::black_box};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::{
    Result,
    answers::{
        Anthropic, Chat, Cohere, CohereEmbeddings, Converse, DashScope, Embeddings, Gemini, GeminiEmbeddings, Generate,
        Interactions, LmStudio, Media, MistralConversations, Ollama, OllamaEmbeddings, Responses, Watsonx,
    },
};

/// What a JSON text is like, and so the type that it is parsed into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Question,
    /// Chunks and answers of chat completions and completions.
    Chat,
    Anthropic,
    Responses,
    /// Pictures and speech of OpenAI.
    Media,
    Embeddings,
    Gemini,
    GeminiEmbeddings,
    Interactions,
    Converse,
    /// An event of `InvokeModel`: another JSON text is in it, in base64. Whoever reads the one has to read the other.
    InvokeChunk,
    Cohere,
    CohereEmbeddings,
    Ollama,
    OllamaEmbeddings,
    MistralConversations,
    Watsonx,
    DashScope,
    /// Text Generation Inference, SGLang, llama.cpp.
    Generate,
    LmStudio,
    /// Of any kind: for the owned parse a tree of values, for the borrowed one a check of the syntax, the least that
    /// `serde_json` can do.
    Any,
}

impl Shape {
    /// What the answers of a dialect are like; `stream` says that they come as events.
    pub fn of(dialect: &str, stream: bool) -> Self {
        match dialect {
            "openai_chat" | "openai_completions" => Self::Chat,
            "anthropic" | "anthropic_complete" => Self::Anthropic,
            "openai_responses" => Self::Responses,
            "openai_images" | "openai_speech" | "openai_transcriptions" => Self::Media,
            "openai_embeddings" => Self::Embeddings,
            "gemini" => Self::Gemini,
            "gemini_embed" => Self::GeminiEmbeddings,
            "gemini_interactions" => Self::Interactions,
            "bedrock_converse" => Self::Converse,
            "bedrock_invoke" if stream => Self::InvokeChunk,
            "bedrock_invoke" => Self::Anthropic,
            "cohere_chat" | "cohere_generate" => Self::Cohere,
            "cohere_embed" => Self::CohereEmbeddings,
            "ollama_chat" | "ollama_generate" => Self::Ollama,
            "ollama_embed" => Self::OllamaEmbeddings,
            "mistral_conversations" => Self::MistralConversations,
            "watsonx_generation" | "watsonx_embeddings" => Self::Watsonx,
            "dashscope_generation" | "dashscope_embeddings" => Self::DashScope,
            "tgi_generate" | "sglang_generate" | "llama_cpp_completion" => Self::Generate,
            "lm_studio_chat" => Self::LmStudio,
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
            Self::Chat => into::<Chat<T>>(text),
            Self::Anthropic => into::<Anthropic<T>>(text),
            Self::Responses => into::<Responses<T>>(text),
            Self::Media => into::<Media<T>>(text),
            Self::Embeddings => into::<Embeddings<T>>(text),
            Self::Gemini => into::<Gemini<T>>(text),
            Self::GeminiEmbeddings => into::<GeminiEmbeddings>(text),
            Self::Interactions => into::<Interactions<T>>(text),
            Self::Converse => into::<Converse<T>>(text),
            Self::InvokeChunk => {
                let chunk: InvokeChunk<'_> = serde_json::from_str(text)?;
                // The inner text lives no longer than this: it can only be parsed into owned texts.
                let event = STANDARD.decode(&*chunk.bytes)?;
                black_box(serde_json::from_slice::<Anthropic<Owned>>(&event)?);
                Ok(())
            }
            Self::Cohere => into::<Cohere<T>>(text),
            Self::CohereEmbeddings => into::<CohereEmbeddings<T>>(text),
            Self::Ollama => into::<Ollama<T>>(text),
            Self::OllamaEmbeddings => into::<OllamaEmbeddings<T>>(text),
            Self::MistralConversations => into::<MistralConversations<T>>(text),
            Self::Watsonx => into::<Watsonx<T>>(text),
            Self::DashScope => into::<DashScope<T>>(text),
            Self::Generate => into::<Generate<T>>(text),
            Self::LmStudio => into::<LmStudio<T>>(text),
            Self::Any => into::<T::Any>(text),
        }
    }
}

#[derive(Deserialize)]
struct InvokeChunk<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
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
pub struct Tree<T>(std::marker::PhantomData<T>);

impl<'de, T: Text<'de>> Deserialize<'de> for Tree<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        T::Any::deserialize(deserializer).map(|any| {
            black_box(any);
            Self(std::marker::PhantomData)
        })
    }
}
