//! Records of the two rings, keys and values of the maps, and the cookie of a probe site. Every layout is `repr(C)`
//! without padding, and its size is asserted below.

use crate::limits::{FILE_NAME, LIBRARY_NAME, NESTED_CALLS, SERVER_NAME};

/// First field of every record.
pub mod kind {
    pub const DATA: u32 = 1;
    pub const OPEN: u32 = 2;
    pub const NAME: u32 = 3;
    pub const END: u32 = 4;
    pub const LOST: u32 = 5;
    pub const PROCESS: u32 = 6;
    pub const PEER: u32 = 7;
}

/// Index into [`Connection::offsets`], and what more a record's field of this name tells.
pub mod direction {
    pub const SEND: u32 = 0;
    pub const RECEIVE: u32 = 1;
    /// Bits that hold one of these.
    pub const MASK: u32 = 1;
    /// Received while another thread's write on the same connection was under way: those bytes, told when it returns,
    /// may have been sent before.
    pub const BESIDE_WRITE: u32 = 2;
    /// More records of the same call follow.
    pub const MORE: u32 = 4;
}

/// Why a connection ended.
pub mod end {
    pub const FREED: u32 = 1;
    pub const SHUT_DOWN: u32 = 2;
    pub const CLEARED: u32 = 3;
    pub const PEER_CLOSED: u32 = 4;
    pub const RESET: u32 = 5;
    /// Added to the cause: as [`super::direction::BESIDE_WRITE`].
    pub const BESIDE_WRITE: u32 = 0x100;
}

/// What happened to a process.
pub mod lifecycle {
    pub const FORK: u32 = 1;
    pub const EXEC: u32 = 2;
    pub const EXIT: u32 = 3;
    /// A task entered a selected cgroup.
    pub const JOINED: u32 = 4;
    /// A call on a foreign stack was left alone; at most one notice per process image.
    pub const FOREIGN_STACK: u32 = 5;
}

/// Head of a data record; `length` payload bytes follow, then unused room up to the size class.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Data {
    pub kind: u32,
    pub length: u32,
    pub connection: u64,
    pub offset: u64,
    /// Nanoseconds of `CLOCK_BOOTTIME`: entry for sends, return for receives.
    pub time: u64,
    pub direction: u32,
    pub tid: u32,
}

/// A connection was first seen.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Open {
    pub kind: u32,
    pub tgid: u32,
    pub tid: u32,
    pub exec_count: u32,
    pub connection: u64,
    pub time: u64,
    pub ssl: u64,
    pub incarnation: u64,
    pub comm: [u8; 16],
    pub library: [u8; LIBRARY_NAME],
}

/// The server name that the client asks for; `length` bytes of `name` count.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Name {
    pub kind: u32,
    pub length: u32,
    pub connection: u64,
    pub name: [u8; SERVER_NAME],
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Peer {
    pub kind: u32,
    pub port: u32,
    pub connection: u64,
    pub is_v6: u32,
    pub reserved: u32,
    /// In network byte order; an IPv4 address in the first 4 bytes.
    pub address: [u64; 2],
}

/// A connection ended. `offsets` tell what was lost behind the last data record.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct End {
    pub kind: u32,
    pub cause: u32,
    pub connection: u64,
    pub time: u64,
    pub offsets: [u64; 2],
}

/// Bytes whose number is not known were lost at `offset`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Lost {
    pub kind: u32,
    pub direction: u32,
    pub connection: u64,
    pub offset: u64,
    pub time: u64,
}

/// A process was born, replaced its image or ended.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Process {
    pub kind: u32,
    pub what: u32,
    pub tgid: u32,
    pub parent: u32,
    pub uid: u32,
    pub exec_count: u32,
    pub incarnation: u64,
    /// Start, nanoseconds of `CLOCK_BOOTTIME`.
    pub start: u64,
    pub time: u64,
    /// 1 when the process is in the set of targets.
    pub target: u32,
    pub reserved: u32,
    pub comm: [u8; 16],
    /// What `execve` was given; empty but for exec.
    pub file: [u8; FILE_NAME],
}

/// Value of the map of targets, by tgid.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Target {
    /// Unique for one process image: (process, start, exec count) in one number.
    pub incarnation: u64,
    pub start: u64,
    pub exec_count: u32,
    pub flags: u32,
}

impl Target {
    /// Never traced, nor its children.
    pub const EXCLUDED: u32 = 1;
    /// Known to switch stacks only between calls and never across threads (Ruby, PHP): calls on foreign stacks may
    /// be hooked.
    pub const TAME_STACKS: u32 = 2;
    /// The notice about foreign stacks was sent.
    pub const FOREIGN_NOTED: u32 = 4;
}

/// Key of the map of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectionId {
    pub incarnation: u64,
    pub ssl: u64,
}

impl ConnectionId {
    /// Set in `ssl` where that is no address, but the inode of a socket: no address of a process has this bit.
    pub const SOCKET: u64 = 1 << 63;
}

/// Value of the map of connections.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Connection {
    pub id: u64,
    pub offsets: [u64; 2],
    /// By direction, the offset before which nothing is copied, since nobody would read it.
    pub unread: [u64; 2],
    pub flags: u64,
    /// 1 while a write is under way. Not one of the flags, which a reading thread may change at the same time.
    pub writing: u64,
}

impl Connection {
    /// Its [`Open`] record is in the ring.
    pub const ANNOUNCED: u64 = 1;
    /// Carries nothing that could be read (TLS on a port of plaintext), or is closed: nothing is copied.
    pub const IGNORED: u64 = 2;
    /// The peer's end was reported.
    pub const PEER_CLOSED: u64 = 4;
    /// The local shutdown was reported.
    pub const SHUT_DOWN: u64 = 8;
}

/// One call under way.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Call {
    /// Stack pointer at entry, where the return address stands.
    pub stack: u64,
    pub ssl: u64,
    pub buffer: u64,
    /// Address of the count of bytes done, for functions that tell it by pointer.
    pub done: u64,
    /// Of the entry, for sends.
    pub time: u64,
    /// Bytes that the caller offered or has room for.
    pub length: u64,
    /// The process image that made the call.
    pub incarnation: u64,
    /// Rises with each call of the thread; unused where calls stand in order of depth.
    pub order: u64,
    /// The site's [`Cookie`].
    pub cookie: u64,
}

/// Calls under way of one thread, outermost first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Calls {
    /// Calls under way, where they can only be inside each other.
    pub depth: u64,
    /// Of the last call.
    pub order: u64,
    /// Top of the thread's own stack and how far it reaches down; 0 until it is asked for.
    pub stack_top: u64,
    pub stack_window: u64,
    /// What the map of targets said of the process, as of `generation`: spares a look-up per call.
    pub incarnation: u64,
    pub target_flags: u64,
    pub generation: u64,
    pub calls: [Call; NESTED_CALLS],
}

/// A selected cgroup: inode numbers are unique only within a hierarchy (0: the unified one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CgroupId {
    pub inode: u64,
    pub hierarchy: u64,
}

/// Where a function's arguments stand at a probe site, and what its result means: the attach cookie of the site. It
/// fits 31 bits, so that kernels without cookies (before 5.15) can have it as an immediate operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie(pub u32);

impl Cookie {
    const RESULT_SHIFT: u32 = 1;
    const SSL_SHIFT: u32 = 3;
    const BUFFER_SHIFT: u32 = 7;
    const LENGTH_SHIFT: u32 = 11;
    const DONE_SHIFT: u32 = 15;
    const LIBRARY_SHIFT: u32 = 19;

    #[must_use]
    pub const fn new(direction: u32, result: CallResult, registers: ArgumentRegisters, library: u32) -> Self {
        Self(
            (direction & 1)
                | ((result as u32) << Self::RESULT_SHIFT)
                | ((registers.ssl as u32) << Self::SSL_SHIFT)
                | ((registers.buffer as u32) << Self::BUFFER_SHIFT)
                | ((registers.length as u32) << Self::LENGTH_SHIFT)
                | ((registers.done as u32) << Self::DONE_SHIFT)
                | ((library & 0x3ff) << Self::LIBRARY_SHIFT),
        )
    }

    #[must_use]
    pub const fn direction(self) -> u32 {
        self.0 & 1
    }

    /// Compare with [`CallResult`]'s values.
    #[must_use]
    pub const fn result(self) -> u32 {
        (self.0 >> Self::RESULT_SHIFT) & 3
    }

    #[must_use]
    pub const fn ssl(self) -> u32 {
        (self.0 >> Self::SSL_SHIFT) & 15
    }

    #[must_use]
    pub const fn buffer(self) -> u32 {
        (self.0 >> Self::BUFFER_SHIFT) & 15
    }

    #[must_use]
    pub const fn length(self) -> u32 {
        (self.0 >> Self::LENGTH_SHIFT) & 15
    }

    #[must_use]
    pub const fn done(self) -> u32 {
        (self.0 >> Self::DONE_SHIFT) & 15
    }

    #[must_use]
    pub const fn library(self) -> u32 {
        (self.0 >> Self::LIBRARY_SHIFT) & 0x3ff
    }

    /// Whether all arguments stand where the System V ABI passes them.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        const PLAIN: u32 = Cookie::new(0, CallResult::Count, ArgumentRegisters::SYSTEM_V, 0).0;
        const MASK: u32 = 0xffff << Cookie::SSL_SHIFT;
        self.0 & MASK == PLAIN & MASK
    }
}

/// Where a finished read's values stand: the attach cookie of the sites that reads pass when they have ended. It fits
/// 31 bits too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadCookie(pub u32);

impl ReadCookie {
    const BUFFER_SHIFT: u32 = 4;
    const LENGTH_SHIFT: u32 = 8;
    const DONE_SHIFT: u32 = 12;
    const PEEK_SHIFT: u32 = 16;
    const LIBRARY_SHIFT: u32 = 20;
    /// The stack pointer's number: it never holds the flag.
    const NO_FLAG: u32 = 4;

    /// Without `peek`, no `SSL_peek` passes.
    #[must_use]
    pub fn new(registers: ArgumentRegisters, peek: Option<Register>, library: u32) -> Self {
        Self(
            registers.ssl as u32
                | ((registers.buffer as u32) << Self::BUFFER_SHIFT)
                | ((registers.length as u32) << Self::LENGTH_SHIFT)
                | ((registers.done as u32) << Self::DONE_SHIFT)
                | (peek.map_or(Self::NO_FLAG, |peek| peek as u32) << Self::PEEK_SHIFT)
                | ((library & 0x3ff) << Self::LIBRARY_SHIFT),
        )
    }

    #[must_use]
    pub const fn ssl(self) -> u32 {
        self.0 & 15
    }

    #[must_use]
    pub const fn buffer(self) -> u32 {
        (self.0 >> Self::BUFFER_SHIFT) & 15
    }

    #[must_use]
    pub const fn length(self) -> u32 {
        (self.0 >> Self::LENGTH_SHIFT) & 15
    }

    #[must_use]
    pub const fn done(self) -> u32 {
        (self.0 >> Self::DONE_SHIFT) & 15
    }

    #[must_use]
    pub const fn peek(self) -> Option<u32> {
        match (self.0 >> Self::PEEK_SHIFT) & 15 {
            Self::NO_FLAG => None,
            register => Some(register),
        }
    }

    #[must_use]
    pub const fn library(self) -> u32 {
        (self.0 >> Self::LIBRARY_SHIFT) & 0x3ff
    }
}

/// Bits of a probe's cookie that say what its program wants to know of the place, for stacks with programs of their
/// own; the library's index stands above them.
pub const PLACE_BITS: u32 = 21;

/// Where a finished read of Go's `crypto/tls` is found at a probe: the register with the number of bytes, and how far
/// the return address stands above the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GoPlace(pub u32);

impl GoPlace {
    const FRAME_SHIFT: u32 = 4;

    /// `None` for frames that are no whole number of words, or too large.
    #[must_use]
    pub fn new(register: u32, frame: u64) -> Option<Self> {
        let words = u32::try_from(frame / 8).ok()?;
        let fits = frame.is_multiple_of(8) && register < 16 && words < 1 << (PLACE_BITS - Self::FRAME_SHIFT);
        fits.then_some(Self(register | words << Self::FRAME_SHIFT))
    }

    #[must_use]
    pub const fn register(self) -> u32 {
        self.0 & 15
    }

    /// Bytes.
    #[must_use]
    pub const fn frame(self) -> u64 {
        8 * ((self.0 & ((1 << PLACE_BITS) - 1)) >> Self::FRAME_SHIFT) as u64
    }
}

/// Where a record of rustls stands at a probe, and the trait object that seals the connection's records: registers by their numbers in x86-64's instruction encodings, 4 for the
/// stack pointer, and distances from what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordPlace {
    pub object_register: u64,
    pub object_offset: i64,
    pub message_register: u64,
    pub message_offset: i64,
    /// From the object to the count of records in this direction.
    pub count_distance: i64,
    /// What the count is there when the first record under a key passes.
    pub first: u64,
    /// How messages lie in memory: one of the constants below.
    pub form: u64,
}

impl RecordPlace {
    /// rustls 0.23.
    pub const SLICES: u64 = 0;
    /// rustls 0.20 to 0.22.
    pub const BUFFER: u64 = 1;
}

/// What a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CallResult {
    /// The number of bytes, as `int`; not positive on failure (`SSL_read`).
    Count = 0,
    /// Positive on success, the number of bytes by pointer; 0 at the orderly end (a method table's functions).
    ByPointer = 1,
    /// As before, but 0 means any failure (`SSL_read_ex`).
    ByPointerOrZero = 2,
    /// The number of bytes, as `ssize_t`, of the call whose content type is application data: the register that would
    /// hold `done` holds the type. What a sender was refused with one of [`record::RETRIED`] is taken all the same, and
    /// counts when it is called again with the same buffer, or with none (GnuTLS).
    Record = 3,
}

/// TLS records as GnuTLS's functions name them.
pub mod record {
    /// `application_data` (RFC 8446 section 5.1).
    pub const APPLICATION_DATA: u8 = 23;
    /// `GNUTLS_E_AGAIN`, `GNUTLS_E_INTERRUPTED` of `gnutls.h`.
    pub const RETRIED: [i32; 2] = [-28, -52];
    /// `GNUTLS_NAME_DNS` of `gnutls.h`.
    pub const NAME_DNS: u32 = 1;
}

/// General registers, numbered as in x86-64 instruction encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Register {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// Which register holds which argument at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArgumentRegisters {
    pub ssl: Register,
    pub buffer: Register,
    pub length: Register,
    pub done: Register,
}

impl ArgumentRegisters {
    /// System V x86-64 ABI: rdi, rsi, rdx, rcx.
    pub const SYSTEM_V: Self =
        Self { ssl: Register::Rdi, buffer: Register::Rsi, length: Register::Rdx, done: Register::Rcx };
}

/// Cookie of the sites that end or name a connection: what the function does, and its library.
pub mod fact {
    pub const FREED: u32 = super::end::FREED;
    pub const SHUT_DOWN: u32 = super::end::SHUT_DOWN;
    pub const CLEARED: u32 = super::end::CLEARED;
    /// `SSL_ctrl(ssl, cmd, larg, parg)`.
    pub const CONTROL: u32 = 8;
    /// `SSL_set_tlsext_host_name(ssl, name)` where it is a function (BoringSSL).
    pub const HOST_NAME: u32 = 9;
    /// `gnutls_server_name_set(session, type, name, length)`.
    pub const TYPED_NAME: u32 = 10;
    /// Bits of the cookie that hold one of these; the library's index stands above them.
    pub const MASK: u32 = 15;
    pub const LIBRARY_SHIFT: u32 = 4;
}

/// The upper half of a cookie where the kernel has 64 bits for it: whose the link is. 0 speaks always.
pub mod reach {
    /// The link stops one process alone.
    pub const ALONE: u32 = 1;
    /// The file's number, from 1, stands above.
    pub const FILE_SHIFT: u32 = 1;
}

/// `SSL_CTRL_SET_TLSEXT_HOSTNAME` of OpenSSL's `tls1.h`.
pub const CTRL_SET_TLSEXT_HOSTNAME: u32 = 55;

const _: () = {
    assert!(size_of::<Data>() == 40);
    assert!(size_of::<Open>() == 48 + 16 + LIBRARY_NAME);
    assert!(size_of::<Name>() == 16 + SERVER_NAME);
    assert!(size_of::<End>() == 40);
    assert!(size_of::<Lost>() == 32);
    assert!(size_of::<Peer>() == 40);
    assert!(size_of::<Process>() == 72 + FILE_NAME);
    assert!(size_of::<Target>() == 24);
    assert!(size_of::<ConnectionId>() == 16);
    assert!(size_of::<Connection>() == 56);
    assert!(size_of::<Calls>() == 56 + NESTED_CALLS * 72);
    assert!(size_of::<CgroupId>() == 16);
    assert!(size_of::<RecordPlace>() == 56);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_gives_back_what_it_was_made_of() {
        let moved = ArgumentRegisters { done: Register::R8, ..ArgumentRegisters::SYSTEM_V };
        let cookie = Cookie::new(direction::RECEIVE, CallResult::ByPointerOrZero, moved, 1023);
        assert_eq!(cookie.direction(), direction::RECEIVE);
        assert_eq!(cookie.result(), CallResult::ByPointerOrZero as u32);
        assert_eq!(
            (cookie.ssl(), cookie.buffer(), cookie.length(), cookie.done()),
            (Register::Rdi as u32, Register::Rsi as u32, Register::Rdx as u32, Register::R8 as u32)
        );
        assert_eq!(cookie.library(), 1023);
        assert!(!cookie.is_plain());
        assert!(cookie.0 < 1 << 31);
        assert!(Cookie::new(1, CallResult::ByPointer, ArgumentRegisters::SYSTEM_V, 7).is_plain());
    }
}
