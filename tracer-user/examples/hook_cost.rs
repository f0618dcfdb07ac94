//! What the hooks cost per `SSL_write` and `SSL_read`: untraced, empty programs at the exported entries and read
//! returns, empty programs at our own sites, and the real ones. Prints one JSON object a size.
//!
//! `hook_cost [ROUNDS] [PAIRS] [RING_BYTES]`; needs root, a C compiler and OpenSSL's headers.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use llmtap::capture::{Options, Tracer};
use tracer_common::counter::Counter;

const PROGRAM: &str = include_str!("../tests/kernel/target.c");

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let pairs: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let directory = std::env::temp_dir().join(format!("llmtap-hook-cost-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&directory, rounds, pairs);
    std::fs::remove_dir_all(&directory)?;
    measured
}

fn measure(directory: &Path, rounds: usize, pairs: usize) -> Result<()> {
    let (source, target) = (directory.join("target.c"), directory.join("target"));
    std::fs::write(&source, PROGRAM)?;
    let mut compiler = Command::new("cc");
    compiler.arg("-O2").arg("-o").arg(&target).arg(&source).args(["-lssl", "-lcrypto", "-lpthread"]);
    if !compiler.stderr(Stdio::null()).status()?.success() {
        return Err("the test program does not compile: install libssl-dev and a C compiler".into());
    }
    let library = library_of(&target)?;
    let mut tracer = Tracer::load(&Options::default())?;
    for (length, pairs) in [(64, pairs), (16_384, pairs / 8)] {
        let run = || run(&target, length, pairs);
        let mut samples: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            samples[0].push(run()?);
            let links = tracer.attach_empty(&library, true)?;
            samples[1].push(run()?);
            drop(links);
            let links = tracer.attach_empty(&library, false)?;
            samples[2].push(run()?);
            drop(links);
            samples[3].push(hooked(&library, run)?);
        }
        let [untraced, exported, own, real] = samples.map(median);
        println!(
            "{{\"bytes\":{length},\"untraced_ns\":{untraced:.0},\"empty_exported_ns\":{exported:.0},\
             \"empty_own_ns\":{own:.0},\"real_ns\":{real:.0},\"added_to_exported\":{:.3},\"real_to_empty_own\":{:.3}}}",
            (real - untraced) / (exported - untraced),
            real / own
        );
    }
    Ok(())
}

/// Runs with the real hooks and a reader beside.
fn hooked(library: &Path, run: impl Fn() -> Result<f64>) -> Result<f64> {
    let mut options = Options::default();
    if let Some(bytes) = std::env::args().nth(3) {
        options.ring_bytes = bytes.parse()?;
    }
    let mut tracer = Tracer::load(&options)?;
    let mut reader = tracer.ring_reader()?;
    tracer.attach_file(library);
    tracer.add_target(std::process::id())?;
    let done = AtomicBool::new(false);
    let sample = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = Vec::new();
            while !done.load(Ordering::Relaxed) {
                while reader.drain(&mut events) {
                    events.clear();
                }
                std::thread::sleep(reader.look_again().unwrap_or(Duration::from_millis(5)));
            }
        });
        let sample = run();
        done.store(true, Ordering::Relaxed);
        sample
    });
    let lost = tracer.counters().value(Counter::RingFull);
    if lost > 0 {
        eprintln!("{lost} bytes lost: the reader was too slow");
    }
    sample
}

/// Processor time of the target per pair, nanoseconds.
fn run(target: &Path, length: usize, pairs: usize) -> Result<f64> {
    let mut child = Command::new(target)
        .args(["measure", &length.to_string(), &pairs.to_string()])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    child.wait()?;
    Ok(text.split_whitespace().nth(1).ok_or("the target printed no figures")?.parse()?)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The libssl that the program loads.
fn library_of(target: &Path) -> Result<PathBuf> {
    let output = Command::new("ldd").arg(target).output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.contains("libssl")).ok_or("the target loads no libssl")?;
    let path = line.split_whitespace().find(|word| word.starts_with('/')).ok_or("libssl was not found")?;
    Ok(Path::new(path).canonicalize()?)
}
