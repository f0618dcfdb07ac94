use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Event, Flows, Limits};
use crate::capture::{self, ClosedBy, Connection, ConnectionKey, Direction, Process};

const KEY: ConnectionKey = ConnectionKey(7);

fn open(at: u64, key: ConnectionKey) -> capture::Event {
    capture::Event::Open { at, key, connection: Arc::new(Connection::default()) }
}

fn data(at: u64, direction: Direction, offset: u64, text: &str) -> capture::Event {
    capture::Event::Data { at, key: KEY, direction, offset, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn sent(at: u64, offset: u64, text: &str) -> capture::Event {
    data(at, Direction::Send, offset, text)
}

fn received(at: u64, offset: u64, text: &str) -> capture::Event {
    data(at, Direction::Receive, offset, text)
}

fn gap(at: u64, offset: u64, lost: u64) -> capture::Event {
    capture::Event::Gap { at, key: KEY, direction: Direction::Send, offset, lost }
}

fn close(at: u64) -> capture::Event {
    capture::Event::Close { at, key: KEY, by: ClosedBy::Peer }
}

fn tell(events: &[Event]) -> Vec<String> {
    let side = |direction: &Direction| if *direction == Direction::Send { '>' } else { '<' };
    let line = |event: &Event| match event {
        Event::Open { at, .. } => format!("{at} open"),
        Event::Bytes { at, direction, bytes, .. } => {
            format!("{at} {} {}", side(direction), String::from_utf8_lossy(bytes))
        }
        Event::Gap { at, direction, lost: Some(lost), .. } => format!("{at} {} lost {lost}", side(direction)),
        Event::Gap { at, direction, lost: None, .. } => format!("{at} {} lost", side(direction)),
        Event::Close { at, .. } => format!("{at} close"),
        Event::Abandon { at, .. } => format!("{at} abandon"),
    };
    events.iter().map(line).collect()
}

fn run(limits: Limits, events: impl IntoIterator<Item = capture::Event>) -> (Vec<String>, Flows) {
    let mut flows = Flows::new(limits);
    let mut out = Vec::new();
    for event in events {
        flows.push(event, &mut |event| out.push(event));
    }
    (tell(&out), flows)
}

/// The events after the opening.
fn told(events: impl IntoIterator<Item = capture::Event>) -> Vec<String> {
    run(Limits::default(), [open(0, KEY)].into_iter().chain(events)).0.split_off(1)
}

#[test]
fn bytes_in_order_pass() {
    assert_eq!(
        told([sent(1, 0, "ab"), received(2, 0, "xy"), sent(3, 2, "cd"), close(4)]),
        ["1 > ab", "2 < xy", "3 > cd", "4 close"]
    );
}

#[test]
fn processes_pass_by() {
    let process = Arc::new(Process::default());
    assert_eq!(told([capture::Event::Process { at: 1, process }]), Vec::<String>::new());
}

#[test]
fn bytes_that_come_twice_pass_once() {
    let events = [open(0, KEY), sent(1, 0, "abcd"), sent(2, 0, "abcd"), sent(3, 1, "bc"), sent(4, 2, "cdef")];
    let (told, flows) = run(Limits::default(), events);
    assert_eq!(told[1..], ["1 > abcd", "4 > ef"]);
    assert_eq!((flows.counters().bytes, flows.counters().duplicate_bytes), (6, 8));
}

#[test]
fn times_do_not_run_backwards() {
    assert_eq!(told([sent(5, 0, "a"), received(3, 0, "x"), close(1)]), ["5 > a", "5 < x", "5 close"]);
}

#[test]
fn a_few_records_out_of_order_are_put_in_order() {
    let events = [open(0, KEY), sent(1, 0, "a"), sent(4, 3, "d"), sent(3, 2, "c"), sent(2, 1, "b"), sent(5, 4, "e")];
    let (told, flows) = run(Limits::default(), events);
    assert_eq!(told[1..], ["1 > a", "2 > b", "3 > c", "4 > d", "5 > e"]);
    assert_eq!((flows.counters().reordered_records, flows.counters().lost_bytes), (2, 0));
}

#[test]
fn a_jump_is_a_loss_as_soon_as_nothing_can_fill_it() {
    let jump = || [sent(1, 0, "a"), sent(2, 11, "b")];
    assert_eq!(told(jump()), ["1 > a"]);
    let lost = ["1 > a", "2 > lost 10", "2 > b"].map(str::to_owned).to_vec();
    for (next, last) in [
        (received(3, 0, "x"), "3 < x"),
        (close(3), "3 close"),
        (capture::Event::Gap { at: 3, key: KEY, direction: Direction::Send, offset: 12, lost: 1 }, "3 > lost 1"),
    ] {
        assert_eq!(told(jump().into_iter().chain([next])), [&lost[..], &[last.to_owned()]].concat());
    }
    let (_, mut flows) = run(Limits::default(), [open(0, KEY)].into_iter().chain(jump()));
    let mut out = Vec::new();
    flows.tick(&mut |event| out.push(event));
    assert_eq!(tell(&out), lost[1..]);
    assert_eq!(flows.counters().lost_bytes, 10);
}

#[test]
fn no_more_is_held_than_allowed() {
    let jumps = || {
        let jumps = (0..4).map(|n| sent(n, 10 * (n + 1), "0123456789"));
        [open(0, KEY)].into_iter().chain(jumps)
    };
    let limits = |held_records, held_bytes| Limits { held_records, held_bytes, ..Limits::default() };
    assert_eq!(run(limits(4, 100), jumps()).0.len(), 1);
    for limits in [limits(3, 100), limits(4, 39)] {
        let (told, _) = run(limits, jumps());
        assert_eq!(told[1], "0 > lost 10");
        assert_eq!(told.len(), 6);
    }
    let (told, _) = run(limits(0, 100), jumps());
    assert_eq!(told[1..3], ["0 > lost 10", "0 > 0123456789"]);
}

#[test]
fn gaps_of_known_and_unknown_length() {
    assert_eq!(told([sent(1, 0, "ab"), gap(2, 2, 5), sent(3, 7, "c")]), ["1 > ab", "2 > lost 5", "3 > c"]);
    // What was passed on already is not lost, and a hole before the gap is.
    assert_eq!(told([sent(1, 0, "abc"), gap(2, 1, 4), sent(3, 5, "f")]), ["1 > abc", "2 > lost 2", "3 > f"]);
    assert_eq!(told([sent(1, 0, "abc"), gap(2, 1, 2), sent(3, 3, "d")]), ["1 > abc", "3 > d"]);
    assert_eq!(told([sent(1, 0, "ab"), gap(2, 4, 2), sent(3, 6, "c")]), ["1 > ab", "2 > lost 4", "3 > c"]);
    // Behind an unknown loss the next record tells the offset.
    assert_eq!(told([sent(1, 0, "ab"), gap(2, 2, 0), sent(3, 90, "c")]), ["1 > ab", "2 > lost", "3 > c"]);
}

#[test]
fn a_first_record_behind_the_start_is_a_loss() {
    assert_eq!(told([sent(1, 100, "a"), received(2, 0, "x")]), ["1 > lost 100", "1 > a", "2 < x"]);
}

#[test]
fn unannounced_connections_are_opened() {
    let (told, flows) = run(Limits::default(), [sent(1, 0, "a"), gap(2, 1, 1), close(3)]);
    assert_eq!(told, ["1 open", "1 > a", "2 > lost 1", "3 close"]);
    assert_eq!(flows.counters().unannounced_connections, 1);
    let (told, flows) = run(Limits::default(), [gap(2, 1, 1), close(3)]);
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(flows.connections(), 0);
}

#[test]
fn a_key_that_opens_again_gives_up_its_first_life() {
    assert_eq!(told([sent(1, 0, "a"), open(2, KEY), sent(3, 0, "b")]), ["1 > a", "1 abandon", "2 open", "3 > b"]);
}

#[test]
fn a_full_table_forgets_the_longest_silent() {
    let mut flows = Flows::new(Limits { connections: 3, ..Limits::default() });
    let mut out = Vec::new();
    for key in [7, 8, 9] {
        flows.push(open(key, ConnectionKey(key)), &mut |event| out.push(event));
    }
    flows.push(sent(10, 0, "a"), &mut |event| out.push(event));
    flows.push(open(11, ConnectionKey(11)), &mut |event| out.push(event));
    assert!(out.contains(&Event::Abandon { at: 8, key: ConnectionKey(8) }));
    assert_eq!((flows.connections(), flows.counters().evicted_connections), (3, 1));
}

#[test]
fn the_end_gives_up_what_is_open() {
    let (_, mut flows) = run(Limits::default(), [open(0, KEY), sent(1, 0, "a"), sent(2, 11, "b")]);
    let mut out = Vec::new();
    flows.finish(&mut |event| out.push(event));
    assert_eq!(tell(&out), ["2 > lost 10", "2 > b", "2 abandon"]);
    assert_eq!(flows.connections(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the cuts, the repetitions and a small disorder, the bytes come out once and in order.
    #[test]
    fn order_is_restored(
        sizes in prop::collection::vec(1usize..20, 1..30),
        swaps in prop::collection::vec(0usize..30, 0..10),
        repeats in prop::collection::vec(0usize..30, 0..5),
    ) {
        let mut records = Vec::new();
        let mut offset = 0;
        for size in sizes {
            let bytes: String = (offset..offset + size).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
            records.push((offset, bytes));
            offset += size;
        }
        let whole: String = records.iter().map(|(_, bytes)| bytes.as_str()).collect();
        for place in swaps {
            if place + 1 < records.len() {
                records.swap(place, place + 1);
            }
        }
        for place in repeats {
            if let Some(record) = records.get(place).cloned() {
                records.push(record);
            }
        }
        let limits = Limits { held_records: 64, ..Limits::default() };
        let events = records.iter().enumerate().map(|(at, (offset, bytes))| sent(at as u64, *offset as u64, bytes));
        let (told, flows) = run(limits, [open(0, KEY)].into_iter().chain(events));
        let passed: String = told[1..].iter().map(|line| line.split(" > ").nth(1).unwrap()).collect();
        prop_assert_eq!(passed, whole);
        prop_assert_eq!(flows.counters().lost_bytes, 0);
    }
}
