//! Hooks where rustls seals and opens records. Plaintext stands in memory there, with the type of its record.
//!
//! A message is what rustls 0.23 calls `OutboundPlainMessage` and `InboundPlainMessage`, and 0.20 to 0.22
//! `BorrowedPlainMessage` and `PlainMessage`: the payload, then the type and the version of the protocol. What does not
//! read like one is left alone.

use aya_ebpf::{
    EbpfContext as _, bindings::pt_regs, helpers::bpf_get_current_pid_tgid, helpers::bpf_probe_read_user,
    programs::ProbeContext,
};
use tracer_common::{
    counter::Counter,
    decide::{self, record},
    event::{Connection, ConnectionId, Data, PLACE_BITS, RecordPlace, Target, direction, end, kind},
    limits::{PIECE, RECORD_SLICES},
};

use crate::{
    emit,
    maps::{CONNECTIONS, RECORD_PLACES, count},
    task, tls,
};

/// A probe's thread, and what the registers lead to.
struct Record {
    pid_tgid: u64,
    target: &'static Target,
    library: u32,
    /// What the connection is known by: the data of the trait object that seals its records. It stays where it is when
    /// the connection moves in memory.
    object: u64,
    message: u64,
    /// This is the first record under its key.
    first: bool,
    /// [`RecordPlace::form`].
    form: u64,
}

impl Record {
    #[inline(always)]
    fn of(ctx: &ProbeContext) -> Option<Self> {
        let pid_tgid = bpf_get_current_pid_tgid();
        let target = tls::target(pid_tgid)?;
        let cookie = tls::cookie(ctx.as_ptr())?;
        let place = RECORD_PLACES.get(cookie & ((1 << PLACE_BITS) - 1))?;
        // SAFETY: the context of a uprobe program is `pt_regs`.
        let regs: &pt_regs = unsafe { &*ctx.regs };
        let at = |number: u64, offset: i64| tls::register(regs, number as u32).wrapping_add(offset as u64);
        let object = at(place.object_register, place.object_offset);
        let [count] = read::<1>(object.wrapping_add(place.count_distance as u64))?;
        let [object] = read::<1>(object)?;
        Some(Self {
            pid_tgid,
            target,
            library: cookie >> PLACE_BITS,
            object,
            message: at(place.message_register, place.message_offset),
            first: count == place.first,
            form: place.form,
        })
    }

    #[inline(always)]
    fn key(&self) -> ConnectionId {
        ConnectionId { incarnation: self.target.incarnation, ssl: self.object }
    }

    /// Of the bytes that come next, which the connection's offset is moved past.
    #[inline(always)]
    fn head(&self, connection: &mut Connection, direction: u32, length: u64, now: u64) -> Data {
        let index = (direction & direction::MASK) as usize;
        let offset = connection.offsets[index];
        connection.offsets[index] = offset + length;
        Data {
            kind: kind::DATA,
            length: length as u32,
            connection: connection.id,
            offset,
            time: now,
            direction,
            tid: self.pid_tgid as u32,
        }
    }

    #[inline(always)]
    fn connection(&self, now: u64) -> Option<&'static mut Connection> {
        tls::connection(self.target, self.object, self.library, now, self.pid_tgid)
    }
}

/// A record is about to be sealed.
#[inline(always)]
pub fn sealed(ctx: &ProbeContext) {
    let Some(seen) = Record::of(ctx) else { return };
    // Four words of payload: 0, a slice and nothing; or slices and the range of their bytes that counts. Or a slice alone.
    let words = if seen.form == RecordPlace::BUFFER {
        read::<3>(seen.message).map(|[address, length, what]| [0, address, length, 0, what])
    } else {
        read::<5>(seen.message)
    };
    let Some([slices, second, third, fourth, what]) = words else { return };
    let now = task::now();
    let what = decide::record_type(what);
    if what.is_some() {
        forget_former(&seen, direction::SEND, now);
    }
    match what {
        Some(record::APPLICATION) => {}
        Some(record::ALERT) if slices == 0 => return closed(&seen.key(), second, third, Connection::SHUT_DOWN, now),
        _ => return,
    }
    // A single slice is one of many.
    let (number, start, end) = if slices == 0 { (1, 0, third) } else { (second, third, fourth) };
    if start >= end || end - start > PIECE as u64 {
        return;
    }
    let Some(connection) = seen.connection(now) else { return };
    let mut head = seen.head(connection, direction::SEND, end - start, now);
    if connection.flags & Connection::IGNORED != 0
        || emit::is_unread(connection, direction::SEND as usize, head.offset, end - start)
    {
        return;
    }
    let wake = emit::wake(now);
    let (mut at, mut done) = (0, start);
    for index in 0..RECORD_SLICES {
        if index >= number || done >= end {
            break;
        }
        let slice = if slices == 0 { Some([second, third]) } else { read::<2>(slices + 16 * index) };
        let Some([address, length]) = slice else { break };
        let next = at + length;
        if next > done {
            let skip = done - at;
            let rest = end - done;
            let length = if length - skip < rest { length - skip } else { rest };
            done += length;
            let more = done < end;
            head.length = length as u32;
            head.direction = direction::SEND | if more { direction::MORE } else { 0 };
            emit::part(&head, address + skip, if more { emit::NO_WAKEUP } else { wake });
            head.offset += length;
        }
        at = next;
    }
    if done < end {
        count(Counter::TooLong, end - done);
    }
}

/// A record was opened.
#[inline(always)]
pub fn opened(ctx: &ProbeContext) {
    let Some(seen) = Record::of(ctx) else { return };
    // That it went well, and the message: its payload by address and length, or a vector, which has its room before or
    // behind the address.
    let words = if seen.form == RecordPlace::BUFFER {
        read::<5>(seen.message)
            .map(|[_, first, second, length, what]| [if first > second { first } else { second }, length, what])
    } else {
        read::<4>(seen.message).map(|[_, address, length, what]| [address, length, what])
    };
    let Some([address, length, what]) = words else { return };
    let now = task::now();
    let what = decide::record_type(what);
    if what.is_some() {
        forget_former(&seen, direction::RECEIVE, now);
    }
    match what {
        Some(record::APPLICATION) => {}
        Some(record::ALERT) => return closed(&seen.key(), address, length, Connection::PEER_CLOSED, now),
        _ => return,
    }
    if length == 0 || length > PIECE as u64 {
        return;
    }
    let Some(connection) = seen.connection(now) else { return };
    let head = seen.head(connection, direction::RECEIVE, length, now);
    if connection.flags & Connection::IGNORED == 0
        && !emit::is_unread(connection, direction::RECEIVE as usize, head.offset, length)
    {
        emit::part(&head, address, emit::wake(now));
    }
}

/// What is known of a connection that has had a record in this direction before the first one is another connection's,
/// whose memory this one has got.
#[inline(always)]
fn forget_former(seen: &Record, direction: u32, now: u64) {
    if !seen.first {
        return;
    }
    let key = seen.key();
    let Some(connection) = CONNECTIONS.get_ptr_mut(&key) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &*connection };
    if connection.offsets[(direction & direction::MASK) as usize] != 0 {
        emit::end(connection, end::FREED, now);
        let _ = CONNECTIONS.remove(&key);
    }
}

/// An alert of two bytes, level and description (RFC 8446 section 6): fatal, or `close_notify`.
#[inline(always)]
fn closed(key: &ConnectionId, alert: u64, length: u64, flag: u64, now: u64) {
    const FATAL: u8 = 2;
    const CLOSE_NOTIFY: u8 = 0;
    // SAFETY: the helper checks the address.
    let Ok([level, description]) = (unsafe { bpf_probe_read_user(alert as *const [u8; 2]) }) else { return };
    if length != 2 || (level != FATAL && description != CLOSE_NOTIFY) {
        return;
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(key) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *connection };
    if connection.flags & flag == 0 {
        connection.flags |= flag;
        let cause = if flag == Connection::SHUT_DOWN { end::SHUT_DOWN } else { end::PEER_CLOSED };
        emit::end(connection, cause, now);
    }
}

#[inline(always)]
fn read<const N: usize>(address: u64) -> Option<[u64; N]> {
    // SAFETY: the helper checks the address.
    let words = unsafe { bpf_probe_read_user(address as *const [u64; N]) };
    if words.is_err() {
        count(Counter::Unreadable, 1);
    }
    words.ok()
}
