use super::*;
use crate::content::shape;

fn message(role: &'static str, parts: Vec<Part>) -> Message {
    Message { role: role.into(), parts, ..Message::default() }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn parsed(text: &Option<String>) -> Json {
    serde_json::from_str(text.as_deref().unwrap()).unwrap()
}

fn as_it_is(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

#[test]
fn all_kinds_of_parts_have_the_form_of_the_conventions() {
    let id = || Some("c1".to_owned());
    let content = Content {
        system: vec![text("be good")],
        input: vec![
            message(
                "user",
                vec![
                    text("see"),
                    Part::Blob { modality: "image".into(), mime_type: Some("image/png".into()), bytes: 77 },
                    Part::File { modality: "document".into(), mime_type: None, id: "f1".into() },
                    Part::Uri { modality: "image".into(), mime_type: None, uri: "https://h/p".into() },
                    Part::Other("odd".into()),
                ],
            ),
            Message { name: Some("ann".into()), ..message("user", vec![text("x")]) },
            message("tool", vec![Part::ToolResponse { id: id(), response: json!({"km": 430}) }]),
        ],
        output: vec![Message {
            finish_reason: Some("stop".into()),
            ..message(
                "assistant",
                vec![
                    Part::Reasoning("hm".into()),
                    Part::ToolCall { id: id(), name: "t".into(), arguments: json!({"a": 1}) },
                ],
            )
        }],
        tools: vec![
            Tool::Function {
                name: "t".into(),
                description: Some("d".into()),
                parameters: Some(json!({"type": "object"})),
            },
            Tool::Other { kind: "web_search".into(), name: "web_search".into() },
        ],
        ..Content::default()
    };
    let rendered = content.render(1 << 16, &as_it_is);
    assert_eq!(parsed(&rendered.system), json!([{"type": "text", "content": "be good"}]));
    assert_eq!(
        parsed(&rendered.input),
        json!([
            {"role": "user", "parts": [
                {"type": "text", "content": "see"},
                {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "bytes": 77},
                {"type": "file", "modality": "document", "file_id": "f1"},
                {"type": "uri", "modality": "image", "uri": "https://h/p"},
                {"type": "odd"},
            ]},
            {"role": "user", "name": "ann", "parts": [{"type": "text", "content": "x"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"km": 430}}]},
        ])
    );
    assert_eq!(
        parsed(&rendered.output),
        json!([{"role": "assistant", "finish_reason": "stop", "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "tool_call", "id": "c1", "name": "t", "arguments": {"a": 1}},
        ]}])
    );
    assert_eq!(
        parsed(&rendered.tools),
        json!([
            {"type": "function", "name": "t", "description": "d", "parameters": {"type": "object"}},
            {"type": "web_search", "name": "web_search"},
        ])
    );
    assert_eq!(rendered.left_out_bytes, 0);
    shape::check(&rendered);
}

#[test]
fn what_was_not_there_is_absent() {
    assert!(Content::default().render(1000, &as_it_is) == Rendered::default());
}

#[test]
fn the_cap_holds_and_what_is_missing_is_said() {
    let words = "word \"word\" ".repeat(40);
    let content = Content {
        system: vec![text(&words)],
        input: (0..50).map(|n| message("user", vec![text(&format!("{n} {words}")), text("short")])).collect(),
        output: vec![message("assistant", vec![text("answer"), text(&words)])],
        tools: vec![Tool::Function { name: "t".into(), description: Some(words.clone()), parameters: None }; 9],
        ..Content::default()
    };
    for most in [0, 100, 200, 500, 1000, 2000, 5000, 20_000, 100_000] {
        let rendered = content.render(most, &as_it_is);
        let Rendered { system, input, output, tools, left_out_bytes } = &rendered;
        let length = [system, input, output, tools].into_iter().flatten().map(String::len).sum::<usize>();
        // Four marks that stand alone are told even where there is no room for anything.
        assert!(length <= most + 4 * MARK_BYTES, "{length} of {most}");
        assert_eq!(*left_out_bytes > 0, most < 100_000, "{most}");
        shape::check(&rendered);
    }
    let input = parsed(&content.render(5000, &as_it_is).input);
    let first = &input[0];
    assert_eq!(first["role"], "llmtap");
    assert_eq!(first["parts"][0]["type"], LEFT_OUT);
    let (left_out, kept) = (first["parts"][0]["items"].as_u64().unwrap(), input.as_array().unwrap().len() as u64 - 1);
    assert_eq!(left_out + kept, 50, "the latest stay");
    assert!(input[usize::try_from(kept).unwrap()]["parts"][0]["content"].as_str().unwrap().starts_with("49 "));
}

#[test]
fn every_text_passes_through_the_filter() {
    let secret = || "sk-secret".to_owned();
    let content = Content {
        system: vec![text("sk-secret")],
        input: vec![Message {
            name: Some(secret()),
            ..message(
                "user",
                vec![
                    text("a sk-secret"),
                    Part::ToolResponse {
                        id: Some(secret()),
                        response: json!([{"sk-secret": ["sk-secret"]}, "sk-secret"]),
                    },
                    Part::Uri { modality: "image".into(), mime_type: None, uri: secret() },
                    Part::File { modality: "image".into(), mime_type: None, id: secret() },
                    Part::Other(secret()),
                ],
            )
        }],
        output: vec![message(
            "assistant",
            vec![
                Part::Reasoning(secret()),
                Part::ToolCall { id: Some(secret()), name: secret(), arguments: json!({"a": "sk-secret"}) },
            ],
        )],
        tools: vec![
            Tool::Function {
                name: secret(),
                description: Some(secret()),
                parameters: Some(json!({"default": "sk-secret"})),
            },
            Tool::Other { kind: "k".into(), name: secret() },
        ],
        ..Content::default()
    };
    let rendered = content.render(1 << 16, &|text| Cow::Owned(text.replace("sk-secret", "[redacted]")));
    for told in [&rendered.system, &rendered.input, &rendered.output, &rendered.tools] {
        let told = told.as_deref().unwrap();
        assert!(!told.contains("sk-") && told.contains("[redacted]"), "{told}");
    }
}

#[test]
fn no_text_goes_by_the_filter() {
    let mark = || "MARK".to_owned();
    let id = || Some(mark());
    let value = || json!({"MARK": "MARK", "list": ["MARK", {"x": "a MARK"}], "number": 4111111111111111u64});
    let parts = || {
        vec![
            text("MARK"),
            Part::Reasoning(mark()),
            Part::ToolCall { id: id(), name: mark(), arguments: value() },
            Part::ToolResponse { id: id(), response: value() },
            Part::Blob { modality: mark().into(), mime_type: id(), bytes: 1 },
            Part::File { modality: mark().into(), mime_type: id(), id: mark() },
            Part::Uri { modality: mark().into(), mime_type: id(), uri: mark() },
            Part::Other(mark()),
        ]
    };
    let one = || Message { role: mark().into(), name: id(), parts: parts(), finish_reason: id() };
    let content = Content {
        system: parts(),
        input: vec![one()],
        output: vec![one()],
        tools: vec![
            Tool::Function { name: mark(), description: id(), parameters: Some(value()) },
            Tool::Other { kind: mark(), name: mark() },
        ],
        ..Content::default()
    };
    let Rendered { system, input, output, tools, .. } = content.render(1 << 16, &without_mark);
    for told in [system, input, output, tools] {
        let told = told.unwrap();
        assert!(!told.contains("MARK") && !told.contains("4111"), "{told}");
    }
}

fn without_mark(text: &str) -> Cow<'_, str> {
    match text.contains("MARK") || text.contains("4111") {
        true => Cow::Owned(text.replace("MARK", "_").replace("4111", "_")),
        false => Cow::Borrowed(text),
    }
}
