//! Responses over a WebSocket, an event a frame.

use llmtap::capture::Direction;

use crate::{
    baseline::Shape,
    workload::{Script, Workload, words},
};

pub fn responses(name: &str) -> Workload {
    let mut script = Script::new(Shape::Responses);
    let upgrade = "GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm90IGEgc2VjcmV0IQ==\r\n\r\n";
    script.push(Direction::Send, upgrade.as_bytes());
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    script.push(Direction::Receive, switched.as_bytes());
    for turn in 0..4 {
        let prompt = "Say it again, with \\\"quotes\\\" and line ends.\\n".repeat(5);
        let create =
            format!("{{\"type\":\"response.create\",\"model\":\"gpt-5-mini\",\"input\":\"{prompt}\",\"tools\":[]}}");
        script.push(Direction::Send, &frame(true, create.as_bytes()));
        script.text(Shape::Question, create);
        let response = |status: &str, usage: &str| {
            format!(
                "{{\"id\":\"resp_{turn}\",\"object\":\"response\",\"created_at\":1763700000,\"status\":\"{status}\",\
                 \"error\":null,\"model\":\"gpt-5-mini-2025-08-07\",\"output\":[],\"usage\":{usage}}}"
            )
        };
        let mut event = |event: String| {
            script.push(Direction::Receive, &frame(false, event.as_bytes()));
            script.unit(event);
        };
        event(format!("{{\"type\":\"response.created\",\"response\":{}}}", response("in_progress", "null")));
        for (number, word) in words().take(1000).enumerate() {
            event(format!(
                "{{\"type\":\"response.output_text.delta\",\"content_index\":0,\"delta\":\"{word}\",\
                 \"item_id\":\"msg_0a1b2c3d4e5f60718293a4b5c6d7e8f9\",\"logprobs\":[],\"obfuscation\":\"aB3dE5fG\",\
                 \"output_index\":0,\"sequence_number\":{}}}",
                number + 4
            ));
        }
        let usage = "{\"input_tokens\":57,\"output_tokens\":1000,\"total_tokens\":1057}";
        event(format!("{{\"type\":\"response.completed\",\"response\":{}}}", response("completed", usage)));
    }
    script.finish(name)
}

/// One whole text message (RFC 6455 section 5.2).
fn frame(masked: bool, payload: &[u8]) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![0x81];
    match payload.len() {
        length @ 0..126 => bytes.push(bit | length as u8),
        length => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    if !masked {
        bytes.extend_from_slice(payload);
        return bytes;
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
