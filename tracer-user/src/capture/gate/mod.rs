//! Holds programs at their start until their hooks stand.
//!
//! A short program makes its calls before anybody who is told of it could hook its library. So the kernel is asked to
//! hold execve(2) while it opens the program (`FAN_OPEN_EXEC_PERM` of fanotify(7), Linux 5.0): nothing of the program
//! has run, the environment that it will get can be read, and so can its root directory. What it contains and what its
//! dynamic linker will find is hooked, then it goes on.
//!
//! The kernel asks about every exec on the machine, so the answer must not depend on anything that can be stopped. It
//! is given by a process that does nothing else, the keeper: at once for processes that are not traced, for traced ones
//! when the tracer says so or [`PATIENCE`] is over. When the tracer ends, however it does, so does the keeper, and the
//! kernel lets everything go.

mod exec;
mod keeper;
mod mounts;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use exec::{called, command_line, environment, search_variables};
pub use keeper::{Who, check};

use super::{
    root::Root,
    seam::{Channel, reap},
};

/// How long a traced program is held at most.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The host's init: llmtap runs in its PID namespace.
const FIRST: u32 = 1;

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
enum ToTracer {
    /// A traced process executes a file, which is the keeper's descriptor `fd`; or one of which it is `open` whether it is
    /// to be traced.
    Held { pid: u32, fd: RawFd, open: bool },
    /// A traced process opens a watched module, likewise.
    Opened { pid: u32, fd: RawFd },
    /// Something was mounted or unmounted in the first process's mount namespace.
    Mounts,
}

/// To the keeper.
#[derive(Debug, Serialize, Deserialize)]
enum ToKeeper {
    Release {
        fd: RawFd,
    },
    /// Nobody in this container is chosen.
    Refuse {
        container: Arc<str>,
    },
    /// That may have changed, for all containers.
    AskAgain,
}

/// A program or a module that waits for [`Gate::release`].
#[derive(Debug)]
pub struct HeldProgram {
    pub pid: u32,
    /// The process goes on as it is, and is about to load the file.
    pub is_module: bool,
    /// Whether it is to be traced must be said by who knows of its container.
    pub is_open: bool,
    fd: RawFd,
    keeper: u32,
}

impl HeldProgram {
    /// The file that is executed or opened, itself.
    pub fn open(&self) -> io::Result<File> {
        File::open(self.link())
    }

    /// Its path where it stands.
    pub fn path(&self) -> PathBuf {
        std::fs::read_link(self.link()).unwrap_or_default()
    }

    fn link(&self) -> String {
        format!("/proc/{}/fd/{}", self.keeper, self.fd)
    }
}

/// The tracer's end. Dropping it ends the keeper.
pub struct Gate {
    channel: Channel,
    // Dropped after the channel, which tells the keeper to end.
    keeper: Keeper,
}

/// The other process.
struct Keeper {
    pid: u32,
    /// Its descriptor of what it watches.
    group: RawFd,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = reap(self.pid);
    }
}

impl Gate {
    /// Starts the keeper, and watches the machine's file systems.
    ///
    /// # Errors
    /// Where the kernel or our privileges do not allow it (`CAP_SYS_ADMIN`, `CONFIG_FANOTIFY_ACCESS_PERMISSIONS`).
    pub fn new(who: Who<'_>) -> io::Result<Self> {
        // Nothing could be watched where openat2(2) is refused, as by systemd's RestrictSUIDSGID.
        Root::own().and_then(|root| root.handle(Path::new("/")))?;
        let (channel, theirs) = Channel::pair()?;
        let keeper = keeper::start(theirs, who)?;
        channel.set_nonblocking()?;
        let gate = Self { channel, keeper };
        gate.watch_machine();
        Ok(gate)
    }

    /// The next program that waits. An error: the keeper is gone.
    pub fn held(&self) -> io::Result<Option<HeldProgram>> {
        while let Some(message) = self.channel.receive()? {
            match message {
                ToTracer::Held { pid, fd, open } => {
                    return Ok(Some(HeldProgram { is_open: open, ..self.file(pid, fd, false) }));
                }
                ToTracer::Opened { pid, fd } => return Ok(Some(self.file(pid, fd, true))),
                ToTracer::Mounts => self.watch_machine(),
            }
        }
        Ok(None)
    }

    const fn file(&self, pid: u32, fd: RawFd, is_module: bool) -> HeldProgram {
        HeldProgram { pid, is_module, is_open: false, fd, keeper: self.keeper.pid }
    }

    /// Has the first traced process that opens one of these files wait. Each costs some microseconds, and those who are
    /// not traced a question to the keeper each time until then.
    pub fn watch_modules(&self, modules: &[File]) {
        // Some file systems cannot be watched: what lies there is hooked when it is mapped.
        let _ = keeper::watch_modules(&self.keeper, modules);
    }

    /// Lets the program go on. A module has been looked at, and is not asked about again.
    pub fn release(&self, program: HeldProgram) {
        // That of a keeper before ours went on when it ended.
        if program.keeper != self.keeper.pid {
            return;
        }
        if program.is_module {
            let _ = keeper::forget_module(&self.keeper, &program.link());
        }
        // Where that fails, the keeper is gone or its patience will be over.
        self.tell(&ToKeeper::Release { fd: program.fd });
    }

    /// Programs of this container are not asked about any more, until [`Gate::ask_again`].
    pub fn refuse(&self, container: &Arc<str>) {
        self.tell(&ToKeeper::Refuse { container: Arc::clone(container) });
    }

    pub fn ask_again(&self) {
        self.tell(&ToKeeper::AskAgain);
    }

    /// Watches what is mounted in the namespace of the first process, which sees other containers' file systems also where
    /// llmtap is in a container itself, and in our own.
    fn watch_machine(&self) {
        [FIRST, std::process::id()].into_iter().for_each(|pid| self.watch_mounts(pid));
    }

    /// Watches what is mounted in the namespace of process `pid`, as far as it is not watched yet: a container's
    /// overlay is a file system of its own, made after us.
    pub fn watch_mounts(&self, pid: u32) {
        let (Some(mounts), Ok(root)) = (mounts::text(pid), Root::of(pid)) else { return };
        let fdinfo = std::fs::read_to_string(format!("/proc/{}/fdinfo/{}", self.keeper.pid, self.keeper.group));
        let mut watched = mounts::watched(&fdinfo.unwrap_or_default());
        for mount in mounts::of(&mounts) {
            if watched.contains(&mount.device) {
                continue;
            }
            // While it is open, the mount is busy.
            let Ok(handle) = root.handle(&mount.point) else { continue };
            // Another mount may lie over it.
            if mounts::of_descriptor(handle.as_raw_fd()) == Some(mount.id) {
                watched.insert(mount.device);
                // Some file systems cannot be watched.
                let _ = keeper::watch(&self.keeper, &handle);
            }
        }
    }

    fn tell(&self, message: &ToKeeper) {
        if let Err(error) = self.channel.send(message) {
            tracing::debug!("the keeper was not told: {error}");
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
