//! Every cap that both sides share.

/// Payload sizes of data records, bytes. A piece takes the smallest class that holds it, so that a 40-byte token
/// does not occupy a 16 KiB slot of the ring.
pub const CLASSES: [usize; 5] = [64, 256, 1024, 4096, 16_384];

/// Payload of one full piece, bytes: also the largest TLS record (RFC 8446 section 5.1).
pub const PIECE: usize = CLASSES[CLASSES.len() - 1];

/// Full pieces copied per call. The verifier of 6.18 walks the copy loop once per turn: 256 turns load on every
/// kernel from 5.8 to 7.2, 1,024 do not.
pub const PIECES_PER_CALL: usize = 256;

/// Bytes copied per call at most: 4 MiB and one tail. What is longer is counted and reported as a gap.
pub const CALL_BYTES: u64 = (PIECES_PER_CALL * PIECE) as u64;

/// Calls of one thread that may be under way inside each other (TLS inside TLS inside …).
pub const NESTED_CALLS: usize = 4;

/// How far below an outer call's frame, bytes, an inner one may stand to be taken for a call on the same stack.
pub const NESTED_WINDOW: u64 = 8 * 1024;

/// The same where both frames stand on the thread's own stack, which begins at a known place but may be small: user-level
/// stacks can lie right below it. Runtimes call back into scripts from inside a TLS call, some 10 KiB deeper.
pub const OWN_NESTED_WINDOW: u64 = 64 * 1024;

/// How far below its top a stack pointer may stand, bytes, to belong to the main thread's stack: half of the gap
/// that the kernel keeps free below it (`mmap_base`, at least 128 MiB).
pub const MAIN_STACK_WINDOW: u64 = 64 << 20;

/// The same for other threads, measured from the thread pointer, which libc places at the stack's top.
pub const THREAD_STACK_WINDOW: u64 = 1 << 20;

/// Traced processes.
pub const TARGETS: u32 = 65_536;

/// Connections whose offsets the kernel side remembers; the least recently used make room.
pub const CONNECTIONS: u32 = 32_768;

/// Connections of which user space has said how far they need not be copied; the least recently used make room.
pub const UNREAD: u32 = 4096;

/// A connection looks for what was said of it whenever it has come past a multiple of so many bytes, as a power of two:
/// seldom enough for what is looked up to cost nothing beside the copies.
pub const UNREAD_STEP: u32 = 14;

/// Sends that wait to be called again, where the library takes the bytes at the first call.
pub const REFUSED_SENDS: u32 = 1024;

/// Threads with a call under way or behind them.
pub const THREADS: u32 = 32_768;

/// Hooked library files that a record can name.
pub const LIBRARIES: u32 = 1024;

/// Places where rustls seals or opens a record, of all hooked programs; each has some five, and releases share them.
pub const RECORD_PLACES: u32 = 4096;

/// Hooked files whose hooks can change between all processes and the traced ones alone; those beyond stop all.
pub const REACHES: u32 = 1024;

/// Slices that a record of rustls is gathered from at most: hyper offers 64 to a write.
pub const RECORD_SLICES: u64 = 64;
/// The number of what stands for a library where there is none; names of others do not reach it.
pub const PLAINTEXT_LIBRARY: u32 = LIBRARIES - 1;

/// Buffers read of one system call that sends or receives several.
pub const VECTORS: usize = 64;

/// cgroups selected by `--cgroup`.
pub const CGROUPS: u32 = 64;

/// Levels of the cgroup tree walked up from a task's cgroup to a selected one.
pub const CGROUP_DEPTH: usize = 32;

/// Bytes of a library's name in a record.
pub const LIBRARY_NAME: usize = 40;

/// Bytes of a server name (RFC 1035 section 2.3.4 allows 253).
pub const SERVER_NAME: usize = 256;

/// Bytes of an executable's path in a record.
pub const FILE_NAME: usize = 128;

/// A wake-up of the ring's reader costs more than a whole hook: at most one in this many nanoseconds. A reader that
/// was woken looks again by itself until [`RING_SETTLE_NS`] have passed without a record.
pub const WAKE_INTERVAL_NS: u64 = 5_000_000;

/// The same while more than a quarter of the ring waits for its reader.
pub const URGENT_WAKE_INTERVAL_NS: u64 = 500_000;

/// How long after its last record a reader must keep looking before it may sleep until the next wake-up: five times
/// the interval, so that a record committed late by a preempted program is not forgotten.
pub const RING_SETTLE_NS: u64 = 5 * WAKE_INTERVAL_NS;
