//! Reads the ring of events, in a process that needs no privileges for it, and makes [`Event`]s of the records.

use std::{
    collections::{BTreeMap, HashMap},
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tracer_common::{
    event::{Data, End, Lost, Name, Open, Peer, Process as ProcessRecord, direction as wire, end, kind, lifecycle},
    limits::{RING_SETTLE_NS, SERVER_NAME, WAKE_INTERVAL_NS},
};

use super::{ClosedBy, Connection, ConnectionKey, Direction, Event, Process, clock::Clock, order::Order};

/// Records read per call of [`RingReader::drain`] at most.
const BATCH: usize = 4096;
/// Payload bytes copied per call at most; one record may exceed it.
const BATCH_BYTES: usize = 4 << 20;
/// Connections remembered at most. The oldest is closed to make room.
const MAX_CONNECTIONS: usize = 65_536;

/// The only reader of the ring.
pub struct RingReader {
    ring: RingBuf<MapData>,
    order: Order,
    decoder: Decoder,
    last_record: Instant,
}

impl RingReader {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, order: Order::default(), decoder: Decoder::new(), last_record: Instant::now() }
    }

    /// Appends what the ring holds, up to a bound per call; false when the ring was found empty.
    pub fn drain(&mut self, out: &mut Vec<Event>) -> bool {
        self.decoder.clock.renew();
        if self.order.is_waiting() {
            self.order.expire(|record| self.decoder.record(record, out));
        }
        let mut left = BATCH_BYTES;
        for _ in 0..BATCH {
            let Some(item) = self.ring.next() else { return false };
            self.last_record = Instant::now();
            self.order.push(&item, |record| self.decoder.record(record, out));
            left = left.saturating_sub(item.len());
            if left == 0 {
                break;
            }
        }
        true
    }

    /// Appends what waits for the end of a write: nothing more is to come.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.order.finish(|record| self.decoder.record(record, out));
    }

    /// After how long to look again without being woken; `None`: wait until the descriptor is readable. The programs
    /// wake the reader only once in a while, since waking costs the traced thread more than a hook.
    #[must_use]
    pub fn look_again(&self) -> Option<Duration> {
        let settling = self.last_record.elapsed() < Duration::from_nanos(RING_SETTLE_NS);
        (settling || self.order.is_waiting()).then_some(Duration::from_nanos(WAKE_INTERVAL_NS))
    }

    /// Nobody will read a connection's bytes before these offsets, of what is sent and of what is received: those that
    /// [`super::Tracer::leave_unread`] keeps from being copied are no loss.
    pub fn leave_unread(&mut self, key: ConnectionKey, until: [u64; 2]) {
        if let Some(state) = self.decoder.connections.get_mut(&key.0) {
            state.unread = until;
        }
    }

    /// Data records and payload bytes seen so far.
    #[must_use]
    pub fn seen(&self) -> (u64, u64) {
        self.decoder.seen
    }

    /// Records whose bytes made no sense; 0 unless the two sides disagree.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.decoder.malformed
    }
}

impl AsFd for RingReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// What is known of one connection.
struct State {
    tgid: u32,
    facts: Connection,
    /// [`Event::Open`] was told. It waits for the first bytes, so that the server name is in it.
    told: bool,
    closed: bool,
    /// This side has sent its close_notify.
    said_goodbye: bool,
    /// Where the next piece begins if nothing was lost, by direction.
    next: [u64; 2],
    /// Before which nobody reads, by direction.
    unread: [u64; 2],
    /// Time of the last event: none is told before it.
    last: u64,
}

struct Decoder {
    clock: Clock,
    /// By the kernel's number, which rises with time.
    connections: BTreeMap<u64, State>,
    processes: HashMap<u32, Vec<u64>>,
    malformed: u64,
    /// Data records, payload bytes.
    seen: (u64, u64),
}

impl Decoder {
    fn new() -> Self {
        Self {
            clock: Clock::new(),
            connections: BTreeMap::new(),
            processes: HashMap::new(),
            malformed: 0,
            seen: (0, 0),
        }
    }

    fn record(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let done = match bytes.first_chunk().map(|kind| u32::from_ne_bytes(*kind)) {
            Some(kind::DATA) => self.data(bytes, out),
            Some(kind::OPEN) => read(bytes).map(|record| self.open(&record, out)),
            Some(kind::NAME) => read(bytes).map(|record| self.name(&record)),
            Some(kind::PEER) => read(bytes).map(|record| self.peer(&record)),
            Some(kind::END) => read(bytes).map(|record| self.end(&record, out)),
            Some(kind::LOST) => read(bytes).map(|record| self.lost(&record, out)),
            Some(kind::PROCESS) => read(bytes).map(|record| self.process(&record, out)),
            _ => None,
        };
        if done.is_none() {
            self.malformed += 1;
        }
    }

    fn open(&mut self, record: &Open, out: &mut Vec<Event>) {
        if self.connections.len() >= MAX_CONNECTIONS
            && let Some((key, mut state)) = self.connections.pop_first()
        {
            state.close(key, state.last, ClosedBy::Unknown, out);
            if let Some(keys) = self.processes.get_mut(&state.tgid) {
                keys.retain(|known| *known != key);
            }
        }
        let key = record.connection;
        let id = format!("{}-{}-{:x}-{:x}", record.tgid, record.exec_count, record.ssl, key);
        let text = |bytes: &[u8]| Some(text(bytes)).filter(|text| !text.is_empty()).map(Arc::from);
        let facts = Connection {
            id: id.into(),
            pid: Some(record.tgid),
            tid: Some(record.tid),
            comm: text(&record.comm),
            tls: text(&record.library),
            ..Connection::default()
        };
        let state = State {
            tgid: record.tgid,
            facts,
            told: false,
            closed: false,
            said_goodbye: false,
            next: [0; 2],
            unread: [0; 2],
            last: 0,
        };
        if self.connections.insert(key, state).is_none() {
            self.processes.entry(record.tgid).or_default().push(key);
        }
    }

    fn name(&mut self, record: &Name) {
        let name = &record.name[..(record.length as usize).min(SERVER_NAME)];
        if let Some(state) = self.connections.get_mut(&record.connection) {
            state.facts.sni = Some(text(name)).filter(|name| !name.is_empty()).map(Arc::from);
        }
    }

    fn peer(&mut self, record: &Peer) {
        let [high, low] = record.address.map(u64::to_ne_bytes);
        let address = if record.is_v6 == 0 {
            let [a, b, c, d, ..] = high;
            IpAddr::from([a, b, c, d])
        } else {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&high);
            bytes[8..].copy_from_slice(&low);
            IpAddr::from(bytes).to_canonical()
        };
        if let Some(state) = self.connections.get_mut(&record.connection) {
            state.facts.peer = Some(SocketAddr::new(address, record.port as u16).to_string().into());
        }
    }

    fn data(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Option<()> {
        let record: Data = read(bytes)?;
        let payload = bytes.get(size_of::<Data>()..)?.get(..record.length as usize)?;
        self.seen.0 += 1;
        self.seen.1 += u64::from(record.length);
        let at = self.clock.unix(record.time);
        let key = record.connection;
        let (direction, index) = direction(record.direction);
        // Announced before its data, unless it had to make room.
        let state = self.connections.get_mut(&key)?;
        let at = state.begin(key, at, out);
        if state.closed {
            return Some(());
        }
        state.reach(key, at, index, record.offset, out);
        state.next[index] = record.offset + u64::from(record.length);
        let bytes = Bytes::copy_from_slice(payload);
        out.push(Event::Data { at, key: ConnectionKey(key), direction, offset: record.offset, bytes });
        Some(())
    }

    fn lost(&mut self, record: &Lost, out: &mut Vec<Event>) {
        let at = self.clock.unix(record.time);
        let key = record.connection;
        let (direction, index) = direction(record.direction);
        let Some(state) = self.connections.get_mut(&key) else { return };
        let at = state.begin(key, at, out);
        if state.closed {
            return;
        }
        state.reach(key, at, index, record.offset, out);
        out.push(Event::Gap { at, key: ConnectionKey(key), direction, offset: record.offset, lost: 0 });
    }

    fn end(&mut self, record: &End, out: &mut Vec<Event>) {
        let cause = record.cause & !end::BESIDE_WRITE;
        let key = record.connection;
        let at = self.clock.unix(record.time);
        let Some(state) = self.connections.get_mut(&key) else { return };
        if !state.closed {
            for index in 0..2 {
                if record.offsets[index] > state.next[index] {
                    let at = state.begin(key, at, out);
                    state.reach(key, at, index, record.offsets[index], out);
                }
            }
            match cause {
                // Only this side has said goodbye: the answer may still come (RFC 8446 section 6.1).
                end::SHUT_DOWN => state.said_goodbye = true,
                end::PEER_CLOSED => state.close(key, at, ClosedBy::Peer, out),
                end::RESET => state.close(key, at, ClosedBy::Reset, out),
                _ => state.close(key, at, ClosedBy::Local, out),
            }
        }
        // After the peer's or the own goodbye the object lives on.
        if matches!(cause, end::FREED | end::CLEARED | end::RESET) {
            let tgid = state.tgid;
            self.connections.remove(&key);
            if let Some(keys) = self.processes.get_mut(&tgid) {
                keys.retain(|known| *known != key);
            }
        }
    }

    fn process(&mut self, record: &ProcessRecord, out: &mut Vec<Event>) {
        let at = self.clock.unix(record.time);
        if matches!(record.what, lifecycle::EXEC | lifecycle::EXIT) {
            for key in self.processes.remove(&record.tgid).unwrap_or_default() {
                if let Some(mut state) = self.connections.remove(&key) {
                    let by = if state.said_goodbye { ClosedBy::Local } else { ClosedBy::Exit };
                    state.close(key, at, by, out);
                }
            }
        }
        if matches!(record.what, lifecycle::FORK | lifecycle::EXEC) {
            let process = Process {
                pid: record.tgid,
                ppid: (record.parent != 0).then_some(record.parent),
                start: (record.start != 0).then(|| self.clock.unix(record.start)),
                exe: Some(text(&record.file)).filter(|file| !file.is_empty()).map(Arc::from),
                uid: Some(record.uid),
                ..Process::default()
            };
            out.push(Event::Process { at, process: Arc::new(process) });
        }
    }
}

impl State {
    /// Tells of the connection before its first event, and keeps time from running backwards.
    fn begin(&mut self, key: u64, at: u64, out: &mut Vec<Event>) -> u64 {
        self.last = self.last.max(at);
        if !self.told {
            self.told = true;
            let connection = Arc::new(self.facts.clone());
            out.push(Event::Open { at: self.last, key: ConnectionKey(key), connection });
        }
        self.last
    }

    /// Tells what was left unread or lost before `offset`.
    fn reach(&mut self, key: u64, at: u64, index: usize, offset: u64, out: &mut Vec<Event>) {
        let from = self.next[index];
        if offset > from {
            let direction = if index == wire::SEND as usize { Direction::Send } else { Direction::Receive };
            let lost = self.unread[index].clamp(from, offset);
            let key = ConnectionKey(key);
            if lost > from {
                out.push(Event::Unread { at, key, direction, offset: from, bytes: lost - from });
            }
            if offset > lost {
                out.push(Event::Gap { at, key, direction, offset: lost, lost: offset - lost });
            }
            self.next[index] = offset;
        }
    }

    fn close(&mut self, key: u64, at: u64, by: ClosedBy, out: &mut Vec<Event>) {
        if self.told && !self.closed {
            self.last = self.last.max(at);
            out.push(Event::Close { at: self.last, key: ConnectionKey(key), by });
        }
        self.closed = true;
    }
}

fn direction(wire: u32) -> (Direction, usize) {
    if wire & wire::MASK == wire::SEND { (Direction::Send, 0) } else { (Direction::Receive, 1) }
}

/// Types that any bytes make a valid value of.
///
/// # Safety
/// Every bit pattern must be valid, and the type must have no padding and no pointers.
#[expect(unsafe_code, reason = "a promise about layouts")]
pub(super) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($record:ty)*) => { $(
        #[expect(unsafe_code, reason = "a promise about layouts")]
        // SAFETY: integers and arrays of bytes in a `repr(C)` structure without padding (sizes are asserted).
        unsafe impl Plain for $record {}
    )* };
}

plain!(Data Open Name Peer End Lost ProcessRecord);

/// Copies a record out of the ring, whose alignment is 8.
#[expect(unsafe_code, reason = "records are read as the kernel side wrote them")]
pub(super) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: exactly `size_of::<T>()` bytes are copied, and `Plain` types are valid whatever they hold.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast::<u8>(), bytes.len());
        Some(value.assume_init())
    }
}

/// The text before the first zero byte.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
