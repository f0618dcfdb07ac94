//! The own APIs of programs that serve models: Text Generation Inference, SGLang, llama.cpp, LM Studio. All of them also
//! speak OpenAI's.
//!
//! - TGI: <https://huggingface.github.io/text-generation-inference/>
//! - SGLang: <https://docs.sglang.ai/basic_usage/native_api.html>
//! - llama.cpp: <https://github.com/ggml-org/llama.cpp/tree/master/tools/server>
//! - LM Studio: <https://lmstudio.ai/docs/developer/rest>

use super::{
    Claim,
    answer::{Counter, ERROR, Field as A, Form, Kind},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    recognise::{Target, ends_with},
    request::{FORMAT, Field as F, SAMPLING},
};
use crate::{content::forms, proto::RequestHead};

pub static TGI: JsonDialect =
    JsonDialect::new("tgi_generate", "tgi", Operation::TextCompletion, claim_tgi, &TGI_REQUEST, &TGI_ANSWER)
        .with_content(&forms::TEXT);
pub static SGLANG: JsonDialect = JsonDialect::new(
    "sglang_generate",
    "sglang",
    Operation::TextCompletion,
    |head, _| if is_generate(head) { Claim::ByBody } else { Claim::None },
    &SGLANG_REQUEST,
    &SGLANG_ANSWER,
)
.with_content(&forms::TEXT);
pub static LLAMA_CPP: JsonDialect = JsonDialect::new(
    "llama_cpp_completion",
    "llama_cpp",
    Operation::TextCompletion,
    |head, _| {
        let fits = ["completion", "completions", "infill"].iter().any(|last| ends_with(&head.path, &[last]));
        if fits && !ends_with(&head.path, &["chat", "completions"]) { Claim::ByBody } else { Claim::None }
    },
    &LLAMA_REQUEST,
    &LLAMA_ANSWER,
)
.with_content(&forms::TEXT);
pub static LM_STUDIO: JsonDialect = JsonDialect {
    needs_model: true,
    content: Some(&forms::ENTRIES),
    ..JsonDialect::new(
        "lm_studio_chat",
        "lm_studio",
        Operation::Chat,
        |head, _| if ends_with(&head.path, &["api", "v1", "chat"]) { Claim::ByBody } else { Claim::None },
        &LM_STUDIO_REQUEST,
        &LM_STUDIO_ANSWER,
    )
};

/// `…/generate` that is neither Ollama's nor Cohere's.
fn is_generate(head: &RequestHead) -> bool {
    ends_with(&head.path, &["generate"])
        && !["api", "v1", "v2"].iter().any(|before| ends_with(&head.path, &[before, "generate"]))
}

/// At the endpoints that Hugging Face hosts it answers at the root, too.
fn claim_tgi(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    let host = target.and_then(|target| target.host.as_deref()).or(head.authority.as_deref()).unwrap_or_default();
    let hosted = host.ends_with(".endpoints.huggingface.cloud");
    match is_generate(head) || ends_with(&head.path, &["generate_stream"]) || (hosted && head.path == "/") {
        true => Claim::ByBody,
        false => Claim::None,
    }
}

const TGI_REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("inputs", Shape::presence(F::Prompt)),
    ("stream", Shape::value(F::Stream)),
    ("parameters", Shape::through().members(SAMPLING).and(&[("grammar", FORMAT)])),
]);
const TGI_TOKEN: Shape<A> = Shape::container(A::Proof)
    .members(&[("text", Shape::presence(A::Content)), ("logprob", Shape::number(A::Logprob))]);
const TGI_DETAILS: Shape<A> = Shape::through().members(&[
    ("finish_reason", Shape::value(A::FinishReason)),
    ("generated_tokens", Shape::number(A::Count(Counter::Output))),
    ("input_length", Shape::number(A::Count(Counter::Input))),
    ("prompt_tokens", Shape::number(A::Count(Counter::Input))),
    ("tokens", Shape::through().items(&Shape::through().members(&[("logprob", Shape::number(A::Logprob))]))),
]);
const TGI_RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    ("generated_text", Shape::presence(A::Proof)),
    ("details", TGI_DETAILS),
    // An event of a stream; only the last one has text and details.
    ("token", TGI_TOKEN),
    ("error", ERROR),
    ("error_type", Shape::value(A::Failure(Part::TopType))),
]);
static TGI_ANSWER: Form = Form::new(&TGI_RESPONSE);

const SGLANG_REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("text", Shape::presence(F::Prompt)),
    ("input_ids", Shape::container(F::Prompt)),
    ("stream", Shape::value(F::Stream)),
    ("sampling_params", Shape::through().members(SAMPLING).and(&[("json_schema", Shape::value(F::Format))])),
]);
const SGLANG_RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    ("text", Shape::presence(A::Content)),
    (
        "meta_info",
        Shape::container(A::Proof).members(&[
            ("id", Shape::value(A::Id)),
            ("finish_reason", Shape::value(A::FinishReason).members(&[("type", Shape::value(A::FinishReason))])),
            ("prompt_tokens", Shape::number(A::Count(Counter::Input))),
            ("completion_tokens", Shape::number(A::Count(Counter::Output))),
            ("cached_tokens", Shape::number(A::Count(Counter::CacheRead))),
        ]),
    ),
    ("error", ERROR),
]);
static SGLANG_ANSWER: Form = Form::new(&SGLANG_RESPONSE);

const LLAMA_REQUEST: Shape<F> = Shape::container(F::Root).members(SAMPLING).and(&[
    ("prompt", Shape::presence(F::Prompt)),
    ("input_prefix", Shape::presence(F::Prompt)),
    ("model", Shape::value(F::Model)),
    ("stream", Shape::value(F::Stream)),
    ("n_predict", Shape::value(F::MaxTokens)),
    ("json_schema", Shape::value(F::Format)),
]);
const LLAMA_RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    ("content", Shape::presence(A::Content)),
    ("model", Shape::value(A::Model)),
    // The last event states it as true, and with it the counts.
    ("stop", Shape::value(A::Done)),
    ("stop_type", Shape::value(A::FinishReason)),
    ("tokens_evaluated", Shape::number(A::Count(Counter::Input))),
    ("tokens_predicted", Shape::number(A::Count(Counter::Output))),
    ("timings", Shape::through().members(&[("cache_n", Shape::number(A::Count(Counter::CacheRead)))])),
    (
        "completion_probabilities",
        Shape::through().items(&Shape::through().members(&[("logprob", Shape::number(A::Logprob))])),
    ),
    ("error", ERROR),
]);
static LLAMA_ANSWER: Form = Form::new(&LLAMA_RESPONSE);

const LM_STUDIO_REQUEST: Shape<F> = Shape::container(F::Root).members(SAMPLING).and(&[
    ("model", Shape::value(F::Model)),
    ("input", Shape::presence(F::Messages).items(&Shape::container(F::Message))),
    ("system_prompt", Shape::text(F::System)),
    ("stream", Shape::value(F::Stream)),
    ("max_output_tokens", Shape::value(F::MaxTokens)),
    ("reasoning", Shape::value(F::ReasoningLevel)),
    ("previous_response_id", Shape::value(F::PreviousResponse)),
]);
const LM_STUDIO_MEMBERS: &[(&str, Shape<A>)] = &[
    ("model_instance_id", Shape::value(A::Model)),
    ("response_id", Shape::value(A::Id)),
    (
        "stats",
        Shape::container(A::Proof).members(&[
            ("input_tokens", Shape::number(A::Count(Counter::Input))),
            ("total_output_tokens", Shape::number(A::Count(Counter::Output))),
            ("reasoning_output_tokens", Shape::number(A::Count(Counter::Reasoning))),
        ]),
    ),
];
/// Tools are run by LM Studio itself. The last event carries the whole answer under `result`.
const LM_STUDIO_RESPONSE: Shape<A> = Shape::container(A::Root).members(LM_STUDIO_MEMBERS).and(&[
    ("type", Shape::value(A::Kind)),
    ("content", Shape::presence(A::Content)),
    ("result", Shape::through().members(LM_STUDIO_MEMBERS)),
    ("error", ERROR),
]);
static LM_STUDIO_ANSWER: Form = Form {
    kinds: &[
        ("chat.start", Kind::Proof),
        ("message.delta", Kind::Proof),
        ("reasoning.delta", Kind::Proof),
        ("chat.end", Kind::End),
        ("error", Kind::Error),
    ],
    ..Form::new(&LM_STUDIO_RESPONSE)
};
