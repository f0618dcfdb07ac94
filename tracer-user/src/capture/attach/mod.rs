//! Puts hooks into the TLS libraries of processes: each file once, whoever maps it.

mod probes;
mod reach;

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, MapData};
use tracer_common::{
    event::{self, direction},
    limits::{LIBRARIES, LIBRARY_NAME, RECORD_PLACES},
};

use super::{
    cache::Cache,
    locate::{self, Address, Function, Hooks, MessageForm, Reason, RecordPlace},
    mapped::{FileKey, mapping, open},
    perf::Mapping,
    plan::Plan,
    process,
    program::{AttachMode, ProgramError, Programs, attach_multi},
    returns,
    root::Root,
};
use probes::{Placed, Probes};
pub use reach::MAX_ALONE;
use reach::{Reaches, Standing};

/// Files larger than this are not examined. The largest runtimes with TLS inside are a quarter of it.
pub(super) const MAX_FILE: u64 = 1 << 30;

/// Files remembered at most; beyond, those without TLS are forgotten and examined again when they are next mapped.
const MAX_FILES: usize = 65_536;

/// Files with hooks at most; beyond, those that no process has mapped lose them until they are used again. Each takes
/// a handful of descriptors.
const MAX_HOOKED: usize = 256;

/// What became of files, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub hooked: Vec<Hooked>,
    /// Files that do speak TLS, but are not hooked.
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooked {
    pub path: PathBuf,
    pub library: String,
    /// Hooks stand in inner functions that all others call, on instructions that the kernel emulates.
    pub preferred: bool,
    /// One site's offset in the file, so that "does a probe stand" can be checked.
    pub site: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub path: PathBuf,
    pub why: Refusal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file holds TLS that this version cannot hook.
    Reason(Reason),
    /// The kernel refused.
    Attach(String),
}

impl Verdict {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hooked.is_empty() && self.refused.is_empty()
    }

    fn add(&mut self, path: &Path, outcome: &Outcome) {
        self.add_hooked(path, outcome);
        self.add_refused(path, outcome);
    }

    fn add_hooked(&mut self, path: &Path, outcome: &Outcome) {
        if let Outcome::Hooked(hook) = outcome {
            self.hooked.push(Hooked {
                path: path.to_owned(),
                library: hook.library.clone(),
                preferred: hook.preferred,
                site: hook.site,
            });
        }
    }

    fn add_refused(&mut self, path: &Path, outcome: &Outcome) {
        let why = match outcome {
            Outcome::Hooked(hook) => hook.beside.map(Refusal::Reason),
            Outcome::Refused(why) => Some(why.clone()),
            Outcome::Nothing => None,
        };
        self.refused.extend(why.map(|why| Refused { path: path.to_owned(), why }));
    }
}

enum Outcome {
    Nothing,
    Hooked(Hook),
    Refused(Refusal),
}

/// Where hooks go in a file, and the return instructions that they need.
type Found = (Hooks, Result<Vec<u64>, ProgramError>);

/// The probes in one file.
struct Hook {
    /// Where they stand was found without symbols.
    stripped: bool,
    /// Why another library in the file has none.
    beside: Option<Reason>,
    library: String,
    preferred: bool,
    site: u64,
    /// Tells whether the file has changed, and where probes go.
    file: File,
    plan: Plan,
    /// Under which the programs find whose probes speak; 0: always these.
    number: u32,
    standing: Standing,
}

/// All hooks, and every file that was examined.
pub struct Attachments {
    probes: Probes,
    reaches: Reaches,
    files: HashMap<FileKey, Outcome>,
    /// From this many files with hooks on, those that nobody uses lose them.
    hooked_limit: usize,
    libraries: Array<MapData, [u8; LIBRARY_NAME]>,
    library_names: Vec<String>,
    records: Array<MapData, [u64; 7]>,
    record_places: Vec<RecordPlace>,
    cache: Cache,
}

impl Attachments {
    /// Finds out the best way of attaching that the kernel has, or takes the given one.
    pub fn new(
        programs: Programs,
        forced: Option<AttachMode>,
        libraries: Array<MapData, [u8; LIBRARY_NAME]>,
        records: Array<MapData, [u64; 7]>,
        speaking: Array<MapData, u32>,
    ) -> Result<Self, ProgramError> {
        Ok(Self {
            probes: Probes::new(programs, forced)?,
            reaches: Reaches::new(speaking),
            files: HashMap::new(),
            hooked_limit: MAX_HOOKED,
            libraries,
            library_names: Vec::new(),
            records,
            record_places: Vec::new(),
            cache: Cache::of_user(),
        })
    }

    #[must_use]
    pub fn mode(&self) -> AttachMode {
        self.probes.mode()
    }

    /// Hooks what a process has mapped.
    pub fn process(&mut self, pid: u32) -> io::Result<Verdict> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut mappings: Vec<Mapping> = maps.lines().filter_map(|line| mapping(pid, line)).collect();
        mappings.dedup_by(|a, b| a.inode == b.inode && a.device == b.device);
        let mut verdict = Verdict::default();
        for mapping in mappings {
            let Some(file) = open(&mapping) else { continue };
            let path = Path::new(&mapping.path);
            if let Ok(metadata) = file.metadata() {
                self.reach(&FileKey::of(&metadata), pid);
            }
            if let Some(outcome) = self.examine(file, Some(pid), path) {
                verdict.add(path, outcome);
            }
        }
        Ok(verdict)
    }

    /// Hooks a file that a process has just mapped, unless that was done. The verdict tells only of news.
    pub fn mapping(&mut self, mapping: &Mapping) -> Verdict {
        let Some(file) = open(mapping) else { return Verdict::default() };
        if let Ok(metadata) = file.metadata() {
            self.reach(&FileKey::of(&metadata), mapping.pid);
        }
        self.news(file, Some(mapping.pid), Path::new(&mapping.path), true)
    }

    /// Hooks a file that process `pid` is about to use: the program that it executes, or one that its dynamic linker
    /// may find. `path` is what the process would call it.
    pub fn ahead(&mut self, file: File, pid: u32, path: &Path) -> Verdict {
        // Whether it will be used is not known.
        self.news(file, Some(pid), path, false)
    }

    /// Hooks a file that process `pid` is about to load.
    pub fn module(&mut self, file: File, pid: u32, path: &Path) -> Verdict {
        let key = file.metadata().map(|metadata| FileKey::of(&metadata));
        let verdict = self.news(file, Some(pid), path, true);
        if let Ok(key) = key {
            self.reach(&key, pid);
        }
        verdict
    }

    fn news(&mut self, file: File, pid: Option<u32>, path: &Path, used: bool) -> Verdict {
        let mut verdict = Verdict::default();
        let known = file.metadata().is_ok_and(|metadata| self.files.contains_key(&FileKey::of(&metadata)));
        if let Some(outcome) = self.examine(file, pid, path) {
            if !known {
                verdict.add_hooked(path, outcome);
            }
            if used {
                verdict.add_refused(path, outcome);
            }
        }
        verdict
    }

    /// Takes away the hooks that were found without symbols in what a process has mapped, for good. The verdict names
    /// the files.
    pub fn withdraw(&mut self, pid: u32) -> io::Result<Verdict> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut verdict = Verdict::default();
        for mapping in maps.lines().filter_map(|line| mapping(pid, line)) {
            let key = open(&mapping).and_then(|file| Some(FileKey::of(&file.metadata().ok()?)));
            let known = key.and_then(|key| self.files.get_mut(&key));
            if let Some(outcome) = known.filter(|known| matches!(known, Outcome::Hooked(hook) if hook.stripped)) {
                *outcome = Outcome::Refused(Refusal::Reason(Reason::Unproven));
                verdict.add(Path::new(&mapping.path), outcome);
            }
        }
        Ok(verdict)
    }

    /// Hooks a file by its path in our own root.
    pub fn file(&mut self, path: &Path) -> Verdict {
        let mut verdict = Verdict::default();
        if let Ok(file) = File::open(path)
            && let Some(outcome) = self.examine(file, None, path)
        {
            verdict.add(path, outcome);
        }
        verdict
    }

    /// Puts programs that do nothing into a file, to measure what the sites cost by themselves: at the exported
    /// entries and the returns of reads, or where the hooks would stand. They stay until the value is dropped.
    #[doc(hidden)]
    pub fn empty(&mut self, path: &Path, exported: bool) -> Result<Vec<OwnedFd>, ProgramError> {
        let bytes = fs::read(path).map_err(ProgramError::Attach)?;
        let unusable = |reason: Reason| ProgramError::Object(format!("{} {reason}", path.display()));
        let mut hooks = locate::locate(&bytes).map_err(unusable)?;
        let mode = if self.mode() == AttachMode::Session && !exported { self.mode() } else { AttachMode::Multi };
        let [on_entry, on_return] = [("empty_entry", mode), ("empty_return", AttachMode::Multi)]
            .map(|(name, mode)| self.probes.load_apart(name, mode));
        let (on_entry, on_return) = (on_entry?, on_return?);
        if exported {
            hooks.method = None;
        }
        let plan = Plan::of(&hooks, 0, self.mode());
        let sites: Vec<(u64, u64)> = plan.calls.iter().map(|site| (site.offset, 0)).collect();
        let mut links = vec![attach_multi(on_entry.as_fd(), mode, path, &sites, false, None)?];
        if mode == AttachMode::Multi {
            let reads = plan.calls.iter().filter(|site| !exported || site.cookie.direction() == direction::RECEIVE);
            let reads: Vec<(u64, u64)> = reads.map(|site| (site.offset, 0)).collect();
            links.push(attach_multi(on_return.as_fd(), mode, path, &reads, true, None)?);
        }
        let reads: Vec<(u64, u64)> = plan.reads.iter().map(|(offset, _)| (*offset, 0)).collect();
        if !reads.is_empty() {
            let on_read = self.probes.load_apart("empty_entry", AttachMode::Multi)?;
            links.push(attach_multi(on_read.as_fd(), AttachMode::Multi, path, &reads, false, None)?);
        }
        Ok(links)
    }

    /// `path` is the file's name, in the root of process `pid` or in ours.
    fn examine(&mut self, file: File, pid: Option<u32>, path: &Path) -> Option<&Outcome> {
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.size() > MAX_FILE {
            return None;
        }
        let key = FileKey::of(&metadata);
        self.follow_changes(&key);
        if !self.files.contains_key(&key) {
            let outcome = match self.search(&file, &metadata)? {
                Ok((hooks, exits)) => match exits.and_then(|exits| {
                    let name = versioned(&hooks.library, pid, path);
                    self.attach(&hooks, exits, name, &file)
                }) {
                    Ok(hook) => Outcome::Hooked(hook),
                    Err(error) => Outcome::Refused(Refusal::Attach(error.to_string())),
                },
                Err(reason) if reason.is_tls() => Outcome::Refused(Refusal::Reason(reason)),
                Err(_) => Outcome::Nothing,
            };
            if self.files.len() >= MAX_FILES {
                self.files.retain(|_, known| !matches!(known, Outcome::Nothing));
            }
            self.drop_unused();
            self.files.insert(key, outcome);
        }
        self.files.get(&key)
    }

    /// A hooked file that has become `key`: probes stand in the file, so a second set would show each call twice. New
    /// content needs new hooks; other changes, such as another name, none.
    fn follow_changes(&mut self, key: &FileKey) {
        if self.files.contains_key(key) {
            return;
        }
        let is_it = |(old, known): (&FileKey, &Outcome)| {
            let Outcome::Hooked(hook) = known else { return None };
            let now = (old.inode == key.inode).then(|| hook.file.metadata().ok()).flatten()?;
            (FileKey::of(&now) == *key).then_some(*old)
        };
        let old = self.files.iter().find_map(is_it);
        if let Some((old, outcome)) = old.and_then(|old| Some((old, self.files.remove(&old)?)))
            && old.has_content_of(key)
        {
            self.files.insert(*key, outcome);
        }
    }

    fn drop_unused(&mut self) {
        let hooked = self.files.values().filter(|known| matches!(known, Outcome::Hooked(_))).count();
        if hooked < self.hooked_limit {
            return;
        }
        let maps =
            process::running().into_iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/maps")).ok());
        let inodes =
            |maps: String| -> Vec<u64> { maps.lines().filter_map(|line| Some(mapping(0, line)?.inode)).collect() };
        let used: HashSet<u64> = maps.flat_map(inodes).collect();
        self.files.retain(|key, known| !matches!(known, Outcome::Hooked(_)) || used.contains(&key.inode));
        let left = self.files.values().filter(|known| matches!(known, Outcome::Hooked(_))).count();
        // Not again for each file when all are in use.
        self.hooked_limit = MAX_HOOKED.max(2 * left);
    }

    /// Where the file's hooks go, from memory or from the file itself. `None`: it cannot be read.
    fn search(&self, file: &File, metadata: &Metadata) -> Option<Result<Found, Reason>> {
        if let Some(mut hooks) = self.cache.find(metadata) {
            let exits = exits(self.mode(), &mut hooks, &[]);
            return Some(Ok((hooks, exits)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0));
        let mut reader = file;
        // Others may have read its headers.
        reader.rewind().ok()?;
        reader.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        Some(locate::locate(&bytes).map(|mut hooks| {
            // The others are found in much less time than it takes to read a large executable.
            if hooks.stripped.is_some() {
                self.cache.keep(metadata, &hooks);
            }
            let exits = exits(self.mode(), &mut hooks, &bytes);
            (hooks, exits)
        }))
    }

    fn attach(&mut self, hooks: &Hooks, exits: Vec<u64>, name: String, file: &File) -> Result<Hook, ProgramError> {
        let library = self.library(&name);
        let plan = Plan { exits, ..Plan::of(&self.numbered(hooks)?, library, self.mode()) };
        let site = plan.calls.first().map(|site| site.offset);
        let Some(site) = site.or(plan.others.first().map(|(_, offset, _)| *offset)) else {
            return Err(ProgramError::Object("its functions have no place for a probe".into()));
        };
        let mut hook = Hook {
            stripped: hooks.stripped.is_some(),
            beside: hooks.stripped.as_ref().and_then(|stripped| stripped.beside),
            library: name,
            preferred: hooks.are_inner(),
            site,
            // The file that was examined, whatever its path leads to by now.
            file: file.try_clone().map_err(ProgramError::Attach)?,
            plan,
            number: self.number(),
            standing: Standing::Everyone(Placed::default()),
        };
        self.place(&mut hook)?;
        Ok(hook)
    }

    /// The number by which records name a library; the last when there are too many.
    fn library(&mut self, name: &str) -> u32 {
        let index = self.library_names.iter().position(|known| known == name).unwrap_or_else(|| {
            if self.library_names.len() < LIBRARIES as usize - 1 {
                self.library_names.push(name.to_owned());
            }
            self.library_names.len() - 1
        });
        let mut bytes = [0; LIBRARY_NAME];
        for (to, from) in bytes[..LIBRARY_NAME - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        // Without it the name is absent in telemetry, no more.
        let _ = self.libraries.set(index as u32, &bytes, 0);
        index as u32
    }

    /// The same hooks, where places of records are told by the numbers under which their programs find them.
    fn numbered(&mut self, hooks: &Hooks) -> Result<Hooks, ProgramError> {
        let mut hooks = hooks.clone();
        for probe in &mut hooks.probes {
            let Some(place) = probe.program.record() else { continue };
            let known = self.record_places.iter().position(|known| *known == place);
            let index = known.unwrap_or(self.record_places.len()) as u32;
            if known.is_none() {
                let words = |at: Address| [u64::from(at.register), i64::from(at.offset).cast_unsigned()];
                let [[a, b], [c, d]] = [place.object, place.message].map(words);
                let distance = i64::from(place.count_distance).cast_unsigned();
                let full =
                    || ProgramError::Object(format!("programs with rustls have more than {RECORD_PLACES} places"));
                let form = match place.form {
                    MessageForm::Slices => event::RecordPlace::SLICES,
                    MessageForm::Buffer => event::RecordPlace::BUFFER,
                };
                let words = [a, b, c, d, distance, u64::from(place.raised), form];
                self.records.set(index, &words, 0).map_err(|_| full())?;
                self.record_places.push(place);
            }
            probe.place = index;
        }
        Ok(hooks)
    }
}

/// Without sessions, where each call's return can be judged, a return probe could end a process that switches
/// stacks. There the exported functions are hooked, at their entries and at their return instructions; reads only
/// if they are not seen whole anyway.
pub(super) fn exits(mode: AttachMode, hooks: &mut Hooks, file: &[u8]) -> Result<Vec<u64>, ProgramError> {
    let has_calls = hooks.method.is_some() || !hooks.exported.is_empty();
    if mode == AttachMode::Session || !has_calls {
        return Ok(Vec::new());
    }
    if hooks.method.as_ref().is_some_and(|method| !method.read_returns.is_empty()) {
        hooks.exported.retain(|entry| !matches!(entry.function, Function::Read | Function::ReadEx));
    } else {
        hooks.method = None;
    }
    let unsafe_end = || ProgramError::Object("its functions end in calls of others, which needs Linux 6.13".into());
    if let Some(stripped) = &mut hooks.stripped {
        if stripped.returns.is_none() && !hooks.probes.is_empty() {
            // Another library of the file needs no returns: it is hooked all the same.
            let is_openssl = hooks.library.starts_with("openssl");
            let reason = if is_openssl { Reason::StrippedOpenSsl } else { Reason::StrippedBoringSsl };
            stripped.beside = stripped.beside.or(Some(reason));
            hooks.method = None;
            hooks.exported.clear();
            return Ok(Vec::new());
        }
        return stripped.returns.clone().ok_or_else(unsafe_end);
    }
    let functions: Vec<Function> = hooks.exported.iter().map(|entry| entry.function).collect();
    returns::of(file, &functions).ok_or_else(unsafe_end)
}

/// OpenSSL 3's `libssl` leaves its version to the `libcrypto` beside it.
pub(super) fn versioned(library: &str, pid: Option<u32>, path: &Path) -> String {
    let beside = || {
        let name = path.file_name()?.to_str()?;
        let crypto = path.with_file_name(name.strip_prefix("libssl").map(|rest| format!("libcrypto{rest}"))?);
        let mut bytes = Vec::new();
        let file = pid.map_or_else(Root::own, Root::of).and_then(|root| root.open(&crypto)).ok()?;
        file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        locate::version(&bytes)
    };
    match (library, beside()) {
        ("openssl", Some(version)) => format!("openssl {version}"),
        _ => library.to_owned(),
    }
}
