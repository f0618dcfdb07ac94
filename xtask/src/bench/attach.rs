//! What hooking costs where it begins and ends: the start of programs, many processes at once, others beside them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use super::{Goal, Places, median};
use crate::setup;

/// Programs that are started for one row.
const STARTS: &str = "100";
const PROCESSES: usize = 500;
const ROUNDS: usize = 7;
/// Targets that hooks stop alone, at most.
const ALONE: usize = 8;
/// Rounds of the rows for which targets have to rest, which takes half a minute each.
const RESTS: usize = 3;
/// How long they are waited for.
const REST: Duration = Duration::from_secs(180);
/// Pairs of a write and a read, of 64 bytes.
const PAIRS: &str = "20000";

/// Programs, and a copy of the library that no other tracer on this machine probes.
struct Yard {
    folder: PathBuf,
    start: PathBuf,
    pair: PathBuf,
    library: PathBuf,
}

impl Yard {
    fn set() -> Result<Self> {
        let folder = setup::root().join("target/bench-attach");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("original"))?;
        let [start, pair] = ["start", "pair"].map(|name| folder.join(name));
        for program in [&start, &pair] {
            let name = program.file_name().unwrap_or_default();
            let source = setup::root().join("tests/bench").join(name).with_extension("c");
            let mut compiler = Command::new("cc");
            compiler.arg("-O2").arg("-o").arg(program).arg(source).args(["-lssl", "-lcrypto"]);
            setup::output(&mut compiler).context("needs a C compiler and OpenSSL's headers (Debian: libssl-dev)")?;
        }
        let linked = setup::output(Command::new("ldd").arg(&pair))?;
        let line = linked.lines().find(|line| line.contains("libssl")).context("no libssl")?;
        let path = line.split_whitespace().find(|word| word.starts_with('/')).context("libssl was not found")?;
        let library = folder.join(Path::new(path).file_name().unwrap_or_default());
        fs::copy(path, &library)?;
        fs::copy(path, folder.join("original/library"))?;
        Ok(Self { folder, start, pair, library })
    }

    /// Programs by whose names they are targets: one that idles and the loop, and a pattern of both.
    fn named(&self) -> Result<(PathBuf, PathBuf, String)> {
        let name = format!("tap{}", std::process::id() % 100_000);
        let named = |suffix: &str, of: &Path| -> Result<PathBuf> {
            let path = self.folder.join(format!("{name}{suffix}"));
            fs::copy(of, &path)?;
            Ok(path)
        };
        Ok((named("idle", &self.start)?, named("pair", &self.pair)?, format!("{name}*")))
    }

    fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", &self.folder)
    }

    /// Milliseconds from start to end of a short program, sorted; under llmtap where it is named.
    fn starts(&self, llmtap: Option<&Path>, fresh: bool) -> Result<Vec<f64>> {
        let mut command = match llmtap {
            Some(llmtap) => {
                let mut command = Command::new(llmtap);
                command.args(["run", "--output", "none", "--"]).arg(&self.start);
                command
            }
            None => Command::new(&self.start),
        };
        let original = self.folder.join("original/library");
        let from = if fresh { original.as_path() } else { Path::new("-") };
        command.args(["spawn", STARTS]).arg(from).arg(&self.library).arg(&self.pair).args(["64", "1"]);
        let output = self.equip(&mut command).stdout(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        let mut times: Vec<f64> = said.lines().filter_map(|line| line.parse().ok()).map(|ns: f64| ns / 1e6).collect();
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// Nanoseconds of its own time that a program takes for a write and a read.
    fn loops(&self, program: &Path) -> Result<f64> {
        let output = self.equip(Command::new(program).args(["64", PAIRS])).stderr(Stdio::null()).output()?;
        ensure!(output.status.success(), "the loop failed");
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }

    /// A program that will run the loop when its input ends.
    fn waiting(&self, program: &Path) -> Result<Child> {
        let mut command = Command::new(program);
        command.args(["64", PAIRS, "wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(self.equip(&mut command).spawn()?)
    }

    fn idle(&self, program: &Path, count: usize) -> Result<Vec<Child>> {
        let start = || self.equip(Command::new(program).arg("idle")).stdin(Stdio::piped()).spawn();
        (0..count).map(|_| Ok(start()?)).collect()
    }
}

/// What a program that was made to wait measured.
fn go_on(mut waiting: Child) -> Result<f64> {
    drop(waiting.stdin.take());
    let mut text = String::new();
    waiting.stdout.take().context("no output")?.read_to_string(&mut text)?;
    ensure!(waiting.wait()?.success(), "the loop failed");
    Ok(text.trim().parse()?)
}

/// `llmtap trace`, once it has attached, and the rest of what it says.
struct Tracer(Child, Receiver<String>);

impl Tracer {
    /// Also how long that took, ms.
    fn start(llmtap: &Path, names: &str) -> Result<(Self, f64)> {
        let begin = Instant::now();
        let mut command = Command::new(llmtap);
        command.args(["trace", "-v", "--output", "none", "--comm", names]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let ready = said.iter().any(|line| line.contains("tracing begins"));
        let took = begin.elapsed().as_secs_f64() * 1e3;
        ensure!(ready, "the tracer ended");
        Ok((Self(child, said), took))
    }

    /// Until its targets rest and its hooks stop these alone.
    fn rest(&self) -> Result<()> {
        let until = Instant::now() + REST;
        while let Ok(line) = self.1.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.contains("hooks stop") {
                // What stood before goes a little later.
                std::thread::sleep(Duration::from_secs(4));
                return Ok(());
            }
        }
        anyhow::bail!("the targets did not come to rest")
    }

    /// How long it takes to end, ms.
    fn end(mut self) -> Result<f64> {
        let begin = Instant::now();
        setup::output(Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]))?;
        self.0.wait()?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    }
}

fn end_all(idle: Vec<Child>) {
    for mut child in idle {
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let yard = Yard::set()?;
    let mut goals = starts(places, &yard)?;
    goals.extend(many(places, &yard)?);
    goals.extend(rested(places, &yard)?);
    goals.push(status(places)?);
    fs::remove_dir_all(&yard.folder)?;
    Ok(goals)
}

fn starts(places: &Places, yard: &Yard) -> Result<Vec<Goal>> {
    println!("a short program from its start to its end, ms, of {STARTS}");
    println!("{:<48} {:>8} {:>8}", "", "median", "worst");
    let show = |what: &str, times: Vec<f64>| {
        let [middle, worst] =
            [times.len() / 2, times.len().saturating_sub(1)].map(|index| times.get(index).copied().unwrap_or(f64::NAN));
        println!("{what:<48} {middle:>8.2} {worst:>8.2}");
        middle
    };
    let untraced = show("untraced", yard.starts(None, false)?);
    let known = show("traced, files known", yard.starts(Some(&places.llmtap), false)?);
    let fresh = show("traced, a library never seen before", yard.starts(Some(&places.llmtap), true)?);
    println!("added by holding it: {:.2} ms; with a new library: {:.2} ms", known - untraced, fresh - untraced);
    Ok(Vec::new())
}

fn many(places: &Places, yard: &Yard) -> Result<Vec<Goal>> {
    let (idle, target, pattern) = yard.named()?;
    let mut samples: [Vec<f64>; 4] = Default::default();
    let [mut attached, mut detached]: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        samples[0].push(yard.loops(&yard.pair)?);
        for (index, count) in [1, PROCESSES].into_iter().enumerate() {
            let children = yard.idle(&idle, count)?;
            let (tracer, took) = Tracer::start(&places.llmtap, &pattern)?;
            attached[index].push(took);
            samples[1 + index].push(yard.loops(&target)?);
            if count == 1 {
                samples[3].push(yard.loops(&yard.pair)?);
            }
            detached[index].push(tracer.end()?);
            end_all(children);
        }
    }
    let [untraced, one, all, beside] = samples.map(median);
    let ([first, many], [_, gone]) = (attached.map(median), detached.map(median));
    println!("start of `llmtap trace` until hooks stand: {first:.0} ms for one process, {many:.0} ms for {PROCESSES}");
    println!(
        "a write and a read of 64 B, ns: untraced {untraced:.0}; one target {one:.0}; one of {PROCESSES} {all:.0}"
    );
    println!("the same in a process that is no target, while targets come and go: {beside:.0}");
    Ok(vec![
        Goal::at_most(format!("attach, detaching from {PROCESSES} processes, s"), gone / 1e3, 1.0, "<= 1"),
        Goal::at_most(format!("attach, a hit with {PROCESSES} targets to one with one"), all / one, 1.2, "<= 1.2"),
    ])
}

/// When targets have rested for a while, as in a daemon's steady state.
fn rested(places: &Places, yard: &Yard) -> Result<Vec<Goal>> {
    let (idle, target, pattern) = yard.named()?;
    let [mut untraced, mut beside, mut one, mut all]: [Vec<f64>; 4] = Default::default();
    for _ in 0..RESTS {
        for (count, samples) in [(1, &mut one), (ALONE, &mut all)] {
            let children = yard.idle(&idle, count - 1)?;
            let waiting = yard.waiting(&target)?;
            let (tracer, _) = Tracer::start(&places.llmtap, &pattern)?;
            tracer.rest()?;
            for _ in 0..ROUNDS {
                beside.push(yard.loops(&yard.pair)?);
            }
            samples.push(go_on(waiting)?);
            tracer.end()?;
            end_all(children);
            for _ in 0..ROUNDS {
                untraced.push(yard.loops(&yard.pair)?);
            }
        }
    }
    let [untraced, beside, one, all] = [untraced, beside, one, all].map(median);
    println!(
        "at rest, ns: untraced {untraced:.0}; no target {beside:.0}; one target {one:.0}; one of {ALONE} {all:.0}"
    );
    Ok(vec![
        Goal::at_most("attach, 64 B in a process that is no target to untraced", beside / untraced, 1.02, "<= 1.02"),
        Goal::at_most(format!("attach, a hit with {ALONE} targets at rest to one with one"), all / one, 1.2, "<= 1.2"),
    ])
}

/// From the last words of a command to the end of `llmtap run`.
fn status(places: &Places) -> Result<Goal> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = Command::new(&places.llmtap);
        command.args(["run", "--output", "none", "--", "date", "+%s%N"]);
        let said: f64 = setup::output(&mut command)?.trim().parse()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as f64;
        times.push((now - said) / 1e6);
    }
    let figure = median(times);
    Ok(Goal::at_most("attach, from a command's end to that of `llmtap run`, ms", figure, 50.0, "<= 50"))
}
