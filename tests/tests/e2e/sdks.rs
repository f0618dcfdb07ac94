//! The SDKs of other APIs than chat, and of other providers: every call exactly one span, every field exact.

use anyhow::ensure;
use tests::{environment, mock::Ended};

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
