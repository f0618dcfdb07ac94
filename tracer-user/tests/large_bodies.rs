//! Requests of 32 MiB, as images in base64 make them: what stands behind the huge value is found, in the memory of a
//! small one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at its first failure")]

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
};

const HUGE: usize = 32 << 20;
const RECORD: usize = 16 << 10;
/// Most that a huge body may need more than a small one, in KiB: a quarter of its size. What remains is the allocator's and
/// the pages of the program's own file, which differ by one or two MiB from machine to machine.
const GROWTH_KIB: u64 = 8 << 10;

/// Host and path, the body before the huge value, and what follows it. `~` stands for the value.
const REQUESTS: [(&str, &str, &str); 10] = [
    (
        "api.openai.com",
        "/v1/chat/completions",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"~"}}]}],"seed":7,"model":"m-1"}"#,
    ),
    (
        "api.openai.com",
        "/v1/responses",
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"~"}]}],"model":"m-1"}"#,
    ),
    ("api.openai.com", "/v1/completions", r#"{"prompt":"~","model":"m-1"}"#),
    ("api.openai.com", "/v1/embeddings", r#"{"input":["~"],"model":"m-1"}"#),
    (
        "api.anthropic.com",
        "/v1/messages",
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"data":"~"}}]}],"model":"m-1"}"#,
    ),
    (
        "generativelanguage.googleapis.com",
        "/v1beta/models/m-1:generateContent",
        r#"{"contents":[{"parts":[{"inlineData":{"data":"~"}}]}],"generationConfig":{"maxOutputTokens":77}}"#,
    ),
    (
        "bedrock-runtime.eu-west-1.amazonaws.com",
        "/model/m-1/converse",
        r#"{"messages":[{"role":"user","content":[{"image":{"source":{"bytes":"~"}}}]}],"inferenceConfig":{"maxTokens":77}}"#,
    ),
    (
        "bedrock-runtime.eu-west-1.amazonaws.com",
        "/model/m-1/invoke",
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"data":"~"}}]}],"max_tokens":77}"#,
    ),
    (
        "api.cohere.com",
        "/v2/chat",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"~"}}]}],"model":"m-1"}"#,
    ),
    ("localhost:11434", "/api/chat", r#"{"messages":[{"role":"user","content":"","images":["~"]}],"model":"m-1"}"#),
];

/// Replays one request whose huge value has so many bytes; gives the spans and the highest resident memory in KiB.
fn replay((host, path, body): (&str, &str, &str), huge: usize) -> (String, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmtap"));
    let command = command.args(["replay", "--output", "jsonl", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"llmtap_capture\":1}\n{\"k\":\"open\",\"ts\":1,\"conn\":\"c\",\"tls\":\"openssl\"}\n").unwrap();
    let (before, after) = body.split_once('~').unwrap();
    let length = before.len() + huge + after.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    let huge_value = "QUJD".repeat(RECORD / 4);
    let pieces = (0..huge).step_by(RECORD).map(|start| &huge_value[..RECORD.min(huge - start)]);
    let mut offset = 0;
    for (at, piece) in (2..).zip([&*head, before].into_iter().chain(pieces).chain([after])) {
        let text = serde_json::to_string(piece).unwrap();
        writeln!(input, r#"{{"k":"data","ts":{at},"conn":"c","dir":"send","off":{offset},"text":{text}}}"#).unwrap();
        offset += piece.len();
    }
    // All but what the pipe holds has been read.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    drop(input);
    let mut spans = String::new();
    child.stdout.take().unwrap().read_to_string(&mut spans).unwrap();
    assert!(child.wait().unwrap().success());
    (spans, peak.unwrap())
}

#[test]
fn what_stands_behind_a_huge_value_is_found_in_little_memory() {
    for request in REQUESTS {
        let (_, small) = replay(request, 64 << 10);
        let (spans, huge) = replay(request, HUGE);
        let growth = huge.saturating_sub(small);
        println!("{}{}: {small} KiB, {growth} KiB more for {} MiB", request.0, request.1, HUGE >> 20);
        assert!(growth < GROWTH_KIB, "{}: {growth} KiB more", request.1);
        assert!(spans.contains("\"m-1\""), "{}: no model in {spans}", request.1);
        if request.2.contains("77") {
            assert!(spans.contains("gen_ai.request.max_tokens"), "{}: no bound in {spans}", request.1);
        }
    }
}
