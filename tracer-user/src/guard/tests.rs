use std::sync::Arc;

use super::*;
use crate::{
    attribution::{Attribution, Options, PersonalData},
    carrier::Carrier,
    llm::{
        LlmCall,
        call::{Aside, CallError, ToolCall, Usage},
    },
    mcp::{self, Id},
    retrieval::Retrieval,
    span::samples::{T0, bare_call, failed_call, full_call},
};

const KEY: &str = "sk-proj-pl4nted0123456789abcdefghijkl";
const MAIL: &str = "pl4nted@example.org";

fn cleaned(mut hop: Hop) -> Hop {
    Guard::default().hop(&mut hop);
    hop
}

fn key() -> String {
    format!("it is {KEY}")
}

fn carrier() -> Carrier {
    let call = bare_call();
    Carrier {
        id: call.id,
        connection: call.connection,
        server_address: Some(key()),
        server_port: Some(443),
        protocol_version: "1.1",
        status: Some(200),
        start: T0,
        end: T0,
        completeness: call.completeness,
        lost_bytes: None,
        trace_parent: failed_call().trace_parent.map(|parent| TraceParent { state: Some(key()), ..parent }),
    }
}

/// Each text that the wire gives holds a key: none is left, and nothing else changes.
#[test]
fn a_call_is_told_without_keys_wherever_they_stand() {
    let mut call = full_call();
    let before = format!("{call:?}");
    let request = &mut call.request;
    for text in [
        &mut request.model,
        &mut request.reasoning_level,
        &mut request.service_tier,
        &mut request.previous_response_id,
        &mut request.conversation_id,
        &mut request.guardrail_id,
    ] {
        *text = Some(key());
    }
    request.stop_sequences = Some(vec![key(), MAIL.to_owned()]);
    request.tool_results = vec![key()];
    let response = &mut call.response;
    for text in [
        &mut response.model,
        &mut response.id,
        &mut response.service_tier,
        &mut response.speed,
        &mut response.system_fingerprint,
        &mut response.request_id,
        &mut response.geography,
        &mut response.rate_limits.requests.reset,
        &mut response.rate_limits.tokens.reset,
    ] {
        *text = Some(key());
    }
    response.finish_reasons = vec![key()];
    response.tool_calls = vec![ToolCall { name: key(), id: Some(key()) }];
    call.server_address = Some(key());
    call.provider = Cow::Owned(key());
    call.asides = vec![Aside { model: Some(key()), usage: Usage::default() }];
    call.error = Some(CallError { kind: Cow::Owned(format!("no user {MAIL}")) });
    call.trace_parent = carrier().trace_parent;
    let shown = format!("{:?}", cleaned(Hop::Model(Box::new(call))));
    assert!(!shown.contains("pl4nted"), "{shown}");
    assert_eq!(shown.matches("it is [REDACTED:openai_key]").count(), 23, "{shown}");
    assert_eq!(shown.matches("[REDACTED:email]").count(), 2);
    assert!(shown.contains("state: None"), "{shown}");
    // What is clean stays as it is.
    assert_eq!(format!("{:?}", cleaned(Hop::Model(Box::new(full_call())))), format!("Model({before})"));
    let failed = failed_call();
    assert_eq!(cleaned(Hop::Model(Box::new(failed.clone()))), Hop::Model(Box::new(failed)));
}

#[test]
fn requests_and_queries_are_told_without_keys() {
    let error = || Some(CallError { kind: Cow::Owned(key()) });
    let request = mcp::Request {
        carrier: carrier(),
        number: 0,
        method: key(),
        id: Some(Id::Text(key())),
        tool: Some(key()),
        prompt: Some(key()),
        resource: Some("https://me:pl4nted@host/a?token=pl4nted#pl4nted".to_owned()),
        protocol_version: Some(key()),
        session_id: Some(key()),
        error_code: Some(key()),
        error: error(),
    };
    let shown = format!("{:?}", cleaned(Hop::Mcp(request)));
    assert!(!shown.contains("pl4nted"), "{shown}");
    assert!(shown.contains("\"https://me:[REDACTED:url_password]@host/a\""), "{shown}");
    let retrieval = Retrieval {
        carrier: carrier(),
        store: "qdrant",
        operation: "search",
        collection: Some(key()),
        namespace: Some(key()),
        top_k: Some(3),
        returned: None,
        status_code: Some(key()),
        error: error(),
    };
    let shown = format!("{:?}", cleaned(Hop::Retrieval(retrieval)));
    assert!(!shown.contains("pl4nted"), "{shown}");
}

fn attributed(personal_data: PersonalData, value: &str) -> String {
    let options: Options = serde_saphyr::from_str("rules: [{attribute: user.id, from: [{env: WHO}]}]").unwrap();
    let mut found = Vec::new();
    Attribution::new(&options).complete(&mut found, &[("WHO".to_owned(), value.to_owned())]);
    let mut guard = Guard::default();
    guard.set_personal_data(personal_data);
    guard.attributed(&mut found);
    found.iter().map(|one| Arc::clone(&one.value)).collect::<Vec<_>>().join("|")
}

#[test]
fn of_users_it_is_told_what_the_configuration_allows() {
    use PersonalData::{Hashed, Kept, Redacted};
    for (personal_data, value, told) in [
        (Redacted, "user-1234", "user-1234"),
        (Redacted, "4111111111111111", "4111111111111111"),
        (Redacted, "org/Ada@example.org", "org/[REDACTED:email]"),
        (Redacted, "+49 30 12345678", "[REDACTED:phone]"),
        // printf %s ada@example.org | sha256sum
        (Hashed, "org/Ada@example.org", "org/[email:cfe00dde46ef9426]"),
        (Hashed, "ada@example.org", "[email:cfe00dde46ef9426]"),
        (Hashed, KEY, "[REDACTED:openai_key]"),
        (Kept, "ada@example.org", "ada@example.org"),
        (Kept, KEY, "[REDACTED:openai_key]"),
    ] {
        assert_eq!(attributed(personal_data, value), told, "{personal_data:?}");
    }
}

/// What was found clean in one call is not searched again; what is new in the next one is.
#[test]
fn names_that_come_again_are_searched_once_and_others_each_time() {
    let mut guard = Guard::default();
    let mut told = |change: &dyn Fn(&mut LlmCall)| {
        let mut call = full_call();
        change(&mut call);
        let mut hop = Hop::Model(Box::new(call));
        guard.hop(&mut hop);
        (format!("{hop:?}"), guard.clean.len())
    };
    let (first, known) = told(&|_| ());
    assert!(known > 3);
    assert_eq!(told(&|_| ()), (first, known));
    for change in [
        &(|call: &mut LlmCall| call.request.model = Some(key())) as &dyn Fn(&mut _),
        &|call: &mut LlmCall| call.response.id = Some(key()),
        &|call: &mut LlmCall| call.response.model = Some(MAIL.to_owned()),
    ] {
        let (told, now) = told(change);
        assert!(!told.contains("pl4nted"), "{told}");
        assert_eq!(now, known, "a call with a secret makes nothing known");
    }
    for number in 0..2 * MAX_CLEAN {
        let (_, now) = told(&|call: &mut LlmCall| call.request.model = Some(format!("model-{number}")));
        assert!(now <= MAX_CLEAN);
    }
    let long = "m".repeat(MAX_CLEAN_BYTES + 1);
    told(&|call: &mut LlmCall| call.request.model = Some(long.clone()));
    assert!(!guard.clean.contains(&*long));
}
