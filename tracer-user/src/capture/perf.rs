//! Perf events: the one source of news about executable mappings that needs neither tracefs nor a probe.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// `struct perf_event_attr` up to version 5 (112 bytes).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_registers: u64,
    sample_stack: u32,
    clock: i32,
    sample_registers_interrupt: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            kind: 0,
            size: size_of::<Self>() as u32,
            config: 0,
            sample_period: 0,
            sample_type: 0,
            read_format: 0,
            flags: 0,
            wakeup_events: 0,
            breakpoint_type: 0,
            config1: 0,
            config2: 0,
            branch_sample_type: 0,
            sample_registers: 0,
            sample_stack: 0,
            clock: 0,
            sample_registers_interrupt: 0,
            aux_watermark: 0,
            sample_max_stack: 0,
            reserved: 0,
        }
    }
}

impl Attributes {
    /// A uprobe in a file. `path` must live until the event is open.
    #[must_use]
    pub fn uprobe(kind: u32, path: &std::ffi::CStr, offset: u64) -> Self {
        Self { kind, config1: path.as_ptr() as u64, config2: offset, ..Self::default() }
    }
}

/// Opens an event for all processes on one CPU.
#[expect(unsafe_code, reason = "perf_event_open(2) has no wrapper in libc")]
pub fn open(attributes: &Attributes, cpu: i32) -> io::Result<OwnedFd> {
    const CLOSE_ON_EXEC: libc::c_ulong = 8;
    // SAFETY: the structure tells its own size, and its pointers are valid during the call.
    let result =
        unsafe { libc::syscall(libc::SYS_perf_event_open, std::ptr::from_ref(attributes), -1, cpu, -1, CLOSE_ON_EXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_DUMMY: u64 = 9;
const FLAG_MMAP: u64 = 1 << 8;
const FLAG_WATERMARK: u64 = 1 << 14;
const FLAG_MMAP2: u64 = 1 << 23;
const RECORD_LOST: u32 = 2;
const RECORD_MMAP2: u32 = 10;
/// Pages of one CPU's buffer, a power of two. A record is about 100 bytes.
const PAGES: usize = 16;

/// An executable mapping was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub pid: u32,
    pub start: u64,
    pub end: u64,
    pub inode: u64,
    pub device: (u32, u32),
    /// As the process names it, in its own root.
    pub path: String,
}

/// One CPU's mappings, as they are made.
pub struct MappingWatch {
    event: OwnedFd,
    memory: NonNull<u8>,
    length: usize,
    page: usize,
}

#[expect(unsafe_code, reason = "the mapping belongs to the value alone")]
// SAFETY: the mapping is reached through `&mut self` only and does not depend on the thread.
unsafe impl Send for MappingWatch {}

impl MappingWatch {
    /// Watches every online CPU.
    pub fn on_all_cpus() -> io::Result<Vec<Self>> {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
        cpus(online.trim()).map(Self::open).collect()
    }

    #[expect(unsafe_code, reason = "mmap(2)")]
    fn open(cpu: i32) -> io::Result<Self> {
        let attributes = Attributes {
            kind: PERF_TYPE_SOFTWARE,
            config: PERF_COUNT_SW_DUMMY,
            flags: FLAG_MMAP | FLAG_MMAP2 | FLAG_WATERMARK,
            wakeup_events: 1,
            ..Attributes::default()
        };
        let event = open(&attributes, cpu)?;
        // SAFETY: no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let length = page * (PAGES + 1);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new shared mapping of an open descriptor at an address of the kernel's choice.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, event.as_raw_fd(), 0) };
        let memory = match NonNull::new(memory.cast::<u8>()) {
            Some(memory) if memory.as_ptr().cast() != libc::MAP_FAILED => memory,
            _ => return Err(io::Error::last_os_error()),
        };
        Ok(Self { event, memory, length, page })
    }

    /// Readable when something was mapped.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Takes what was mapped. The result is false when records were lost.
    #[expect(unsafe_code, reason = "the buffer is shared with the kernel")]
    pub fn drain(&mut self, out: &mut Vec<Mapping>) -> bool {
        // Offsets of `data_head` and `data_tail` in `struct perf_event_mmap_page`.
        const HEAD: usize = 1024;
        const TAIL: usize = 1032;
        let size = self.length - self.page;
        let base = self.memory.as_ptr();
        // SAFETY: both words are 8-byte aligned inside the first page, and both sides use them atomically.
        let (head, tail) =
            unsafe { (AtomicU64::from_ptr(base.add(HEAD).cast()), AtomicU64::from_ptr(base.add(TAIL).cast())) };
        let end = head.load(Ordering::Acquire);
        let mut at = tail.load(Ordering::Relaxed);
        let mut whole = true;
        let mut record = Vec::with_capacity(256);
        while at < end {
            let copy = |from: u64, length: usize, to: &mut Vec<u8>| {
                to.clear();
                for index in 0..length {
                    let position = (from as usize + index) % size;
                    // SAFETY: `position` lies inside the data pages, and the kernel does not write before `tail`
                    // has moved past.
                    to.push(unsafe { base.add(self.page + position).read() });
                }
            };
            copy(at, 8, &mut record);
            let length = usize::from(u16::from_ne_bytes([record[6], record[7]]));
            if length < 8 || at + length as u64 > end {
                whole = false;
                at = end;
                break;
            }
            copy(at, length, &mut record);
            match word(&record, 0) {
                RECORD_MMAP2 => out.extend(mapping(&record)),
                RECORD_LOST => whole = false,
                _ => {}
            }
            at += length as u64;
        }
        tail.store(at, Ordering::Release);
        whole
    }
}

impl Drop for MappingWatch {
    #[expect(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this length and is not used afterwards.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.length) };
    }
}

fn word(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn long(record: &[u8], at: usize) -> u64 {
    record.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// `PERF_RECORD_MMAP2` as perf_event.h lays it out; none for memory without a file.
fn mapping(record: &[u8]) -> Option<Mapping> {
    let name = record.get(72..)?;
    let name = &name[..memchr::memchr(0, name)?];
    if name.first() != Some(&b'/') || name.starts_with(b"//") {
        return None;
    }
    let start = long(record, 16);
    Some(Mapping {
        pid: word(record, 8),
        start,
        end: start + long(record, 24),
        device: (word(record, 40), word(record, 44)),
        inode: long(record, 48),
        path: String::from_utf8_lossy(name).into_owned(),
    })
}

/// Numbers of a list such as `0-3,8`.
fn cpus(list: &str) -> impl Iterator<Item = i32> + '_ {
    list.split(',').flat_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<i32>(), last.parse::<i32>()) {
            (Ok(first), Ok(last)) => first..last + 1,
            _ => 0..0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpus("0-3,8").collect::<Vec<_>>(), [0, 1, 2, 3, 8]);
        assert_eq!(cpus("0").collect::<Vec<_>>(), [0]);
        assert_eq!(cpus("").count(), 0);
    }

    #[test]
    fn a_mapping_record_is_read_and_one_without_a_file_is_not() {
        let record = |name: &[u8]| {
            let mut record = vec![0_u8; 72];
            record[..4].copy_from_slice(&RECORD_MMAP2.to_ne_bytes());
            record[8..12].copy_from_slice(&42_u32.to_ne_bytes());
            record[16..24].copy_from_slice(&0x7f00_0000_u64.to_ne_bytes());
            record[24..32].copy_from_slice(&0x1000_u64.to_ne_bytes());
            record[48..56].copy_from_slice(&77_u64.to_ne_bytes());
            record.extend(name);
            record.push(0);
            record
        };
        let read = mapping(&record(b"/lib/libssl.so.3")).unwrap();
        assert_eq!((read.pid, read.start, read.end, read.inode), (42, 0x7f00_0000, 0x7f00_1000, 77));
        assert_eq!(read.path, "/lib/libssl.so.3");
        assert_eq!(mapping(&record(b"//anon")), None);
        assert_eq!(mapping(&record(b"[vdso]")), None);
        assert_eq!(mapping(&record(b"/x")[..72]), None);
    }
}
