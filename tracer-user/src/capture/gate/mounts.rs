//! Which file systems a mount namespace shows, and which of them the gate does not watch yet.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    os::{fd::RawFd, unix::ffi::OsStringExt as _},
    path::PathBuf,
};

/// File systems from which nothing is executed, or whose files may come from a server that does not answer: a look at
/// such a file must not become a wait.
const LEFT_OUT: [&str; 28] = [
    "9p",
    "afs",
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "ceph",
    "cgroup",
    "cgroup2",
    "cifs",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfs",
    "nfs4",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smb3",
    "sysfs",
    "tracefs",
];

/// A mount: its number, the kernel's number of its file system, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    pub device: u32,
    pub point: PathBuf,
}

/// The mounts that `mountinfo` (proc(5)) tells of.
pub fn of(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (place, source) = line.split_once(" - ")?;
        let kind = source.split(' ').next()?;
        if LEFT_OUT.contains(&kind) || kind.starts_with("fuse") {
            return None;
        }
        let mut place = place.split(' ');
        let id = place.next()?.parse().ok()?;
        let (major, minor) = place.nth(1)?.split_once(':')?;
        let device = number(major.parse().ok()?, minor.parse().ok()?);
        let point = place.nth(1)?;
        Some(Mount { id, device, point: unescaped(point) })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Devices of the file systems that a fanotify group watches, from `/proc/PID/fdinfo/FD`.
pub fn watched(fdinfo: &str) -> HashSet<u32> {
    let device = |line: &str| {
        let number = line.strip_prefix("fanotify sdev:")?.split(' ').next()?;
        u32::from_str_radix(number, 16).ok()
    };
    fdinfo.lines().filter_map(device).collect()
}

/// The mount that a descriptor of this process stands on.
pub fn of_descriptor(fd: RawFd) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// As the kernel numbers devices inside: 20 bits of minor number.
fn number(major: u32, minor: u32) -> u32 {
    major << 20 | minor
}

/// `\040` and the like stand for characters that separate (proc(5)).
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Text of the mounts of process `pid`.
pub fn text(pid: u32) -> Option<String> {
    fs::read(format!("/proc/{pid}/mountinfo")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_can_hold_programs_are_told() {
        let text = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
24 22 254:0 /x /a\\040b rw - ext4 /dev/vda rw
25 22 0:300 / /m\\134n\\011 rw master:1 - overlay overlay rw,lowerdir=/l
26 22 0:44 / /net rw - nfs4 server:/ rw
27 22 0:45 / /f rw - fuse.sshfs x rw
nonsense
";
        let found = of(text);
        let wanted = [(22, 254 << 20, "/"), (24, 254 << 20, "/a b"), (25, 300, "/m\\n\t")];
        assert_eq!(found, wanted.map(|(id, device, point)| Mount { id, device, point: point.into() }));
    }

    #[test]
    fn watched_file_systems_are_read() {
        let text = "pos:\t0\nflags:\t02\nfanotify flags:4 event-flags:80000\n\
                    fanotify sdev:fe00000 mflags:100 mask:40000 ignored_mask:0\n\
                    fanotify sdev:12c mflags:100 mask:40000 ignored_mask:0\n";
        assert_eq!(watched(text), HashSet::from([254 << 20, 300]));
    }
}
