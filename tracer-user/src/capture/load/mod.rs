//! The privileged half: loads the programs, keeps the set of targets, attaches.

mod adjust;
mod fields;
mod held;
mod notice;

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap as BpfMap, Map, MapData, MapError, RingBuf},
    programs::RawTracePoint,
};
use tracer_common::{
    counter::Counter,
    event::{Process as ProcessRecord, lifecycle},
    limits::{LIBRARY_NAME, PLAINTEXT_LIBRARY},
};

use super::{
    ConnectionKey,
    attach::{Attachments, Verdict},
    btf::{Btf, BtfError},
    clock::{Clock, boot_now},
    gate::{Gate, HeldProgram, Who},
    libraries::Libraries,
    perf::{Mapping, MappingWatch},
    program::{AttachMode, ProgramError, Programs},
    rest::Rest,
    ring::{self, RingReader},
    seam::missing,
    target::{CgroupError, Names, Targets},
};

use adjust::Due;
use fields::{field_offsets, socket_offsets};
use notice::notice;
pub use notice::{Counters, ProcessNews, ProcessNotice};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// The name of the TLS library of a connection without TLS, as capture files have it.
const NO_LIBRARY: &[u8] = b"none";

/// Which processes are traced at first; single ones can be added in any mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TargetMode {
    /// Those that are added, and their descendants.
    #[default]
    Chosen,
    /// Those in these cgroup directories (of either version) and below, now or later, and their descendants.
    Cgroups(Vec<std::path::PathBuf>),
    /// Every process that is not excluded.
    All,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub targets: TargetMode,
    /// Size of the ring of events, bytes: rounded up to a power of two.
    pub ring_bytes: u32,
    /// Attach in this way, though the kernel may have a better one.
    pub mode: Option<AttachMode>,
    /// Tell of the exec of every process, so that the caller can choose targets by name.
    pub notice_all: bool,
    /// Plaintext TCP connections to and at these ports are read too (Linux 6.3).
    pub plaintext: Vec<u16>,
    /// When no target came, forked or executed anything for so long, hooks stop the targets alone, where the kernel can
    /// (6.13). `None`: they always stop every process that maps the files.
    pub rest: Option<Duration>,
    /// Let the eBPF programs log rare decisions (through aya-log, to the `log` crate's logger).
    pub log: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            targets: TargetMode::Chosen,
            ring_bytes: 8 << 20,
            mode: None,
            notice_all: false,
            plaintext: Vec::new(),
            rest: Some(Duration::from_secs(30)),
            log: false,
        }
    }
}

/// Why the kernel side does not stand. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not permitted to load eBPF programs ({0}): {advice}", advice = advice())]
    Privileges(io::Error),
    #[error("{0}: llmtap needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.8 or later)")]
    Btf(#[from] BtfError),
    #[error("live tracing is for x86-64 machines, and this is {}: replay works here", std::env::consts::ARCH)]
    Architecture,
    #[error("the kernel has no {0}: llmtap needs Linux 5.8 or later")]
    Kernel(&'static str),
    #[error("loading the eBPF object failed: {0}")]
    Object(Box<EbpfError>),
    #[error(transparent)]
    Program(ProgramError),
    #[error("eBPF map {0}: {1}")]
    Map(&'static str, MapError),
    #[error("plaintext on TCP ports cannot be read here ({0}): it needs Linux 6.3 or later")]
    Plaintext(String),
    #[error("watching for executable mappings failed: {0}")]
    Watch(io::Error),
    #[error(
        "llmtap runs in a PID namespace of its own, where processes have other numbers: start it with --pid=host (hostPID: true)"
    )]
    PidNamespace,
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl From<ProgramError> for LoadError {
    /// A refusal for want of a capability names the capability.
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Refused { error, .. }
                if error.raw_os_error() == Some(libc::EPERM) && missing().iter().any(|one| one.needed) =>
            {
                Self::Privileges(error)
            }
            other => Self::Program(other),
        }
    }
}

/// What is missing, if it is a capability.
fn advice() -> String {
    let needed: Vec<_> = missing().into_iter().filter(|one| one.needed).collect();
    if needed.is_empty() {
        return "no capability is missing, so a seccomp profile or a security module refuses it".into();
    }
    let told: Vec<_> = needed.iter().map(|one| format!("{} is missing ({})", one.name, one.purpose)).collect();
    format!("{}: run as root, for example with sudo", told.join(", "))
}

/// The kernel side, loaded. Dropping it takes every probe away.
pub struct Tracer {
    /// Keeps maps, tracepoint programs and their links.
    ebpf: Ebpf,
    attachments: Attachments,
    targets: Targets,
    notices: RingBuf<MapData>,
    watches: Vec<MappingWatch>,
    /// By a connection's number.
    unread: BpfMap<MapData, u64, [u64; 2]>,
    mode: TargetMode,
    clock: Clock,
    /// Holds programs at their start, where that is possible.
    gate: Option<Gate>,
    /// Held programs of which somebody must say whether they are traced.
    open: Vec<HeldProgram>,
    libraries: Libraries,
    rest: Rest,
    /// Files whose hooks are about to stop single processes.
    due: Vec<Due>,
    /// Files whose hooks stood only when a target had mapped them.
    hooked_late: u64,
    /// Hands the programs' log on.
    flush_log: Option<Box<dyn FnMut() + Send>>,
}

impl Tracer {
    /// Loads everything that needs no knowledge of a process, and begins to follow processes.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        // The programs take arguments from its registers, and hook sites are found in its instructions.
        if !cfg!(target_arch = "x86_64") {
            return Err(LoadError::Architecture);
        }
        if !super::process::in_first_pid_namespace() {
            return Err(LoadError::PidNamespace);
        }
        raise_memory_limit();
        super::seam::raise_descriptor_limit();
        super::rcu::recover();
        let btf = Btf::of_kernel()?;
        let mut offsets = field_offsets(&btf)?;
        if !options.plaintext.is_empty() {
            offsets.extend(socket_offsets(&btf).map_err(|error| LoadError::Plaintext(error.to_string()))?);
        }
        let ring_bytes = options.ring_bytes.clamp(64 << 10, 1 << 30).next_power_of_two();
        let (all, notice_all) = (u32::from(options.targets == TargetMode::All), u32::from(options.notice_all));
        let (log, mark) = (u32::from(options.log), u64::from(ring_bytes / 4));
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("EVENTS", ring_bytes);
        loader.override_global("TRACE_ALL", &all, true).override_global("NOTICE_ALL", &notice_all, true);
        loader.override_global("LOG", &log, true).override_global("RING_MARK", &mark, true);
        for (name, offset) in &offsets {
            loader.override_global(name, offset, true);
        }
        let mut ebpf = loader.load(OBJECT).map_err(object_error)?;

        let mut maps = HashMap::new();
        for (name, map) in ebpf.maps() {
            let Some(map) = map_data(map) else { continue };
            let map = map.fd().as_fd().try_clone_to_owned().map_err(|error| ProgramError::Object(error.to_string()))?;
            maps.insert(name.to_owned(), map);
        }
        // The one that `Targets` itself asks by.
        let set_of_targets = ebpf.map("TARGETS").and_then(map_data).map_or(-1, |map| map.fd().as_fd().as_raw_fd());
        let programs = Programs::new(OBJECT, maps, btf.function("bpf_session_is_return"))?;
        let mut libraries = take(&mut ebpf, "LIBRARIES")?;
        if !options.plaintext.is_empty() {
            read_sockets(&mut ebpf, &mut libraries, &options.plaintext)?;
        }
        let (records, speaking) = (take(&mut ebpf, "RECORD_PLACES")?, take(&mut ebpf, "REACH")?);
        let attachments = Attachments::new(programs, options.mode, libraries, records, speaking)?;

        let mut targets = Targets::new(
            take(&mut ebpf, "TARGETS")?,
            take(&mut ebpf, "CGROUPS")?,
            take(&mut ebpf, "GENERATION")?,
            set_of_targets,
        );
        let notices = ebpf.take_map("PROCESSES").ok_or(LoadError::Kernel("ring buffer"))?;
        let notices = RingBuf::try_from(notices).map_err(|error| LoadError::Map("PROCESSES", error))?;
        let unread = take(&mut ebpf, "UNREAD")?;
        let watches = MappingWatch::on_all_cpus().map_err(LoadError::Watch)?;
        targets.exclude(std::process::id());
        let cgroups: &[_] = if let TargetMode::Cgroups(cgroups) = &options.targets { cgroups } else { &[] };
        for cgroup in cgroups {
            targets.select_cgroup(cgroup)?;
        }
        let mut tracepoints = vec![
            ("process_fork", "sched_process_fork"),
            ("process_exec", "sched_process_exec"),
            ("process_exit", "sched_process_exit"),
        ];
        if !cgroups.is_empty() {
            tracepoints.push(("cgroup_attach", "cgroup_attach_task"));
        }
        for (program, tracepoint) in tracepoints {
            attach_tracepoint(&mut ebpf, program, tracepoint)?;
        }
        let mut flush_log: Option<Box<dyn FnMut() + Send>> = None;
        if options.log
            && let Ok(mut log) = aya_log::EbpfLogger::init(&mut ebpf)
        {
            flush_log = Some(Box::new(move || log.flush()));
        }
        let mut tracer = Self {
            ebpf,
            attachments,
            targets,
            notices,
            watches,
            unread,
            mode: options.targets.clone(),
            clock: Clock::new(),
            gate: None,
            open: Vec::new(),
            libraries: Libraries::default(),
            rest: Rest::new(options.rest, Instant::now()),
            due: Vec::new(),
            hooked_late: 0,
            flush_log,
        };
        // After the tracepoint stands, so that no task slips between.
        for cgroup in cgroups {
            for tgid in super::target::processes_of(cgroup) {
                tracer.add_target(tgid)?;
            }
        }
        Ok(tracer)
    }

    /// The reader of events: there is one. It can be carried through `fork` into a process without privileges, since
    /// it reads mapped memory only.
    pub fn ring_reader(&mut self) -> Result<RingReader, LoadError> {
        let map = self.ebpf.take_map("EVENTS").ok_or(LoadError::Kernel("second ring reader"))?;
        let ring = RingBuf::try_from(map).map_err(|error| LoadError::Map("EVENTS", error))?;
        Ok(RingReader::new(ring))
    }

    /// From now on no traced process begins a program before what it contains and what its dynamic linker will find is
    /// hooked; one that executes a file of `names` becomes a target. It forks: no other thread may hold a lock that
    /// ordinary code takes.
    ///
    /// # Errors
    /// Where the kernel or our privileges do not allow it. Programs are then hooked as they are seen to map files.
    pub fn hold_programs(&mut self, names: &Names) -> io::Result<()> {
        let all = self.mode == TargetMode::All;
        // Where there is one already, there are two for a moment, so that nobody slips between.
        self.gate = Some(Gate::new(Who { targets: &self.targets, all, names })?);
        Ok(())
    }

    /// How probes are attached on this kernel.
    #[must_use]
    pub fn attach_mode(&self) -> AttachMode {
        self.attachments.mode()
    }

    /// Traces a process and its descendants from now on. Libraries that it has already are hooked by
    /// [`Self::attach_process`], those to come by [`Self::on_readable`].
    pub fn add_target(&mut self, tgid: u32) -> Result<(), LoadError> {
        self.disturbed();
        self.targets.add(tgid).map_err(|error| LoadError::Map("TARGETS", error))
    }

    /// The processes that are traced now, except those of [`TargetMode::All`].
    #[must_use]
    pub fn targets(&self) -> Vec<u32> {
        self.targets.iter().collect()
    }

    /// Whether the process is excluded, as llmtap's own are.
    #[must_use]
    pub fn is_excluded(&self, tgid: u32) -> bool {
        self.targets.state(tgid) == Some(true)
    }

    /// Whether the process is in the set of those that are traced.
    #[must_use]
    pub fn is_target(&self, tgid: u32) -> bool {
        self.targets.contains(tgid)
    }

    /// Stops tracing a process; its children that run already stay targets.
    pub fn remove_target(&mut self, tgid: u32) {
        self.targets.remove(tgid);
    }

    /// Never traces a process, nor the children that it starts from now on.
    pub fn exclude(&mut self, tgid: u32) {
        self.targets.exclude(tgid);
    }

    /// Lets calls on other stacks than the threads' own be hooked in a process whose runtime never resumes a call on
    /// another thread and never switches stacks inside one (Ruby, PHP).
    pub fn allow_foreign_stacks(&mut self, tgid: u32) {
        self.targets.allow_foreign_stacks(tgid);
    }

    /// Hooks the TLS libraries that a process has mapped.
    pub fn attach_process(&mut self, pid: u32) -> io::Result<Verdict> {
        self.attachments.process(pid)
    }

    /// Takes away the hooks in a process's files that stand on no symbol.
    pub fn withdraw(&mut self, pid: u32) -> io::Result<Verdict> {
        self.attachments.withdraw(pid)
    }

    /// Hooks what a program of our own mount namespace is likely to run, before it starts.
    pub fn attach_likely(&mut self, program: &Path, environment: &[(OsString, OsString)]) -> Vec<Verdict> {
        let files = self.libraries.likely(program, environment);
        files.iter().map(|file| self.attachments.file(file)).collect()
    }

    /// Hooks a file ahead of time, whoever will map it.
    pub fn attach_file(&mut self, path: &Path) -> Verdict {
        self.attachments.file(path)
    }

    /// For the benchmark: see [`Attachments::empty`].
    #[doc(hidden)]
    pub fn attach_empty(&mut self, path: &Path, exported: bool) -> Result<Vec<std::os::fd::OwnedFd>, ProgramError> {
        self.attachments.empty(path, exported)
    }

    /// Descriptors that become readable when there is something for [`Self::on_readable`].
    #[must_use]
    pub fn poll_fds(&self) -> Vec<BorrowedFd<'_>> {
        let gate = self.gate.iter().map(Gate::as_fd);
        gate.chain([self.notices.as_fd()]).chain(self.watches.iter().map(MappingWatch::fd)).collect()
    }

    /// Takes news of processes, and hooks the libraries that targets have newly mapped.
    pub fn on_readable(&mut self, out: &mut Vec<ProcessNotice>) {
        let mut verdicts = VecDeque::new();
        // They wait.
        self.hook_held(&mut verdicts);
        let mut mappings = Vec::new();
        let mut whole = true;
        for watch in &mut self.watches {
            whole &= watch.drain(&mut mappings);
        }
        // What is likely a TLS library first: its process is about to use it.
        mappings.sort_by_key(|mapping| !["ssl", "gnutls"].iter().any(|name| mapping.path.contains(name)));
        self.map_all(mappings, &mut verdicts);
        if !whole {
            let targets: Vec<u32> = self.targets.iter().collect();
            let missed = targets.into_iter().filter_map(|pid| Some((pid, self.attachments.process(pid).ok()?)));
            verdicts.extend(missed.filter(|(_, verdict)| !verdict.is_empty()));
        }
        self.clock.renew();
        let first = out.len();
        while let Some(item) = self.notices.next() {
            if let Some(record) = ring::read::<ProcessRecord>(&item) {
                if record.what == lifecycle::FORK {
                    self.rest.born(record.tgid, record.time);
                }
                out.push(notice(&record, &self.clock));
            }
        }
        for notice in out.get(first..).unwrap_or_default() {
            self.heed(notice);
        }
        out.extend(verdicts.into_iter().map(|(pid, verdict)| ProcessNotice {
            what: ProcessNews::Mapped(verdict),
            pid,
            parent: None,
            uid: None,
            start: None,
            comm: String::new(),
            file: None,
            target: true,
        }));
        if let Some(flush) = &mut self.flush_log {
            flush();
        }
    }

    fn map_all(&mut self, mappings: Vec<Mapping>, verdicts: &mut VecDeque<(u32, Verdict)>) {
        for mapping in mappings {
            if self.mode != TargetMode::All && !self.targets.contains(mapping.pid) {
                continue;
            }
            let verdict = self.attachments.mapping(&mapping);
            for hooked in &verdict.hooked {
                self.hooked_late += 1;
                let (pid, path) = (mapping.pid, hooked.path.display());
                tracing::info!(pid, "{path} was hooked when the process had loaded it: its first calls may be missing");
            }
            if !verdict.is_empty() {
                verdicts.push_back((mapping.pid, verdict));
            }
        }
    }

    /// Takes everything away behind the caller's back: another process has it until it is gone, so that ours can end at
    /// once. The kernel takes tens of milliseconds to remove the probes of one file.
    pub fn leave(mut self) {
        self.gate = None;
        if super::seam::close_behind(super::rcu::Expedited::begin) {
            std::mem::forget(self);
        }
    }

    /// What was seen and lost so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        if let Some(Ok(map)) = self.ebpf.map("COUNTERS").map(Array::<_, u64>::try_from) {
            for counter in Counter::ALL {
                counters.values[counter as usize] = map.get(&(counter as u32), 0).unwrap_or(0);
            }
        }
        counters
    }

    /// How often a traced process may have spoken before hooks stopped it, by reason.
    #[must_use]
    pub fn unwatched(&self) -> [(&'static str, u64); 2] {
        [("hooked_late", self.hooked_late), ("forked_at_rest", self.rest.unwatched())]
    }

    /// Copies no bytes of a connection before these offsets, of what is sent and of what is received. It shows from the
    /// next multiple of 16 KiB on.
    pub fn leave_unread(&mut self, key: ConnectionKey, until: [u64; 2]) {
        // Without room more is copied than is read.
        let _ = self.unread.insert(&key.0, &until, 0);
    }
}

/// Has plaintext on `ports` told. What names a library elsewhere says that there is none.
fn read_sockets(
    ebpf: &mut Ebpf,
    libraries: &mut Array<MapData, [u8; LIBRARY_NAME]>,
    ports: &[u16],
) -> Result<(), LoadError> {
    let mut chosen: Array<MapData, u64> = take(ebpf, "PORTS")?;
    let failed = |error| LoadError::Map("PORTS", error);
    for port in ports {
        let word = u32::from(port / 64);
        let known = chosen.get(&word, 0).map_err(failed)?;
        chosen.set(word, &(known | 1 << (port % 64)), 0).map_err(failed)?;
    }
    let mut name = [0; LIBRARY_NAME];
    name[..NO_LIBRARY.len()].copy_from_slice(NO_LIBRARY);
    libraries.set(PLAINTEXT_LIBRARY, &name, 0).map_err(|error| LoadError::Map("LIBRARIES", error))?;
    for (program, tracepoint) in [
        ("socket_sent", "sock_send_length"),
        ("socket_received", "sock_recv_length"),
        ("socket_changed", "inet_sock_set_state"),
    ] {
        attach_tracepoint(ebpf, program, tracepoint).map_err(|error| LoadError::Plaintext(error.to_string()))?;
    }
    Ok(())
}

fn attach_tracepoint(ebpf: &mut Ebpf, program: &str, tracepoint: &str) -> Result<(), LoadError> {
    let refused = |error: &dyn std::fmt::Display| {
        LoadError::Program(ProgramError::Object(format!("tracepoint {tracepoint}: {error}")))
    };
    let program = ebpf.program_mut(program).ok_or_else(|| refused(&"not in the object"))?;
    let program: &mut RawTracePoint = program.try_into().map_err(|error| refused(&error))?;
    program.load().map_err(|error| refused(&error))?;
    program.attach(tracepoint).map_err(|error| refused(&error))?;
    Ok(())
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Kernel(name))?;
    T::try_from(map).map_err(|error| LoadError::Map(name, error))
}

fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

fn object_error(error: EbpfError) -> LoadError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.raw_os_error() == Some(libc::EPERM)
        {
            return LoadError::Privileges(io::Error::from_raw_os_error(libc::EPERM));
        }
        source = inner.source();
    }
    LoadError::Object(Box::new(error))
}

/// Kernels before 5.11 count maps and programs against this limit.
#[expect(unsafe_code, reason = "setrlimit(2)")]
fn raise_memory_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is valid. Failing is no harm: later kernels do not look at it.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// A number for a process image that the eBPF programs do not give.
pub(super) fn incarnation() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    // Theirs end in the number of a CPU, and are 32 to the nanosecond; these are a nanosecond apart at least.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = boot_now();
    let previous = LAST.fetch_max(now, Ordering::Relaxed);
    let number = if previous >= now { LAST.fetch_add(1, Ordering::Relaxed) + 1 } else { now };
    number << 5
}
