//! Fuzz body of the connection table.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{Event, Flows, Limits};
use crate::capture::{self, ClosedBy, Connection, ConnectionKey, Direction};

/// Reads `data` as captured events of a few connections, four bytes each. The byte at offset n of every direction is n
/// modulo 251, so that whatever comes out can be checked against where it must have stood.
pub fn flow(data: &[u8]) {
    let limits = Limits { connections: 3, held_records: 4, held_bytes: 200 };
    let mut flows = Flows::new(limits);
    let mut out = Vec::new();
    let mut ends: HashMap<(ConnectionKey, Direction), u64> = HashMap::new();
    for (number, [kind, place, length, time]) in data.as_chunks().0.iter().copied().enumerate() {
        let key = ConnectionKey(u64::from(kind >> 4) % 5);
        let direction = if kind & 8 == 0 { Direction::Send } else { Direction::Receive };
        let at = number as u64 + u64::from(time);
        let end = ends.entry((key, direction)).or_default();
        // Mostly the next byte; else a little before or behind it.
        let offset = match place {
            0..=127 => *end,
            128..=191 => end.saturating_sub(u64::from(place - 128)),
            _ => *end + u64::from(place - 192),
        };
        let length = u64::from(length);
        flows.push(
            match kind & 7 {
                0 => {
                    ends.retain(|(other, _), _| *other != key);
                    capture::Event::Open { at, key, connection: Arc::new(Connection::default()) }
                }
                1 => {
                    ends.retain(|(other, _), _| *other != key);
                    capture::Event::Close { at, key, by: ClosedBy::Unknown }
                }
                2 => {
                    *end = offset + length;
                    capture::Event::Gap { at, key, direction, offset, lost: length }
                }
                _ => {
                    *end = offset + length;
                    let bytes: Bytes = (offset..offset + length).map(|n| (n % 251) as u8).collect();
                    capture::Event::Data { at, key, direction, offset, bytes }
                }
            },
            &mut |event| out.push(event),
        );
        if kind & 7 == 1 && time == 0 {
            flows.tick(&mut |event| out.push(event));
        }
        assert!(flows.connections() <= limits.connections, "the table has a cap");
    }
    flows.finish(&mut |event| out.push(event));
    assert_eq!(flows.connections(), 0, "nothing stays behind");
    check(&out);
}

/// Events come between the opening and the end of their connection, in time, and every byte where it belongs.
fn check(events: &[Event]) {
    /// The position of each direction; `None` behind a loss of unknown size.
    struct Seen {
        at: u64,
        send: Option<u64>,
        receive: Option<u64>,
    }
    let mut open: HashMap<ConnectionKey, Seen> = HashMap::new();
    for event in events {
        let (at, key) = match event {
            Event::Open { at, key, .. } => {
                let replaced = open.insert(*key, Seen { at: *at, send: Some(0), receive: Some(0) });
                assert!(replaced.is_none(), "opened once");
                continue;
            }
            Event::Bytes { at, key, .. }
            | Event::Gap { at, key, .. }
            | Event::Close { at, key, .. }
            | Event::Abandon { at, key } => (*at, *key),
        };
        let Some(seen) = open.get_mut(&key) else { unreachable!("events come while open") };
        assert!(at >= seen.at, "time does not run backwards");
        seen.at = at;
        let position = |seen: &mut Seen, direction: &Direction, next: &dyn Fn(u64) -> u64, known: bool| {
            let position = if *direction == Direction::Send { &mut seen.send } else { &mut seen.receive };
            let before = *position;
            *position = before.map(next).filter(|_| known);
            before
        };
        match event {
            Event::Bytes { direction, bytes, .. } => {
                assert!(!bytes.is_empty(), "no empty bytes");
                let length = bytes.len() as u64;
                if let Some(start) = position(seen, direction, &|start| start + length, true) {
                    assert!((start..).zip(bytes).all(|(n, byte)| (n % 251) as u8 == *byte), "bytes at their place");
                }
            }
            Event::Gap { direction, lost, .. } => {
                position(seen, direction, &|start| start + lost.unwrap_or_default(), lost.is_some());
            }
            _ => {
                open.remove(&key);
            }
        }
    }
    assert!(open.is_empty(), "every connection ends");
}
