//! Cases of `tests/fixtures/{mcp,retrieval,agent}/`, through the whole line: `capture.jsonl` goes in, the spans of
//! `expected.json` must come out. `UPDATE_FIXTURES=1 cargo test -p tracer-user --lib hop::` writes what comes out; read
//! the difference before you commit it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    capture::replay::Replay,
    export::Jsonl,
    llm::{self, Calls, tests::drive::recut},
    output::{Output, View},
    pipeline::Pipeline,
    price::Prices,
    span::{Host, Ids, Synth},
};

/// The cases that there must be.
const REQUIRED: [(&str, &[&str]); 3] = [
    ("mcp", &["json_reply", "sse_reply", "rpc_error", "tool_error", "stateless", "cut_stream", "others"]),
    (
        "retrieval",
        &[
            "qdrant_query",
            "qdrant_error",
            "weaviate_query",
            "weaviate_error",
            "pinecone_query",
            "pinecone_error",
            "chroma_query",
            "chroma_error",
            "milvus_query",
            "milvus_error",
            "elasticsearch_query",
            "elasticsearch_error",
            "others",
        ],
    ),
    ("agent", &["tool_by_mcp", "retrieval_in_a_tool"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn cases() -> Vec<(String, PathBuf)> {
    let mut cases = Vec::new();
    for (area, _) in REQUIRED {
        for entry in fs::read_dir(root().join(area)).unwrap() {
            let path = entry.unwrap().path();
            cases.push((format!("{area}/{}", path.file_name().unwrap().display()), path));
        }
    }
    cases.sort();
    cases
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The spans of a capture, as OTLP/JSON has them. With a `step`, every record comes in pieces of that many bytes.
fn spans(capture: &[u8], step: Option<usize>) -> Vec<Value> {
    spans_with(llm::Options::default(), capture, step)
}

fn spans_with(options: llm::Options, capture: &[u8], step: Option<usize>) -> Vec<Value> {
    let shared = Shared::default();
    let out: Box<dyn Write + Send> = Box::new(shared.clone());
    let calls = Calls::new(llm::Limits::default(), options);
    let output = Output::new(View::Jsonl(Jsonl::new(out)));
    let mut pipeline =
        Pipeline::new(calls, Prices::builtin(), Synth::new(Ids::replay(), Host::default()), output, None);
    let (mut replay, mut events) = (Replay::new(capture).unwrap(), Vec::new());
    while replay.next(&mut events).unwrap() {}
    for event in events {
        recut(event, step, &mut |event| pipeline.push(event).unwrap());
    }
    pipeline.finish().unwrap();
    drop(pipeline);
    let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    let span = |line| {
        let data: Value = serde_json::from_str(line).unwrap();
        data["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    };
    text.lines().map(span).collect()
}

/// A span without what is the same in all of them. Parents by name; times in milliseconds.
fn golden(span: &Value, names: &BTreeMap<String, String>) -> Value {
    let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    let same =
        |key: &str| key.starts_with("network.") || key == "llmtap.tls.library" || key.starts_with("llmtap.time.");
    let attributes: BTreeMap<&str, &Value> = span["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attribute| {
            let value = attribute["value"].as_object().unwrap().values().next().unwrap();
            (attribute["key"].as_str().unwrap(), value)
        })
        .filter(|(key, _)| !same(key))
        .collect();
    let parent = match span["parentSpanId"].as_str() {
        None | Some("") => Value::Null,
        Some(parent) => json!(names.get(parent).map_or("(another program's)", String::as_str)),
    };
    json!({
        "name": span["name"],
        "parent": parent,
        "trace": span["traceId"].as_str().unwrap()[..6],
        "milliseconds": (time("endTimeUnixNano") - time("startTimeUnixNano")) as f64 / 1e6,
        "failed": span["status"]["code"] == 2,
        "attributes": attributes,
    })
}

#[test]
fn every_required_case_is_there() {
    for (area, required) in REQUIRED {
        for case in required {
            assert!(root().join(area).join(case).join("capture.jsonl").is_file(), "{area}/{case} is missing");
        }
    }
}

#[test]
fn spans_are_as_expected() {
    let mut wrong = Vec::new();
    for (name, folder) in cases() {
        let spans = spans(&fs::read(folder.join("capture.jsonl")).unwrap(), None);
        let id = |span: &Value| span["spanId"].as_str().unwrap().to_owned();
        let names: BTreeMap<_, _> =
            spans.iter().map(|span| (id(span), span["name"].as_str().unwrap().to_owned())).collect();
        assert_eq!(names.len(), spans.len(), "{name}: span ids repeat");
        let golden: Vec<Value> = spans.iter().map(|span| golden(span, &names)).collect();
        let text = serde_json::to_string_pretty(&golden).unwrap() + "\n";
        let expected = folder.join("expected.json");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if !fs::read_to_string(&expected).is_ok_and(|expected| expected == text) {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "other than expected.json:\n{}", wrong.join("\n"));
}

#[test]
fn cutting_records_anywhere_changes_nothing() {
    for (name, folder) in cases() {
        let capture = fs::read(folder.join("capture.jsonl")).unwrap();
        let whole = spans(&capture, None);
        for step in [1, 2, 3, 7, 64, 1000] {
            assert!(spans(&capture, Some(step)) == whole, "{name} in pieces of {step}");
        }
    }
}

/// Arguments, results, query texts and messages of errors are payload.
#[test]
fn no_payload_is_told() {
    for (name, folder) in cases() {
        let text = spans(&fs::read(folder.join("capture.jsonl")).unwrap(), None)
            .iter()
            .map(Value::to_string)
            .collect::<String>();
        for payload in [
            "Cuxhaven",
            "Emden",
            "High water",
            "No such harbour",
            "made up",
            "flows past",
            "doesn't exist",
            "which river",
            "dimension",
            "0.33",
        ] {
            assert!(!text.contains(payload), "{name} tells {payload}");
        }
    }
}

/// The sources declare every process a client: which end it is, the bytes say.
#[test]
fn what_a_traced_server_answers_is_told_only_when_asked_for() {
    let server = |case: &str| {
        let capture = fs::read_to_string(root().join(case).join("capture.jsonl")).unwrap();
        let swapped = capture.replace(r#""dir":"send""#, r#""dir":"?""#).replace(r#""dir":"recv""#, r#""dir":"send""#);
        swapped.replace(r#""dir":"?""#, r#""dir":"recv""#)
    };
    let cases = [
        ("openai_chat/plain", true),
        ("anthropic/stream", true),
        ("openai_responses/websocket", true),
        ("mcp/json_reply", false),
        ("mcp/sse_reply", false),
        ("retrieval/qdrant_query", false),
    ];
    for (case, is_model) in cases {
        let capture = server(case);
        assert_eq!(spans(capture.as_bytes(), None), Vec::<Value>::new(), "{case}");
        let options = llm::Options { server_side: true, ..llm::Options::default() };
        assert_eq!(!spans_with(options, capture.as_bytes(), None).is_empty(), is_model, "{case}");
    }
    for (options, told) in
        [(llm::Options::default(), 0), (llm::Options { server_side: true, ..llm::Options::default() }, 1)]
    {
        let spans = spans_with(options, http2_server().as_bytes(), None);
        let calls = spans.iter().filter(|span| span["name"].as_str().unwrap().starts_with("chat "));
        assert_eq!(calls.count(), told);
    }
}

/// What the server's end of one chat completion over HTTP/2 sees.
fn http2_server() -> String {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let mut frame = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    };
    // RFC 7541: `:method: POST`, `:scheme: https`, and literals without indexing for the authority and the path.
    let literal = |name: u8, value: &str| [&[name, value.len() as u8], value.as_bytes()].concat();
    let head = [vec![0x83, 0x87], literal(0x01, "localhost"), literal(0x04, "/v1/chat/completions")].concat();
    let request = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
    let answer =
        br#"{"id":"c1","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"Yes"}}]}"#;
    let received = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, b""),
        frame(1, 4, 1, &head),
        frame(0, 1, 1, request),
    ];
    let sent = [frame(4, 0, 0, b""), frame(1, 4, 1, &[0x88]), frame(0, 1, 1, answer)];
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    format!(
        r#"{{"llmtap_capture":1}}
{{"k":"open","ts":1000,"conn":"c1","pid":1,"tls":"openssl 3.0.15"}}
{{"k":"data","ts":2000,"conn":"c1","dir":"recv","off":0,"b64":"{}"}}
{{"k":"data","ts":3000,"conn":"c1","dir":"send","off":0,"b64":"{}"}}
{{"k":"close","ts":4000,"conn":"c1","by":"local"}}
"#,
        base64(&received.concat()),
        base64(&sent.concat())
    )
}
