use std::sync::Arc;

use super::*;
use crate::{
    capture::Connection,
    llm::call::CallError,
    price::CostSource,
    span::{
        ids::{SpanId, TraceId},
        samples::{MS, T0, bare_call},
    },
};

fn call(pid: u32, body: u32, start: u64, status: Option<u16>) -> LlmCall {
    let mut call = bare_call();
    call.connection = Arc::new(Connection { pid: Some(pid), ..Connection::default() });
    call.request.fingerprint = Some(Fingerprint { sum: body, bytes: 10 });
    (call.times.start, call.times.end) = (T0 + start * MS, T0 + (start + 10) * MS);
    call.response.status = status;
    call.error = match status {
        Some(..400) => None,
        Some(status) => Some(CallError { kind: status.to_string().into() }),
        None => Some(CallError { kind: "timeout".into() }),
    };
    call
}

fn link(number: u8) -> Link {
    Link { trace_id: TraceId([number; 16]), span_id: SpanId([number; 8]) }
}

/// Runs a call through: what it repeats.
fn run(attempts: &mut Attempts, mut call: LlmCall, number: u8, cost: Option<f64>) -> Option<Repetition> {
    let repetition = attempts.repeats(&call);
    call.attempt = call.attempt.or(repetition.as_ref().map(|repetition| repetition.number));
    let cost = cost.map(|total| Cost {
        total,
        input: None,
        output: None,
        cache_read: None,
        cache_write: None,
        source: CostSource::Table,
        currency: None,
        version: None,
    });
    attempts.push(&call, repetition.as_ref(), cost.as_ref(), link(number));
    repetition
}

#[test]
fn attempts_count_up_and_point_at_the_first() {
    let mut attempts = Attempts::default();
    assert_eq!(run(&mut attempts, call(1, 7, 0, Some(429)), 1, None), None);
    let second = run(&mut attempts, call(1, 7, 100, None), 2, Some(0.5)).unwrap();
    assert_eq!((second.number, &second.first, second.reason.as_str()), (2, &link(1), "429"));
    assert_eq!((second.wasted_time, second.wasted_cost), (100 * MS, None));
    let third = run(&mut attempts, call(1, 7, 300, Some(503)), 3, Some(0.25)).unwrap();
    assert_eq!((third.number, &third.first, third.reason.as_str()), (3, &link(1), "timeout"));
    assert_eq!((third.wasted_time, third.wasted_cost), (300 * MS, Some(0.5)));
    let last = run(&mut attempts, call(1, 7, 400, Some(200)), 4, Some(1.0)).unwrap();
    assert_eq!((last.number, last.wasted_cost), (4, Some(0.75)));
    // After success the same question is a new one.
    assert_eq!(run(&mut attempts, call(1, 7, 500, Some(200)), 5, None), None);
    assert!(attempts.failed.is_empty());
}

#[test]
fn only_the_same_request_of_the_same_process_soon_after_repeats() {
    let window = Limits::default().window / MS;
    for (other, repeats) in [
        (call(1, 7, 10, Some(200)), true),
        (call(2, 7, 20, Some(200)), false),
        (call(1, 8, 20, Some(200)), false),
        // Before the failure was known.
        (call(1, 7, 9, Some(200)), false),
        (call(1, 7, 10 + window, Some(200)), true),
        (call(1, 7, 11 + window, Some(200)), false),
    ] {
        let mut attempts = Attempts::default();
        run(&mut attempts, call(1, 7, 0, Some(500)), 1, None);
        assert_eq!(run(&mut attempts, other, 2, None).is_some(), repeats);
    }
    for status in [400, 401, 404, 422] {
        let mut attempts = Attempts::default();
        run(&mut attempts, call(1, 7, 0, Some(status)), 1, None);
        assert_eq!(run(&mut attempts, call(1, 7, 20, Some(200)), 2, None), None, "{status}");
    }
    let mut unread = call(1, 7, 0, Some(500));
    unread.request.fingerprint = None;
    let mut attempts = Attempts::default();
    run(&mut attempts, unread, 1, None);
    assert!(attempts.failed.is_empty());
}

#[test]
fn what_the_client_counts_goes_before() {
    let counted = |start, attempt, status| LlmCall { attempt: Some(attempt), ..call(1, 7, start, Some(status)) };
    let mut attempts = Attempts::default();
    run(&mut attempts, counted(0, 1, 429), 1, None);
    run(&mut attempts, counted(1, 1, 429), 2, None);
    // Another thread asks the same for the first time.
    assert_eq!(run(&mut attempts, counted(50, 1, 200), 3, None), None);
    // Two threads repeat, each failure once.
    let firsts: Vec<Link> =
        [60, 61].iter().map(|at| run(&mut attempts, counted(*at, 2, 429), 4, None).unwrap().first).collect();
    assert_eq!(firsts, [link(1), link(2)]);
    // The second attempt of one was not seen: none before it is meant.
    assert_eq!(run(&mut attempts, counted(90, 4, 200), 5, None), None);
    assert_eq!(run(&mut attempts, counted(90, 3, 200), 6, None).unwrap().number, 3);
}

#[test]
fn memory_is_bounded() {
    let mut attempts = Attempts::new(Limits { failures: 3, ..Limits::default() });
    for body in 0..100 {
        run(&mut attempts, call(1, body, u64::from(body) * 20, Some(500)), 1, None);
    }
    assert_eq!((attempts.failed.len(), attempts.order.len()), (3, 3));
    for body in 0..100 {
        run(&mut attempts, call(1, 7, 4000 + body * 20, Some(500)), 1, None);
    }
    assert!(attempts.order.len() <= 3 && attempts.failed.values().map(VecDeque::len).sum::<usize>() <= 3);
}
