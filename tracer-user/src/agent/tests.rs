use std::sync::Arc;

use super::*;
use crate::{
    capture::ConnectionKey,
    llm::call::{CallError, ToolCall},
    span::samples::{MS, T0, bare_call},
};

const SECOND: u64 = 1000 * MS;

/// A whole call from `start` to `end` (seconds) that carries results and asks for tools.
fn call(pid: u32, index: u32, (start, end): (u64, u64), results: &[&str], asks: &[&str]) -> LlmCall {
    let mut call = bare_call();
    call.id = ExchangeId { connection: ConnectionKey(u64::from(pid)), index };
    let connection = Connection { id: format!("c{pid}").into(), pid: Some(pid), ..Connection::default() };
    call.connection = Arc::new(connection);
    call.times.start = T0 + start * SECOND;
    call.times.end = T0 + end * SECOND;
    call.outcome = Outcome::Complete;
    call.request.tool_results = results.iter().map(|id| (*id).to_owned()).collect();
    let tool = |id: &&str| ToolCall { name: format!("tool-{id}"), id: Some((*id).to_owned()) };
    call.response.tool_calls = asks.iter().map(tool).collect();
    call
}

/// What was concluded, in short: `tool ID ASKED_BY START-END` and `turn FIRST START-END`, in seconds.
fn short(out: &mut Vec<Concluded>) -> Vec<String> {
    let seconds = |nanos: u64| (nanos - T0) / SECOND;
    let name = |call: &CallRef| format!("{}/{}", call.connection.id, call.id.index);
    out.drain(..)
        .map(|concluded| match concluded {
            Concluded::Tool(run) => {
                assert_eq!(run.name, format!("tool-{}", run.id));
                format!("tool {} {} {}-{}", run.id, name(&run.asked_by), seconds(run.start), seconds(run.end))
            }
            Concluded::Turn(turn) => {
                format!("turn {} {}-{}", name(&turn.first), seconds(turn.start), seconds(turn.end))
            }
        })
        .collect()
}

fn index(place: Option<Place>) -> Option<u32> {
    match place? {
        Place::Turn(first) => Some(first.id.index),
        Place::Tool { .. } => None,
    }
}

#[test]
fn a_round_of_tool_calls_is_one_turn() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    assert_eq!(index(turns.push(&call(1, 0, (0, 1), &[], &["a", "b"]), &mut out)), Some(0));
    assert!(out.is_empty());
    // Most APIs want the whole history: old results come again.
    assert_eq!(index(turns.push(&call(1, 1, (3, 4), &["a", "b"], &["c"]), &mut out)), Some(0));
    assert_eq!(short(&mut out), ["tool a c1/0 1-3", "tool b c1/0 1-3"]);
    assert_eq!(index(turns.push(&call(1, 2, (6, 8), &["a", "b", "c"], &[]), &mut out)), Some(0));
    assert_eq!(short(&mut out), ["tool c c1/1 4-6", "turn c1/0 0-8"]);
    // The next question in the same conversation is a new turn, or none.
    assert_eq!(index(turns.push(&call(1, 3, (9, 10), &["a", "b", "c"], &[]), &mut out)), None);
    assert_eq!(index(turns.push(&call(1, 4, (11, 12), &["a", "b", "c"], &["d"]), &mut out)), Some(4));
    assert!(out.is_empty());
    turns.finish(&mut out);
    assert_eq!(short(&mut out), ["turn c1/4 11-12"]);
    assert!(turns.open.is_empty() && turns.asked.is_empty());
}

#[test]
fn a_failed_attempt_leaves_the_turn_open_for_the_next() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a"]), &mut out);
    let mut failed = call(1, 1, (2, 3), &["a"], &[]);
    failed.error = Some(CallError { kind: Cow::Borrowed("429") });
    assert_eq!(index(turns.push(&failed, &mut out)), Some(0));
    let mut cut = call(1, 2, (4, 5), &["a"], &[]);
    cut.outcome = Outcome::Reset { by_peer: true };
    assert_eq!(index(turns.push(&cut, &mut out)), Some(0));
    assert_eq!(index(turns.push(&call(1, 3, (6, 7), &["a"], &[]), &mut out)), Some(0));
    assert_eq!(short(&mut out), ["tool a c1/0 1-2", "turn c1/0 0-7"]);
}

#[test]
fn processes_are_kept_apart() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a"]), &mut out);
    turns.push(&call(2, 0, (0, 1), &[], &["a"]), &mut out);
    assert_eq!(index(turns.push(&call(3, 0, (2, 3), &["a"], &[]), &mut out)), None);
    turns.push(&call(2, 1, (2, 3), &["a"], &[]), &mut out);
    assert_eq!(short(&mut out), ["tool a c2/0 1-2", "turn c2/0 0-3"]);
    turns.end_process(1, &mut out);
    assert_eq!(short(&mut out), ["turn c1/0 0-1"]);
}

#[test]
fn a_result_cannot_come_before_its_question() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (5, 9), &[], &["a"]), &mut out);
    assert_eq!(index(turns.push(&call(1, 1, (7, 8), &["a"], &[]), &mut out)), None);
    assert!(out.is_empty());
}

#[test]
fn a_turn_under_a_trace_parent_has_no_root_of_ours() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    let parent = TraceParent { trace_id: [1; 16], span_id: [2; 8], flags: 1, state: None };
    let mut first = call(1, 0, (0, 1), &[], &["a"]);
    first.trace_parent = Some(parent.clone());
    assert_eq!(turns.push(&first, &mut out), None);
    assert_eq!(turns.push(&call(1, 1, (2, 3), &["a"], &[]), &mut out), None);
    let [Concluded::Tool(run)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(run.asked_by.trace_parent, Some(parent));
    assert_eq!(run.turn, None);
}

#[test]
fn a_used_id_belongs_to_the_turn_that_used_it_last() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a"]), &mut out);
    turns.push(&call(1, 1, (2, 3), &[], &["a"]), &mut out);
    turns.push(&call(1, 2, (4, 5), &["a"], &[]), &mut out);
    assert_eq!(short(&mut out), ["tool a c1/1 3-4", "turn c1/1 2-5"]);
    turns.finish(&mut out);
    assert_eq!(short(&mut out), ["turn c1/0 0-1"]);
}

#[test]
fn memory_is_bounded() {
    let limits = Limits { turns: 3, tool_calls: 2, idle: 100 * SECOND };
    let (mut turns, mut out) = (Turns::new(limits), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a", "b", "c"]), &mut out);
    assert_eq!(turns.counters(), Counters { evicted_turns: 0, untracked_tool_calls: 1 });
    for index in 1..1000 {
        let id = format!("x{index}");
        turns.push(&call(1, index, (1, 2), &[], &[&id]), &mut out);
        assert!(turns.open.len() <= 3 && turns.asked.len() <= 6);
    }
    assert_eq!(turns.counters().evicted_turns, 997);
    assert_eq!(out.len(), 997);
}

#[test]
fn idle_turns_end() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a"]), &mut out);
    turns.push(&call(1, 1, (2, 3), &[], &["b"]), &mut out);
    turns.push(&call(2, 0, (500, 600), &[], &[]), &mut out);
    assert!(out.is_empty());
    turns.push(&call(2, 1, (600, 700), &[], &[]), &mut out);
    assert_eq!(short(&mut out), ["turn c1/0 0-1", "turn c1/1 2-3"]);
    assert!(turns.open.is_empty() && turns.asked.is_empty());
}

fn deed(pid: u32, tool: Option<&str>, (start, end): (u64, u64)) -> Deed<'_> {
    Deed { process: Some(pid), tool, start: T0 + start * SECOND, end: T0 + end * SECOND, has_parent: false }
}

/// `CALL/TOOL` of a tool's run, `CALL` of a turn.
fn place(turns: &mut Turns, deed: &Deed<'_>) -> Option<String> {
    turns.place(deed).map(|place| match place {
        Place::Turn(first) => first.id.index.to_string(),
        Place::Tool { asked_by, id, .. } => format!("{}/{id}", asked_by.id.index),
    })
}

#[test]
fn what_a_process_does_has_its_place_where_only_one_can_be_meant() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    assert_eq!(place(&mut turns, &deed(1, None, (0, 1))), None);
    turns.push(&call(1, 0, (0, 1), &[], &["a", "b"]), &mut out);
    // By the tool's name; without one, two runs go on.
    assert_eq!(place(&mut turns, &deed(1, Some("tool-b"), (2, 3))).as_deref(), Some("0/b"));
    assert_eq!(place(&mut turns, &deed(1, Some("other"), (2, 3))).as_deref(), Some("0"));
    assert_eq!(place(&mut turns, &deed(1, None, (2, 3))).as_deref(), Some("0"));
    // Another process, what began before the turn, and what says itself where it belongs.
    assert_eq!(place(&mut turns, &deed(2, Some("tool-b"), (2, 3))), None);
    assert_eq!(place(&mut turns, &Deed { start: T0 - 1, ..deed(1, Some("tool-b"), (0, 1)) }), None);
    assert_eq!(place(&mut turns, &Deed { has_parent: true, ..deed(1, Some("tool-b"), (2, 3)) }), None);
    // One result is told: the other run is the only one.
    turns.push(&call(1, 1, (4, 5), &["a"], &["c"]), &mut out);
    assert_eq!(place(&mut turns, &deed(1, Some("tool-c"), (6, 7))).as_deref(), Some("1/c"));
    turns.push(&call(1, 2, (8, 9), &["a", "c"], &["d"]), &mut out);
    // Another turn begins beside: what has no name belongs to neither for sure.
    turns.push(&call(1, 3, (8, 9), &[], &["d2"]), &mut out);
    assert_eq!(place(&mut turns, &deed(1, None, (10, 11))), None);
    assert_eq!(place(&mut turns, &deed(1, Some("tool-d"), (10, 11))).as_deref(), Some("2/d"));
}

#[test]
fn embeddings_are_placed_like_any_other_deed() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a"]), &mut out);
    let embeddings = LlmCall { operation: Operation::Embeddings, ..call(1, 1, (2, 3), &[], &[]) };
    assert!(matches!(turns.push(&embeddings, &mut out), Some(Place::Tool { number: 0, .. })));
    assert_eq!(turns.push(&call(1, 2, (2, 3), &[], &[]), &mut out), None);
}

#[test]
fn what_was_done_in_a_run_shows_that_it_ran() {
    let (mut turns, mut out) = (Turns::default(), Vec::new());
    turns.push(&call(1, 0, (0, 1), &[], &["a", "b"]), &mut out);
    place(&mut turns, &deed(1, Some("tool-a"), (2, 3)));
    turns.finish(&mut out);
    assert_eq!(short(&mut out), ["tool a c1/0 1-3", "turn c1/0 0-3"]);
}

#[test]
fn tools_of_mcp_servers_have_longer_names_for_models() {
    assert!(is_tool("tide", "tide"));
    assert!(is_tool("mcp__harbour__tide", "tide"));
    for asked in ["mcp__tide", "mcp____tide", "harbour__tide", "mcp__harbour__low_tide", ""] {
        assert!(!is_tool(asked, "tide"), "{asked}");
    }
}
