//! What the conventions' JSON schemas demand of messages, parts and tools, for tests.

use serde_json::Value as Json;

use super::render::Rendered;

/// Panics where a required member is missing or of another kind.
#[track_caller]
pub fn check(rendered: &Rendered) {
    let parsed = |text: &Option<String>| text.as_deref().map(|text| serde_json::from_str::<Json>(text).unwrap());
    let list = |json: Option<Json>| json.map(|json| json.as_array().unwrap().clone()).unwrap_or_default();
    list(parsed(&rendered.system)).iter().for_each(part);
    for (messages, output) in [(&rendered.input, false), (&rendered.output, true)] {
        for message in list(parsed(messages)) {
            assert!(message["role"].is_string(), "{message}");
            assert_eq!(message["finish_reason"].is_string(), output, "{message}");
            message["parts"].as_array().unwrap().iter().for_each(part);
        }
    }
    for tool in list(parsed(&rendered.tools)) {
        assert!(tool["type"].is_string() && tool["name"].is_string(), "{tool}");
    }
}

#[track_caller]
fn part(part: &Json) {
    let strings: &[&str] = match part["type"].as_str().unwrap() {
        "text" | "reasoning" => &["content"],
        "tool_call" => &["name"],
        "blob" => &["modality", "content"],
        "file" => &["modality", "file_id"],
        "uri" => &["modality", "uri"],
        _ => &[],
    };
    assert!(strings.iter().all(|name| part[name].is_string()), "{part}");
    assert!(part["type"] != "tool_call_response" || part.get("response").is_some(), "{part}");
}
