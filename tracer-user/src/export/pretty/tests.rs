use std::path::PathBuf;

use super::{text::clean, *};
use crate::{
    capture::{Connection, ConnectionKey},
    exchange::{ExchangeId, Outcome},
    llm::call::{CallError, Chunks, Completeness, Operation, Request, Response, Times, ToolCall, Usage},
    price::{CostSource, Unpriced},
};

const MS: u64 = 1_000_000;
/// 2026-03-14T09:26:53Z.
const T0: u64 = 1_773_480_413_000 * MS;

/// A call that took `total` milliseconds from `start` milliseconds on.
fn call(model: &str, start: u64, total: u64) -> LlmCall {
    LlmCall {
        id: ExchangeId { connection: ConnectionKey(1), index: 0 },
        connection: Arc::new(Connection::default()),
        provider: "openai".into(),
        operation: Operation::Chat,
        api_type: None,
        server_address: None,
        server_port: None,
        protocol_version: "1.1",
        request: Request { model: Some(model.to_owned()), ..Request::default() },
        response: Response {
            status: Some(200),
            model: Some(model.to_owned()),
            finish_reasons: vec!["stop".to_owned()],
            ..Response::default()
        },
        usage: Usage::default(),
        provider_cost: None,
        asides: Vec::new(),
        cache_hit: None,
        fallback: None,
        billing: crate::llm::call::Billing::Metered,
        error: None,
        times: Times {
            start: T0 + start * MS,
            request_end: Some(T0 + (start + 2) * MS),
            end: T0 + (start + total) * MS,
            ..Times::default()
        },
        chunks: Chunks::default(),
        completeness: Completeness::Full,
        lost_bytes: None,
        aborted: false,
        outcome: Outcome::Complete,
        attempt: None,
        trace_parent: None,
        content: None,
    }
}

fn used(mut call: LlmCall, input: u64, cached: Option<u64>, output: u64) -> LlmCall {
    call.usage = Usage { input: Some(input), output: Some(output), cache_read: cached, ..Usage::default() };
    call
}

fn streamed(mut call: LlmCall, first: u64) -> LlmCall {
    call.response.streamed = true;
    call.request.stream = Some(true);
    call.times.first_token = Some(call.times.start + (first + 2) * MS);
    call.times.last_token = Some(call.times.end - MS);
    call
}

fn failed(mut call: LlmCall, status: u16, kind: &'static str) -> LlmCall {
    call.response = Response { status: Some(status), ..Response::default() };
    call.error = Some(CallError { kind: kind.into() });
    call
}

fn asks(mut call: LlmCall, tools: &[(&str, &str)]) -> LlmCall {
    call.response.finish_reasons = vec!["tool_calls".to_owned()];
    call.response.tool_calls =
        tools.iter().map(|(name, id)| ToolCall { name: (*name).to_owned(), id: Some((*id).to_owned()) }).collect();
    call
}

fn carries(mut call: LlmCall, ids: &[&str]) -> LlmCall {
    call.request.tool_results = ids.iter().map(|id| (*id).to_owned()).collect();
    call
}

fn usd(total: f64) -> Option<Cost> {
    Some(Cost {
        total,
        input: None,
        output: None,
        cache_read: None,
        cache_write: None,
        source: CostSource::Table,
        version: None,
        currency: None,
    })
}

fn process(name: &str, pid: u32) -> ProcessName {
    ProcessName { name: name.into(), pid: Some(pid) }
}

/// A fixed day's work: two processes, each kind of outcome.
fn day() -> Vec<(LlmCall, Option<Cost>, ProcessName)> {
    let agent = || process("agent.py", 48211);
    let curl = || process("curl", 48307);
    let tools = [("get_weather", "call_1"), ("search_flights", "call_2")];
    let claude = |mut call: LlmCall| {
        call.provider = "anthropic".into();
        call
    };
    let mut cut = streamed(call("claude-sonnet-4-5-20250929", 21_000, 2_310), 640);
    cut.aborted = true;
    cut.error = Some(CallError { kind: "cancelled".into() });
    cut.usage.input = Some(3_120);
    cut.response.finish_reasons.clear();
    let mut reset = streamed(call("gpt-4o-2024-08-06", 24_000, 900), 410);
    reset.aborted = true;
    reset.error = Some(CallError { kind: "connection_reset".into() });
    reset.response.finish_reasons.clear();
    let mut lossy = used(streamed(call("gpt-4o-mini-2024-07-18", 27_000, 1_480), 322), 912, None, 88);
    lossy.completeness = Completeness::Partial;
    lossy.lost_bytes = Some(4_096);
    let mut retry = used(call("gpt-4o-2024-08-06", 12_400, 2_040), 2_318, Some(1_024), 141);
    retry.attempt = Some(2);
    let mut overloaded =
        used(streamed(claude(call("claude-haiku-4-5", 30_000, 5_120)), 512), 18_004, Some(16_896), 231);
    overloaded.error = Some(CallError { kind: "overloaded_error".into() });
    vec![
        (used(call("gpt-4o-mini-2024-07-18", 0, 846), 24, Some(0), 9), usd(0.000_009), curl()),
        (
            asks(used(streamed(call("gpt-4o-2024-08-06", 1_000, 3_812), 412), 1_204, Some(1_024), 312), &tools),
            usd(0.006_43),
            agent(),
        ),
        (
            carries(
                used(streamed(call("gpt-4o-2024-08-06", 6_050, 2_204), 388), 2_071, Some(1_024), 97),
                &["call_1", "call_2"],
            ),
            usd(0.004_868),
            agent(),
        ),
        (failed(call("gpt-4o", 12_000, 118), 429, "rate_limit_exceeded"), None, agent()),
        (retry, usd(0.005_925), agent()),
        (used(call("text-embedding-3-small", 16_000, 92), 1_048_576, None, 0), usd(0.020_972), agent()),
        (
            used(
                streamed(call("acme/house-blend-70b-instruct-2026-01-31-with-a-long-name", 18_000, 1_950), 702),
                640,
                None,
                220,
            ),
            None,
            agent(),
        ),
        (claude(cut), None, agent()),
        (reset, None, curl()),
        (lossy, usd(0.000_19), curl()),
        (overloaded, usd(0.003_95), agent()),
        (
            used(
                streamed(call("模型-通用-大型-二〇二六版-對話專用", 36_000, 125_000), 9_400),
                104_857,
                Some(98_304),
                12_288,
            ),
            usd(12.3),
            curl(),
        ),
        (call("gpt-4o-2024-08-06", 200_000, 30), None, process("an-unusually-long-process-name", 4_194_303)),
    ]
}

fn summary() -> Summary {
    let unpriced = Unpriced {
        calls: 1,
        models: [("acme/house-blend-70b-instruct-2026-01-31-with-a-long-name".to_owned(), 1)].into(),
        unnamed: 0,
    };
    Summary { processes: 3, connections: 9, exchanges: 13, unpriced, ..Summary::default() }
}

fn render(calls: &[(LlmCall, Option<Cost>, ProcessName)], summary: &Summary, options: Options) -> String {
    let mut pretty = Pretty::new(Vec::new(), options);
    for (call, cost, process) in calls {
        pretty.call(call, None, cost.as_ref(), process).unwrap();
    }
    pretty.finish(summary).unwrap();
    String::from_utf8(pretty.into_inner()).unwrap()
}

fn at(width: usize, color: bool) -> Options {
    Options { width: Some(width), color, ..Options::default() }
}

/// Compares with a file below `tests/fixtures/pretty`; `UPDATE_FIXTURES=1` writes it instead.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pretty").join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{name} differs (UPDATE_FIXTURES=1 rewrites it). It is now:\n{text}");
}

#[test]
fn a_day_at_each_width() {
    for width in [80, 120, 200] {
        golden(&format!("day-{width}.txt"), &render(&day(), &summary(), at(width, false)));
        golden(&format!("day-{width}-color.txt"), &render(&day(), &summary(), at(width, true)));
    }
}

#[test]
fn nothing_seen_says_why() {
    let library = "openssl 3.5.1 (/usr/lib/x86_64-linux-gnu/libssl.so.3)".to_owned();
    let untraced = UntracedProcess {
        name: "agentd".to_owned(),
        pid: 812,
        reason: "statically linked with a TLS library that llmtap does not know".to_owned(),
    };
    let cases = [
        ("no-process", Summary::default()),
        ("no-library", Summary { processes: 3, ..Summary::default() }),
        ("no-connection", Summary { processes: 1, libraries: vec![library.clone()], ..Summary::default() }),
        (
            "other-traffic",
            Summary {
                processes: 1,
                connections: 2,
                exchanges: 5,
                libraries: vec![library.clone()],
                ..Summary::default()
            },
        ),
        ("untraced", Summary { processes: 1, untraced: vec![untraced], ..Summary::default() }),
        (
            "lost",
            Summary {
                processes: 1,
                connections: 2,
                libraries: vec![library],
                events_lost: 12_345,
                ..Summary::default()
            },
        ),
    ];
    for (name, summary) in cases {
        golden(&format!("nothing-{name}.txt"), &render(&[], &summary, at(80, false)));
    }
}

/// Takes colours off and gives back the widest line.
fn widest(text: &str) -> usize {
    text.lines().map(|line| text::width(&plain(line))).max().unwrap_or(0)
}

fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let (code, after) = after.split_once('m').unwrap();
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{line:?}");
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let untraced = UntracedProcess { name: "x".repeat(90), pid: 1, reason: "y ".repeat(90) };
    let nothing = Summary { untraced: vec![untraced], libraries: vec!["z".repeat(300)], ..Summary::default() };
    for width in 24..260 {
        for color in [false, true] {
            let text = render(&day(), &summary(), at(width, color));
            assert!(widest(&text) <= width, "{} at {width}:\n{text}", widest(&text));
            let text = render(&[], &nothing, at(width, color));
            assert!(widest(&text) <= width, "{} at {width}:\n{text}", widest(&text));
        }
    }
    for width in 0..24 {
        render(&day(), &summary(), at(width, true));
    }
}

#[test]
fn figures_stand_below_their_titles() {
    for width in [80, 100, 120, 160, 200] {
        let text = render(&day(), &summary(), at(width, false));
        let lines: Vec<&str> = text.lines().take(3).collect();
        for title in ["INPUT", "OUT", "TOTAL", "COST"] {
            let title = if title == "OUT" && lines[0].contains("OUTPUT") { "OUTPUT" } else { title };
            let end = text::width(&lines[0][..lines[0].find(title).unwrap()]) + title.len();
            for line in &lines[1..] {
                let cells: Vec<char> = line.chars().collect();
                assert!(
                    cells[end - 1] != ' ' && cells.get(end).is_none_or(|c| *c == ' '),
                    "{title} at {width}:\n{text}"
                );
            }
        }
    }
}

#[test]
fn absent_is_never_zero() {
    let text = render(&[(call("m", 0, 10), None, process("p", 1))], &Summary::default(), at(120, false));
    let line = text.lines().nth(1).unwrap();
    assert_eq!(line.matches('–').count(), 6, "{line}");
    assert!(!line.contains(" 0 ") && !line.contains('$'), "{line}");
    let zero = used(call("m", 0, 10), 0, Some(0), 0);
    let text = render(&[(zero, usd(0.0), process("p", 1))], &Summary::default(), at(120, false));
    let line = text.lines().nth(1).unwrap();
    assert!(line.matches(" 0").count() >= 3 && line.ends_with("$0"), "{line}");
}

#[test]
fn hostile_names_cannot_drive_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{9b}31m\u{202e}txt.exe\u{2066}\u{200f}\u{feff}\u{e0041}\u{85}\u{2028}e\u{301}\u{301}\u{301}\u{301}\0";
    let mut hostile = failed(call(evil, 0, 10), 400, "x");
    hostile.error = Some(CallError { kind: evil.to_owned().into() });
    hostile.provider = evil.to_owned().into();
    let mut asking = asks(call(evil, 0, 10), &[(evil, evil)]);
    asking.response.finish_reasons = vec![evil.to_owned()];
    let name = ProcessName { name: evil.into(), pid: Some(1) };
    let unpriced = Unpriced { calls: 1, models: [(evil.to_owned(), 1)].into(), unnamed: 0 };
    let untraced = UntracedProcess { name: evil.to_owned(), pid: 1, reason: evil.to_owned() };
    let summary =
        Summary { unpriced, libraries: vec![evil.to_owned()], untraced: vec![untraced], ..Summary::default() };
    for width in [80, 120, 200] {
        let calls = [(hostile.clone(), None, name.clone()), (asking.clone(), None, name.clone())];
        for text in [render(&calls, &summary, at(width, false)), render(&[], &summary, at(width, false))] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            for c in ['\u{202e}', '\u{2066}', '\u{200f}', '\u{feff}', '\u{e0041}', '\u{2028}'] {
                assert!(!text.contains(c), "{text:?}");
            }
            assert!(!text.contains("\u{301}\u{301}\u{301}"), "{text:?}");
        }
    }
}

#[test]
fn clean_keeps_language() {
    assert_eq!(clean("gpt-4o", 99), "gpt-4o");
    assert_eq!(clean("模型 modèle мοдель", 99), "模型 modèle мοдель");
    assert_eq!(clean("abcdef", 3), "abc…");
    assert_eq!(clean("\u{301}a\u{301}", 9), "a\u{301}");
}

#[test]
fn words_for_figures() {
    for (nanos, expected) in [
        (0, "0.0ms"),
        (4_240_000, "4.2ms"),
        (9_949_999, "9.9ms"),
        (9_950_000, "10ms"),
        (999_499_999, "999ms"),
        (999_500_000, "1.00s"),
        (9_994_999_999, "9.99s"),
        (9_995_000_000, "10.0s"),
        (99_949_999_999, "99.9s"),
        (125_000_000_000, "2m05s"),
        (3_599_999_999_999, "59m59s"),
        (11_520_000_000_000, "3h12m"),
    ] {
        assert_eq!(text::duration(nanos), expected);
    }
    for (number, cells, expected) in [
        (0, 5, "0"),
        (12_043, 6, "12,043"),
        (104_857, 7, "104,857"),
        (104_857, 6, "105k"),
        (1_048_576, 6, "1.05M"),
        (12_345, 5, "12.3k"),
        (999_999_999_999, 6, "1000G"),
    ] {
        assert_eq!(text::count(number, cells), expected);
    }
    for (amount, cells, expected) in [
        (0.0, 9, "$0"),
        (0.006_43, 9, "$0.0064"),
        (0.000_433, 9, "$0.00043"),
        (0.000_433, 7, "$0.0004"),
        (0.000_009, 10, "$0.0000090"),
        (0.000_009, 9, "$0.000009"),
        (0.000_009, 7, "<$.0001"),
        (12.3, 9, "$12.30"),
        (1_234_567.0, 9, "$1,234,567"),
    ] {
        assert_eq!(text::usd(amount, cells), expected);
    }
    assert_eq!(text::clock(T0 + 7 * MS, 0, true), "09:26:53.007");
    assert_eq!(text::clock(T0, -10 * 3600, false), "23:26:53");
    assert_eq!(text::clock(T0, 19_800, false), "14:56:53");
}

#[test]
fn old_calls_are_folded_into_their_process() {
    let mut pretty = Pretty::new(Vec::new(), Options { max_calls: 10, ..at(100, false) });
    for n in 0..1_000 {
        let mut call = used(call("m", n * 10, 5), 10, None, 1);
        if n > 0 {
            call = carries(call, &[&format!("id{}", n - 1)]);
        }
        call = asks(call, &[("next", &format!("id{n}"))]);
        pretty.call(&call, None, usd(0.01).as_ref(), &process("loop", 7)).unwrap();
    }
    pretty.finish(&Summary::default()).unwrap();
    let text = String::from_utf8(pretty.into_inner()).unwrap();
    let tree: Vec<&str> = text.lines().skip(1_002).collect();
    assert!(tree.iter().any(|line| line.contains("990 earlier calls")), "{tree:?}");
    assert_eq!(tree.iter().filter(|line| line.contains("✓")).count(), 10);
    assert!(
        tree.iter().any(|line| line.contains("1,000 calls") && line.contains("10,000") && line.contains("$10.00")),
        "{tree:?}"
    );
}

#[test]
fn tool_calls_are_bounded() {
    let ids: Vec<String> = (0..1_000).map(|n| format!("id{n}")).collect();
    let tools: Vec<(&str, &str)> = ids.iter().map(|id| ("t", id.as_str())).collect();
    let mut pretty = Pretty::new(Vec::new(), Options { max_calls: 100, ..at(80, false) });
    for n in 0..300 {
        pretty.call(&asks(call("m", n, 1), &tools), None, None, &process("p", 1)).unwrap();
    }
    pretty.finish(&Summary::default()).unwrap();
    let text = String::from_utf8(pretty.into_inner()).unwrap();
    assert!(text.lines().filter(|line| line.ends_with("─ tool t")).count() <= 2 * 100 + 32 + 2 * 100);
    let more = text.lines().filter(|line| line.ends_with(" more tool calls")).count();
    assert_eq!(more, 100, "one line for each call that is listed:\n{text}");
    assert!(text.contains("└─ 998 more tool calls"), "{text}");
}

#[test]
fn a_chain_of_ten_thousand_rounds_is_no_depth() {
    let mut pretty = Pretty::new(Vec::new(), at(80, false));
    for n in 0..10_000_u64 {
        let call = asks(carries(call("m", n * 10, 5), &[&format!("id{n}")]), &[("next", &format!("id{}", n + 1))]);
        pretty.call(&call, None, None, &process("loop", 7)).unwrap();
    }
    pretty.finish(&Summary::default()).unwrap();
    let text = String::from_utf8(pretty.into_inner()).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("✓")).count(), 20_000);
    assert!(widest(&text) <= 80);
}

#[test]
fn processes_and_models_are_bounded() {
    let mut pretty = Pretty::new(Vec::new(), Options { max_calls: 5, ..at(80, false) });
    for n in 0..3_000 {
        pretty.call(&call(&format!("m{n}"), 0, 1), None, None, &process("p", n)).unwrap();
    }
    assert!(pretty.tree.models.rows().len() <= 201);
    pretty.finish(&Summary::default()).unwrap();
    let text = String::from_utf8(pretty.into_inner()).unwrap();
    assert!(text.contains("other processes") && text.contains("(other models)"));
    assert!(text.lines().count() < 3_000 + 2_300);
}

#[test]
fn losses_have_a_line_only_when_there_are_some() {
    assert_eq!(loss_line(&Summary::default()), None);
    let summary = Summary { events_lost: 1_200, connections_untraced: 1, ..Summary::default() };
    assert_eq!(loss_line(&summary).unwrap(), "llmtap: events lost: 1,200, connections untraced: 1");
}

#[test]
fn colours_only_where_they_are_wanted() {
    assert!(wants_color(true, None, Some("xterm")));
    assert!(wants_color(true, Some(""), None));
    assert!(!wants_color(true, Some("1"), None));
    assert!(!wants_color(false, None, None));
    assert!(!wants_color(true, None, Some("dumb")));
    assert!(!render(&day(), &summary(), at(120, false)).contains('\u{1b}'));
}

#[test]
fn other_hops_stand_beside_the_calls_and_in_the_run_of_their_tool() {
    let hit = |start: u64, status: u16| crate::carrier::Carrier {
        id: ExchangeId { connection: ConnectionKey(2), index: 0 },
        connection: Arc::new(Connection::default()),
        server_address: None,
        server_port: None,
        protocol_version: "1.1",
        status: Some(status),
        start: T0 + start * MS,
        end: T0 + (start + 30) * MS,
        completeness: Completeness::Full,
        lost_bytes: None,
        trace_parent: None,
    };
    let call_ref = |call: &LlmCall| crate::agent::CallRef {
        id: call.id,
        connection: Arc::clone(&call.connection),
        trace_parent: None,
    };
    let first = asks(call("gpt-5", 0, 100), &[("tide_table", "a"), ("clock", "b")]);
    let place = crate::agent::Place::Tool { asked_by: call_ref(&first), turn: None, number: 0, id: "a".to_owned() };
    let request = crate::mcp::Request {
        carrier: hit(110, 200),
        number: 0,
        method: "tools/call".to_owned(),
        id: None,
        tool: Some("tide_table\u{1b}[2J".to_owned()),
        prompt: None,
        resource: None,
        protocol_version: None,
        session_id: None,
        error_code: None,
        error: Some(CallError { kind: "tool_error".into() }),
    };
    let retrieval = crate::retrieval::Retrieval {
        carrier: hit(150, 200),
        store: "qdrant",
        operation: "query",
        collection: Some("rivers".to_owned()),
        namespace: None,
        top_k: Some(3),
        returned: Some(3),
        status_code: None,
        error: None,
    };
    let mut pretty = Pretty::new(Vec::new(), Options { width: Some(100), ..Options::default() });
    let agent = process("agent.py", 7);
    pretty.call(&used(first, 20, None, 5), None, None, &agent).unwrap();
    pretty.aside(&Aside::mcp(&request, Some(&place)), &agent).unwrap();
    pretty.aside(&Aside::retrieval(&retrieval, None), &agent).unwrap();
    pretty.call(&carries(used(call("gpt-5", 300, 100), 40, None, 6), &["a", "b"]), None, None, &agent).unwrap();
    pretty.finish(&Summary::default()).unwrap();
    insta::assert_snapshot!(String::from_utf8(pretty.into_inner()).unwrap());
}
