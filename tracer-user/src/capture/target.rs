//! The set of targets as user space changes it. The tracepoints keep it from there.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::RawFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::maps::{Array, HashMap as BpfMap, MapData, MapError};
use globset::GlobMatcher;
use tracer_common::event::Target;

use super::load::incarnation;

/// Levels of a cgroup's subtree that are searched for processes.
const DEPTH: u32 = 32;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cgroup {path}: {error}: name a directory such as /sys/fs/cgroup/system.slice")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{0} is not in a cgroup file system: name a directory such as /sys/fs/cgroup/system.slice")]
    NotCgroup(PathBuf),
    #[error("cgroup {path}: {error}")]
    Map { path: PathBuf, error: MapError },
}

/// Whether a process that is about to execute a file is to be traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    No,
    Yes,
    /// Who knows more of this container must say, unless nobody in it is chosen.
    Open {
        container: Arc<str>,
    },
    /// Who knows more must say.
    Ask,
}

/// What is about to be executed.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub pid: u32,
    pub file: &'a Path,
    /// What the process calls the file.
    pub called: Option<&'a OsStr>,
    /// Whether the process is a target already, which it stays unless it is excluded.
    pub is_target: bool,
}

pub type Judge = Arc<dyn Fn(Start<'_>) -> Choice + Send + Sync>;

/// Executables that make a process a target.
#[derive(Clone, Default)]
pub struct Names {
    /// Of the command name, at most 15 bytes of the file's name.
    pub comms: Vec<GlobMatcher>,
    /// Of the path.
    pub exes: Vec<GlobMatcher>,
    /// Whatever else the process can be chosen by.
    pub judge: Option<Judge>,
}

impl Names {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.comms.is_empty() && self.exes.is_empty() && self.judge.is_none()
    }

    /// Whether a process that executes a file becomes, or stays, a target; its command name will be the end of what it
    /// calls the file.
    #[must_use]
    pub fn choose(&self, start: Start<'_>) -> Choice {
        let Start { file, called, is_target, .. } = start;
        match &self.judge {
            Some(judge) => judge(start),
            None if is_target
                || self.exes.iter().any(|pattern| pattern.is_match(file))
                || self.comms.iter().any(|pattern| pattern.is_match(comm(file, called))) =>
            {
                Choice::Yes
            }
            None => Choice::No,
        }
    }
}

/// The command name of a process that executes `file`, which it `called` so.
#[must_use]
pub fn comm(file: &Path, called: Option<&OsStr>) -> String {
    /// `TASK_COMM_LEN` without the NUL.
    const COMM: usize = 15;
    let name = called.map_or(file, Path::new).file_name().unwrap_or_default().as_encoded_bytes();
    String::from_utf8_lossy(name.get(..COMM).unwrap_or(name)).into_owned()
}

/// The maps behind the set. A target's value is, as words: incarnation, start, exec count and flags.
pub struct Targets {
    targets: BpfMap<MapData, u32, [u64; 3]>,
    cgroups: BpfMap<MapData, [u64; 2], u8>,
    /// Tells the programs that what they remember of targets is old.
    generation: Array<MapData, u64>,
    descriptor: RawFd,
}

impl Targets {
    /// `descriptor` is that of the first map.
    pub fn new(
        targets: BpfMap<MapData, u32, [u64; 3]>,
        cgroups: BpfMap<MapData, [u64; 2], u8>,
        generation: Array<MapData, u64>,
        descriptor: RawFd,
    ) -> Self {
        let mut targets = Self { targets, cgroups, generation, descriptor };
        targets.changed();
        targets
    }

    /// To be called after each change. It cannot fail on a map of one element.
    fn changed(&mut self) {
        let generation = self.generation.get(&0, 0).unwrap_or(0);
        let _ = self.generation.set(0, &(generation + 1), 0);
    }

    pub fn add(&mut self, tgid: u32) -> Result<(), MapError> {
        // One that the kernel side knows keeps its identity, and loses an exclusion.
        if let Ok([incarnation, start, last]) = self.targets.get(&tgid, 0) {
            let last = last & !(u64::from(Target::EXCLUDED) << 32);
            let added = self.targets.insert(&tgid, &[incarnation, start, last], 0);
            self.changed();
            return added;
        }
        self.targets.insert(&tgid, &[incarnation(), start_of(tgid).unwrap_or(0), 0], 0)
    }

    pub fn remove(&mut self, tgid: u32) {
        // It may have ended by itself.
        let _ = self.targets.remove(&tgid);
        self.changed();
    }

    pub fn exclude(&mut self, tgid: u32) {
        self.flag(tgid, Target::EXCLUDED);
    }

    pub fn allow_foreign_stacks(&mut self, tgid: u32) {
        if self.contains(tgid) {
            self.flag(tgid, Target::TAME_STACKS);
        }
    }

    fn flag(&mut self, tgid: u32, flag: u32) {
        let [incarnation, start, last] =
            self.targets.get(&tgid, 0).unwrap_or_else(|_| [incarnation(), start_of(tgid).unwrap_or(0), 0]);
        // The full table is counted by the kernel side.
        let _ = self.targets.insert(&tgid, &[incarnation, start, last | u64::from(flag) << 32], 0);
        self.changed();
    }

    /// Whether the process is traced.
    #[must_use]
    pub fn contains(&self, tgid: u32) -> bool {
        self.state(tgid) == Some(false)
    }

    /// Whether the process is excluded, if it is in the set.
    #[must_use]
    pub fn state(&self, tgid: u32) -> Option<bool> {
        let [.., last] = self.targets.get(&tgid, 0).ok()?;
        Some((last >> 32) as u32 & Target::EXCLUDED != 0)
    }

    /// The set's descriptor, for a process that keeps few.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.targets.keys().filter_map(Result::ok).filter(|tgid| self.contains(*tgid))
    }

    /// Makes every task that enters the cgroup or one below it a target.
    pub fn select_cgroup(&mut self, path: &Path) -> Result<(), CgroupError> {
        let unreadable = |error| CgroupError::Unreadable { path: path.into(), error };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        let path = path.canonicalize().map_err(unreadable)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(unreadable)?;
        let cgroups = fs::read_to_string("/proc/self/cgroup").map_err(unreadable)?;
        let Some(hierarchy) = hierarchy(&path, &mounts, &cgroups) else {
            return Err(CgroupError::NotCgroup(path));
        };
        let key = [metadata.ino(), u64::from(hierarchy)];
        self.cgroups.insert(&key, &1, 0).map_err(|error| CgroupError::Map { path, error })
    }
}

/// The number of the hierarchy that `path` lies in, 0 for the unified one: the mount names the controllers, the
/// process's own cgroups number them.
fn hierarchy(path: &Path, mountinfo: &str, cgroups: &str) -> Option<u32> {
    let (_, kind, options) = mountinfo
        .lines()
        .filter_map(|line| {
            let (place, source) = line.split_once(" - ")?;
            let mut source = source.split(' ');
            let (kind, options) = (source.next()?, source.nth(1)?);
            let point = place.split(' ').nth(4)?;
            (kind.starts_with("cgroup") && path.starts_with(point)).then_some((point.len(), kind, options))
        })
        .max_by_key(|(length, ..)| *length)?;
    if kind == "cgroup2" {
        return Some(0);
    }
    let mounted: Vec<&str> = options.split(',').collect();
    cgroups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (number, controllers) = (fields.next()?, fields.next()?);
        let own = !controllers.is_empty() && controllers.split(',').all(|controller| mounted.contains(&controller));
        own.then(|| number.parse().ok()).flatten()
    })
}

/// Processes in a cgroup directory and below.
pub fn processes_of(cgroup: &Path) -> Vec<u32> {
    fn walk(directory: &Path, depth: u32, found: &mut Vec<u32>) {
        if let Ok(list) = fs::read_to_string(directory.join("cgroup.procs")) {
            found.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|tgid| *tgid != 0));
        }
        let Ok(entries) = fs::read_dir(directory) else { return };
        if depth == 0 {
            return;
        }
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(cgroup, DEPTH, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

/// Start of a process in nanoseconds of the boot clock, to the precision of `/proc/PID/stat` (field 22, ticks).
fn start_of(tgid: u32) -> Option<u64> {
    const NANOSECONDS_PER_TICK: u64 = 10_000_000;
    let stat = fs::read_to_string(format!("/proc/{tgid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ticks * NANOSECONDS_PER_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    const CGROUPS: &str = "5:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";

    #[test]
    fn a_directory_tells_its_hierarchy() {
        let number = |path: &str| hierarchy(Path::new(path), MOUNTS, CGROUPS);
        assert_eq!(number("/sys/fs/cgroup/cpu,cpuacct/a/b"), Some(5));
        assert_eq!(number("/sys/fs/cgroup/systemd/user"), Some(1));
        assert_eq!(number("/sys/fs/cgroup/unified/a"), Some(0));
        assert_eq!(number("/tmp"), None);
    }

    #[test]
    fn names_are_those_of_the_file_and_of_the_command() {
        let pattern = |text: &str| globset::Glob::new(text).unwrap().compile_matcher();
        let names =
            Names { comms: vec![pattern("a-long-name-of-*")], exes: vec![pattern("/opt/*/bin/tool")], judge: None };
        let matches = |file: &str, called: &str| {
            let start = Start { pid: 1, file: Path::new(file), called: Some(called.as_ref()), is_target: false };
            names.choose(start) == Choice::Yes
        };
        assert!(matches("/usr/bin/python3.11", "./a-long-name-of-a-command"));
        assert!(!matches("/usr/bin/python3.11", "python3"));
        assert!(matches("/opt/x/bin/tool", "tool"));
        let start = Start { pid: 1, file: Path::new("/bin/sh"), called: None, is_target: false };
        assert_eq!(Names::default().choose(start), Choice::No);
        assert_eq!(Names::default().choose(Start { is_target: true, ..start }), Choice::Yes);
    }

    #[test]
    fn the_own_start_is_in_the_past() {
        let start = start_of(std::process::id()).unwrap();
        assert!(start > 0 && start <= super::super::clock::boot_now());
    }
}
