//! Replays recorded exchanges and compares every span with the values expected of it, field by field: what
//! `cargo xtask corpus` does, as a test.
//!
//! The recordings are not part of the project: `LLMTAP_CORPUS` names their folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at its first failure")]

#[path = "../../xtask/src/corpus/score.rs"]
mod score;

use std::path::Path;

use score::{GOAL, Score};

/// Shapes that llmtap reads today: of these every exchange must have its span. Of others a span is neither demanded
/// nor compared.
const FAMILIES: [&str; 16] = [
    "openai_chat",
    "openai_responses",
    "openai_completions",
    "openai_embeddings",
    "anthropic",
    "anthropic_complete",
    "gemini",
    "cohere_chat1",
    "cohere_chat2",
    "cohere_embed",
    "cohere_generate",
    "ollama_chat",
    "ollama_generate",
    "ollama_embed",
    "bedrock_converse",
    "bedrock_invoke",
];

#[test]
fn recorded_exchanges_give_the_expected_spans() {
    let Some(folder) = std::env::var_os("LLMTAP_CORPUS") else {
        println!("skipped: no recordings (LLMTAP_CORPUS names their folder)");
        return;
    };
    let mut score = Score { families: FAMILIES.map(str::to_owned).to_vec(), ..Score::default() };
    score.folder(folder.as_ref(), Path::new(env!("CARGO_BIN_EXE_llmtap"))).unwrap();
    for difference in &score.differences {
        println!("  {difference:?}");
    }
    println!("{} exchanges, {} shapes of calls", score.exchanges, score.families.len());
    assert_eq!(score.failures(GOAL), [""; 0]);
    assert!(score.providers.values().all(|fields| fields.values().all(|share| share.compared > 0)));
}
