//! Starts the traced command, held until hooks stand, and the half that parses.

#![expect(unsafe_code, reason = "fork, exec and wait")]

use std::{
    ffi::{CString, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{User, close_others};

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("{}: command not found", .0.display())]
    NotFound(PathBuf),
    #[error("{}: cannot be executed ({source})", program.display())]
    NotExecutable { program: PathBuf, source: io::Error },
    #[error("{0}: holds a NUL byte")]
    Nul(&'static str),
    #[error("cannot start the command: {0}")]
    Start(#[from] io::Error),
}

impl LaunchError {
    /// As env(1): 127 not found, 126 found and not executable, 125 our own failure.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } => 126,
            Self::Nul(_) | Self::Start(_) => 125,
        }
    }
}

/// What to start.
#[derive(Debug)]
pub struct Command {
    pub arguments: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    /// Become this user first; `None` stays who we are.
    pub user: Option<User>,
}

/// A child that waits, before its exec, for [`Held::release`].
#[derive(Debug)]
pub struct Held {
    pub pid: u32,
    /// The file that it will execute.
    pub program: PathBuf,
    go: File,
    failure: File,
}

/// A child in its exec.
#[derive(Debug)]
pub struct Starting {
    pid: u32,
    program: PathBuf,
    failure: File,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Exited(u8),
    Signalled(i32),
}

impl Status {
    /// The status that a shell would show: 128+n for signal n.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl Command {
    /// Forks the child that will become the command.
    pub fn hold(&self) -> Result<Held, LaunchError> {
        let program = self.program()?;
        let path = c_string(program.as_os_str().as_bytes(), "the command's path")?;
        let arguments = self
            .arguments
            .iter()
            .map(|argument| c_string(argument.as_bytes(), "an argument"))
            .collect::<Result<Vec<_>, _>>()?;
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat(), "the environment"))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments_array, environment_array) = (pointers(&arguments), pointers(&environment));
        let (go_read, go) = pipe()?;
        let (failure, failure_write) = pipe()?;

        // SAFETY: this process has one thread here, so the child may run ordinary code; it only makes system calls on
        // memory prepared above, and leaves by exec or _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error().into()),
            0 => {
                drop((go, failure));
                // SAFETY: as above; the arrays end with a null pointer and outlive the call.
                let errno = unsafe {
                    become_command(&go_read, self.user.as_ref(), || {
                        libc::execve(path.as_ptr(), arguments_array.as_ptr(), environment_array.as_ptr());
                    })
                };
                // SAFETY: four bytes of a live integer; then the child ends without running our destructors.
                unsafe {
                    libc::write(failure_write.as_raw_fd(), (&raw const errno).cast(), size_of::<i32>());
                    libc::_exit(127)
                }
            }
            pid => Ok(Held { pid: pid.cast_unsigned(), program, go: go.into(), failure: failure.into() }),
        }
    }

    /// The file to execute: as execvp(3) searches, in the PATH of the command's own environment.
    fn program(&self) -> Result<PathBuf, LaunchError> {
        let Some(name) = self.arguments.first() else { return Err(LaunchError::NotFound(PathBuf::new())) };
        if name.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(name));
        }
        let default = OsString::from("/usr/local/bin:/usr/bin:/bin");
        let path = self.environment.iter().find(|(key, _)| key == "PATH").map_or(&default, |(_, value)| value);
        let mut refused = None;
        for directory in path.as_bytes().split(|byte| *byte == b':') {
            let directory = if directory.is_empty() { b".".as_slice() } else { directory };
            let candidate = Path::new(&OsString::from_vec(directory.to_vec())).join(name);
            if is_executable(&candidate) {
                return Ok(candidate);
            }
            if candidate.is_file() {
                refused = Some(candidate);
            }
        }
        Err(match refused {
            Some(program) => LaunchError::NotExecutable { program, source: io::ErrorKind::PermissionDenied.into() },
            None => LaunchError::NotFound(PathBuf::from(name)),
        })
    }
}

impl Held {
    /// Lets the child go on to its exec.
    pub fn release(mut self) -> io::Result<Starting> {
        self.go.write_all(&[1])?;
        Ok(Starting { pid: self.pid, program: self.program, failure: self.failure })
    }
}

impl AsFd for Starting {
    /// Readable when the outcome is known.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.failure.as_fd()
    }
}

impl Starting {
    /// The child's PID once its exec has succeeded. Waits for that.
    pub fn outcome(mut self) -> Result<u32, LaunchError> {
        let mut errno = [0; 4];
        match self.failure.read(&mut errno)? {
            // The descriptor closes on exec.
            0 => Ok(self.pid),
            _ => {
                reap(self.pid)?;
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                Err(match error.kind() {
                    io::ErrorKind::NotFound => LaunchError::NotFound(self.program),
                    _ => LaunchError::NotExecutable { program: self.program, source: error },
                })
            }
        }
    }
}

/// What the command gets back.
static DESCRIPTORS: OnceLock<libc::rlimit> = OnceLock::new();

/// Hooks take descriptors; the usual limit of 1,024 is for programs that use select(2).
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live structure. Where it cannot be raised, there are fewer hooks.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && DESCRIPTORS.set(limit).is_ok() {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Forks the half that parses. `None` in that half, its PID in the other.
pub fn fork_parser() -> io::Result<Option<u32>> {
    // SAFETY: called while the process has one thread, so the child may go on with ordinary code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid.cast_unsigned())),
    }
}

/// Forks a process that has nothing to do but close all descriptors once the caller has ended, while what `meanwhile` gives
/// is alive. Whether that could be done; then the caller's own copies keep nothing alive.
pub fn close_behind<T>(meanwhile: impl FnOnce() -> T) -> bool {
    /// Milliseconds. A caller that lives on has its own copies as long as it wants.
    const PATIENCE: libc::c_int = 5_000;
    let Ok((ended, ours)) = io::pipe() else { return false };
    // SAFETY: the child makes system calls and allocates; the C library frees the allocator's locks in it. It never
    // leaves this block.
    match unsafe { libc::fork() } {
        -1 => false,
        0 => {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                drop(ours);
                let mut entry = libc::pollfd { fd: ended.as_raw_fd(), events: 0, revents: 0 };
                // SAFETY: integer arguments, and a live array of one entry. The terminal's signals are for others, and who
                // reads the caller's output waits for its end; whoever closes the rest last waits for the kernel, and that
                // is to be this process.
                unsafe {
                    libc::setsid();
                    for fd in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
                        libc::close(fd);
                    }
                    libc::poll(&raw mut entry, 1, PATIENCE);
                }
                let guard = meanwhile();
                let _ = close_others(&[]);
                drop(guard);
            }));
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        _ => {
            // The end of the process closes it.
            std::mem::forget(ours);
            true
        }
    }
}

/// Waits until child `pid` has ended.
pub fn reap(pid: u32) -> io::Result<Status> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live integer for the call to write.
        if unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) } >= 0 {
            return Ok(if libc::WIFSIGNALED(status) {
                Status::Signalled(libc::WTERMSIG(status))
            } else {
                Status::Exited(libc::WEXITSTATUS(status) as u8)
            });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The child's part until exec; returns the error number of what failed.
///
/// # Safety
/// Only in a freshly forked child.
unsafe fn become_command(go: &OwnedFd, user: Option<&User>, exec: impl FnOnce()) -> i32 {
    let mut byte = 0_u8;
    // SAFETY: one byte of a live integer; the rest takes integers, or a pointer with its length.
    unsafe {
        // llmtap itself ignores or watches these; an ignored signal would stay ignored after exec.
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if let Some(limit) = DESCRIPTORS.get() {
            libc::setrlimit(libc::RLIMIT_NOFILE, limit);
        }
        // 0 bytes: llmtap died before it said go.
        if libc::read(go.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
            return libc::ECANCELED;
        }
        if let Some(user) = user
            && (libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0
                || libc::setresgid(user.gid, user.gid, user.gid) != 0
                || libc::setresuid(user.uid, user.uid, user.uid) != 0)
        {
            return *libc::__errno_location();
        }
        exec();
        *libc::__errno_location()
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for the two descriptors that the call writes; they are then owned here alone.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn c_string(bytes: &[u8], what: &'static str) -> Result<CString, LaunchError> {
    CString::new(bytes).map_err(|_| LaunchError::Nul(what))
}
