//! The keeper's own process. Nothing in it waits for anybody: it reads what the kernel asks, looks into the set of
//! targets, and answers.

#![expect(unsafe_code, reason = "fork, fanotify and their kin")]

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Keeper, PATIENCE, ToKeeper, ToTracer, called};
use crate::capture::{
    rcu,
    seam::{Channel, close_others, ignore, keep_for_tracing, process_end},
    target::{Choice, Names, Start, Targets},
};

/// What the gate asks about of whole file systems.
const PROGRAMS: u64 = libc::FAN_OPEN_EXEC_PERM;

/// Programs that may wait at the same time; more go on at once.
const MAX_HELD: usize = 1024;

/// Containers that are known to run nothing that is traced. Past it all are asked about again.
const MAX_REFUSED: usize = 4096;

/// Whose programs are held.
pub struct Who<'a> {
    pub targets: &'a Targets,
    /// All but the excluded are targets.
    pub all: bool,
    /// What becomes a target by being executed.
    pub names: &'a Names,
}

/// Whether programs can be held here.
pub fn check() -> io::Result<()> {
    group().map(drop)
}

fn group() -> io::Result<OwnedFd> {
    let (content, close) = (libc::FAN_CLASS_CONTENT, libc::FAN_CLOEXEC | libc::FAN_NONBLOCK);
    let unlimited = libc::FAN_UNLIMITED_QUEUE | libc::FAN_UNLIMITED_MARKS;
    let opened = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE).cast_unsigned();
    // SAFETY: integer arguments only.
    let group = unsafe { libc::fanotify_init(content | close | unlimited, opened) };
    if group < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    let group = unsafe { OwnedFd::from_raw_fd(group) };
    // Whether such events are known and allowed shows with the first mark. It stands on a directory, which nobody
    // executes.
    mark(&group, libc::FAN_MARK_ADD, PROGRAMS, c"/")?;
    mark(&group, libc::FAN_MARK_REMOVE, PROGRAMS, c"/")?;
    Ok(group)
}

/// Forks the keeper.
pub fn start(theirs: Channel, who: Who<'_>) -> io::Result<Keeper> {
    let group = group()?;
    let number = group.as_raw_fd();
    let tracer = std::process::id();
    // SAFETY: the child runs on with a copy of everything; of locks that other threads may hold it takes the
    // allocator's only, which the C library frees in the child. It never leaves this block.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let kept = [number, theirs.as_fd().as_raw_fd(), who.targets.descriptor()];
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if close_others(&kept).is_ok() {
                    keep(group, &theirs, who, tracer);
                }
            }));
            // SAFETY: ends the process without running what belongs to the tracer.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(Keeper { pid: pid.cast_unsigned(), group: number }),
    }
}

/// Lets programs of the handle's file system be held, too. The tracer has the keeper's descriptor only for this moment:
/// as long as it has one, the kernel would wait for a keeper that is gone.
pub fn watch(keeper: &Keeper, handle: &File) -> io::Result<()> {
    let group = borrowed(keeper)?;
    let path = CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    mark(&group, libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM, PROGRAMS, &path)
}

/// Has the opening of these files asked about.
pub fn watch_modules(keeper: &Keeper, handles: &[File]) -> io::Result<()> {
    let group = borrowed(keeper)?;
    for handle in handles {
        let path = CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
        mark(&group, libc::FAN_MARK_ADD, libc::FAN_OPEN_PERM, &path)?;
    }
    Ok(())
}

/// Undoes that for one file.
pub fn forget_module(keeper: &Keeper, path: &str) -> io::Result<()> {
    mark(&borrowed(keeper)?, libc::FAN_MARK_REMOVE, libc::FAN_OPEN_PERM, &CString::new(path)?)
}

fn borrowed(keeper: &Keeper) -> io::Result<OwnedFd> {
    let process = process_end(keeper.pid)?;
    // SAFETY: integer arguments only.
    let group = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), keeper.group, 0) };
    if group < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(group as RawFd) })
}

/// Until the tracer is gone.
fn keep(group: OwnedFd, channel: &Channel, who: Who<'_>, tracer: u32) {
    // A terminal's signals are for the tracer; this process ends with it, and must not be stopped.
    ignore(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);
    // SAFETY: integer and constant string arguments. Each is a help, not a need.
    unsafe {
        libc::setsid();
        libc::setpriority(libc::PRIO_PROCESS, 0, -10);
        libc::prctl(libc::PR_SET_NAME, c"llmtap-keeper".as_ptr());
    }
    if keep_for_tracing().is_err() {
        return;
    }
    // SAFETY: constant paths; the descriptor is owned here alone.
    let open = |path: &CStr| unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let first = open(c"/proc/1/mountinfo");
    let mounts = if first < 0 { open(c"/proc/self/mountinfo") } else { first };
    let mut keeper = State { group, channel, who, tracer, held: BTreeMap::new(), refused: HashSet::new() };
    if channel.set_nonblocking().is_ok() {
        while keeper.turn(mounts).is_some() {}
    }
    // The tracer may have been killed in the middle of an attach.
    rcu::recover();
}

struct State<'a> {
    group: OwnedFd,
    channel: &'a Channel,
    who: Who<'a>,
    tracer: u32,
    /// Descriptors of programs that wait, and until when.
    held: BTreeMap<RawFd, Instant>,
    /// Containers in which nobody is chosen.
    refused: HashSet<Arc<str>>,
}

impl State<'_> {
    /// One wait and what came of it; `None` at the end.
    fn turn(&mut self, mounts: RawFd) -> Option<()> {
        let entry = |fd, events| libc::pollfd { fd, events, revents: 0 };
        let mut entries = [
            entry(self.group.as_raw_fd(), libc::POLLIN),
            entry(self.channel.as_fd().as_raw_fd(), libc::POLLIN),
            entry(mounts, libc::POLLPRI),
        ];
        let next = self.held.values().min().map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = next.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: a live array of three entries.
        unsafe { libc::poll(entries.as_mut_ptr(), 3, timeout) };
        let [asked, told, mounted] = entries.map(|entry| entry.revents != 0);
        if told {
            self.obey()?;
        }
        if mounted {
            self.channel.send(&ToTracer::Mounts).ok();
        }
        if asked {
            self.judge();
        }
        let now = Instant::now();
        let over: Vec<RawFd> = self.held.iter().filter(|(_, until)| **until <= now).map(|(fd, _)| *fd).collect();
        over.into_iter().for_each(|fd| self.release(fd));
        Some(())
    }

    fn obey(&mut self) -> Option<()> {
        while let Some(message) = self.channel.receive().ok()? {
            match message {
                ToKeeper::Release { fd } => self.release(fd),
                ToKeeper::Refuse { container } => {
                    if self.refused.len() >= MAX_REFUSED {
                        self.refused.clear();
                    }
                    self.refused.insert(container);
                }
                ToKeeper::AskAgain => self.refused.clear(),
            }
        }
        Some(())
    }

    /// Takes what the kernel asks.
    fn judge(&mut self) {
        const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
        let mut buffer = [0_u8; SIZE * 64];
        // SAFETY: the buffer is valid for its length.
        let length = unsafe { libc::read(self.group.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        let mut rest = buffer.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
        while rest.len() >= SIZE {
            // SAFETY: a plain structure, of which enough bytes are there; it need not be aligned.
            let event = unsafe { rest.as_ptr().cast::<libc::fanotify_event_metadata>().read_unaligned() };
            let size = (event.event_len as usize).max(SIZE);
            rest = rest.get(size..).unwrap_or_default();
            if event.fd < 0 {
                continue;
            }
            let pid = event.pid.cast_unsigned();
            let fd = event.fd;
            let question = if self.held.len() >= MAX_HELD {
                None
            } else if event.mask & PROGRAMS == 0 {
                self.is_target(pid).then_some(ToTracer::Opened { pid, fd })
            } else {
                match self.choice(pid, fd) {
                    Choice::No => None,
                    Choice::Yes => Some(ToTracer::Held { pid, fd, open: false }),
                    Choice::Ask => Some(ToTracer::Held { pid, fd, open: true }),
                    Choice::Open { container } => {
                        (!self.refused.contains(&container)).then_some(ToTracer::Held { pid, fd, open: true })
                    }
                }
            };
            if question.is_some_and(|question| self.channel.send(&question).is_ok()) {
                self.held.insert(event.fd, Instant::now() + PATIENCE);
            } else {
                self.allow(event.fd);
            }
        }
    }

    fn choice(&self, pid: u32, fd: RawFd) -> Choice {
        // Our own children are targets once they are added; a process of another PID namespace has no number here.
        if pid == 0 || pid == self.tracer {
            return Choice::No;
        }
        let state = self.who.targets.state(pid);
        if state == Some(true) {
            return Choice::No;
        }
        let is_target = self.who.all || state.is_some();
        if self.who.names.is_empty() {
            return if is_target { Choice::Yes } else { Choice::No };
        }
        self.who.names.choose(Start { pid, file: &path(fd), called: called(pid).as_deref(), is_target })
    }

    fn is_target(&self, pid: u32) -> bool {
        let known = self.who.targets.state(pid);
        pid != 0 && pid != self.tracer && known.map_or(self.who.all, |excluded| !excluded)
    }

    fn release(&mut self, fd: RawFd) {
        if self.held.remove(&fd).is_some() {
            self.allow(fd);
        }
    }

    fn allow(&self, fd: RawFd) {
        let response = libc::fanotify_response { fd, response: libc::FAN_ALLOW };
        // SAFETY: a live structure of the size given; `fd` came with the event and is owned here alone.
        unsafe {
            libc::write(self.group.as_raw_fd(), (&raw const response).cast(), size_of_val(&response));
            libc::close(fd);
        }
    }
}

fn path(fd: RawFd) -> PathBuf {
    std::fs::read_link(Path::new("/proc/self/fd").join(fd.to_string())).unwrap_or_default()
}

fn mark(group: &OwnedFd, flags: libc::c_uint, events: u64, path: &CStr) -> io::Result<()> {
    // SAFETY: the path lives during the call.
    let result = unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, events, libc::AT_FDCWD, path.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
