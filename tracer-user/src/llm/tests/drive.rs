//! From the bytes of a capture file to its calls.

use std::collections::HashMap;

use crate::{
    capture, exchange, flow,
    llm::{Calls, Limits, LlmCall, Options, could_be_model_call},
    proto,
};

/// All calls of a capture file, in the order in which they end.
pub fn calls(capture: &[u8]) -> Vec<LlmCall> {
    let mut replay = capture::replay::Replay::new(capture).unwrap();
    let mut flows = flow::Flows::new(flow::Limits::default());
    let mut connections = HashMap::new();
    let mut exchanges = exchange::Exchanges::new();
    let mut calls = Calls::new(Limits::default(), Options::default());
    let (mut captured, mut flowed, mut decoded, mut paired, mut found) = (vec![], vec![], vec![], vec![], vec![]);
    let mut running = true;
    while running {
        running = replay.next(&mut captured).unwrap();
        captured.drain(..).for_each(|event| flows.push(event, &mut flowed));
        if !running {
            flows.finish(&mut flowed);
        }
        for event in flowed.drain(..) {
            match event {
                flow::Event::Open { key, connection, .. } => {
                    let decoder =
                        proto::Connection::new(proto::Limits::default(), connection.role, could_be_model_call);
                    connections.insert(key, decoder);
                    exchanges.open(key, connection);
                }
                flow::Event::Bytes { at, key, direction, bytes } => {
                    connections.get_mut(&key).unwrap().push(at, direction, bytes, &mut decoded);
                    decoded.drain(..).for_each(|event| exchanges.push(key, event, &mut paired));
                }
                flow::Event::Gap { at, key, direction, lost } => {
                    connections.get_mut(&key).unwrap().gap(at, direction, lost, &mut decoded);
                    decoded.drain(..).for_each(|event| exchanges.push(key, event, &mut paired));
                }
                flow::Event::Close { at, key, by } => {
                    connections.remove(&key).unwrap().close(at, by, &mut decoded);
                    decoded.drain(..).for_each(|event| exchanges.push(key, event, &mut paired));
                    exchanges.close(key, at, by, &mut paired);
                }
                flow::Event::Abandon { at, key } => {
                    connections.remove(&key).unwrap().abandon(at, &mut decoded);
                    decoded.drain(..).for_each(|event| exchanges.push(key, event, &mut paired));
                    exchanges.abandon(key, at, &mut paired);
                }
            }
        }
        if !running {
            exchanges.finish(&mut paired);
        }
        paired.drain(..).for_each(|event| calls.push(&event, &mut found));
    }
    calls.finish(&mut found);
    assert_eq!(calls.open(), 0);
    found
}
