//! Plaintext on TCP connections of chosen ports, where the socket layer tells of each finished send and receive (Linux
//! 6.3 and later). Neither other ports nor other system calls pay for it: `docs/adr/0002-plaintext.md`.
//!
//! The tracepoints tell the socket and the number of bytes. The buffer stands in the arguments of the system call that
//! is under way, which the task's saved registers hold.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{
        bpf_get_current_pid_tgid, bpf_probe_read_user,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    programs::RawTracePointContext,
};
use tracer_common::{
    counter::Counter,
    decide,
    event::{Connection, ConnectionId, Peer, direction, end, kind},
    limits::{PLAINTEXT_LIBRARY, VECTORS},
};

use crate::{
    emit,
    maps::{CONNECTIONS, EVENTS, PORTS, count, offsets},
    task::{self, read_kernel},
    tls,
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
/// `__USER_CS` of x86-64: the call came from 64-bit code, whose system calls have the numbers below.
const USER_CODE: u64 = 0x33;
/// `MSG_OOB`, `MSG_PEEK`, `MSG_ERRQUEUE`: these receive nothing of the stream, or not for good.
const NOT_OF_THE_STREAM: u32 = 0x1 | 0x2 | 0x2000;
/// `MSG_TRUNC`: received bytes are thrown away.
const THROWN_AWAY: u32 = 0x20;
const ECONNRESET: i32 = -104;
/// `SHUTDOWN_MASK` of `net/sock.h`: neither direction is open any more.
const BOTH_SHUT: u8 = 3;
/// `TCP_FIN_WAIT1`, `TCP_LAST_ACK` of `net/tcp_states.h`.
const FIN_SENT: [u32; 2] = [4, 9];
/// `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`, `TCP_LAST_ACK`, `TCP_CLOSING`.
const AFTER_FIN: [u32; 4] = [4, 5, 9, 11];
const TCP_CLOSE: u32 = 7;

/// A `struct sock *` of the kernel.
#[derive(Clone, Copy)]
struct Socket(u64);

impl Socket {
    /// Whether it is a TCP connection to or at a chosen port.
    #[inline(always)]
    fn is_chosen(self) -> bool {
        // Sockets of other kinds have nothing here, or something else.
        let [peer, own] = self.ports();
        if !is_chosen(peer) && !is_chosen(own) {
            return false;
        }
        let family: u16 = read_kernel(self.0, offsets::SOCK_FAMILY.load());
        (family == AF_INET || family == AF_INET6)
            && read_kernel::<u16>(self.0, offsets::SOCK_PROTOCOL.load()) == IPPROTO_TCP
    }

    /// The peer's and its own.
    #[inline(always)]
    fn ports(self) -> [u16; 2] {
        // `skc_dport`, in network byte order, and `skc_num`.
        let pair: u32 = read_kernel(self.0, offsets::SOCK_PORTS.load());
        [u16::from_be(pair as u16), (pair >> 16) as u16]
    }

    #[inline(always)]
    fn peer_port(self) -> u16 {
        self.ports()[0]
    }

    /// Made of the inode, by which `/proc/PID/fd` and `ss -e` name it; 0 when no file leads to it any more.
    #[inline(always)]
    fn id(self) -> u64 {
        let socket: u64 = read_kernel(self.0, offsets::SOCK_SOCKET.load());
        if socket == 0 {
            return 0;
        }
        read_kernel::<u64>(socket, offsets::SOCKET_INODE.load()) | ConnectionId::SOCKET
    }
}

#[inline(always)]
fn is_chosen(port: u16) -> bool {
    PORTS.get(u32::from(port) / 64).is_some_and(|word| *word >> (port % 64) & 1 != 0)
}

/// Where a system call's bytes stand in the process.
enum Place {
    /// Address and room.
    Flat(u64, u64),
    /// Address and number of `struct iovec`s.
    Vectors(u64, u64),
    /// In no buffer that is known here: `sendfile`, `splice`, io_uring, several messages at once, 32-bit code.
    Nowhere,
}

impl Place {
    #[inline(always)]
    fn of_call(way: u32) -> Self {
        // SAFETY: no preconditions; the verifier checks the pointer's use.
        let regs = unsafe { &*(bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs) };
        if regs.cs != USER_CODE {
            return Self::Nowhere;
        }
        let (second, third) = (regs.rsi, regs.rdx);
        match (regs.orig_rax, way) {
            // read, recvfrom; write, sendto
            (0 | 45, direction::RECEIVE) | (1 | 44, direction::SEND) => Self::Flat(second, third),
            // readv, preadv2; writev, pwritev2
            (19 | 327, direction::RECEIVE) | (20 | 328, direction::SEND) => Self::Vectors(second, third),
            // recvmsg; sendmsg: `msg_iov` and `msg_iovlen` of `struct msghdr`
            (47, direction::RECEIVE) | (46, direction::SEND) => {
                // SAFETY: the helper checks the address.
                match unsafe { bpf_probe_read_user((second + 16) as *const [u64; 2]) } {
                    Ok([vectors, number]) => Self::Vectors(vectors, number),
                    Err(_) => Self::Nowhere,
                }
            }
            _ => Self::Nowhere,
        }
    }

    /// The beginning of the first buffer that is not empty.
    #[inline(always)]
    fn first(&self) -> Option<u64> {
        match *self {
            Self::Flat(address, _) => Some(address),
            Self::Vectors(vectors, number) => {
                let mut index = 0;
                while index < VECTORS as u64 && index < number {
                    let [base, length] = vector(vectors, index)?;
                    if length != 0 {
                        return Some(base);
                    }
                    index += 1;
                }
                None
            }
            Self::Nowhere => None,
        }
    }
}

/// `struct iovec`: base and length.
#[inline(always)]
fn vector(vectors: u64, index: u64) -> Option<[u64; 2]> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user((vectors + index * 16) as *const [u64; 2]) }.ok()
}

/// A call has sent or received: `(sk, result, flags)`, in the task that made it.
#[inline(always)]
pub fn transferred(ctx: &RawTracePointContext, way: u32) {
    let socket = Socket(ctx.arg(0));
    if !socket.is_chosen() {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(target) = tls::target(pid_tgid) else { return };
    let (result, flags): (i32, u32) = (ctx.arg(1), ctx.arg(2));
    if way == direction::RECEIVE && flags & NOT_OF_THE_STREAM != 0 {
        return;
    }
    let id = socket.id();
    if id == 0 {
        return;
    }
    let key = ConnectionId { incarnation: target.incarnation, ssl: id };
    let place = Place::of_call(way);
    if result <= 0 {
        let asked = !matches!(place, Place::Flat(_, 0) | Place::Vectors(_, 0));
        // A client that sends no more still waits for its answer: only what a server ends is over.
        if result == 0 && way == direction::RECEIVE && asked && is_chosen(socket.peer_port()) {
            tls::peer_closed(&key);
        } else if result == ECONNRESET
            && let Some(connection) = CONNECTIONS.get_ptr_mut(&key)
        {
            // SAFETY: values of a preallocated hash map stay mapped while the program runs.
            emit::end(unsafe { &*connection }, end::RESET, task::now());
            let _ = CONNECTIONS.remove(&key);
        }
        return;
    }
    let place = if way == direction::RECEIVE && flags & THROWN_AWAY != 0 { Place::Nowhere } else { place };
    let now = task::now();
    let is_new = CONNECTIONS.get_ptr(&key).is_none();
    if is_new {
        let is_tls = place.first().is_some_and(begins_tls);
        let flags = if is_tls { Connection::IGNORED } else { 0 };
        let fresh = Connection { id: task::unique(now), flags, ..Connection::default() };
        if CONNECTIONS.insert(&key, &fresh, 0).is_err() {
            count(Counter::ConnectionsFull, 1);
            return;
        }
    }
    let Some(connection) = tls::connection(target, id, PLAINTEXT_LIBRARY, now, pid_tgid) else { return };
    if connection.flags & Connection::IGNORED != 0 {
        return;
    }
    if is_new {
        tell_peer(socket, connection);
    }
    let index = (way & 1) as usize;
    let start = connection.offsets[index];
    connection.offsets[index] = start + result as u64;
    let id = connection.id;
    if emit::is_unread(connection, index, start, result as u64) {
        return;
    }
    let mut left = result as u64;
    match place {
        Place::Flat(address, room) => {
            left = if left < room { left } else { room };
            hand_over(id, start, address, left, way);
            left = result as u64 - left;
        }
        Place::Vectors(vectors, number) => {
            let mut offset = start;
            let mut index = 0;
            while index < VECTORS as u64 && index < number && left > 0 {
                let Some([base, length]) = vector(vectors, index) else { break };
                let length = if length < left { length } else { left };
                hand_over(id, offset, base, length, way);
                offset += length;
                left -= length;
                index += 1;
            }
        }
        Place::Nowhere => {}
    }
    if left > 0 {
        count(Counter::NoBuffer, left);
    }
}

/// Whether the bytes at `address` are the head of a TLS record (RFC 8446 section 5.1), which no HTTP message begins
/// with.
#[inline(always)]
fn begins_tls(address: u64) -> bool {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const [u8; 2]) }.is_ok_and(decide::is_tls_record)
}

/// Copies one buffer. A function of its own for the verifier: the copy is walked through once, not once per vector.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hand_over(id: u64, offset: u64, address: u64, length: u64, way: u32) -> u32 {
    let mut connection = Connection { id, offsets: [offset; 2], ..Connection::default() };
    let now = task::now();
    let tid = bpf_get_current_pid_tgid() as u32;
    emit::payload(&mut connection, &emit::Payload { address, length, time: now, direction: way & 1, tid }, now);
    0
}

#[inline(always)]
fn tell_peer(socket: Socket, connection: &Connection) {
    let Some(mut entry) = EVENTS.reserve::<Peer>(0) else {
        count(Counter::FactsLost, 1);
        return;
    };
    let is_v6 = read_kernel::<u16>(socket.0, offsets::SOCK_FAMILY.load()) == AF_INET6;
    let mut address: [u64; 2] = [0; 2];
    if is_v6 {
        address = read_kernel(socket.0, offsets::SOCK_PEER_V6.load());
    } else {
        address[0] = u64::from(read_kernel::<u32>(socket.0, offsets::SOCK_PEER.load()));
    }
    entry.write(Peer {
        kind: kind::PEER,
        port: u32::from(socket.peer_port()),
        connection: connection.id,
        is_v6: u32::from(is_v6),
        reserved: 0,
        address,
    });
    entry.submit(0);
}

/// A connection's state changes: `(sk, old, new)`. What the process itself does to it ends it, in the process's own
/// context; what the peer does shows when the process receives.
#[inline(always)]
pub fn changed(ctx: &RawTracePointContext) {
    let (socket, old, new): (_, u32, u32) = (Socket(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    // After a FIN of its own that only means that the peer's has come: there may be something left to receive.
    if new == TCP_CLOSE && AFTER_FIN.contains(&old) {
        return;
    }
    let Some(target) = tls::target(bpf_get_current_pid_tgid()) else { return };
    // By now it may have lost its port.
    let key = ConnectionId { incarnation: target.incarnation, ssl: socket.id() };
    let Some(connection) = CONNECTIONS.get_ptr_mut(&key) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let connection = unsafe { &mut *connection };
    let now = task::now();
    if read_kernel::<u8>(socket.0, offsets::SOCK_SHUTDOWN.load()) & BOTH_SHUT == BOTH_SHUT {
        emit::end(connection, end::FREED, now);
        let _ = CONNECTIONS.remove(&key);
    } else if FIN_SENT.contains(&new) && connection.flags & Connection::SHUT_DOWN == 0 {
        connection.flags |= Connection::SHUT_DOWN;
        emit::end(connection, end::SHUT_DOWN, now);
    }
}
