//! Puts what one thread received behind what another thread was sending at that time.
//!
//! A write is told when it returns, since only then the number of bytes is known; by then another thread may have read
//! the answer. The kernel side marks such reads. They wait here until the write is told, or has ended otherwise.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracer_common::event::{Data, End, Lost, direction, end, kind};

use super::ring::read;

/// A write that takes longer is no longer waited for: its reads are told as they came.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that wait at most, of all connections together.
const MAX_BYTES: usize = 8 << 20;
/// Connections known at most.
const MAX_CONNECTIONS: usize = 1024;

/// The records of connections on which a write was under way.
#[derive(Default)]
pub(super) struct Order {
    waiting: HashMap<u64, Waiting>,
    bytes: usize,
}

struct Waiting {
    since: Instant,
    records: Vec<Box<[u8]>>,
    /// The write took too long: nothing waits for it any more.
    given_up: bool,
}

/// What a record means for those that wait.
enum Step {
    /// Has nothing to do with them.
    Pass,
    /// Waits for the write.
    Wait,
    /// The write is told with this record, and ends.
    Written,
    /// The write has ended before.
    Over,
    /// A process is replaced or ends, perhaps in the middle of a write.
    All,
}

impl Order {
    /// Hands a record and those that waited for it on, or keeps it.
    pub fn push(&mut self, record: &[u8], mut tell: impl FnMut(&[u8])) {
        let (connection, step) = step(record);
        // Nearly always.
        if matches!(step, Step::Pass) || (self.waiting.is_empty() && !matches!(step, Step::Wait)) {
            return tell(record);
        }
        match step {
            Step::Pass => tell(record),
            Step::Wait => {
                if self.bytes + record.len() > MAX_BYTES {
                    self.waiting.values_mut().for_each(|one| one.give_up(&mut self.bytes, &mut tell));
                }
                if !self.waits(connection, record) {
                    tell(record);
                }
            }
            Step::Written => {
                tell(record);
                self.release(connection, tell);
            }
            Step::Over => {
                self.release(connection, &mut tell);
                tell(record);
            }
            Step::All => {
                self.finish(&mut tell);
                tell(record);
            }
        }
    }

    /// Hands on what has waited too long.
    pub fn expire(&mut self, mut tell: impl FnMut(&[u8])) {
        for waiting in self.waiting.values_mut().filter(|one| !one.given_up && one.since.elapsed() >= PATIENCE) {
            waiting.give_up(&mut self.bytes, &mut tell);
        }
    }

    /// Hands everything on.
    pub fn finish(&mut self, mut tell: impl FnMut(&[u8])) {
        for (_, waiting) in self.waiting.drain() {
            waiting.records.iter().for_each(|record| tell(record));
        }
        self.bytes = 0;
    }

    /// Whether something waits that will be given up some time.
    pub fn is_waiting(&self) -> bool {
        self.bytes > 0
    }

    fn waits(&mut self, connection: u64, record: &[u8]) -> bool {
        if !self.waiting.contains_key(&connection) && self.waiting.len() >= MAX_CONNECTIONS {
            self.waiting.retain(|_, one| !one.given_up);
            if self.waiting.len() >= MAX_CONNECTIONS {
                return false;
            }
        }
        let waiting = self.waiting.entry(connection).or_insert_with(|| Waiting {
            since: Instant::now(),
            records: Vec::new(),
            given_up: false,
        });
        if !waiting.given_up {
            waiting.records.push(record.into());
            self.bytes += record.len();
        }
        !waiting.given_up
    }

    fn release(&mut self, connection: u64, mut tell: impl FnMut(&[u8])) {
        if let Some(mut waiting) = self.waiting.remove(&connection) {
            waiting.give_up(&mut self.bytes, &mut tell);
        }
    }
}

impl Waiting {
    fn give_up(&mut self, bytes: &mut usize, tell: &mut impl FnMut(&[u8])) {
        self.given_up = true;
        for record in self.records.drain(..) {
            *bytes -= record.len();
            tell(&record);
        }
    }
}

fn step(record: &[u8]) -> (u64, Step) {
    match record.first_chunk().map(|kind| u32::from_ne_bytes(*kind)) {
        Some(kind::DATA) => read::<Data>(record).map(|data| {
            let step = match (data.direction & direction::MASK, data.direction) {
                (direction::RECEIVE, marked) if marked & direction::BESIDE_WRITE != 0 => Step::Wait,
                (direction::RECEIVE, _) => Step::Over,
                // All pieces of a long write come before what waits.
                (_, marked) if marked & direction::MORE != 0 => Step::Pass,
                _ => Step::Written,
            };
            (data.connection, step)
        }),
        Some(kind::END) => read::<End>(record).map(|record| {
            let beside = record.cause & end::BESIDE_WRITE != 0;
            (record.connection, if beside { Step::Wait } else { Step::Over })
        }),
        Some(kind::LOST) => read::<Lost>(record).map(|record| (record.connection, Step::Over)),
        Some(kind::PROCESS) => Some((0, Step::All)),
        _ => None,
    }
    .unwrap_or((0, Step::Pass))
}

#[cfg(test)]
mod tests {
    use super::*;
    use direction::{BESIDE_WRITE, MORE, RECEIVE, SEND};

    /// A data record without payload; its offset names it.
    fn data(connection: u64, direction: u32, offset: u64) -> Vec<u8> {
        let [length, time, tid] = [0_u32.to_ne_bytes().to_vec(), 0_u64.to_ne_bytes().to_vec(), vec![0; 4]];
        let head = [kind::DATA.to_ne_bytes().to_vec(), length].concat();
        let numbers = [connection.to_ne_bytes(), offset.to_ne_bytes()].concat();
        [head, numbers, time, direction.to_ne_bytes().to_vec(), tid].concat()
    }

    fn offsets(records: &[Vec<u8>]) -> Vec<u64> {
        let mut order = Order::default();
        let mut told = Vec::new();
        let mut tell = |record: &[u8]| told.push(read::<Data>(record).unwrap().offset);
        records.iter().for_each(|record| order.push(record, &mut tell));
        order.finish(&mut tell);
        assert!(!order.is_waiting());
        told
    }

    #[test]
    fn a_read_beside_a_write_is_told_after_all_of_it() {
        let records = [
            data(1, RECEIVE, 1),
            data(1, RECEIVE | BESIDE_WRITE, 4),
            data(2, SEND, 2),
            data(1, SEND | MORE, 3),
            data(1, RECEIVE | BESIDE_WRITE, 5),
            data(1, SEND, 10),
            data(1, RECEIVE, 11),
        ];
        assert_eq!(offsets(&records), [1, 2, 3, 10, 4, 5, 11]);
    }

    #[test]
    fn a_write_that_failed_is_not_waited_for() {
        let records = [data(1, RECEIVE | BESIDE_WRITE, 1), data(2, RECEIVE, 0), data(1, RECEIVE, 2)];
        assert_eq!(offsets(&records), [0, 1, 2]);
        assert_eq!(offsets(&[data(1, RECEIVE | BESIDE_WRITE, 1)]), [1]);
    }

    #[test]
    fn a_write_without_end_holds_nothing_for_ever() {
        let mut order = Order::default();
        order.push(&data(1, RECEIVE | BESIDE_WRITE, 1), |_| panic!("waits"));
        let mut told = 0;
        order.expire(|_| told += 1);
        assert_eq!((told, order.is_waiting()), (0, true));
        order.waiting.get_mut(&1).unwrap().since -= PATIENCE;
        order.expire(|_| told += 1);
        order.push(&data(1, RECEIVE | BESIDE_WRITE, 2), |_| told += 1);
        assert_eq!((told, order.is_waiting()), (2, false));
        // The next write counts again.
        order.push(&data(1, SEND, 3), |_| told += 1);
        order.push(&data(1, RECEIVE | BESIDE_WRITE, 4), |_| panic!("waits"));
        assert_eq!(told, 3);
    }
}
