use serde_json::json;

use super::*;
use crate::content::{Limits, Pool, excerpt::Excerpt, request};

fn told(part: Option<Part>) -> Json {
    part.map_or(Json::Null, |part| part.json())
}

#[test]
fn what_is_binary_is_told_by_kind_type_and_size_in_every_form() {
    let blob = |modality: &str, mime: Option<&str>| match mime {
        Some(mime) => json!({"type": "blob", "modality": modality, "mime_type": mime, "content": "", "bytes": 3}),
        None => json!({"type": "blob", "modality": modality, "content": "", "bytes": 3}),
    };
    let png = || blob("image", Some("image/png"));
    let url = "data:image/png;base64,QUJD";
    for (part, expected) in [
        // OpenAI
        (json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}}), png()),
        (json!({"type": "input_image", "image_url": url}), png()),
        (
            json!({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}),
            blob("audio", Some("audio/wav")),
        ),
        (
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}}),
            blob("document", Some("application/pdf")),
        ),
        // Anthropic
        (json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}), png()),
        (
            json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}}),
            blob("document", Some("application/pdf")),
        ),
        // Gemini
        (json!({"inlineData": {"mimeType": "image/png", "data": "QUJD"}}), png()),
        (json!({"inline_data": {"mime_type": "audio/mp3", "data": "QUJD"}}), blob("audio", Some("audio/mp3"))),
        (json!({"type": "image", "mime_type": "image/png", "data": "QUJD"}), png()),
        // Converse
        (json!({"image": {"format": "png", "source": {"bytes": "QUJD"}}}), png()),
        (
            json!({"document": {"format": "pdf", "name": "a", "source": {"bytes": "QUJD"}}}),
            blob("document", Some("application/pdf")),
        ),
        // DashScope
        (json!({"image": "data:image/png;base64,QUJD"}), png()),
    ] {
        assert_eq!(told(super::part(&part)), expected, "{part}");
    }
    assert_eq!(media(&json!("QUJD"), "image").json(), blob("image", None), "Ollama");
    for (data, bytes) in [("QUJDRA==", 4), ("QUJDREU=", 5), ("QUJDREU", 5)] {
        let Part::Blob { bytes: told, .. } = media(&json!(data), "image") else { panic!("no blob") };
        assert_eq!(told, bytes, "{data}");
    }
}

#[test]
fn what_lies_elsewhere_is_told_by_its_place_without_credentials() {
    let uri = |uri: &str| json!({"type": "uri", "modality": "image", "uri": uri});
    let at = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    for (part, expected) in [
        (at("https://h.example/a.png?X-Amz-Signature=s#f"), uri("https://h.example/a.png")),
        (at("https://user:secret@h.example/a@b.png"), uri("https://h.example/a@b.png")),
        (at("https://user:secret@h.example"), uri("https://h.example")),
        (json!({"type": "image", "source": {"type": "url", "url": "https://h/a.png"}}), uri("https://h/a.png")),
        (
            json!({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}}),
            json!({"type": "uri", "modality": "image", "mime_type": "image/png", "uri": "s3://b/a.png"}),
        ),
        (
            json!({"fileData": {"fileUri": "gs://b/a", "mimeType": "video/mp4"}}),
            json!({"type": "uri", "modality": "video", "mime_type": "video/mp4", "uri": "gs://b/a"}),
        ),
        (
            json!({"type": "file", "file": {"file_id": "file-1"}}),
            json!({"type": "file", "modality": "document", "file_id": "file-1"}),
        ),
        (
            json!({"type": "input_image", "file_id": "file-1"}),
            json!({"type": "file", "modality": "image", "file_id": "file-1"}),
        ),
    ] {
        assert_eq!(told(super::part(&part)), expected, "{part}");
    }
}

#[test]
fn parts_of_other_kinds_are_told_by_their_names_alone() {
    assert_eq!(told(super::part(&json!({"type": "odd", "secret": "x"}))), json!({"type": "odd"}));
    assert_eq!(told(super::part(&json!({"oddity": {"secret": "x"}}))), json!({"type": "oddity"}));
    for nothing in [
        json!({"cachePoint": {"type": "default"}}),
        json!({"type": "text", "text": ""}),
        json!(""),
        json!(7),
        json!({}),
    ] {
        assert_eq!(told(super::part(&nothing)), Json::Null, "{nothing}");
    }
}

#[test]
fn results_of_tools_keep_their_structure_without_what_is_binary() {
    let result = |content: Json| match typed("tool_result", &json!({"tool_use_id": "t", "content": content})) {
        Some(Part::ToolResponse { response, .. }) => response,
        _ => panic!("no result"),
    };
    assert_eq!(result(json!("sunny")), json!("sunny"));
    assert_eq!(result(json!([{"type": "text", "text": "sunny"}])), json!("sunny"));
    let screenshot = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}});
    let told = result(json!([{"type": "text", "text": "look"}, screenshot]));
    assert_eq!(told[0], json!({"type": "text", "text": "look"}));
    assert_eq!(
        told[1],
        json!({"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "bytes": 3})
    );
}

#[test]
fn what_the_copy_left_out_is_told_where_it_was() {
    let picture = "QUJD".repeat(5000);
    let large = "many words ".repeat(1000);
    let body = json!({"messages": [
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": picture}},
            {"type": "text", "text": large},
        ]},
        {"role": "user", "content": large},
        {"role": "tool", "tool_call_id": "c", "content": large},
    ]});
    let limits = Limits { string_bytes: 8000, ..Limits::default() };
    let copy = Excerpt::new(limits, &Pool::new(1 << 20)).document(body.to_string().as_bytes()).unwrap();
    let content = request::read(&copy);
    let told: Vec<_> = content.input.iter().flat_map(|message| &message.parts).map(Part::json).collect();
    let blob =
        |mime: &str| json!({"type": "blob", "modality": "image", "mime_type": mime, "content": "", "bytes": 15_000});
    let gap = json!({"type": "llmtap.left_out", "items": 1, "bytes": 11_000});
    let result = json!({"type": "tool_call_response", "id": "c", "response": gap});
    assert_eq!(told, [blob("image/png"), blob("image/webp"), gap.clone(), gap, result]);
}

#[test]
fn tools_of_all_apis_come_in_one_form() {
    let schema = || json!({"type": "object"});
    let function = json!({"type": "function", "name": "t", "description": "d", "parameters": schema()});
    for tools in [
        json!([{"type": "function", "function": {"name": "t", "description": "d", "parameters": schema()}}]),
        json!([{"type": "function", "name": "t", "description": "d", "parameters": schema(), "strict": true}]),
        json!([{"name": "t", "description": "d", "input_schema": schema()}]),
        json!([{"functionDeclarations": [{"name": "t", "description": "d", "parameters": schema()}]}]),
        json!({"functionDeclarations": [{"name": "t", "description": "d", "parametersJsonSchema": schema()}]}),
        json!([{"toolSpec": {"name": "t", "description": "d", "inputSchema": {"json": schema()}}}, {"cachePoint": {}}]),
    ] {
        let content = crate::content::Content { tools: super::tools(Some(&tools)), ..Default::default() };
        let rendered = content.render(10_000, &|text| Cow::Borrowed(text));
        assert_eq!(serde_json::from_str::<Json>(&rendered.tools.unwrap()).unwrap(), json!([function]), "{tools}");
    }
}
