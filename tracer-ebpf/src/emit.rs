//! Puts records into the ring of events.

use aya_ebpf::helpers::{bpf_get_current_comm, generated::bpf_probe_read_user};
use tracer_common::{
    counter::Counter,
    decide,
    event::{Connection, Data, End, Lost, Open, direction, end, kind},
    limits::{CLASSES, PIECE, PIECES_PER_CALL, UNREAD_STEP, URGENT_WAKE_INTERVAL_NS, WAKE_INTERVAL_NS},
};

use crate::maps::{EVENTS, LAST_WAKE, LIBRARIES, RING_MARK, UNREAD, count};

pub const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
/// `bpf_ringbuf_query`: bytes not yet consumed.
const AVAILABLE: u64 = 0;

#[repr(C)]
struct Piece<const N: usize> {
    head: Data,
    payload: [u8; N],
}

/// Where payload stands and whose it is.
#[derive(Clone, Copy)]
pub struct Payload {
    pub address: u64,
    pub length: u64,
    pub time: u64,
    pub direction: u32,
    pub tid: u32,
}

/// Wakes the reader at most once per [`WAKE_INTERVAL_NS`]: an interrupt to itself and the switch that follows would
/// cost the traced thread more than everything else here.
#[inline(always)]
pub fn wake(now: u64) -> u64 {
    wake_after(now, WAKE_INTERVAL_NS)
}

#[inline(always)]
fn wake_after(now: u64, interval: u64) -> u64 {
    let Some(last) = LAST_WAKE.get_ptr_mut(0) else { return FORCE_WAKEUP };
    // SAFETY: the map value is 8 bytes, aligned, and lives as long as the program runs.
    let last = unsafe { &mut *last };
    // Another processor may have written a later time than ours.
    if now < last.saturating_add(interval) {
        return NO_WAKEUP;
    }
    *last = now;
    FORCE_WAKEUP
}

/// Copies the bytes of one finished call and moves the connection's offset past them, copied or not.
#[inline(always)]
pub fn payload(connection: &mut Connection, payload: &Payload, now: u64) {
    let index = (payload.direction & direction::MASK) as usize;
    let mark =
        if index == direction::RECEIVE as usize && connection.writing != 0 { direction::BESIDE_WRITE } else { 0 };
    let start = connection.offsets[index];
    connection.offsets[index] = start + payload.length;
    if connection.flags & Connection::IGNORED != 0 {
        return;
    }
    let unread = unread(connection, index, start, payload.length);
    if unread != 0 {
        count(Counter::Unread, unread);
        if unread == payload.length {
            return;
        }
    }
    let mut head = Data {
        kind: kind::DATA,
        length: PIECE as u32,
        connection: connection.id,
        offset: start + unread,
        time: payload.time,
        direction: payload.direction | mark,
        tid: payload.tid,
    };
    let mut address = payload.address + unread;
    let mut left = payload.length - unread;
    for _ in 0..PIECES_PER_CALL {
        if left < PIECE as u64 {
            break;
        }
        let urgent = EVENTS.query(AVAILABLE) > RING_MARK.load();
        let flags = wake_after(now, if urgent { URGENT_WAKE_INTERVAL_NS } else { WAKE_INTERVAL_NS });
        head.direction = payload.direction | mark | if left > PIECE as u64 { direction::MORE } else { 0 };
        if let Err(cause) = piece::<PIECE>(&head, address, PIECE as u64, flags) {
            count(cause, PIECE as u64);
        }
        left -= PIECE as u64;
        address += PIECE as u64;
        head.offset += PIECE as u64;
    }
    if left >= PIECE as u64 {
        count(Counter::TooLong, left);
    } else if left > 0 {
        head.length = left as u32;
        head.direction = payload.direction | mark;
        let flags = wake(now);
        let done = match decide::class(left as usize) {
            0 => piece::<{ CLASSES[0] }>(&head, address, left, flags),
            1 => piece::<{ CLASSES[1] }>(&head, address, left, flags),
            2 => piece::<{ CLASSES[2] }>(&head, address, left, flags),
            3 => piece::<{ CLASSES[3] }>(&head, address, left, flags),
            _ => piece::<{ CLASSES[4] }>(&head, address, left, flags),
        };
        if let Err(cause) = done {
            count(cause, left);
        }
    }
}

/// How many of the bytes from `start` on nobody would read.
#[inline(always)]
fn unread(connection: &mut Connection, index: usize, start: u64, length: u64) -> u64 {
    if (start ^ (start + length)) >> UNREAD_STEP != 0 {
        learn_unread(connection);
    }
    let until = connection.unread[index & 1];
    if until <= start {
        0
    } else if until - start < length {
        until - start
    } else {
        length
    }
}

/// Whether nobody would read any of the bytes from `start` on, which are then counted.
#[inline(always)]
pub fn is_unread(connection: &mut Connection, index: usize, start: u64, length: u64) -> bool {
    let is_unread = unread(connection, index, start, length) == length;
    if is_unread {
        count(Counter::Unread, length);
    }
    is_unread
}

/// Takes over what user space has said.
#[inline(never)]
fn learn_unread(connection: &mut Connection) {
    let id = connection.id;
    // SAFETY: the value is copied at once.
    if let Some(told) = unsafe { UNREAD.get(&id) } {
        connection.unread = *told;
    }
}

/// Copies a part of a record of rustls, at most [`PIECE`] bytes: so little that the verifier can follow it in a loop.
/// The length stands in `head`.
#[inline(never)]
pub fn part(head: &Data, address: u64, flags: u64) {
    let length = u64::from(head.length);
    let done = match decide::class(length as usize) {
        0 => piece::<{ CLASSES[0] }>(head, address, length, flags),
        1 => piece::<{ CLASSES[1] }>(head, address, length, flags),
        2 => piece::<{ CLASSES[2] }>(head, address, length, flags),
        3 => piece::<{ CLASSES[3] }>(head, address, length, flags),
        _ => piece::<{ CLASSES[4] }>(head, address, length, flags),
    };
    if let Err(cause) = done {
        count(cause, length);
    }
}

#[inline(always)]
fn piece<const N: usize>(head: &Data, address: u64, length: u64, flags: u64) -> Result<(), Counter> {
    let Some(mut entry) = EVENTS.reserve::<Piece<N>>(0) else {
        return Err(Counter::RingFull);
    };
    let record = entry.as_mut_ptr();
    let length = if length > N as u64 { N as u64 } else { length };
    // SAFETY: the reservation holds a whole `Piece<N>`, and `length` does not exceed its payload; the helper checks
    // the user address.
    let failed = unsafe {
        (&raw mut (*record).head).write(*head);
        bpf_probe_read_user((&raw mut (*record).payload).cast(), length as u32, address as *const _)
    };
    if failed != 0 {
        entry.discard(NO_WAKEUP);
        return Err(Counter::Unreadable);
    }
    entry.submit(flags);
    Ok(())
}

/// Announces a connection, if that has not been done.
#[inline(always)]
pub fn open(connection: &mut Connection, mut record: Open, library: u32) {
    let Some(mut entry) = EVENTS.reserve::<Open>(0) else {
        count(Counter::FactsLost, 1);
        return;
    };
    record.comm = bpf_get_current_comm().unwrap_or_default();
    if let Some(name) = LIBRARIES.get(library) {
        record.library = *name;
    }
    entry.write(record);
    entry.submit(NO_WAKEUP);
    connection.flags |= Connection::ANNOUNCED;
}

#[inline(always)]
pub fn end(connection: &Connection, cause: u32, now: u64) {
    if connection.flags & Connection::ANNOUNCED == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<End>(0) else {
        count(Counter::FactsLost, 1);
        return;
    };
    let beside = cause == end::PEER_CLOSED && connection.writing != 0;
    let cause = if beside { cause | end::BESIDE_WRITE } else { cause };
    entry.write(End { kind: kind::END, cause, connection: connection.id, time: now, offsets: connection.offsets });
    entry.submit(wake(now));
}

/// Tells that an unknown number of bytes was lost.
#[inline(always)]
pub fn lost(connection: &Connection, side: u32, now: u64) {
    let Some(mut entry) = EVENTS.reserve::<Lost>(0) else {
        count(Counter::FactsLost, 1);
        return;
    };
    let offset = connection.offsets[(side & direction::MASK) as usize];
    entry.write(Lost { kind: kind::LOST, direction: side, connection: connection.id, offset, time: now });
    entry.submit(wake(now));
}
