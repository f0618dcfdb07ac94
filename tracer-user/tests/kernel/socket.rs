//! Plaintext on a TCP port, against a program with known traffic.

use std::net::TcpListener;

use llmtap::capture::{ClosedBy, Direction, Event};
use tracer_common::counter::Counter;

use super::lab::{Run, compile, lab};

/// Runs a scenario with its port read, or none with the reason printed.
fn run(scenario: &str) -> Option<(u16, Run)> {
    let lab = lab()?;
    let program = lab.program().with_file_name("socket");
    compile("socket.c", [""; 0], &program).unwrap();
    // Free now, with the one above it; the program binds them again.
    let port = (0..100).find_map(|_| {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok().map(|_| port)
    })?;
    let port_text = port.to_string();
    let run = lab.run_plaintext(port, &[program.as_os_str(), scenario.as_ref(), port_text.as_ref()])?;
    assert!(run.status.is_some_and(|status| status.success()), "{}: {:?}", run.title, run.status);
    Some((port, run))
}

fn exact(scenario: &str) {
    let Some((port, run)) = run(scenario) else { return };
    run.assert_exact();
    assert_eq!(run.captured_bytes(), run.told_bytes(), "{}: bytes that nobody sent", run.title);
    let connections = run.events.iter().filter_map(|event| match event {
        Event::Open { connection, .. } => Some(connection),
        _ => None,
    });
    let peers: Vec<&str> = connections.filter_map(|connection| connection.peer.as_deref()).collect();
    assert!(peers.iter().any(|peer| peer.ends_with(&format!(":{port}"))), "{peers:?}");
    assert!(peers.iter().all(|peer| peer.starts_with("127.0.0.1:") || peer.starts_with("[::1]:")), "{peers:?}");
}

#[test]
fn every_way_of_reading_and_writing_is_seen() {
    exact("sizes");
}

#[test]
fn ipv6_is_seen() {
    exact("sizes6");
}

#[test]
fn what_is_peeked_at_counts_once() {
    exact("peeked");
}

#[test]
fn a_child_joins_in_the_middle() {
    exact("forked");
}

#[test]
fn other_sockets_and_tls_are_left_alone() {
    let Some((_, run)) = run("others") else { return };
    run.assert_no_loss();
    let of_target = |event: &&Event| matches!(event, Event::Open { .. } | Event::Data { .. } | Event::Gap { .. });
    assert_eq!(run.events.iter().find(of_target), None, "{}", run.title);
}

#[test]
fn ends_are_told_apart() {
    let Some((_, run)) = run("ends") else { return };
    run.assert_exact();
    let mut ends: Vec<ClosedBy> = run
        .events
        .iter()
        .filter_map(|event| if let Event::Close { by, .. } = event { Some(*by) } else { None })
        .collect();
    ends.sort_by_key(|end| format!("{end:?}"));
    // The server resets the first and closes the second; the client sees both.
    assert_eq!(ends, [ClosedBy::Local, ClosedBy::Local, ClosedBy::Peer, ClosedBy::Reset]);
}

#[test]
fn what_passes_no_buffer_is_a_gap_of_known_length() {
    let Some((_, run)) = run("unseen") else { return };
    let gaps: Vec<(Direction, u64, u64)> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Gap { direction, offset, lost, .. } => Some((*direction, *offset, *lost)),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [(Direction::Send, 100, 5000)]);
    assert_eq!(run.counters.value(Counter::NoBuffer), 5000);
    assert_eq!(run.captured_bytes(), 200 + 5200);
}
