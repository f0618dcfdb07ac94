//! The SDKs of other APIs than chat, and of other providers: every call exactly one span, every field exact.

use anyhow::ensure;
use tests::{compare, environment, mock::Ended, spans::Span};

use crate::{bench, clients::exact};

/// The bench, or a return when there is no Node.js that the SDKs accept.
macro_rules! node_bench {
    () => {{
        if let Err(why) = environment::node() {
            println!("skipped: {why}");
            return Ok(());
        }
        bench!()
    }};
}

#[test]
fn openai_responses_embeddings_and_completions() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = [
        "responses",
        "responses_stream=5",
        "responses_helper",
        "responses_tools",
        "responses_stream_tools",
        "embeddings",
        "completions",
        "unreachable",
    ];
    let report = exact(&bench, "openai_apis.py", &scenarios, 17)?;
    print!("openai, all APIs: {report}");
    Ok(())
}

#[test]
fn openai_responses_that_fail() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_apis.py", &["errors", "retry", "abort", "timeouts", "broken", "responses"], 24)?;
    let truth = bench.truth();
    for end in [Ended::ClientGone, Ended::Closed, Ended::Reset, Ended::ErrorEvent, Ended::Complete] {
        ensure!(truth.iter().any(|truth| truth.ended == end), "{end:?} did not happen");
    }
    ensure!(truth.iter().any(|truth| truth.retry == Some(2)), "no second retry");
    Ok(())
}

#[test]
fn openai_apis_asyncio() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_apis.py", &["asynchronous"], 24)?;
    Ok(())
}

#[test]
fn google_genai() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["plain", "stream=5", "thinking", "tools", "stream_tools", "chat", "unreachable"];
    let report = exact(&bench, "gemini_client.py", &scenarios, 15)?;
    print!("google-genai: {report}");
    Ok(())
}

#[test]
fn google_genai_that_fails() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["errors", "error_in_stream", "retry", "abort", "timeouts", "broken", "plain"];
    exact(&bench, "gemini_client.py", &scenarios, 22)?;
    Ok(())
}

#[test]
fn google_genai_asyncio_and_embeddings() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "gemini_client.py", &["asynchronous", "embeddings"], 23)?;
    Ok(())
}

#[test]
fn mistral() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["plain", "stream", "tools", "fim", "embeddings", "errors", "asynchronous"];
    exact(&bench, "mistral_client.py", &scenarios, 14)?;
    Ok(())
}

#[test]
fn cohere() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["plain", "stream", "thinking", "tools", "version_1", "embeddings", "errors", "asynchronous"];
    exact(&bench, "cohere_client.py", &scenarios, 20)?;
    Ok(())
}

#[test]
fn bedrock() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = [
        "converse",
        "converse_stream",
        "tools",
        "stream_tools",
        "invoke",
        "invoke_stream",
        "errors",
        "error_in_stream",
        "anthropic_sdk",
    ];
    exact(&bench, "bedrock_client.py", &scenarios, 24)?;
    Ok(())
}

#[test]
fn ollama() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["plain", "stream", "thinking", "tools", "embeddings", "errors", "abort", "asynchronous"];
    exact(&bench, "ollama_client.py", &scenarios, 19)?;
    Ok(())
}

#[test]
fn litellm_library() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "litellm_client.py", &["plain", "stream", "tools", "errors", "asynchronous"], 24)?;
    Ok(())
}

/// Client to proxy and proxy to provider, both over TLS: two spans for each call, each with what its own hop said.
#[test]
fn litellm_proxy() -> anyhow::Result<()> {
    let bench = bench!();
    let finished = bench.run_traced(&[], &bench.script("litellm_proxy.py", &[])?)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    let mut truth = bench.truth();
    truth.retain(|truth| truth.provider.is_some());
    ensure!(truth.len() == 6, "{} calls reached the mock, not 6", truth.len());
    truth.sort_by_key(|truth| truth.times.request_first);
    let port = u64::from(bench.mock.address().port());
    let calls = bench.spans()?.into_iter().filter(Span::is_call);
    let (to_mock, mut to_proxy): (Vec<_>, Vec<_>) = calls.partition(|span| span.integer("server.port") == Some(port));
    let report = compare::compare(&truth, &to_mock);
    ensure!(report.exact(), "proxy to provider:\n{report}");

    to_proxy.sort_by_key(|span| span.start);
    ensure!(to_proxy.len() == truth.len(), "{} calls to the proxy, not {}", to_proxy.len(), truth.len());
    for (span, truth) in to_proxy.iter().zip(&truth) {
        let model = if truth.provider.as_deref() == Some("openai") { "team-gpt" } else { "team-claude" };
        let names: Vec<_> = truth.tool_calls.iter().map(|call| call.name.as_str()).collect();
        ensure!(span.text("gen_ai.provider.name") == Some("litellm"), "{span:?}");
        ensure!(span.text("gen_ai.request.model") == Some(model), "{span:?}");
        ensure!(span.boolean("gen_ai.request.stream").unwrap_or(false) == truth.stream, "{span:?}");
        ensure!(span.integer("gen_ai.usage.input_tokens") == truth.usage.input, "{span:?}");
        ensure!(span.integer("gen_ai.usage.output_tokens") == truth.usage.output, "{span:?}");
        ensure!(span.list("llmtap.tool_calls.names") == names, "{span:?}");
        let pids = [span, &to_mock[0]].map(|span| span.resource.get("process.pid").cloned());
        ensure!(pids[0].is_some() && pids[0] != pids[1], "one process for both hops: {pids:?}");
    }
    Ok(())
}

#[test]
fn node_openai() -> anyhow::Result<()> {
    let bench = node_bench!();
    exact(&bench, "node/openai.mjs", &[], 38)?;
    Ok(())
}

#[test]
fn node_anthropic() -> anyhow::Result<()> {
    let bench = node_bench!();
    exact(&bench, "node/anthropic.mjs", &[], 14)?;
    Ok(())
}

#[test]
fn node_google_genai() -> anyhow::Result<()> {
    let bench = node_bench!();
    exact(&bench, "node/genai.mjs", &[], 5)?;
    Ok(())
}
