//! The root directory as a process sees it: paths of other mount namespaces, resolved so that none leads outside.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// A root directory. Symbolic links are followed inside it: what a process has put into its files cannot make us open
/// others (openat2(2), Linux 5.6).
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Our own.
    pub fn own() -> io::Result<Self> {
        Self::at("/")
    }

    /// That of process `pid`. Needs CAP_SYS_PTRACE for the processes of others.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::at(&format!("/proc/{pid}/root"))
    }

    pub(in crate::capture) fn at(path: &str) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let directory = libc::O_PATH | libc::O_DIRECTORY;
        Ok(Self(std::fs::OpenOptions::new().read(true).custom_flags(directory).open(path)?.into()))
    }

    /// Opens an ordinary file or directory for reading. Relative paths begin at the root.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
    }

    /// A handle of a path, with which nothing is read and no automatic mount is made.
    pub fn handle(&self, path: &Path) -> io::Result<File> {
        self.open_with(path, libc::O_PATH)
    }

    #[expect(unsafe_code, reason = "openat2(2) has no wrapper")]
    fn open_with(&self, path: &Path, flags: i32) -> io::Result<File> {
        #[repr(C)]
        struct How {
            flags: u64,
            mode: u64,
            resolve: u64,
        }
        let path = CString::new(path.as_os_str().as_bytes())?;
        let how = How {
            flags: u64::from((flags | libc::O_CLOEXEC).cast_unsigned()),
            mode: 0,
            resolve: libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
        };
        // SAFETY: the path ends in NUL and the structure has the size given; both live during the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_openat2, self.0.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<How>())
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nothing else owns.
        Ok(unsafe { File::from_raw_fd(fd as RawFd) })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/passwd"), "inside").unwrap();
        for (name, to) in [("absolute", "/etc/passwd"), ("up", "../../../../../../etc/passwd"), ("gone", "/bin/sh")] {
            symlink(to, folder.path().join(name)).unwrap();
        }
        symlink("/proc/self/root/etc/passwd", folder.path().join("magic")).unwrap();
        let root = Root::at(folder.path().to_str().unwrap()).unwrap();
        for name in ["absolute", "up", "/etc/passwd", "/up"] {
            assert_eq!(io::read_to_string(root.open(Path::new(name)).unwrap()).unwrap(), "inside", "{name}");
        }
        assert!(root.open(Path::new("gone")).is_err());
        assert!(root.open(Path::new("magic")).is_err());
    }
}
