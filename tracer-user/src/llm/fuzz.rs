//! Feeds arbitrary bytes to every dialect, as request, as whole response and as events. Nothing may panic, what is kept
//! stays within its caps, and how the bodies are cut must not matter.

use std::{borrow::Cow, sync::Arc};

use super::{Calls, Limits, LlmCall, Options};
use crate::{
    capture::{Connection, ConnectionKey},
    content,
    exchange::{Event, ExchangeId, Outcome},
    proto::{End, Piece, RequestHead, ResponseHead},
};

/// One path of each dialect.
const PATHS: [&str; 32] = [
    "/v1/chat/completions",
    "/v1/chat",
    "/v1/messages",
    "/v1/complete",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/v1beta/models/m:streamGenerateContent",
    "/v1/generate",
    "/v2/embed",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    "/v1/audio/speech",
    "/v1beta/models/m:embedContent",
    "/v1beta/interactions",
    "/publishers/mistralai/models/m:rawPredict",
    "/serving-endpoints/m/invocations",
    "/v1/conversations",
    "/ml/v1/text/generation",
    "/ml/v1/text/embeddings",
    "/services/aigc/text-generation/generation",
    "/services/embeddings/text-embedding/text-embedding",
    "/generate",
    "/completion",
    "/api/v1/chat",
    "/model/m/converse-stream",
    "/model/m/invoke",
    "/model/amazon.nova-x/invoke-with-response-stream",
    "/model/amazon.titan-x/invoke",
];

/// The first byte chooses the dialect, the second the cuts, the third whether the response has events, one a line.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let [path, step, mode, bodies @ ..] = data else { return };
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let (request, response) = bodies.split_at(bodies.len() / 2);
    let step = usize::from(*step % 64) + 1;
    let whole = call(path, mode % 2 == 1, &[request], &[response]);
    let cut = call(path, mode % 2 == 1, &pieces(request, step), &pieces(response, step));
    assert!(whole == cut, "cutting changes the call");
}

fn pieces(body: &[u8], step: usize) -> Vec<&[u8]> {
    body.chunks(step).collect()
}

fn call(path: &str, events: bool, request: &[&[u8]], response: &[&[u8]]) -> Option<LlmCall> {
    let id = ExchangeId { connection: ConnectionKey(0), index: 0 };
    let head = RequestHead {
        method: "POST".into(),
        path: path.into(),
        authority: Some("localhost:11434".into()),
        ..RequestHead::default()
    };
    let (mut calls, mut found) = (Calls::new(Limits::default(), Options::default()), Vec::new());
    calls = calls.with_content(content::Limits::default(), content::POOL_BYTES);
    let connection = Arc::new(Connection::default());
    calls.push(&Event::Request { id, at: 0, connection, head: Some(Arc::new(head)) }, &mut found);
    for piece in request {
        calls.push(&Event::RequestPiece { id, at: 1, piece: Piece::Bytes(Cow::Borrowed(piece)) }, &mut found);
    }
    calls.push(&Event::RequestEnd { id, at: 2, end: End::Complete }, &mut found);
    let head = Arc::new(ResponseHead { status: 200, ..ResponseHead::default() });
    calls.push(&Event::Response { id, at: 3, head }, &mut found);
    if events {
        // Events come whole, however the body was cut.
        let body = response.concat();
        for line in body.split(|byte| *byte == b'\n') {
            // What Bedrock streams has names.
            let piece = match line.strip_prefix(b"!") {
                Some(name) => Piece::Message { name: Cow::Borrowed(name), data: Cow::default(), exception: true },
                None => Piece::Sse { event: Cow::default(), data: Cow::Borrowed(line) },
            };
            calls.push(&Event::ResponsePiece { id, at: 4, piece }, &mut found);
        }
    } else {
        for piece in response {
            calls.push(&Event::ResponsePiece { id, at: 4, piece: Piece::Bytes(Cow::Borrowed(piece)) }, &mut found);
        }
    }
    calls.push(&Event::End { id, at: 5, outcome: Outcome::Complete }, &mut found);
    let call = found.pop()?;
    Some(*call)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: [&str; 47] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "null",
            "true",
            "1",
            "-3",
            "\"a\"",
            "\"\"",
            "\n",
            "\"id\":",
            "\"model\":\"m\",",
            "\"choices\":[{",
            "\"delta\":{",
            "\"tool_calls\":[{",
            "\"index\":",
            "\"function\":{\"name\":",
            "\"usage\":{",
            "\"messages\":[{",
            "\"role\":\"system\",",
            "\"content\":",
            "\"type\":\"message_start\",",
            "\"content_block\":{",
            "\"type\":\"tool_use\",",
            "\"error\":",
            "\"code\":",
            "\"candidates\":[{",
            "\"parts\":[{\"text\":",
            "\"output\":[{",
            "\"response\":{",
            "\"message\":{",
            "\"done\":true",
            "\"input\":",
            "\"prompt\":",
            "\\ud83d",
            "\"finish_reason\":",
            "é",
            "!throttlingException",
            "{\"bytes\":\"eyJnZW5lcmF0aW9uIjoiYSJ9\"}",
            "\"contentBlockDelta\":{\"delta\":",
            "\"toolUse\":{\"toolUseId\":",
            "\"stopReason\":",
            "\"results\":[{\"tokenCount\":",
            "\"embedding\":[",
        ];
        prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60).prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_body_does_harm(choice in prop::array::uniform3(any::<u8>()), body in json(), noise in any::<[u8; 4]>()) {
            fuzz(&[&choice[..], &body].concat());
            fuzz(&[&choice[..], &body, &noise].concat());
        }
    }
}
