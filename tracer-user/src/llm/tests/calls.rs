//! What becomes a call, what does not, and how its end is told.

use crate::{
    capture::{ClosedBy, Role},
    exchange::{Event, ExchangeId, Outcome},
    llm::{Calls, Limits, LlmCall, Options, call::Completeness, could_be_model_call},
    proto::{Piece, RequestHead},
};

use super::drive::Exchange;

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
const ANSWER: &str =
    r#"{"id":"c1","model":"m-1","choices":[{"index":0,"finish_reason":"stop","message":{"content":"Yes"}}]}"#;
const MESSAGES: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#;
const MESSAGE: &str =
    r#"{"id":"m1","type":"message","model":"m-1","content":[{"type":"text","text":"Yes"}],"stop_reason":"end_turn"}"#;

fn chat(authority: &str, path: &str) -> Option<LlmCall> {
    Exchange::post(authority, path).request(CHAT).response(200, &[]).body(ANSWER).complete()
}

fn error(call: Option<LlmCall>) -> Option<String> {
    call.unwrap().error.map(|error| error.kind.into_owned())
}

#[test]
fn an_api_is_known_by_path_and_body_wherever_it_stands() {
    for (authority, path, provider) in [
        ("api.openai.com", "/v1/chat/completions", "openai"),
        ("localhost:8000", "/v1/chat/completions", "openai"),
        ("gateway.example", "/team/a/openai/v1/chat/completions", "openai"),
        ("gateway.example", "/chat/completions/", "openai"),
        ("127.0.0.1:11434", "/v1/chat/completions", "ollama"),
        ("api.groq.com", "/openai/v1/chat/completions", "groq"),
        ("r.openai.azure.com", "/openai/deployments/d/chat/completions", "azure.ai.openai"),
        ("gateway.example", "/azure/openai/deployments/d/chat/completions", "azure.ai.openai"),
        ("api.writer.com", "/v1/chat", "writer"),
        ("gateway.example", "/writer/v1/chat", "openai"),
    ] {
        let call = chat(authority, path).unwrap_or_else(|| panic!("{authority}{path}"));
        assert_eq!(call.provider, provider, "{authority}{path}");
        assert_eq!(call.response.id.as_deref(), Some("c1"));
    }
    for (authority, path, provider) in [
        ("api.anthropic.com", "/v1/messages", "anthropic"),
        ("localhost:8080", "/v1/messages", "anthropic"),
        ("gateway.example", "/anthropic/v1/messages", "anthropic"),
        ("r.services.ai.azure.com", "/anthropic/v1/messages", "azure.ai.inference"),
        (
            "europe-west1-aiplatform.googleapis.com",
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict",
            "gcp.vertex_ai",
        ),
    ] {
        let call = Exchange::post(authority, path).request(MESSAGES).response(200, &[]).body(MESSAGE).complete();
        assert_eq!(call.unwrap().provider, provider, "{authority}{path}");
    }
}

#[test]
fn an_azure_deployment_is_the_model_that_is_asked() {
    let call = chat("r.openai.azure.com", "/openai/deployments/my-gpt/chat/completions").unwrap();
    assert_eq!(call.request.model.as_deref(), Some("my-gpt"));
    assert_eq!(call.response.model.as_deref(), Some("m-1"));
}

#[test]
fn other_traffic_is_no_call() {
    let post = |path: &str, request: &str, response: &str| {
        Exchange::post("app.example", path).request(request).response(200, &[]).body(response).complete()
    };
    // An application's own chat endpoint, and a message service.
    assert_eq!(post("/api/chat", CHAT, r#"{"reply":"Yes"}"#), None);
    assert_eq!(post("/api/chat", CHAT, r#"{"error":{"code":"quota"}}"#), None);
    assert_eq!(post("/v1/messages", r#"{"to":"+49","text":"Hi"}"#, r#"{"id":"1"}"#), None);
    assert_eq!(post("/v1/messages", r#"{"messages":[{"to":"+49"}]}"#, r#"{"messages":[{"id":"1"}]}"#), None);
    assert_eq!(post("/chat/completions", "q=1", "<html>"), None);
    for path in ["/v1/traces/ingest", "/v1/threads/thread_1/messages", "/v1/assistants", "/v1/files", "/v1/batches"] {
        let call = Exchange::post("api.openai.com", path).request(CHAT).response(200, &[]).body(ANSWER).complete();
        assert_eq!(call, None, "{path}");
    }
    for path in ["/v1/messages/count_tokens", "/v1/messages/batches"] {
        let call = Exchange::post("api.anthropic.com", path)
            .with_headers(&[("anthropic-version", "2023-06-01")])
            .request(MESSAGES)
            .response(200, &[])
            .body(r#"{"input_tokens":8}"#)
            .complete();
        assert_eq!(call, None, "{path}");
    }
    for path in
        ["/v1/moderations", "/v1/conversations", "/v1/rerank", "/v1/fine_tuning/jobs", "/v1/images", "/v1/audio"]
    {
        let call = Exchange::post("api.openai.com", path).request(CHAT).response(200, &[]).body(ANSWER).complete();
        assert_eq!(call, None, "{path}");
    }
    // What a cloud serves behind paths of models, but is no language model's.
    for (authority, path) in [
        ("us-central1-aiplatform.googleapis.com", "/v1/publishers/google/models/imagen-test:predict"),
        ("us-central1-aiplatform.googleapis.com", "/v1/publishers/google/models/veo-test:predictLongRunning"),
        ("generativelanguage.googleapis.com", "/v1beta/models/m:countTokens"),
        ("adb-1.azuredatabricks.net", "/serving-endpoints/churn/invocations"),
        ("api.cohere.com", "/v2/classify"),
        ("api.mistral.ai", "/v1/moderations"),
        ("eu-de.ml.cloud.ibm.com", "/ml/v1/text/tokenization"),
    ] {
        let request = r#"{"instances":[{"prompt":"a boat"}],"dataframe_split":{}}"#;
        let call = Exchange::post(authority, path).request(request).response(200, &[]).body(r#"{"predictions":[]}"#);
        assert_eq!(call.complete(), None, "{path}");
    }
    // Applications' own services at paths that local servers have, too.
    for path in ["/generate", "/completion", "/api/v1/chat", "/conversations", "/interactions", "/embedding/text"] {
        let (request, answer) =
            (r#"{"prompt":"x","inputs":"y","input":"z","model":"m"}"#, r#"{"id":"1","result":"done"}"#);
        assert_eq!(post(path, request, answer), None, "{path}");
    }
    let mut listing = Exchange::post("api.openai.com", "/v1/chat/completions");
    listing.head.method = "GET".into();
    assert_eq!(listing.begin().response(200, &[]).body(r#"{"data":[]}"#).complete(), None);
}

#[test]
fn bodies_of_other_traffic_are_not_asked_for() {
    let could = |method: &str, path: &str| {
        could_be_model_call(&RequestHead { method: method.into(), path: path.into(), ..RequestHead::default() })
    };
    assert!(could("POST", "/v1/chat/completions"));
    assert!(could("POST", "/openai/deployments/d/chat/completions"));
    assert!(could("POST", "/v1/messages"));
    assert!(could("POST", "/v1/chat"));
    for (method, path) in [
        ("GET", "/v1/chat/completions"),
        ("POST", "/"),
        ("POST", ""),
        ("POST", "/v1/traces"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/resp_1234567/cancel"),
        ("GET", "/v1/responses/resp_1234567/input_items"),
        ("POST", "/v1internal:countTokens"),
        ("POST", "/v1internal:loadCodeAssist"),
        ("POST", "/v1/threads/t/messages"),
        ("POST", "/upload"),
    ] {
        assert!(!could(method, path), "{method} {path}");
    }
}

#[test]
fn a_call_that_got_no_answer_says_why() {
    let ask = || Exchange::post("api.openai.com", "/v1/chat/completions").request(CHAT);
    assert_eq!(error(ask().cut(ClosedBy::Local)).as_deref(), Some("cancelled"));
    assert_eq!(error(ask().cut(ClosedBy::Exit)).as_deref(), Some("cancelled"));
    assert_eq!(error(ask().cut(ClosedBy::Reset)).as_deref(), Some("connection_reset"));
    assert_eq!(error(ask().cut(ClosedBy::Peer)).as_deref(), Some("connection_reset"));
    assert_eq!(error(ask().cut(ClosedBy::Unknown)).as_deref(), Some("_OTHER"));
    assert_eq!(error(ask().end(Outcome::Reset { by_peer: true })).as_deref(), Some("connection_reset"));
    assert_eq!(error(ask().end(Outcome::Reset { by_peer: false })).as_deref(), Some("cancelled"));
    // llmtap stopped, not the call.
    let call = ask().end(Outcome::Unfinished).unwrap();
    assert_eq!((call.error, call.aborted), (None, false));
}

#[test]
fn a_client_that_waited_as_long_as_it_said_has_timed_out() {
    let ask = |seconds: &str| {
        Exchange::post("api.openai.com", "/v1/chat/completions")
            .with_headers(&[("x-stainless-read-timeout", seconds), ("x-stainless-retry-count", "2")])
            .request(CHAT)
            .cut(ClosedBy::Local)
    };
    // Two milliseconds pass.
    assert_eq!(error(ask("0.002")).as_deref(), Some("timeout"));
    assert_eq!(error(ask("600")).as_deref(), Some("cancelled"));
    assert_eq!(ask("600").unwrap().attempt, Some(3));
}

#[test]
fn a_cut_stream_is_aborted_and_tells_what_it_told() {
    let stream = || {
        Exchange::post("api.openai.com", "/v1/chat/completions")
            .request(CHAT)
            .response(200, &[])
            .sse("", r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#)
            .sse("", r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"Yes"}}]}"#)
    };
    let call = stream().cut(ClosedBy::Local).unwrap();
    assert!(call.aborted && call.response.streamed);
    assert_eq!((call.error, call.usage.output), (None, None));
    assert_eq!(call.response.id.as_deref(), Some("c1"));
    assert_eq!(call.completeness, Completeness::Full);
    let call = stream().cut(ClosedBy::Reset).unwrap();
    assert!(call.aborted);
    assert_eq!(error(Some(call)).as_deref(), Some("connection_reset"));
    // Its own terminator makes a stream whole, even if the framing after it was not waited for.
    let call = stream().sse("", "[DONE]").cut(ClosedBy::Local).unwrap();
    assert!(!call.aborted && call.error.is_none());
    // So does the end of the body without one.
    assert!(!stream().complete().unwrap().aborted);
}

#[test]
fn a_whole_body_is_not_aborted_when_the_connection_ends_with_it() {
    let call = Exchange::post("api.openai.com", "/v1/chat/completions").request(CHAT).response(200, &[]).body(ANSWER);
    assert!(!call.cut(ClosedBy::Peer).unwrap().aborted);
    let half = Exchange::post("api.openai.com", "/v1/chat/completions")
        .request(CHAT)
        .response(200, &[])
        .body("{\"id\":\"c1\",");
    let call = half.cut(ClosedBy::Peer).unwrap();
    assert!(call.aborted);
    assert_eq!(call.response.id.as_deref(), Some("c1"));
}

#[test]
fn times_follow_the_events() {
    let call = Exchange::post("api.openai.com", "/v1/chat/completions")
        .request(CHAT) // begins at 2 ms, ends at 3 ms
        .response(200, &[]) // 4 ms
        .piece(Piece::Comment) // 5 ms
        .sse("ping", "") // 6 ms
        .sse("", r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#) // 7 ms
        .sse("", r#"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#) // 8 ms
        .sse("", r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"a"}}]}"#) // 9 ms
        .sse("", r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"b"}}]}"#) // 10 ms
        .sse("", r#"{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#) // 11 ms
        .sse("", "[DONE]") // 12 ms
        .complete()
        .unwrap();
    let ms = |at: Option<u64>| at.map(|at| at / 1_000_000);
    let times = call.times;
    assert_eq!((times.start, ms(times.request_end), ms(times.first_byte)), (2_000_000, Some(3), Some(4)));
    assert_eq!((ms(times.first_chunk), ms(times.first_token), ms(times.last_token)), (Some(7), Some(9), Some(10)));
    assert_eq!(ms(Some(times.end)), Some(13));
    assert_eq!((call.chunks.count, call.chunks.gap_max), (5, Some(1_000_000)));
}

#[test]
fn loss_is_told_and_what_is_known_stands() {
    let ask = || Exchange::post("api.openai.com", "/v1/chat/completions");
    let call = ask().begin().lost(true, Some(100)).lost(false, Some(20)).complete().unwrap();
    assert_eq!((call.completeness, call.lost_bytes), (Completeness::HeadersOnly, Some(120)));
    let call = ask().begin().lost(true, None).response(200, &[]).body(ANSWER).complete().unwrap();
    assert_eq!((call.completeness, call.lost_bytes), (Completeness::Partial, None));
    assert_eq!(call.response.finish_reasons, ["stop"]);
    // A gap in a stream: events after it count again.
    let call = ask()
        .request(CHAT)
        .response(200, &[])
        .sse("", r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"a"}}]}"#)
        .lost(false, Some(9))
        .sse("", r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#)
        .complete()
        .unwrap();
    assert_eq!((call.usage.input, call.usage.output), (Some(3), Some(4)));
    assert_eq!(call.completeness, Completeness::Partial);
}

#[test]
fn configuration_names_hosts_and_admits_servers() {
    let ask =
        || Exchange::post("llm.corp.example", "/v1/chat/completions").request(CHAT).response(200, &[]).body(ANSWER);
    let options = Options { hosts: vec![("llm.corp.example".into(), "corp".into())], ..Options::default() };
    assert_eq!(ask().end_with(Outcome::Complete, options).unwrap().provider, "corp");
    let serve = |options| {
        let mut exchange = Exchange::post("localhost", "/v1/chat/completions");
        exchange.connection.role = Role::Server;
        exchange.request(CHAT).response(200, &[]).body(ANSWER).end_with(Outcome::Complete, options)
    };
    assert_eq!(serve(Options::default()), None);
    assert!(serve(Options { server_side: true, ..Options::default() }).is_some());
}

#[test]
fn a_gateway_that_names_itself_is_named() {
    let call = Exchange::post("llm.corp.example", "/v1/chat/completions")
        .request(CHAT)
        .response(200, &[("x-litellm-call-id", "1"), ("x-litellm-response-cost", "0.25")])
        .body(ANSWER)
        .complete()
        .unwrap();
    assert_eq!((call.provider.as_ref(), call.provider_cost), ("litellm", Some(0.25)));
}

#[test]
fn open_calls_are_bounded_and_the_rest_is_counted() {
    let limits = Limits { open_calls: 2, ..Limits::default() };
    let (mut calls, mut found) = (Calls::new(limits, Options::default()), Vec::new());
    for index in 0..5 {
        let mut exchange = Exchange::post("api.openai.com", "/v1/chat/completions");
        exchange.id = ExchangeId { index, ..exchange.id };
        exchange.begin().events.iter().for_each(|event| {
            calls.push(event, &mut found);
        });
    }
    assert_eq!((calls.open(), calls.counts().refused), (2, 3));
    calls.finish(&mut found);
    assert_eq!(found.iter().map(|call| call.id.index).collect::<Vec<_>>(), [0, 1]);
    assert!(found.iter().all(|call| call.outcome == Outcome::Unfinished));
}

#[test]
fn of_a_long_history_the_last_tool_results_are_kept() {
    let entries = Limits::default().call.entries;
    let results: Vec<_> =
        (0..entries + 5).map(|index| format!(r#"{{"role":"tool","tool_call_id":"call_{index}"}}"#)).collect();
    let request = format!(r#"{{"model":"m","messages":[{}]}}"#, results.join(","));
    let call =
        Exchange::post("api.openai.com", "/v1/chat/completions").request(&request).response(200, &[]).body(ANSWER);
    let results = call.complete().unwrap().request.tool_results;
    assert_eq!(results.len(), entries);
    assert_eq!(results.first().map(String::as_str), Some("call_5"));
    assert_eq!(results.last(), Some(&format!("call_{}", entries + 4)));
}

#[test]
fn tool_calls_beyond_the_cap_are_counted() {
    let limits = Limits::default();
    let (mut calls, mut found) = (Calls::new(limits, Options::default()), Vec::new());
    let many: Vec<_> = (0..limits.call.entries + 5)
        .map(|index| format!(r#"{{"index":{index},"id":"call_{index}","function":{{"name":"f"}}}}"#))
        .collect();
    let exchange = Exchange::post("api.openai.com", "/v1/chat/completions")
        .request(CHAT)
        .response(200, &[])
        .sse("", &format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{}]}}}}]}}"#, many.join(",")));
    let end = Event::End { id: exchange.id, at: 1, outcome: Outcome::Complete };
    exchange.events.iter().chain([&end]).for_each(|event| {
        calls.push(event, &mut found);
    });
    assert_eq!(found[0].response.tool_calls.len(), limits.call.entries);
    assert_eq!(calls.counts().dropped_values, 5);
}

#[test]
fn bodies_without_a_head_say_what_they_are() {
    let call = Exchange::without_head().request(CHAT).response(200, &[]).body(ANSWER).complete().unwrap();
    assert_eq!((call.request.model.as_deref(), call.response.model.as_deref()), (Some("m"), Some("m-1")));
    assert_eq!(call.completeness, Completeness::Partial);
    let call = Exchange::without_head().request(MESSAGES).response(200, &[]).body(MESSAGE).complete().unwrap();
    assert_eq!(call.provider, "anthropic");
    // The answer alone, and the answer without its head.
    let call = Exchange::without_head().response(200, &[]).body(MESSAGE).complete().unwrap();
    assert_eq!((call.provider.as_ref(), call.request.model), ("anthropic", None));
    let call = Exchange::without_head().request(CHAT).body(ANSWER).complete().unwrap();
    assert_eq!((call.response.status, call.times.first_byte), (None, None));
}

#[test]
fn bodies_without_a_head_name_the_operation_or_tell_nothing() {
    const PROMPT: &str = r#"{"model":"m","prompt":"Hi"}"#;
    const TEXT: &str = r#"{"id":"c1","model":"m-1","choices":[{"index":0,"text":"Yes","finish_reason":"stop"}]}"#;
    const COMPLETION: &str = r#"{"id":"c1","type":"completion","model":"m-1","completion":"Yes","stop_reason":"stop"}"#;
    const GENERATED: &str = r#"{"model":"m-1","response":"Yes","done":true,"done_reason":"stop"}"#;
    const REPLIED: &str = r#"{"model":"m-1","message":{"role":"assistant","content":"Yes"},"done":true}"#;
    for (request, answer, told) in [
        (Some(CHAT), ANSWER, Some("chat")),
        (None, ANSWER, Some("chat")),
        (Some(PROMPT), TEXT, Some("text_completion")),
        (None, TEXT, Some("text_completion")),
        (Some(PROMPT), COMPLETION, Some("text_completion")),
        (None, COMPLETION, Some("text_completion")),
        (Some(PROMPT), GENERATED, Some("text_completion")),
        (None, GENERATED, Some("text_completion")),
        (Some(CHAT), REPLIED, Some("chat")),
        (None, REPLIED, Some("chat")),
        // Nothing in it is of one API only.
        (None, r#"{"id":"c1","model":"m-1","choices":[{"index":0,"finish_reason":"stop"}]}"#, None),
        (None, r#"{"model":"m-1","done":true}"#, None),
    ] {
        let exchange = Exchange::without_head();
        let exchange = request.into_iter().fold(exchange, |exchange, body| exchange.request(body));
        let call = exchange.response(200, &[]).body(answer).complete();
        assert_eq!(call.map(|call| call.operation.as_str()), told, "{request:?} {answer}");
    }
}

#[test]
fn bodies_without_a_head_that_say_nothing_are_no_calls() {
    for (request, answer) in [
        (CHAT, r#"{"ok":true}"#),
        (r#"{"model":"m"}"#, ANSWER),
        (r#"{"query":"a"}"#, r#"{"choices":["red","blue"]}"#),
        (r#"{"events":[1,2]}"#, r#"{"id":"1","model":"x100"}"#),
        ("a=b", "yes"),
    ] {
        assert!(
            Exchange::without_head().request(request).response(200, &[]).body(answer).complete().is_none(),
            "{request} {answer}"
        );
    }
}

#[test]
fn bedrock_is_known_by_path_wherever_it_stands() {
    const CONVERSE: &str = r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}"#;
    const CONVERSED: &str = r#"{"output":{"message":{"content":[{"text":"Yes"}]}},"stopReason":"end_turn","usage":{}}"#;
    for (authority, path, request, response) in [
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", CONVERSE, CONVERSED),
        ("bedrock-runtime.us-east-1.api.aws", "/model/m/converse", CONVERSE, CONVERSED),
        ("vpce-1-a.bedrock-runtime.us-east-1.vpce.amazonaws.com", "/model/m/converse", CONVERSE, CONVERSED),
        ("localhost:4566", "/model/m/converse", CONVERSE, CONVERSED),
        ("gateway.example", "/bedrock/model/anthropic.m/invoke", MESSAGES, MESSAGE),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/openai/v1/chat/completions", CHAT, ANSWER),
        ("bedrock-mantle.us-east-1.api.aws", "/v1/chat/completions", CHAT, ANSWER),
        ("bedrock-mantle.us-east-1.api.aws", "/anthropic/v1/messages", MESSAGES, MESSAGE),
    ] {
        let call = Exchange::post(authority, path).request(request).response(200, &[]).body(response).complete();
        let call = call.unwrap_or_else(|| panic!("{authority}{path}"));
        let known = path.starts_with("/model") || path.contains("/model/") || authority.contains("bedrock");
        assert_eq!(call.provider, if known { "aws.bedrock" } else { "openai" }, "{authority}{path}");
    }
}

#[test]
fn what_else_bedrock_serves_is_no_call() {
    for path in [
        "/model/anthropic.m/count-tokens",
        "/guardrail/g/version/1/apply",
        "/guardrail-checks/invoke",
        "/async-invoke",
        "/model/cohere.rerank-v3-5:0/invoke",
        "/model/amazon.nova-sonic-v1:0/invoke-with-bidirectional-stream",
        "/agents/A/agentAliases/B/sessions/C/text",
        "/flows/F/aliases/A",
        "/retrieveAndGenerate",
    ] {
        for authority in ["bedrock-runtime.us-east-1.amazonaws.com", "bedrock-agent-runtime.us-east-1.amazonaws.com"] {
            let exchange = Exchange::post(authority, path).request(MESSAGES).response(200, &[]).body(MESSAGE);
            assert_eq!(exchange.complete(), None, "{authority}{path}");
        }
    }
    // Another's endpoint of the same form.
    let other = Exchange::post("app.example", "/model/m/invoke").request(r#"{"inputs":[1]}"#).response(200, &[]);
    assert_eq!(other.body(r#"{"outputs":[2]}"#).complete(), None);
}

#[test]
fn aws_sdks_count_their_attempts_and_gateways_may_unpack_the_stream() {
    let call = Exchange::post("localhost:8000", "/model/meta.m/invoke-with-response-stream")
        .with_headers(&[("amz-sdk-request", "attempt=3; max=5")])
        .request(r#"{"prompt":"Hi"}"#)
        .response(200, &[("x-amzn-bedrock-invocation-latency", "12")])
        .sse("", r#"{"generation":"Yes","prompt_token_count":2,"generation_token_count":1,"stop_reason":"stop"}"#)
        .complete()
        .unwrap();
    assert_eq!((call.attempt, call.response.processing_ms), (Some(3), Some(12.0)));
    assert_eq!((call.usage.input, call.usage.output), (Some(2), Some(1)));
}

#[test]
fn contents_are_read_only_when_somebody_asks_for_them() {
    let call = chat("api.openai.com", "/v1/chat/completions").unwrap();
    assert!(call.content.is_none());
}
