//! Every folder of `tests/fixtures/<dialect>/` is a case: `capture.jsonl` goes in, `expected.json` must come out.
//! `UPDATE_FIXTURES=1 cargo test -p tracer-user --lib fixtures` writes what comes out; read the difference before you
//! commit it.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::drive;
use crate::{
    content::shape,
    llm::{ALL, LlmCall, call::RateLimit, dialects},
    observe::Refusal,
};

/// What each API knows beside whole answers and errors: every dialect has a row.
const KNOWS: &[(&str, &[What])] = &[
    ("openai_chat", &[What::Streams, What::ToolCalls]),
    ("anthropic", &[What::Streams, What::ToolCalls]),
    ("anthropic_complete", &[What::Streams]),
    ("openai_responses", &[What::Streams, What::ToolCalls]),
    ("openai_completions", &[What::Streams]),
    ("openai_embeddings", &[]),
    ("gemini", &[What::Streams, What::ToolCalls]),
    ("gemini_embed", &[]),
    ("gemini_interactions", &[What::Streams, What::ToolCalls]),
    ("bedrock_converse", &[What::Streams, What::ToolCalls]),
    ("bedrock_invoke", &[What::Streams, What::ToolCalls]),
    ("cohere_chat", &[What::Streams, What::ToolCalls]),
    // Streams of it were withdrawn with the API.
    ("cohere_generate", &[]),
    ("cohere_embed", &[]),
    ("rerank", &[]),
    ("ollama_chat", &[What::Streams, What::ToolCalls]),
    ("ollama_generate", &[What::Streams]),
    ("ollama_embed", &[]),
    ("openai_images", &[What::Streams]),
    ("openai_transcriptions", &[What::Streams]),
    ("openai_speech", &[What::Streams]),
    ("mistral_conversations", &[What::Streams, What::ToolCalls]),
    ("watsonx_generation", &[What::Streams]),
    ("watsonx_embeddings", &[]),
    ("dashscope_generation", &[What::Streams, What::ToolCalls]),
    ("dashscope_embeddings", &[]),
    ("tgi_generate", &[What::Streams]),
    ("sglang_generate", &[What::Streams]),
    ("llama_cpp_completion", &[What::Streams]),
    ("lm_studio_chat", &[What::Streams]),
];

#[derive(Clone, Copy, PartialEq)]
enum What {
    Streams,
    ToolCalls,
}

/// Served on the user's own machines under paths that others have, too: an error alone proves nothing.
const ERRORS_PROVE_NOTHING: &[&str] = &["tgi_generate", "sglang_generate", "llama_cpp_completion", "lm_studio_chat"];

/// A case's name, what an API has to know for it, and what its call must show.
type Case = (&'static str, Option<What>, fn(&Value) -> bool);

/// The cases that a dialect must have.
const CASES: &[Case] = &[
    ("plain", None, |call| call["response"]["status"] == 200 && call["error"].is_null()),
    ("error", None, |call| call["error"].is_string()),
    ("stream", Some(What::Streams), |call| call["response"]["streamed"] == true && call["aborted"] == false),
    ("cut_stream", Some(What::Streams), |call| call["response"]["streamed"] == true && call["aborted"] == true),
    ("tool_call", Some(What::ToolCalls), |call| call["response"]["tool_calls"].is_array()),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn cases() -> impl Iterator<Item = (String, PathBuf)> {
    let dialects = dialects().flat_map(|dialect| folders(&root().join(dialect)));
    dialects.map(|folder| (folder.strip_prefix(root()).unwrap().display().to_string(), folder))
}

#[test]
fn every_dialect_has_its_cases() {
    for dialect in dialects() {
        let row = KNOWS.iter().find(|(name, _)| *name == dialect);
        let (_, known) = row.unwrap_or_else(|| panic!("what {dialect} knows has no row"));
        for (case, _, shows) in CASES.iter().filter(|(_, what, _)| what.is_none_or(|what| known.contains(&what))) {
            if *case == "error" && ERRORS_PROVE_NOTHING.contains(&dialect) {
                continue;
            }
            let folder = root().join(dialect).join(case);
            assert!(folder.join("capture.jsonl").is_file(), "{} has no capture", folder.display());
            let expected = fs::read(folder.join("expected.json")).unwrap_or_default();
            let calls: Vec<Value> = serde_json::from_slice(&expected).unwrap_or_default();
            assert!(calls.iter().any(shows), "{} shows none", folder.display());
        }
    }
    let strangers: Vec<_> = KNOWS.iter().filter(|(name, _)| !dialects().any(|dialect| dialect == *name)).collect();
    assert!(strangers.is_empty(), "{} rows belong to no dialect", strangers.len());
    // A folder that belongs to no dialect would never be tested.
    for folder in folders(&root()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let elsewhere = !folder.join("plain").exists();
        assert!(elsewhere || dialects().any(|dialect| dialect == name), "no dialect is called {name}");
    }
}

#[test]
fn calls_are_as_expected() {
    let mut wrong = Vec::new();
    for (name, folder) in cases() {
        let capture = fs::read(folder.join("capture.jsonl")).unwrap();
        let calls: Vec<_> = drive::capture(&capture, None).iter().map(golden).collect();
        let text = serde_json::to_string_pretty(&calls).unwrap() + "\n";
        let expected = folder.join("expected.json");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        let is_right = fs::read_to_string(&expected).is_ok_and(|expected| expected == text);
        if !is_right {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "other than expected.json:\n{}", wrong.join("\n"));
}

/// `content.json` tells what the calls of a case say; it is there for the dialects whose content is read.
#[test]
fn contents_are_as_expected() {
    let mut wrong = Vec::new();
    for (name, folder) in cases() {
        let capture = fs::read(folder.join("capture.jsonl")).unwrap();
        let calls = drive::capture(&capture, None);
        let dialect = ALL.iter().find(|dialect| name.starts_with(&format!("{}/", dialect.name())));
        let is_read = dialect.is_some_and(|dialect| dialect.content().is_some());
        assert!(is_read || calls.iter().all(|call| call.content.is_none()), "{name}");
        let expected = folder.join("content.json");
        if !is_read {
            assert!(!expected.exists(), "{name} has a content that is not read");
            continue;
        }
        let text = serde_json::to_string_pretty(&calls.iter().map(said).collect::<Vec<_>>()).unwrap() + "\n";
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if !fs::read_to_string(&expected).is_ok_and(|expected| expected == text) {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "other than content.json:\n{}", wrong.join("\n"));
}

/// The content of a call as it is told.
fn said(call: &LlmCall) -> Value {
    let Some(content) = &call.content else { return Value::Null };
    let rendered = content.render(1 << 20, &|text| Cow::Borrowed(text));
    shape::check(&rendered);
    let parsed = |text: Option<String>| text.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let mut said = json!({
        "system_instructions": parsed(rendered.system),
        "input": parsed(rendered.input),
        "output": parsed(rendered.output),
        "tools": parsed(rendered.tools),
    });
    prune(&mut said);
    said
}

#[test]
fn cutting_records_anywhere_changes_nothing() {
    for (name, folder) in cases() {
        let capture = fs::read(folder.join("capture.jsonl")).unwrap();
        let calls = |step| {
            let mut calls = drive::capture(&capture, step);
            // What is passed over after a gap, until the next event, counts as lost: that differs by how much came at once.
            calls.iter_mut().for_each(|call| call.lost_bytes = call.lost_bytes.map(|_| 0));
            calls
        };
        let whole = calls(None);
        for step in [1, 2, 3, 5, 7, 64, 1000] {
            assert!(calls(Some(step)) == whole, "{name} in pieces of {step}");
        }
    }
}

/// A call without what is absent. Times are nanoseconds since its start.
fn golden(call: &LlmCall) -> Value {
    let LlmCall { request, response, usage, times, chunks, .. } = call;
    let since = |at: Option<u64>| at.map(|at| at - times.start);
    let limit = |limit: &RateLimit| json!({"limit": limit.limit, "remaining": limit.remaining, "reset": limit.reset});
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut value = json!({
        "connection": &*call.connection.id,
        "exchange": call.id.index,
        "provider": call.provider,
        "operation": call.operation.as_str(),
        "api_type": call.api_type,
        "server": {"address": call.server_address, "port": call.server_port},
        "protocol_version": call.protocol_version,
        "request": {
            "model": request.model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "stop_sequences": request.stop_sequences,
            "seed": request.seed,
            "choice_count": request.choice_count,
            "stream": request.stream,
            "reasoning_level": request.reasoning_level,
            "service_tier": request.service_tier,
            "output_type": request.output_type,
            "previous_response_id": request.previous_response_id,
            "conversation_id": request.conversation_id,
            "embedding_dimensions": request.embedding_dimensions,
            "messages": request.messages,
            "tools": request.tools,
            "system_prompt_hash": request.system_prompt_hash,
            "tool_results": request.tool_results,
            "guardrail_id": request.guardrail_id,
            "body_bytes": request.body_bytes,
        },
        "response": {
            "status": response.status,
            "id": response.id,
            "model": response.model,
            "finish_reasons": response.finish_reasons,
            "tool_calls": response.tool_calls.iter().map(|call| json!({"name": call.name, "id": call.id})).collect::<Vec<_>>(),
            "streamed": response.streamed,
            "service_tier": response.service_tier,
            "speed": response.speed,
            "system_fingerprint": response.system_fingerprint,
            "request_id": response.request_id,
            "processing_ms": response.processing_ms,
            "rate_limits": {
                "requests": limit(&response.rate_limits.requests),
                "tokens": limit(&response.rate_limits.tokens),
            },
            "logprob_mean": response.logprob_mean,
            "geography": response.geography,
            "refusal": Refusal::of(call).map(Refusal::as_str),
        },
        "usage": {
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "cache_write_1h": usage.cache_write_1h,
            "reasoning": usage.reasoning,
            "input_text": usage.input_text,
            "input_audio": usage.input_audio,
            "input_image": usage.input_image,
            "input_video": usage.input_video,
            "cache_read_text": usage.cache_read_text,
            "cache_read_audio": usage.cache_read_audio,
            "cache_read_image": usage.cache_read_image,
            "output_text": usage.output_text,
            "output_audio": usage.output_audio,
            "output_image": usage.output_image,
            "audio_ms": usage.audio_ms,
            "images": usage.images,
            "web_searches": usage.web_searches,
            "file_searches": usage.file_searches,
            "search_units": usage.search_units,
        },
        "asides": call.asides.iter().map(|aside| json!({
            "model": aside.model,
            "input": aside.usage.input,
            "output": aside.usage.output,
            "cache_read": aside.usage.cache_read,
        })).collect::<Vec<_>>(),
        "provider_cost": call.provider_cost,
        "cache_hit": call.cache_hit,
        "fallback": call.fallback,
        "error": call.error.as_ref().map(|error| &error.kind),
        "times": {
            "request_end": since(times.request_end),
            "first_byte": since(times.first_byte),
            "first_chunk": since(times.first_chunk),
            "first_token": since(times.first_token),
            "last_token": since(times.last_token),
            "end": since(Some(times.end)),
        },
        "chunks": {"count": chunks.count, "gap_max": chunks.gap_max, "gap_p95": chunks.gap_p95},
        "completeness": format!("{:?}", call.completeness),
        "lost_bytes": call.lost_bytes,
        "aborted": call.aborted,
        "attempt": call.attempt,
        "trace_parent": call.trace_parent.as_ref().map(|parent| json!({
            "trace_id": hex(&parent.trace_id),
            "span_id": hex(&parent.span_id),
            "flags": parent.flags,
            "state": parent.state,
        })),
    });
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.values_mut().for_each(prune);
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let kept: Map<_, _> = std::mem::take(members).into_iter().filter(|(_, value)| !is_empty(value)).collect();
    *members = kept;
}
