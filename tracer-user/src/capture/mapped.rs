//! Files as processes have mapped them.

use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{perf::Mapping, root::Root};

/// One file, whatever path or mount shows it. An overlay shows a lower layer's file under device numbers of its own,
/// but with the inode number and times of the file underneath, which is where probes go; so the device is no part of
/// the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    pub(super) inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileKey {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether two states of one file differ in its name, owner or the like only.
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }
}

/// An executable mapping of a file, from a line of `/proc/PID/maps`.
pub(super) fn mapping(pid: u32, line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let path = fields.next()?.trim_start();
    if permissions.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
        return None;
    }
    let number = |text| u64::from_str_radix(text, 16).ok();
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some(Mapping { pid, start: number(start)?, end: number(end)?, inode, device, path: path.into() })
}

/// Opens a mapped file: by the mapping itself, which finds it also when it was deleted or replaced and cannot lead
/// elsewhere; else by its name under the process's root, if that is the same file.
pub(super) fn open(mapping: &Mapping) -> Option<File> {
    let Mapping { pid, start, end, path, inode, .. } = mapping;
    let direct = || File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let named = || Root::of(*pid)?.open(Path::new(path));
    let file = direct().or_else(|_| named()).or_else(|_| File::open(path)).ok()?;
    (file.metadata().ok()?.ino() == *inode).then_some(file)
}
