//! Remembers on disk where hooks go in large executables, so that the next start need not read them.
//!
//! The tracer is privileged, and the files that it examines are anybody's. A wrong place could harm the program that it
//! is put into, so nobody else may have a say in what is found here: the folder belongs to the tracer's user alone, and
//! an entry counts only for the very file that it was made from: same device, inode, size and times, of which the last
//! change cannot be set by the file's owner. A build ID is part of the key, never all of it, since any file can carry
//! any build ID. Devices without a number of their own (overlays, network and FUSE mounts) are left out: theirs are
//! given to others later.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::locate::Hooks;

/// To be raised whenever the search for hooks changes what it finds.
const SEARCH: u32 = 4;
/// Entries kept; beyond, the oldest go.
const MAX_ENTRIES: usize = 256;
/// Largest entry, bytes; usual ones have 1,500.
const MAX_ENTRY: u64 = 16 << 10;

/// A folder of entries. Without one that is safe, nothing is remembered.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    key: Key,
    hooks: Hooks,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    search: u32,
    version: String,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Key {
    fn of(metadata: &Metadata) -> Option<Self> {
        (libc::major(metadata.dev()) != 0).then(|| Self {
            search: SEARCH,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn name(&self) -> Option<String> {
        let digest = Sha256::digest(serde_json::to_vec(self).ok()?);
        Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Cache {
    /// The folder of this user: `/var/cache/llmtap` for root, else as the XDG Base Directory Specification says.
    pub(super) fn of_user() -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = if is_root {
            Some(PathBuf::from("/var/cache"))
        } else {
            absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
        };
        base.map_or(Self { folder: None }, |base| Self::in_folder(&base.join("llmtap")))
    }

    fn in_folder(path: &Path) -> Self {
        // There already, or it cannot be made: opening tells.
        let _ = DirBuilder::new().mode(0o700).create(path);
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
            .ok()
            .filter(|folder| folder.metadata().is_ok_and(|metadata| is_ours_alone(&metadata)));
        Self { folder }
    }

    /// What was found in the file that `metadata` describes.
    pub(super) fn find(&self, metadata: &Metadata) -> Option<Hooks> {
        let key = Key::of(metadata)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(&key.name()?)?)
            .ok()?;
        let entry = file.metadata().ok()?;
        if !entry.is_file() || !is_ours_alone(&entry) || entry.len() > MAX_ENTRY {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_ENTRY).read_to_end(&mut bytes).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.key == key).then_some(record.hooks)
    }

    /// Remembers, as well as it goes: the next start finds it out anew otherwise.
    pub(super) fn keep(&self, metadata: &Metadata, hooks: &Hooks) {
        if let Err(error) = self.write(metadata, hooks) {
            tracing::debug!("the places of hooks are not remembered: {error}");
        }
    }

    fn write(&self, metadata: &Metadata, hooks: &Hooks) -> io::Result<()> {
        let Some(key) = Key::of(metadata) else { return Ok(()) };
        let paths = key
            .name()
            .and_then(|name| Some((self.path(&format!("{name}.{}", std::process::id()))?, self.path(&name)?)));
        let Some((new, path)) = paths else { return Ok(()) };
        let bytes = serde_json::to_vec(&Record { key, hooks: hooks.clone() })?;
        if bytes.len() as u64 > MAX_ENTRY {
            return Ok(());
        }
        self.make_room()?;
        // Seen whole or not at all.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&new)?;
        let written = file.write_all(&bytes).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn make_room(&self) -> io::Result<()> {
        let Some(folder) = self.path("") else { return Ok(()) };
        let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        entries.sort();
        let surplus = (entries.len() + 1).saturating_sub(MAX_ENTRIES);
        entries.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// A name in the folder that was opened, whatever its path leads to by now.
    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(format!("/proc/self/fd/{}/{name}", self.folder.as_ref()?.as_raw_fd())))
    }
}

/// Ours, and nobody else can write to it.
fn is_ours_alone(metadata: &Metadata) -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == metadata.uid()) && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::capture::locate::Stripped;

    fn hooks() -> Hooks {
        Hooks {
            library: "boringssl".into(),
            stripped: Some(Stripped { returns: Some(vec![1, 2]), beside: None }),
            ..Hooks::default()
        }
    }

    /// A file that can be remembered, unless the machine keeps its files on a device without a number.
    fn file(folder: &Path) -> Option<Metadata> {
        let path = folder.join("program");
        fs::write(&path, "x").unwrap();
        let metadata = fs::metadata(path).unwrap();
        Key::of(&metadata).is_some().then_some(metadata)
    }

    #[test]
    fn the_same_file_is_known_again_and_a_changed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let Some(metadata) = file(folder.path()) else { return };
        let cache = Cache::in_folder(&folder.path().join("cache"));
        assert_eq!(cache.find(&metadata), None);
        cache.keep(&metadata, &hooks());
        assert_eq!(cache.find(&metadata), Some(hooks()));
        fs::write(folder.path().join("program"), "xy").unwrap();
        assert_eq!(cache.find(&fs::metadata(folder.path().join("program")).unwrap()), None);
    }

    #[test]
    fn a_folder_that_others_can_write_to_or_that_is_a_link_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Cache::in_folder(&open).folder.is_none());
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&open, folder.path().join("link")).unwrap();
        assert!(Cache::in_folder(&folder.path().join("link")).folder.is_none());
        assert!(Cache::in_folder(&open).folder.is_some());
    }

    #[test]
    fn an_entry_that_is_a_link_or_damaged_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let Some(metadata) = file(folder.path()) else { return };
        let cache = Cache::in_folder(&folder.path().join("cache"));
        cache.keep(&metadata, &hooks());
        let entry = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
        let moved = folder.path().join("moved");
        fs::rename(&entry, &moved).unwrap();
        symlink(&moved, &entry).unwrap();
        assert_eq!(cache.find(&metadata), None);
        fs::remove_file(&entry).unwrap();
        fs::write(&entry, "{").unwrap();
        assert_eq!(cache.find(&metadata), None);
    }

    #[test]
    fn the_folder_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let Some(metadata) = file(folder.path()) else { return };
        let path = folder.path().join("cache");
        let cache = Cache::in_folder(&path);
        for number in 0..MAX_ENTRIES + 20 {
            fs::write(path.join(number.to_string()), "").unwrap();
        }
        cache.keep(&metadata, &hooks());
        assert_eq!(fs::read_dir(&path).unwrap().count(), MAX_ENTRIES);
        assert_eq!(cache.find(&metadata), Some(hooks()));
    }
}
