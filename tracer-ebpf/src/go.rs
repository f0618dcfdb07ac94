//! Hooks on Go's `crypto/tls`. Each probe sees all it needs in registers and in the frame: nothing is remembered between
//! two of them, which may run on different threads.

use aya_ebpf::{
    EbpfContext as _, bindings::pt_regs, helpers::bpf_get_current_pid_tgid, helpers::bpf_probe_read_user,
    programs::ProbeContext,
};
use tracer_common::{
    counter::Counter,
    event::{Connection, ConnectionId, GoPlace, PLACE_BITS, direction, end},
};

use crate::{
    emit,
    maps::{CONNECTIONS, count},
    task,
    tls::{connection, cookie, register, target},
};

/// Carry and zero flag: with one of them set, the jump of the stack check (`jbe`) is taken. The function then begins
/// anew on a larger stack, or after the scheduler has had its way.
const BELOW_OR_EQUAL: u64 = 1 << 0 | 1 << 6;

/// The type of records with application data (RFC 8446 section 5.1).
const APPLICATION_DATA: u8 = 23;

/// `writeRecordLocked(c, type, data)`: a `*Conn`, a byte, a slice.
#[inline(always)]
pub fn write(ctx: &ProbeContext) {
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    if !goes_on(regs) || regs.rbx as u8 != APPLICATION_DATA || regs.rdi.cast_signed() <= 0 {
        return;
    }
    tell(ctx, regs.rax, regs.rcx, regs.rdi, direction::SEND);
}

/// The number of bytes stands in a register; `c` and the slice that was to be filled stand above the return address, where
/// the function keeps its arguments.
#[inline(always)]
pub fn read(ctx: &ProbeContext) {
    let Some(place) = cookie(ctx.as_ptr()).map(GoPlace) else { return };
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    let done = register(regs, place.register());
    if done.cast_signed() <= 0 {
        return;
    }
    let arguments = regs.rsp.wrapping_add(place.frame() + 8);
    // SAFETY: the helper checks the address.
    let Ok([conn, buffer, length]) = (unsafe { bpf_probe_read_user(arguments as *const [u64; 3]) }) else {
        count(Counter::Unreadable, 1);
        return;
    };
    if done > length {
        return;
    }
    tell(ctx, conn, buffer, done, direction::RECEIVE);
}

#[inline(always)]
fn tell(ctx: &ProbeContext, conn: u64, address: u64, length: u64, direction: u32) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(target) = target(pid_tgid) else { return };
    let now = task::now();
    let Some(cookie) = cookie(ctx.as_ptr()) else { return };
    let Some(connection) = connection(target, conn, cookie >> PLACE_BITS, now, pid_tgid) else { return };
    let payload = emit::Payload { address, length, time: now, direction, tid: pid_tgid as u32 };
    emit::payload(connection, &payload, now);
}

/// `Close(c)`. A reader in another goroutine may still get something, which is nobody's any more; what comes after the next
/// handshake belongs to another connection in the same memory.
#[inline(always)]
pub fn close(ctx: &ProbeContext) {
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    if goes_on(regs)
        && let Some((_, connection)) = known(regs.rax)
        && connection.flags & Connection::SHUT_DOWN == 0
    {
        emit::end(connection, end::FREED, task::now());
        connection.flags |= Connection::SHUT_DOWN | Connection::IGNORED;
    }
}

/// A closure that holds `c` behind its code's address.
#[inline(always)]
pub fn handshake(ctx: &ProbeContext) {
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    if !goes_on(regs) {
        return;
    }
    // SAFETY: the helper checks the address.
    let Ok([_, conn]) = (unsafe { bpf_probe_read_user(regs.rdx as *const [u64; 2]) }) else {
        count(Counter::Unreadable, 1);
        return;
    };
    if let Some((key, connection)) = known(conn) {
        emit::end(connection, end::CLEARED, task::now());
        let _ = CONNECTIONS.remove(&key);
    }
}

/// Whether the jump of the stack check is not taken.
#[inline(always)]
fn goes_on(regs: &pt_regs) -> bool {
    regs.eflags & BELOW_OR_EQUAL == 0
}

/// The state of a connection of the current process that has said something.
#[inline(always)]
fn known(conn: u64) -> Option<(ConnectionId, &'static mut Connection)> {
    let target = target(bpf_get_current_pid_tgid())?;
    let key = ConnectionId { incarnation: target.incarnation, ssl: conn };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *CONNECTIONS.get_ptr_mut(&key)? };
    Some((key, connection))
}
