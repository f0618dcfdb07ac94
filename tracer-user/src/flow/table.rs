//! The connection table: what is expected next in each direction of each connection.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::Event;
use crate::capture::{self, ByConnection, Connection, ConnectionKey, Direction};

/// Caps of the connection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections followed at once. Beyond it the longest silent ones are forgotten.
    pub connections: usize,
    /// Records of one direction held back while bytes before them are missing. The kernel's ring is ordered and the
    /// calls of one connection are serial, so that a jump is nearly always a loss; a few records cover sources that
    /// merge several rings. Holding costs no accuracy, since records carry their times. 0 takes every jump as a loss.
    pub held_records: usize,
    /// Bytes held back over all connections.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16 << 10, held_records: 8, held_bytes: 16 << 20 }
    }
}

/// What the table has seen and could not pass on in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes passed on.
    pub bytes: u64,
    /// Bytes that came twice.
    pub duplicate_bytes: u64,
    /// Bytes known to be missing.
    pub lost_bytes: u64,
    /// Losses of unknown size.
    pub unknown_losses: u64,
    /// Records that came before their predecessors and were put in order.
    pub reordered_records: u64,
    /// Connections forgotten because the table was full.
    pub evicted_connections: u64,
    /// Connections whose opening was not seen.
    pub unannounced_connections: u64,
}

/// Puts the bytes of every connection in order.
#[derive(Debug, Default)]
pub struct Flows {
    limits: Limits,
    counters: Counters,
    connections: ByConnection<Flow>,
    /// Counts pushes: the clock of silence.
    pushes: u64,
    held_bytes: usize,
}

#[derive(Debug, Default)]
struct Flow {
    last_at: u64,
    last_push: u64,
    send: Lane,
    receive: Lane,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// Offset of the next byte; `None` behind a loss of unknown size, where the next record tells.
    expected: Expected,
    /// Records that came before their predecessors, by offset.
    held: BTreeMap<u64, Held>,
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Offset(u64),
    /// Behind a loss of unknown size: the next record tells.
    Any,
}

impl Default for Expected {
    fn default() -> Self {
        Self::Offset(0)
    }
}

#[derive(Debug)]
struct Held {
    at: u64,
    bytes: Bytes,
}

impl Flows {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Connections in the table.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    pub fn push(&mut self, event: capture::Event, sink: &mut impl FnMut(Event)) {
        self.pushes += 1;
        match event {
            // Processes concern later stages; they hold no bytes.
            capture::Event::Process { .. } => {}
            capture::Event::Open { at, key, connection } => self.open(at, key, connection, sink),
            capture::Event::Data { at, key, direction, offset, bytes } => {
                if self.held_bytes > 0 {
                    self.release_other(key, direction, sink);
                }
                self.data(at, key, direction, offset, bytes, sink);
            }
            capture::Event::Gap { at, key, direction, offset, lost } => {
                self.release_other(key, direction, sink);
                self.release(key, direction, sink);
                self.gap(at, key, direction, offset, lost, sink);
            }
            capture::Event::Unread { at, key, direction, offset, bytes } => {
                self.release_other(key, direction, sink);
                self.release(key, direction, sink);
                // To the decoders it is a gap, and nobody's loss.
                let lost = self.counters.lost_bytes;
                self.gap(at, key, direction, offset, bytes, sink);
                self.counters.lost_bytes = lost;
            }
            capture::Event::Close { at, key, by } => {
                self.release(key, Direction::Send, sink);
                self.release(key, Direction::Receive, sink);
                if let Some(flow) = self.connections.remove(&key) {
                    sink(Event::Close { at: at.max(flow.last_at), key, by });
                }
            }
        }
    }

    /// Passes on what is held back: the caller has waited long enough for the bytes before it.
    pub fn tick(&mut self, sink: &mut impl FnMut(Event)) {
        if self.held_bytes == 0 {
            return;
        }
        let holds = |flow: &Flow| !(flow.send.held.is_empty() && flow.receive.held.is_empty());
        let keys: Vec<_> = self.connections.iter().filter(|(_, flow)| holds(flow)).map(|(key, _)| *key).collect();
        for key in keys {
            self.release(key, Direction::Send, sink);
            self.release(key, Direction::Receive, sink);
        }
    }

    /// llmtap stops: every connection that is still open is given up, in the order of their keys.
    pub fn finish(&mut self, sink: &mut impl FnMut(Event)) {
        let mut keys: Vec<_> = self.connections.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.abandon(key, sink);
        }
    }

    fn abandon(&mut self, key: ConnectionKey, sink: &mut impl FnMut(Event)) {
        self.release(key, Direction::Send, sink);
        self.release(key, Direction::Receive, sink);
        if let Some(flow) = self.connections.remove(&key) {
            sink(Event::Abandon { at: flow.last_at, key });
        }
    }

    fn open(&mut self, at: u64, key: ConnectionKey, connection: Arc<Connection>, sink: &mut impl FnMut(Event)) {
        // A key that opens again has missed its close.
        self.abandon(key, sink);
        if self.connections.len() >= self.limits.connections.max(1) {
            self.evict(sink);
        }
        self.connections.insert(key, Flow { last_at: at, last_push: self.pushes, ..Flow::default() });
        sink(Event::Open { at, key, connection });
    }

    /// Forgets the longest silent sixteenth of the table: one search for many evictions.
    fn evict(&mut self, sink: &mut impl FnMut(Event)) {
        let mut by_silence: Vec<_> = self.connections.iter().map(|(key, flow)| (flow.last_push, *key)).collect();
        let count = by_silence.len().div_ceil(16);
        by_silence.sort_unstable();
        for (_, key) in by_silence.into_iter().take(count) {
            self.counters.evicted_connections += 1;
            self.abandon(key, sink);
        }
    }

    fn data(
        &mut self,
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        offset: u64,
        bytes: Bytes,
        sink: &mut impl FnMut(Event),
    ) {
        if bytes.is_empty() {
            return;
        }
        let Some(flow) = self.connections.get_mut(&key) else {
            self.counters.unannounced_connections += 1;
            let connection = Connection { id: format!("{:016x}", key.0).into(), ..Connection::default() };
            self.open(at, key, Arc::new(connection), sink);
            return self.data(at, key, direction, offset, bytes, sink);
        };
        flow.last_push = self.pushes;
        let lane = flow.lane(direction);
        let early = matches!(lane.expected, Expected::Offset(expected) if offset > expected);
        if !early {
            flow.pass(at, key, direction, offset, bytes, &mut self.counters, sink);
            if self.held_bytes > 0 {
                self.drain(key, direction, sink);
            }
            return;
        }
        let room = lane.held.len() < self.limits.held_records
            && self.held_bytes.saturating_add(bytes.len()) <= self.limits.held_bytes;
        let longer = lane.held.get(&offset).is_none_or(|held| held.bytes.len() < bytes.len());
        if room && longer {
            self.held_bytes += bytes.len();
            let replaced = lane.held.insert(offset, Held { at, bytes });
            self.held_bytes -= replaced.map_or(0, |held| held.bytes.len());
        } else if room {
            self.counters.duplicate_bytes += bytes.len() as u64;
        } else {
            self.release_before(key, direction, offset, sink);
            if let Some(flow) = self.connections.get_mut(&key) {
                flow.pass(at, key, direction, offset, bytes, &mut self.counters, sink);
            }
            self.release(key, direction, sink);
        }
    }

    fn gap(
        &mut self,
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        offset: u64,
        lost: u64,
        sink: &mut impl FnMut(Event),
    ) {
        let Some(flow) = self.connections.get_mut(&key) else {
            return;
        };
        flow.last_push = self.pushes;
        let at = flow.clamp(at);
        let lane = flow.lane(direction);
        let expected = match lane.expected {
            Expected::Offset(expected) => expected,
            Expected::Any => offset,
        };
        if lost == 0 {
            self.counters.unknown_losses += 1;
            lane.expected = Expected::Any;
            sink(Event::Gap { at, key, direction, lost: None });
            return;
        }
        let end = offset.saturating_add(lost);
        if end > expected {
            // Whatever lies between the expected byte and the gap is missing as well.
            self.counters.lost_bytes += end - expected;
            lane.expected = Expected::Offset(end);
            sink(Event::Gap { at, key, direction, lost: Some(end - expected) });
        }
    }

    /// Passes on held records that now follow without a hole.
    fn drain(&mut self, key: ConnectionKey, direction: Direction, sink: &mut impl FnMut(Event)) {
        self.take_held(key, direction, sink, |offset, expected| offset <= expected, true);
    }

    /// Gives up waiting for the bytes before the held records.
    fn release(&mut self, key: ConnectionKey, direction: Direction, sink: &mut impl FnMut(Event)) {
        self.take_held(key, direction, sink, |_, _| true, false);
    }

    fn release_before(&mut self, key: ConnectionKey, direction: Direction, before: u64, sink: &mut impl FnMut(Event)) {
        self.take_held(key, direction, sink, |offset, _| offset < before, false);
    }

    /// The peers take turns: activity in the other direction means that nothing more will fill the hole.
    fn release_other(&mut self, key: ConnectionKey, direction: Direction, sink: &mut impl FnMut(Event)) {
        let other = match direction {
            Direction::Send => Direction::Receive,
            Direction::Receive => Direction::Send,
        };
        self.release(key, other, sink);
    }

    fn take_held(
        &mut self,
        key: ConnectionKey,
        direction: Direction,
        sink: &mut impl FnMut(Event),
        take: impl Fn(u64, u64) -> bool,
        in_order: bool,
    ) {
        if self.held_bytes == 0 {
            return;
        }
        let Some(flow) = self.connections.get_mut(&key) else { return };
        loop {
            let lane = flow.lane(direction);
            let Expected::Offset(expected) = lane.expected else { return };
            let Some(entry) = lane.held.first_entry().filter(|entry| take(*entry.key(), expected)) else {
                return;
            };
            let (offset, Held { at, bytes }) = entry.remove_entry();
            self.held_bytes -= bytes.len();
            self.counters.reordered_records += u64::from(in_order);
            flow.pass(at, key, direction, offset, bytes, &mut self.counters, sink);
        }
    }
}

impl Flow {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Send => &mut self.send,
            Direction::Receive => &mut self.receive,
        }
    }

    fn clamp(&mut self, at: u64) -> u64 {
        self.last_at = self.last_at.max(at);
        self.last_at
    }

    /// Appends bytes at `offset`: a hole before them is a loss, bytes passed on already are cut off.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one record's fields, and where its parts go")]
    fn pass(
        &mut self,
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        offset: u64,
        mut bytes: Bytes,
        counters: &mut Counters,
        sink: &mut impl FnMut(Event),
    ) {
        let at = self.clamp(at);
        let lane = self.lane(direction);
        let expected = match lane.expected {
            Expected::Offset(expected) => expected,
            Expected::Any => offset,
        };
        let end = offset.saturating_add(bytes.len() as u64);
        if offset == expected {
            // Nearly always.
        } else if offset > expected {
            counters.lost_bytes += offset - expected;
            sink(Event::Gap { at, key, direction, lost: Some(offset - expected) });
        } else if end <= expected {
            counters.duplicate_bytes += bytes.len() as u64;
            return;
        } else {
            let duplicate = (expected - offset) as usize;
            counters.duplicate_bytes += duplicate as u64;
            bytes = bytes.slice(duplicate..);
        }
        lane.expected = Expected::Offset(end);
        counters.bytes += bytes.len() as u64;
        sink(Event::Bytes { at, key, direction, bytes });
    }
}
