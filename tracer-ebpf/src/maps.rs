//! Maps and the globals that user space sets at load.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
use tracer_common::{
    counter::Counter,
    event::{Calls, CgroupId, Connection, ConnectionId, RecordPlace, Target},
    limits::{CGROUPS as MAX_CGROUPS, CONNECTIONS as MAX_CONNECTIONS, LIBRARIES as MAX_LIBRARIES, LIBRARY_NAME},
    limits::{REACHES, RECORD_PLACES as MAX_RECORD_PLACES, REFUSED_SENDS as MAX_REFUSED_SENDS},
    limits::{TARGETS as MAX_TARGETS, THREADS as MAX_THREADS, UNREAD as MAX_UNREAD},
};

/// TLS data, facts about connections, and the lives of targets, in one order: read by the unprivileged half. The
/// size is set at load.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Lives of processes, for the half that attaches.
#[map]
pub static PROCESSES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

#[map]
pub static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(MAX_TARGETS, 0);

#[map]
pub static CONNECTIONS: LruHashMap<ConnectionId, Connection> = LruHashMap::with_max_entries(MAX_CONNECTIONS, 0);

/// By a connection's number, up to which offset its bytes need not be copied, by direction. User space writes here rather
/// than into [`CONNECTIONS`], whose values change under its hands.
#[map]
pub static UNREAD: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(MAX_UNREAD, 0);

/// Address and length of what a sender was refused for now, though it is taken.
#[map]
pub static REFUSED_SENDS: LruHashMap<ConnectionId, [u64; 2]> = LruHashMap::with_max_entries(MAX_REFUSED_SENDS, 0);

/// Counts the changes that user space makes to [`TARGETS`], from 1: a thread's memory of its target is good as long as
/// the number is the same.
#[map]
pub static GENERATION: Array<u64> = Array::with_max_entries(1, 0);

/// By `bpf_get_current_pid_tgid`; removed when the thread ends or execs.
#[map]
pub static THREADS: HashMap<u64, Calls> = HashMap::with_max_entries(MAX_THREADS, 0);

/// What a thread starts with: too large for the stack beside everything else.
#[map]
pub static NO_CALLS: Array<Calls> = Array::with_max_entries(1, 0);

#[map]
pub static LIBRARIES: Array<[u8; LIBRARY_NAME]> = Array::with_max_entries(MAX_LIBRARIES, 0);

/// By the number in the cookie of a probe.
#[map]
pub static RECORD_PLACES: Array<RecordPlace> = Array::with_max_entries(MAX_RECORD_PLACES, 0);

/// Which links of a hooked file speak, by the file's number: 0 those that stand for every process, 1 those of single
/// ones. Both stand while one kind takes the other's place, and a call must count once.
#[map]
pub static REACH: Array<u32> = Array::with_max_entries(REACHES, 0);

#[map]
pub static CGROUPS: HashMap<CgroupId, u8> = HashMap::with_max_entries(MAX_CGROUPS, 0);

#[map]
pub static COUNTERS: Array<u64> = Array::with_max_entries(Counter::ALL.len() as u32, 0);

/// TCP ports whose plaintext is taken, a bit each.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// When the reader of [`EVENTS`] was last woken, `CLOCK_BOOTTIME`.
#[map]
pub static LAST_WAKE: Array<u64> = Array::with_max_entries(1, 0);

/// 1: every process that is not excluded is a target.
#[unsafe(no_mangle)]
pub static TRACE_ALL: Global<u32> = Global::new(0);

/// 1: exec of any process is told to the privileged half, not only of targets.
#[unsafe(no_mangle)]
pub static NOTICE_ALL: Global<u32> = Global::new(0);

/// 1: rare decisions are logged through aya-log. 0 lets the verifier remove the code.
#[unsafe(no_mangle)]
pub static LOG: Global<u32> = Global::new(0);

/// A quarter of the size of [`EVENTS`], bytes: the reader is woken when so much waits.
#[unsafe(no_mangle)]
pub static RING_MARK: Global<u64> = Global::new(2 << 20);

/// Field offsets in this kernel's structures, from its BTF.
pub mod offsets {
    use aya_ebpf::Global;

    macro_rules! offsets {
        ($($name:ident)*) => { $(#[unsafe(no_mangle)] pub static $name: Global<u32> = Global::new(0);)* };
    }

    offsets! {
        TASK_PID TASK_TGID TASK_SIGNAL TASK_REAL_PARENT TASK_START_BOOTTIME TASK_GROUP_LEADER TASK_MM TASK_FSBASE
        SIGNAL_LIVE MM_START_STACK BPRM_FILENAME
        SOCK_FAMILY SOCK_PORTS SOCK_PEER SOCK_PEER_V6 SOCK_PROTOCOL SOCK_SHUTDOWN SOCK_SOCKET SOCKET_INODE
        CGROUP_SELF CGROUP_KN CGROUP_ROOT CSS_PARENT KN_ID ROOT_HIERARCHY_ID
    }
}

/// Adds to a counter, as the one instruction that every kernel has: Rust's atomics return the old value, which needs
/// a 5.12 kernel.
#[inline(always)]
pub fn count(counter: Counter, amount: u64) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map value is 8 bytes, aligned, and lives as long as the program runs.
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) cell, in(reg) amount) };
    }
}
