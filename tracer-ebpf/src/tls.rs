//! Hooks on TLS libraries whose read and write functions take `(connection, buffer, length, …)`.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::pt_regs,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, generated::bpf_get_attach_cookie},
    programs::ProbeContext,
};
use aya_log_ebpf::debug;
use tracer_common::{
    counter::Counter,
    decide,
    event::{
        Call, CallResult, Calls, Connection, ConnectionId, Cookie, Open, ReadCookie, Register, Target, direction, end,
        kind, lifecycle, reach, record,
    },
    limits::NESTED_CALLS,
};

use crate::{
    emit,
    maps::{CONNECTIONS, EVENTS, GENERATION, LOG, NO_CALLS, REACH, REFUSED_SENDS, TARGETS, THREADS, TRACE_ALL, count},
    process,
    task::{self, Task},
};

/// A helper number that no kernel has: the loader replaces the call by one to the kernel function
/// `bpf_session_is_return`, which aya-ebpf cannot name.
const SESSION_IS_RETURN: usize = 0x7fff_ff01;

#[inline(always)]
pub fn session_is_return(ctx: *mut c_void) -> bool {
    // SAFETY: the loader has put a real function here, or the program is not loaded. It takes the context from 6.19
    // on and nothing before, which is the same to the caller.
    unsafe {
        let ask: unsafe extern "C" fn(*mut c_void) -> u64 = core::mem::transmute(SESSION_IS_RETURN);
        ask(ctx) & 0xff != 0
    }
}

/// A write of a method table's function of at most so many bytes is one record, which is written whole or not at all: no
/// fragment is smaller (`SSL_CTX_set_max_send_fragment(3)`: at least 512), and only between fragments a write ends early
/// (`SSL_MODE_ENABLE_PARTIAL_WRITE`). So the number of bytes done need not be read.
const WHOLE_WRITE: u64 = 512;

/// What the site says of itself. None when another link at the same site speaks.
#[inline(always)]
pub fn cookie(ctx: *mut c_void) -> Option<u32> {
    // SAFETY: `ctx` is this program's context.
    let cookie = unsafe { bpf_get_attach_cookie(ctx) };
    let link = (cookie >> 32) as u32;
    if link != 0
        && let Some(speaking) = REACH.get(link >> reach::FILE_SHIFT)
        && *speaking != link & reach::ALONE
    {
        return None;
    }
    Some(cookie as u32)
}

/// The target that the current thread belongs to.
#[inline(always)]
pub fn target(pid_tgid: u64) -> Option<&'static mut Target> {
    let tgid = (pid_tgid >> 32) as u32;
    if let Some(target) = TARGETS.get_ptr_mut(&tgid) {
        // SAFETY: values of a preallocated hash map stay mapped while the program runs.
        let target = unsafe { &mut *target };
        return if target.flags & Target::EXCLUDED == 0 { Some(target) } else { None };
    }
    if TRACE_ALL.load() == 0 {
        return None;
    }
    process::adopt(Task::current(), tgid, task::now());
    // SAFETY: as above.
    TARGETS.get_ptr_mut(&tgid).map(|target| unsafe { &mut *target })
}

/// Remembers the arguments of a call. With `session`, the result tells whether its return may be hooked; without,
/// the return is hooked whatever this says.
#[inline(always)]
pub fn enter(ctx: &ProbeContext, session: bool) -> bool {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(calls) = calls(pid_tgid) else { return false };
    let Some(cookie) = cookie(ctx.as_ptr()).map(Cookie) else { return false };
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    let call = Call {
        stack: regs.rsp,
        time: if cookie.direction() == direction::SEND { task::now() } else { 0 },
        incarnation: calls.incarnation,
        order: 0,
        cookie: u64::from(cookie.0),
        ..arguments(regs, cookie)
    };
    if cookie.result() == CallResult::Record as u32 && call.done as u8 != record::APPLICATION_DATA {
        return false;
    }
    let admission = if session { admit(calls, &call, pid_tgid) } else { Admission::At(place(calls, call.stack)) };
    match admission {
        Admission::Inner => false,
        Admission::Refused(cause) => {
            refuse(ctx, &call, cookie, cause, pid_tgid);
            false
        }
        Admission::At(depth) => {
            let mut call = call;
            if !session {
                calls.order += 1;
                call.order = calls.order;
            }
            calls.calls[depth & (NESTED_CALLS - 1)] = call;
            if session {
                calls.depth = depth as u64 + 1;
            }
            if cookie.direction() == direction::SEND {
                set_writing(&ConnectionId { incarnation: call.incarnation, ssl: call.ssl }, 1);
            }
            true
        }
    }
}

/// Marks a connection as being written to, or no longer.
#[inline(always)]
fn set_writing(key: &ConnectionId, writing: u64) {
    if let Some(connection) = CONNECTIONS.get_ptr_mut(key) {
        // SAFETY: values of a preallocated hash map stay mapped while the program runs.
        is_written(unsafe { &mut *connection }, writing);
    }
}

#[inline(always)]
fn is_written(connection: &mut Connection, writing: u64) {
    // SAFETY: a field of a live structure. Volatile: the records of the write are in the ring before its end shows.
    unsafe { (&raw mut connection.writing).write_volatile(writing) };
}

enum Admission {
    /// Index of the free place among the thread's calls.
    At(usize),
    /// Part of an outer call in the same direction on the same connection, which will tell the bytes.
    Inner,
    Refused(Counter),
}

/// Decides where among the thread's calls this one stands, and whether a return probe on it is safe.
///
/// The kernel keeps return probes of a thread on one list ordered by stack pointer. A call on another stack, made while
/// one is under way, makes it drop or mix up entries, and the process dies on the trampoline; so does a call that
/// begins on one thread and returns on another, as user-level threads may. Both take a stack that is not the thread's
/// own. So only calls on the own stack are hooked, and in a process with a single thread or known tame stacks also the
/// first one on another stack; and whatever the stack, a further call only right below the one under way.
#[inline(always)]
fn admit(calls: &mut Calls, call: &Call, pid_tgid: u64) -> Admission {
    let mut depth = calls.depth as usize;
    // Calls that never returned (longjmp, an exception) have left the stack, or stand where this one does.
    for _ in 0..NESTED_CALLS {
        if depth == 0 {
            break;
        }
        let top = &calls.calls[(depth - 1) & (NESTED_CALLS - 1)];
        // SAFETY: the helper checks the address.
        let slot = unsafe { bpf_probe_read_user(top.stack as *const u64) }.unwrap_or(0);
        if decide::is_trampoline(slot) {
            break;
        }
        depth -= 1;
    }
    let is_main = pid_tgid >> 32 == pid_tgid & 0xffff_ffff;
    if calls.stack_top == 0 {
        (calls.stack_top, calls.stack_window) = Task::current().own_stack(is_main);
    }
    let (own_top, own_window) = (calls.stack_top, calls.stack_window);
    if depth > 0 {
        let top = &calls.calls[(depth - 1) & (NESTED_CALLS - 1)];
        if !decide::is_nested_in_thread(top.stack, call.stack, own_top, own_window, is_main) {
            return Admission::Refused(Counter::ForeignStack);
        }
        // Runtimes write from callbacks inside a read on the same connection; only the same direction is one call.
        if top.ssl == call.ssl && (top.cookie ^ call.cookie) & 1 == 0 {
            return Admission::Inner;
        }
        if depth >= NESTED_CALLS {
            return Admission::Refused(Counter::TooNested);
        }
    }
    if calls.target_flags & u64::from(Target::TAME_STACKS) == 0
        && !decide::is_below(own_top, call.stack, own_window)
        && Task::current().live_threads() != 1
    {
        return Admission::Refused(Counter::ForeignStack);
    }
    Admission::At(depth)
}

/// Where ordinary probes stand at both ends nothing can be endangered, and calls may interleave in any order: finds the
/// place of a call at this stack position, a free one, or the one of the oldest call, which then has never returned.
#[inline(always)]
fn place(calls: &Calls, stack: u64) -> usize {
    let mut free = NESTED_CALLS;
    let mut oldest = 0;
    for index in 0..NESTED_CALLS {
        let known = calls.calls[index].stack;
        if known == stack {
            return index;
        }
        if known == 0 {
            free = index;
        }
        if calls.calls[index].order < calls.calls[oldest & (NESTED_CALLS - 1)].order {
            oldest = index;
        }
    }
    if free < NESTED_CALLS { free } else { oldest }
}

#[inline(never)]
fn note_foreign(tgid: u32, now: u64) {
    process::notice(Task::current(), lifecycle::FOREIGN_STACK, tgid, now);
}

#[inline(always)]
fn refuse(ctx: &ProbeContext, call: &Call, cookie: Cookie, cause: Counter, pid_tgid: u64) {
    count(cause, 1);
    let Some(target) = target(pid_tgid) else { return };
    let now = task::now();
    if LOG.load() != 0 {
        debug!(ctx, "call on stack {:x} of thread {} left alone", call.stack, pid_tgid as u32);
    }
    if target.flags & Target::FOREIGN_NOTED == 0 {
        target.flags |= Target::FOREIGN_NOTED;
        note_foreign((pid_tgid >> 32) as u32, now);
    }
    if let Some(connection) = connection(target, call.ssl, cookie.library(), now, pid_tgid)
        && connection.flags & (Connection::IGNORED | Connection::ANNOUNCED) == Connection::ANNOUNCED
    {
        emit::lost(connection, cookie.direction(), now);
    }
}

/// Looks up what [`enter`] remembered and hands over the bytes that were really done. With `session` the return has
/// happened, without it is about to.
#[inline(always)]
pub fn leave(ctx: *mut c_void, session: bool) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(calls) = THREADS.get_ptr_mut(&pid_tgid) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs; the context is `pt_regs`.
    let (calls, regs) = unsafe { (&mut *calls, &*ctx.cast::<pt_regs>()) };
    let found = if session {
        innermost(calls, regs.rsp.wrapping_sub(8))
    } else {
        (0..NESTED_CALLS).find(|index| calls.calls[*index].stack == regs.rsp)
    };
    let Some(index) = found else { return };
    if session {
        calls.depth = index as u64;
    } else {
        calls.calls[index & (NESTED_CALLS - 1)].stack = 0;
    }
    let call = &calls.calls[index & (NESTED_CALLS - 1)];
    let cookie = Cookie(call.cookie as u32);
    let told = finished(call, cookie, regs.rax as i32, pid_tgid);
    if cookie.direction() == direction::SEND {
        match told {
            Some(connection) => is_written(connection, 0),
            None => set_writing(&ConnectionId { incarnation: call.incarnation, ssl: call.ssl }, 0),
        }
    }
}

/// Hands over what a call did; the connection if it did anything.
#[inline(always)]
fn finished(call: &Call, cookie: Cookie, result: i32, pid_tgid: u64) -> Option<&'static mut Connection> {
    let is_record = cookie.result() == CallResult::Record as u32;
    if result <= 0 {
        let orderly = cookie.result() != CallResult::ByPointerOrZero as u32;
        if result == 0 && orderly && cookie.direction() == direction::RECEIVE && call.length != 0 {
            peer_closed(&ConnectionId { incarnation: call.incarnation, ssl: call.ssl });
        }
        if is_record && record::RETRIED.contains(&result) {
            refused_send(call, cookie);
        }
        return None;
    }
    let is_whole = cookie.result() == CallResult::ByPointer as u32
        && cookie.direction() == direction::SEND
        && call.length <= WHOLE_WRITE;
    let done = if is_record || cookie.result() == CallResult::Count as u32 {
        result as u64
    } else if is_whole {
        call.length
    } else {
        // SAFETY: the helper checks the address.
        match unsafe { bpf_probe_read_user(call.done as *const u64) } {
            Ok(done) => done,
            Err(_) => {
                count(Counter::Unreadable, 1);
                return None;
            }
        }
    };
    let key = ConnectionId { incarnation: call.incarnation, ssl: call.ssl };
    let (buffer, length) = if is_record && call.length == 0 {
        // SAFETY: the value is copied at once.
        let [buffer, length] = unsafe { REFUSED_SENDS.get(&key) }.copied().unwrap_or([0, u64::MAX]);
        (buffer, length)
    } else {
        (call.buffer, call.length)
    };
    if done == 0 || done > length {
        return None;
    }
    let known = CONNECTIONS.get_ptr_mut(&key);
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let known = known.map(|known| unsafe { &mut *known });
    let connection = match known {
        Some(known) if known.flags & (Connection::ANNOUNCED | Connection::IGNORED) != 0 => known,
        _ => connection(target(pid_tgid)?, call.ssl, cookie.library(), task::now(), pid_tgid)?,
    };
    let direction = cookie.direction();
    // The clock is read once a call: a send carries the time of its entry anyway.
    let now = if direction == direction::SEND { call.time } else { task::now() };
    let payload = emit::Payload { address: buffer, length: done, time: now, direction, tid: pid_tgid as u32 };
    emit::payload(connection, &payload, now);
    Some(connection)
}

/// Remembers what to read when the call is made again without a buffer.
#[inline(always)]
fn refused_send(call: &Call, cookie: Cookie) {
    if call.length != 0 && cookie.direction() == direction::SEND {
        let key = ConnectionId { incarnation: call.incarnation, ssl: call.ssl };
        // Without room its bytes count as unreadable.
        let _ = REFUSED_SENDS.insert(&key, &[call.buffer, call.length], 0);
    }
}

/// The call that began at this stack position; those inside it have been left otherwise.
#[inline(always)]
fn innermost(calls: &Calls, stack: u64) -> Option<usize> {
    let mut depth = calls.depth as usize;
    for _ in 0..NESTED_CALLS {
        if depth == 0 {
            break;
        }
        depth -= 1;
        if calls.calls[depth & (NESTED_CALLS - 1)].stack == stack {
            return Some(depth);
        }
    }
    None
}

/// Hands over what a read got that has just ended. All there is to know stands in registers: nothing was remembered on
/// entry and no return address replaced, so that it does not matter on which stack the call runs.
#[inline(always)]
pub fn finished_read(ctx: &ProbeContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(target) = target(pid_tgid) else { return };
    let Some(cookie) = cookie(ctx.as_ptr()).map(ReadCookie) else { return };
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let regs = unsafe { &*ctx.regs };
    let result = regs.rax as i32;
    if result < 0 {
        return;
    }
    if let Some(peek) = cookie.peek()
        && register(regs, peek) as u32 != 0
    {
        return;
    }
    let id = ConnectionId { incarnation: target.incarnation, ssl: register(regs, cookie.ssl()) };
    let length = register(regs, cookie.length());
    if result == 0 {
        if length != 0 {
            peer_closed(&id);
        }
        return;
    }
    // SAFETY: the helper checks the address.
    let Ok(done) = (unsafe { bpf_probe_read_user(register(regs, cookie.done()) as *const u64) }) else {
        count(Counter::Unreadable, 1);
        return;
    };
    if done == 0 || done > length {
        return;
    }
    let now = task::now();
    let Some(connection) = connection(target, id.ssl, cookie.library(), now, pid_tgid) else { return };
    let payload = emit::Payload {
        address: register(regs, cookie.buffer()),
        length: done,
        time: now,
        direction: direction::RECEIVE,
        tid: pid_tgid as u32,
    };
    emit::payload(connection, &payload, now);
}

#[inline(always)]
pub fn peer_closed(key: &ConnectionId) {
    let Some(connection) = CONNECTIONS.get_ptr_mut(key) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *connection };
    if connection.flags & Connection::PEER_CLOSED == 0 {
        connection.flags |= Connection::PEER_CLOSED;
        emit::end(connection, end::PEER_CLOSED, task::now());
    }
}

/// Finds the connection's state or makes it, and announces it once.
#[inline(always)]
pub fn connection(target: &Target, ssl: u64, library: u32, now: u64, pid_tgid: u64) -> Option<&'static mut Connection> {
    let key = ConnectionId { incarnation: target.incarnation, ssl };
    let mut found = CONNECTIONS.get_ptr_mut(&key);
    if found.is_none() {
        let fresh = Connection { id: task::unique(task::now()), ..Connection::default() };
        if CONNECTIONS.insert(&key, &fresh, 0).is_err() {
            count(Counter::ConnectionsFull, 1);
            return None;
        }
        found = CONNECTIONS.get_ptr_mut(&key);
    }
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *found? };
    if connection.flags & (Connection::ANNOUNCED | Connection::IGNORED) == 0 {
        let record = Open {
            kind: kind::OPEN,
            tgid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            exec_count: target.exec_count,
            connection: connection.id,
            time: now,
            ssl,
            incarnation: target.incarnation,
            comm: [0; 16],
            library: [0; _],
        };
        emit::open(connection, record, library);
    }
    Some(connection)
}

/// The calling thread's calls under way, if its process is a target.
#[inline(always)]
fn calls(pid_tgid: u64) -> Option<&'static mut Calls> {
    let generation = *GENERATION.get(0)?;
    if let Some(calls) = THREADS.get_ptr_mut(&pid_tgid) {
        // SAFETY: values of a preallocated hash map stay mapped while the program runs.
        let calls = unsafe { &mut *calls };
        if calls.generation == generation {
            return Some(calls);
        }
    }
    let (incarnation, flags) = {
        let target = target(pid_tgid)?;
        (target.incarnation, target.flags)
    };
    if THREADS.get_ptr(&pid_tgid).is_none() {
        let _ = THREADS.insert(&pid_tgid, NO_CALLS.get(0)?, 0);
    }
    let Some(calls) = THREADS.get_ptr_mut(&pid_tgid) else {
        count(Counter::ThreadsFull, 1);
        return None;
    };
    // SAFETY: as above.
    let calls = unsafe { &mut *calls };
    (calls.incarnation, calls.target_flags, calls.generation) = (incarnation, u64::from(flags), generation);
    Some(calls)
}

/// The arguments of a call, from where the site's cookie says they stand.
#[inline(always)]
fn arguments(regs: &pt_regs, cookie: Cookie) -> Call {
    let (ssl, buffer, length, done) = if cookie.is_plain() {
        (regs.rdi, regs.rsi, regs.rdx, regs.rcx)
    } else {
        // Most sites have moved one argument at most.
        let other = |number: u32, usual: Register, value: u64| {
            if number == usual as u32 { value } else { register(regs, number) }
        };
        (
            other(cookie.ssl(), Register::Rdi, regs.rdi),
            other(cookie.buffer(), Register::Rsi, regs.rsi),
            other(cookie.length(), Register::Rdx, regs.rdx),
            other(cookie.done(), Register::R8, regs.r8),
        )
    };
    // An `int` argument leaves the upper half of its register undefined.
    let length = if cookie.result() == CallResult::Count as u32 { length & 0xffff_ffff } else { length };
    Call { ssl, buffer, done, length, ..Call::default() }
}

/// Fields of the context can only be read at constant offsets.
#[inline(never)]
pub fn register(regs: &pt_regs, number: u32) -> u64 {
    match number {
        0 => regs.rax,
        1 => regs.rcx,
        2 => regs.rdx,
        3 => regs.rbx,
        4 => regs.rsp,
        5 => regs.rbp,
        6 => regs.rsi,
        7 => regs.rdi,
        8 => regs.r8,
        9 => regs.r9,
        10 => regs.r10,
        11 => regs.r11,
        12 => regs.r12,
        13 => regs.r13,
        14 => regs.r14,
        15 => regs.r15,
        _ => 0,
    }
}
