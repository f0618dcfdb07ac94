//! Functions that end or name a connection: `SSL_free`, `SSL_clear`, `SSL_shutdown`, and those that set the server name.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user_str},
    programs::ProbeContext,
};
use tracer_common::{
    counter::Counter,
    event::{CTRL_SET_TLSEXT_HOSTNAME, Connection, ConnectionId, Name, end, fact, kind, record},
    limits::SERVER_NAME,
};

use crate::{
    emit,
    maps::{CONNECTIONS, EVENTS, count},
    task,
    tls::{connection, cookie, target},
};

/// A function that ends or names a connection was entered.
#[inline(always)]
pub fn entered(ctx: &ProbeContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(target) = target(pid_tgid) else { return };
    let Some(cookie) = cookie(ctx.as_ptr()) else { return };
    let what = cookie & fact::MASK;
    // Read one by one, here: the compiler would compute the address of one field among several, which the verifier does
    // not allow in the context.
    // SAFETY: the context of a uprobe program is `pt_regs`.
    let (ssl, second, third, fourth) = unsafe {
        let regs = ctx.regs;
        (
            (&raw const (*regs).rdi).read_volatile(),
            (&raw const (*regs).rsi).read_volatile(),
            (&raw const (*regs).rdx).read_volatile(),
            (&raw const (*regs).rcx).read_volatile(),
        )
    };
    let now = task::now();
    if what >= fact::CONTROL {
        let mut room = SERVER_NAME as u64;
        let name = if what == fact::HOST_NAME {
            second
        } else if what == fact::TYPED_NAME {
            if second as u32 != record::NAME_DNS {
                return;
            }
            // One more for the zero byte that is put behind it.
            room = if fourth < room { fourth + 1 } else { room };
            third
        } else if second as u32 == CTRL_SET_TLSEXT_HOSTNAME && third == 0 {
            fourth
        } else {
            return;
        };
        if name != 0
            && let Some(connection) = connection(target, ssl, cookie >> fact::LIBRARY_SHIFT, now, pid_tgid)
        {
            server_name(connection, name, room);
        }
        return;
    }
    let key = ConnectionId { incarnation: target.incarnation, ssl };
    let Some(connection) = CONNECTIONS.get_ptr_mut(&key) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *connection };
    if what == fact::SHUT_DOWN {
        if connection.flags & Connection::SHUT_DOWN != 0 {
            return;
        }
        connection.flags |= Connection::SHUT_DOWN;
        emit::end(connection, what, now);
        return;
    }
    // OpenSSL clears every object when its handshake begins, after the server name was set.
    if what == fact::CLEARED && connection.offsets == [0, 0] {
        return;
    }
    emit::end(connection, what, now);
    let _ = CONNECTIONS.remove(&key);
}

#[inline(always)]
fn server_name(connection: &Connection, name: u64, room: u64) {
    let Some(mut entry) = EVENTS.reserve::<Name>(0) else {
        count(Counter::FactsLost, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation holds a whole `Name`; the helper checks the user address and writes no more than asked.
    let length = unsafe {
        (&raw mut (*record).kind).write(kind::NAME);
        (&raw mut (*record).connection).write(connection.id);
        let room = if room > SERVER_NAME as u64 { SERVER_NAME as u64 } else { room };
        let length = bpf_probe_read_user_str((&raw mut (*record).name).cast(), room as u32, name as *const _);
        (&raw mut (*record).length).write(length as u32);
        length
    };
    if length <= 1 {
        entry.discard(0);
    } else {
        entry.submit(0);
    }
}
