//! Whose files and whose command: the calling user, also under sudo.

#![expect(unsafe_code, reason = "the user database and file-system ids have no safe interface in std")]

use std::{
    ffi::{CStr, CString, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
};

/// A user, with what starting a program as that user needs.
#[derive(Debug, Clone)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub name: Option<CString>,
    pub home: Option<CString>,
    pub shell: Option<CString>,
    /// llmtap was started by sudo, and this is who called it.
    pub by_sudo: bool,
}

impl User {
    /// `SUDO_UID` and `SUDO_GID` when root was reached by sudo, else the real user of this process.
    pub fn calling() -> Self {
        // SAFETY: these calls have no preconditions and cannot fail.
        let (uid, gid, effective) = unsafe { (libc::getuid(), libc::getgid(), libc::geteuid()) };
        let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
        match (effective, number("SUDO_UID"), number("SUDO_GID")) {
            (0, Some(uid), Some(gid)) if uid != 0 => Self::of(uid, gid, true),
            _ => Self::of(uid, gid, false),
        }
    }

    fn of(uid: u32, gid: u32, by_sudo: bool) -> Self {
        let mut user = Self { uid, gid, groups: vec![gid], name: None, home: None, shell: None, by_sudo };
        // SAFETY: getpwuid returns null or a record that stays valid until the next call; this runs before any thread
        // starts, and every string is copied at once.
        unsafe {
            let record = libc::getpwuid(uid);
            if let Some(record) = record.as_ref() {
                let copy = |text: *const libc::c_char| (!text.is_null()).then(|| CStr::from_ptr(text).to_owned());
                user.name = copy(record.pw_name);
                user.home = copy(record.pw_dir);
                user.shell = copy(record.pw_shell);
            }
        }
        if let Some(name) = &user.name {
            let mut groups = vec![0; 256];
            let mut count = 256;
            // SAFETY: `name` is a C string, `groups` has room for `count` entries; the call writes at most that many.
            let known = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
            if known >= 0 {
                groups.truncate(usize::try_from(count).unwrap_or(0));
                user.groups = groups;
            }
        }
        user
    }

    /// The environment for a command of this user. Under sudo it is the one that the user called sudo with, read from
    /// the sudo process among our ancestors, since sudo itself keeps only little of it.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        if !self.by_sudo {
            return std::env::vars_os().collect();
        }
        if let Some(environment) = self.environment_of_sudo() {
            return environment;
        }
        let mut environment: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| !name.as_bytes().starts_with(b"SUDO_"))
            .filter(|(name, _)| !matches!(name.as_bytes(), b"HOME" | b"USER" | b"LOGNAME" | b"SHELL" | b"MAIL"))
            .collect();
        for (name, value) in
            [("HOME", &self.home), ("USER", &self.name), ("LOGNAME", &self.name), ("SHELL", &self.shell)]
        {
            if let Some(value) = value {
                environment.push((name.into(), OsString::from_vec(value.to_bytes().to_vec())));
            }
        }
        environment
    }

    fn environment_of_sudo(&self) -> Option<Vec<(OsString, OsString)>> {
        // SAFETY: getppid has no preconditions.
        let mut pid = unsafe { libc::getppid() };
        // sudo can stand above itself (its monitor of a terminal); the outermost one was started by the user.
        let mut found = None;
        for _ in 0..8 {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            if exe.file_name().is_some_and(|name| name == "sudo") {
                found = fs::read(format!("/proc/{pid}/environ")).ok();
            } else if found.is_some() {
                // Its parent must belong to the user who is said to have called it.
                let owner = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
                return (owner == self.uid).then(|| parse_environment(&found.unwrap_or_default()));
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            pid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            if pid <= 1 {
                break;
            }
        }
        found.map(|bytes| parse_environment(&bytes))
    }
}

fn parse_environment(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let pair = |entry: &[u8]| {
        let at = memchr::memchr(b'=', entry).filter(|at| *at > 0)?;
        let (name, value) = entry.split_at(at);
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
    };
    bytes.split(|byte| *byte == 0).filter_map(pair).collect()
}

/// The name of a user in the machine's own list, `/etc/passwd`. Containers have lists of their own, which do not count.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    // Not by the C library: it may ask a server, and a process may be waiting for us.
    let list = fs::read_to_string("/etc/passwd").ok()?;
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Runs `action` (opening or creating a file) with the file-system rights of `user`, so that what it makes belongs to
/// that user and nothing is reached that the user could not reach (setfsuid(2)).
pub fn as_user<T>(user: &User, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !user.by_sudo {
        return action();
    }
    // SAFETY: integer arguments only; the calls concern this thread alone and are undone below.
    let before = unsafe { (libc::setfsgid(user.gid), libc::setfsuid(user.uid)) };
    let result = action();
    // SAFETY: as above.
    unsafe {
        libc::setfsuid(before.1.cast_unsigned());
        libc::setfsgid(before.0.cast_unsigned());
    }
    result
}
