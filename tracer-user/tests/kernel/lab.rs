//! Compiles the program with known traffic, runs it under the tracer, and compares.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use llmtap::capture::{
    Counters, Direction, Event, LoadError, Options, ProcessNotice, RingReader, TargetMode, Tracer, program::AttachMode,
    target::Names,
};

/// How long to read on after the target has ended.
const SETTLE: Duration = Duration::from_millis(120);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Probes are a property of the machine: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Of the programs.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/");

static PROGRAM: OnceLock<Result<tempfile::TempDir, String>> = OnceLock::new();

pub struct Lab {
    _turn: MutexGuard<'static, ()>,
    program: PathBuf,
}

/// A hooked file and one of its sites.
pub struct Library {
    pub path: PathBuf,
    pub site: u64,
}

/// What one run gave.
pub struct Run {
    pub pid: u32,
    pub events: Vec<Event>,
    pub notices: Vec<ProcessNotice>,
    pub counters: Counters,
    pub output: String,
    pub status: Option<ExitStatus>,
    pub title: String,
    pub mode: AttachMode,
}

/// The laboratory, or none with the reason printed.
pub fn lab() -> Option<Lab> {
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match PROGRAM.get_or_init(prepare) {
        Ok(directory) => Some(Lab { _turn: turn, program: directory.path().join("target") }),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn prepare() -> Result<tempfile::TempDir, String> {
    Tracer::load(&Options::default()).map_err(|error| error.to_string())?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    compile("target.c", ["-lssl", "-lcrypto", "-lpthread"], &directory.path().join("target"))
        .map_err(|error| format!("no C compiler or no OpenSSL headers (libssl-dev): {error}"))?;
    Ok(directory)
}

/// Compiles a program or library of this folder, or what the compiler says.
pub fn compile(source: &str, options: impl IntoIterator<Item: AsRef<OsStr>>, path: &Path) -> Result<(), String> {
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-o"]).arg(path).arg(format!("{SOURCES}{source}")).args(options);
    let output = compiler.output().map_err(|error| format!("cc: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

impl Lab {
    pub fn command(&self, scenario: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(scenario);
        command
    }

    /// The libssl of the test program, and where its first hook stands.
    pub fn hooked(&self) -> Library {
        let mut tracer = Tracer::load(&Options::default()).unwrap();
        let verdict = tracer.attach_file(&self.library());
        let hooked = &verdict.hooked[0];
        Library { path: hooked.path.clone(), site: hooked.site }
    }

    /// The program itself, for builds that can run it.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn library(&self) -> PathBuf {
        let output = Command::new("ldd").arg(&self.program).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("libssl")).unwrap();
        let path = line.split_whitespace().find(|word| word.starts_with('/')).unwrap();
        Path::new(path).canonicalize().unwrap()
    }

    /// Runs with the library hooked before.
    pub fn run(&self, mode: Option<AttachMode>, scenario: &str) -> Run {
        let mut tracer = Tracer::load(&Options { mode, ..Options::default() }).unwrap();
        let verdict = tracer.attach_file(&self.library());
        assert_eq!(verdict.hooked.len(), 1, "{verdict:?}");
        self.started(&mut tracer, scenario, |_, _| {})
    }

    /// Runs with nothing hooked before, and a copy of the library that no other process has mapped.
    pub fn run_unprepared(&self, mode: Option<AttachMode>, scenario: &str) -> Run {
        let mut tracer = Tracer::load(&Options { mode, ..Options::default() }).unwrap();
        let library = self.library();
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(&library, directory.path().join(library.file_name().unwrap())).unwrap();
        let mut run =
            started(&mut tracer, &[self.program.as_os_str(), scenario.as_ref()], Some(directory.path()), |_, _| {});
        run.title += " with a fresh library";
        run
    }

    /// Runs any command that tells its traffic, with `library` hooked before.
    pub fn run_command(
        &self,
        mode: Option<AttachMode>,
        library: &Path,
        command: &[&OsStr],
        libraries: Option<&Path>,
    ) -> Run {
        let mut tracer = Tracer::load(&Options { mode, ..Options::default() }).unwrap();
        let verdict = tracer.attach_file(library);
        assert_eq!(verdict.hooked.len(), 1, "{verdict:?}");
        started(&mut tracer, command, libraries, |_, _| {})
    }

    /// Runs any command that tells its traffic, under a tracer with hooks of the caller's choice.
    pub fn run_with(&self, tracer: &mut Tracer, command: &[&OsStr], libraries: Option<&Path>) -> Run {
        started(tracer, command, libraries, |_, _| {})
    }

    /// The same, and once the first bytes have come nobody reads what is sent before this offset.
    pub fn run_unread(&self, mode: Option<AttachMode>, command: &Path, until: u64) -> Run {
        let mut tracer = Tracer::load(&Options { mode, ..Options::default() }).unwrap();
        let verdict = tracer.attach_file(command);
        assert_eq!(verdict.hooked.len(), 1, "{verdict:?}");
        let mut is_said = false;
        followed(
            &mut tracer,
            &[command.as_os_str()],
            None,
            |_, _| {},
            |run, tracer, reader| {
                let first = run
                    .events
                    .iter()
                    .find_map(|event| if let Event::Data { key, .. } = event { Some(*key) } else { None });
                if let (Some(key), false) = (first, is_said) {
                    tracer.leave_unread(key, [until, 0]);
                    reader.leave_unread(key, [until, 0]);
                    is_said = true;
                }
            },
        )
    }

    /// Runs a command with nothing hooked before, each program held at its start.
    pub fn run_held(&self, command: &[&OsStr]) -> Option<Run> {
        let mut tracer = Tracer::load(&Options::default()).unwrap();
        if let Err(error) = tracer.hold_programs(&Names::default()) {
            eprintln!("skipped: programs cannot be held here: {error}");
            return None;
        }
        Some(started(&mut tracer, command, None, |_, _| {}))
    }

    /// Runs any command that tells its traffic, with the plaintext of a TCP port read and no library hooked. `None`: not
    /// on this kernel.
    pub fn run_plaintext(&self, port: u16, command: &[&OsStr]) -> Option<Run> {
        match Tracer::load(&Options { plaintext: vec![port], ..Options::default() }) {
            Ok(mut tracer) => Some(started(&mut tracer, command, None, |_, _| {})),
            Err(LoadError::Plaintext(why)) => {
                println!("skipped: {why}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub fn run_in_cgroup(&self, cgroup: &Path, scenario: &str) -> Run {
        let targets = TargetMode::Cgroups(vec![cgroup.to_owned()]);
        let mut tracer = Tracer::load(&Options { targets, ..Options::default() }).unwrap();
        tracer.attach_file(&self.library());
        let procs = cgroup.join("cgroup.procs");
        let mut run = self.started(&mut tracer, scenario, |tracer, pid| {
            tracer.remove_target(pid);
            std::fs::write(&procs, pid.to_string()).unwrap();
        });
        run.title += " in a cgroup";
        run
    }

    /// Traces all processes but those that run already, with their descendants: nobody else's traffic is looked at.
    pub fn run_all(&self, scenario: &str, exclude: bool) -> Run {
        let mut tracer = Tracer::load(&Options { targets: TargetMode::All, ..Options::default() }).unwrap();
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.for_each(|pid| tracer.exclude(pid));
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join(self.library().file_name().unwrap());
        fs::copy(self.library(), &library).unwrap();
        tracer.attach_file(&library);
        let command = [self.program.as_os_str(), scenario.as_ref()];
        started(&mut tracer, &command, Some(folder.path()), |tracer, pid| {
            tracer.remove_target(pid);
            if exclude {
                tracer.exclude(pid);
            }
        })
    }

    /// Watches a process that runs already.
    pub fn watch(&self, pid: u32, time: Duration) -> Run {
        let mut tracer = Tracer::load(&Options::default()).unwrap();
        let mut reader = tracer.ring_reader().unwrap();
        tracer.add_target(pid).unwrap();
        assert!(!tracer.attach_process(pid).unwrap().hooked.is_empty());
        let end = Instant::now() + time;
        let mut run = Run::new(pid, "watched".into(), tracer.attach_mode());
        while Instant::now() < end {
            run.step(&mut tracer, &mut reader);
        }
        run.counters = tracer.counters();
        run
    }

    fn started(&self, tracer: &mut Tracer, scenario: &str, prepared: impl FnOnce(&mut Tracer, u32)) -> Run {
        started(tracer, &[self.program.as_os_str(), scenario.as_ref()], None, prepared)
    }
}

/// A shell waits for a line, and becomes the program when `prepared` has been called with its pid.
fn started(
    tracer: &mut Tracer,
    command: &[&OsStr],
    libraries: Option<&Path>,
    prepared: impl FnOnce(&mut Tracer, u32),
) -> Run {
    followed(tracer, command, libraries, prepared, |_, _, _| {})
}

/// The same; `look` is called whenever something may have come.
fn followed(
    tracer: &mut Tracer,
    command: &[&OsStr],
    libraries: Option<&Path>,
    prepared: impl FnOnce(&mut Tracer, u32),
    mut look: impl FnMut(&Run, &mut Tracer, &mut RingReader),
) -> Run {
    let mut reader = tracer.ring_reader().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "read go; exec \"$0\" \"$@\""])
        .args(command)
        .envs(libraries.map(|path| ("LD_LIBRARY_PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    tracer.add_target(pid).unwrap();
    prepared(tracer, pid);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut run = Run::new(pid, format!("{command:?} {:?}", tracer.attach_mode()), tracer.attach_mode());
    let output = collect(&mut child);
    let begin = Instant::now();
    let mut ended = None;
    loop {
        run.step(tracer, &mut reader);
        look(&run, tracer, &mut reader);
        match ended {
            Some(when) if Instant::now() > when => break,
            None => {
                run.status = child.try_wait().unwrap();
                if run.status.is_some() {
                    ended = Some(Instant::now() + SETTLE);
                } else if begin.elapsed() > TIMEOUT {
                    child.kill().unwrap();
                    panic!("{}: the target does not end", run.title);
                }
            }
            _ => {}
        }
    }
    run.output = output.join().unwrap();
    run.counters = tracer.counters();
    assert_eq!(reader.malformed(), 0);
    run
}

fn collect(child: &mut Child) -> std::thread::JoinHandle<String> {
    let output = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(output).read_to_string(&mut text).unwrap();
        text
    })
}

impl Run {
    fn new(pid: u32, title: String, mode: AttachMode) -> Self {
        Self {
            pid,
            events: Vec::new(),
            notices: Vec::new(),
            counters: Counters::default(),
            output: String::new(),
            status: None,
            title,
            mode,
        }
    }

    fn step(&mut self, tracer: &mut Tracer, reader: &mut RingReader) {
        let mut fds: Vec<libc::pollfd> = tracer
            .poll_fds()
            .into_iter()
            .map(|fd| fd.as_raw_fd())
            .chain([reader.as_fd().as_raw_fd()])
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        let wait = reader.look_again().unwrap_or(Duration::from_millis(20)).as_millis();
        #[expect(unsafe_code, reason = "poll(2)")]
        // SAFETY: `fds` is valid for its length.
        unsafe {
            libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, libc::c_int::try_from(wait).unwrap());
        }
        tracer.on_readable(&mut self.notices);
        tracer.adjust();
        while reader.drain(&mut self.events) {}
    }

    /// Streams as the program told them: process, image, end, direction.
    pub fn told(&self) -> BTreeMap<(u32, u32, String, String), Vec<u8>> {
        let mut streams: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for line in self.output.as_bytes().lines().map(Result::unwrap) {
            let fields: Vec<&str> = line.split(' ').collect();
            let [pid, image, end, way, length, seed] = fields[..] else { continue };
            let (length, seed): (usize, usize) = (length.parse().unwrap(), seed.parse().unwrap());
            let stream = streams
                .entry((pid.parse().unwrap(), image.parse().unwrap(), end.to_owned(), way.to_owned()))
                .or_default();
            stream.extend((0..length).map(|at| (seed * 131 + at * 7 + (at >> 8)) as u8));
        }
        streams
    }

    pub fn told_bytes(&self) -> usize {
        self.told().values().map(Vec::len).sum()
    }

    pub fn captured_bytes(&self) -> usize {
        self.events.iter().map(|event| if let Event::Data { bytes, .. } = event { bytes.len() } else { 0 }).sum()
    }

    pub fn assert_no_loss(&self) {
        let gaps: Vec<_> = self.events.iter().filter(|event| matches!(event, Event::Gap { .. })).collect();
        assert!(gaps.is_empty(), "{}: {gaps:?}", self.title);
        for (counter, value) in self.counters.iter() {
            assert_eq!(value, 0, "{}: {}", self.title, counter.name());
        }
    }

    /// Each stream that the program told is one direction of one connection, byte for byte; every connection is
    /// opened before and closed after its data, and its time does not run backwards.
    pub fn assert_exact(&self) {
        assert!(
            self.status.is_some_and(|status| status.success()),
            "{}: {:?}",
            self.title,
            self.status.and_then(|status| status.signal())
        );
        self.assert_no_loss();
        let mut streams: BTreeMap<(u64, bool), Vec<u8>> = BTreeMap::new();
        let mut owners = BTreeMap::new();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut closed = Vec::new();
        for event in &self.events {
            let (key, now) = match event {
                Event::Open { at, key, connection } => {
                    assert!(owners.insert(key.0, connection.pid.unwrap()).is_none(), "{}: opened twice", self.title);
                    (key, *at)
                }
                Event::Data { at, key, direction, offset, bytes } => {
                    assert!(owners.contains_key(&key.0), "{}: data before its connection", self.title);
                    assert!(!closed.contains(&key.0), "{}: data after the end", self.title);
                    let stream = streams.entry((key.0, *direction == Direction::Send)).or_default();
                    assert_eq!(*offset, stream.len() as u64, "{}: offsets jump without a gap", self.title);
                    stream.extend_from_slice(bytes);
                    (key, *at)
                }
                Event::Close { at, key, .. } => {
                    assert!(!closed.contains(&key.0), "{}: closed twice", self.title);
                    closed.push(key.0);
                    (key, *at)
                }
                _ => continue,
            };
            let last = times.entry(key.0).or_default();
            assert!(now >= *last, "{}: time runs backwards", self.title);
            *last = now;
        }
        assert_eq!(owners.len(), closed.len(), "{}: connections that were never closed", self.title);
        for ((pid, image, end, way), told) in self.told() {
            let found = streams
                .iter()
                .filter(|((key, sent), stream)| owners[key] == pid && *sent == (way == "send") && **stream == told)
                .count();
            let of_process = streams.iter().filter(|((key, _), _)| owners[key] == pid);
            let lengths: Vec<_> = of_process.map(|(key, stream)| (key, stream.len())).collect();
            assert!(
                found == 1 || told.is_empty(),
                "{}: {end} {way} of image {image} of {pid}: {} bytes told, captured {lengths:?}; counted {:?}",
                self.title,
                told.len(),
                self.counters.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
            );
        }
    }
}
