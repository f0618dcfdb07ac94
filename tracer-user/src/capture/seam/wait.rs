//! Waiting for several things at once: descriptors, signals, the end of processes.

#![expect(unsafe_code, reason = "poll, signalfd and pidfd_open")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Waits until one of `fds` is readable (or its other side is gone) or `timeout` is over; tells which are, in order.
pub fn poll(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    // poll counts milliseconds; a shorter wait must not become a busy loop.
    let timeout = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX));
    // SAFETY: `entries` is a live array of the length given.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(entries.iter().map(|entry| ready > 0 && entry.revents != 0).collect())
}

/// Signals that arrive as data on a descriptor (signalfd(2)) instead of interrupting.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks `signals` in this thread (and in threads and children made later) and opens a descriptor for them.
    pub fn watch(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: the set is a plain value that the calls fill and read; the new descriptor is owned here alone.
        unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// The next signal that waits.
    pub fn next(&self) -> Option<i32> {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut info = unsafe { std::mem::zeroed::<libc::signalfd_siginfo>() };
        let size = size_of_val(&info);
        // SAFETY: the buffer is `size` bytes long.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        (read == size.cast_signed()).then_some(info.ssi_signo.cast_signed())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Leaves `signals` to others: this process does not react to them any more.
pub fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: SIG_IGN is a valid disposition for every signal that is passed here.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Passes `signal` on to a process that this one has started.
pub fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: integer arguments only.
    if unsafe { libc::kill(pid.cast_signed(), signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor that becomes readable when process `pid` ends (pidfd_open(2), Linux 5.3).
pub fn process_end(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: integer arguments only; the new descriptor is owned here alone.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as i32)),
        }
    }
}

/// Terminal `fd`: its width in columns, when it is one.
pub fn terminal_columns(fd: BorrowedFd<'_>) -> Option<usize> {
    // SAFETY: the structure is plain, and the call writes at most its size.
    unsafe {
        let mut size = std::mem::zeroed::<libc::winsize>();
        (libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 && size.ws_col > 0)
            .then_some(usize::from(size.ws_col))
    }
}

/// What local time is ahead of UTC now, seconds (localtime_r(3)).
pub fn local_offset() -> i64 {
    // SAFETY: both pointers are to live values; this runs before any thread starts.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local = std::mem::zeroed::<libc::tm>();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() { 0 } else { local.tm_gmtoff }
    }
}
