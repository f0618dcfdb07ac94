//! What the hooks cost per `SSL_write` and the matching `SSL_read`: untraced, empty programs at the exported entries and
//! the return of reads, empty programs at our own sites, and under `llmtap run`. The variants take turns; medians of
//! processor time. Prints one JSON object a size.
//!
//! `hook_cost LLMTAP [ROUNDS] [PAIRS]`; needs root, a C compiler and OpenSSL's headers.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use llmtap::capture::{Options, Tracer};

const PROGRAM: &str = include_str!("../../tests/bench/pair.c");

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let llmtap = PathBuf::from(arguments.next().ok_or("hook_cost LLMTAP [ROUNDS] [PAIRS]")?);
    let rounds: usize = arguments.next().map_or(Ok(7), |text| text.parse())?;
    let pairs: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let directory = std::env::temp_dir().join(format!("llmtap-hook-cost-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&directory, &llmtap, rounds, pairs);
    std::fs::remove_dir_all(&directory)?;
    measured
}

fn measure(directory: &Path, llmtap: &Path, rounds: usize, pairs: usize) -> Result<()> {
    let (source, pair) = (directory.join("pair.c"), directory.join("pair"));
    std::fs::write(&source, PROGRAM)?;
    let mut compiler = Command::new("cc");
    compiler.arg("-O2").arg("-o").arg(&pair).arg(&source).args(["-lssl", "-lcrypto"]);
    if !compiler.stderr(Stdio::null()).status()?.success() {
        return Err(
            "the test program does not compile: install a C compiler and OpenSSL's headers (Debian: libssl-dev)".into(),
        );
    }
    // A copy: other tracers on this machine probe the installed file, and would be measured with us.
    let library = directory.join("libssl.so.3");
    std::fs::copy(library_of(&pair)?, &library)?;
    let mut tracer = Tracer::load(&Options::default())?;
    for (length, pairs) in [(64, pairs), (16_384, pairs / 8)] {
        let run = |command: &mut Command| {
            run(command.env("LD_LIBRARY_PATH", directory).args([length.to_string(), pairs.to_string()]))
        };
        let mut samples: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            samples[0].push(run(&mut Command::new(&pair))?);
            let links = tracer.attach_empty(&library, true)?;
            samples[1].push(run(&mut Command::new(&pair))?);
            drop(links);
            let links = tracer.attach_empty(&library, false)?;
            samples[2].push(run(&mut Command::new(&pair))?);
            drop(links);
            samples[3].push(run(Command::new(llmtap).args(["run", "--output", "none", "--"]).arg(&pair))?);
        }
        let [untraced, exported, own, real] = samples.map(median);
        println!(
            "{{\"bytes\":{length},\"untraced_ns\":{untraced:.0},\"empty_exported_ns\":{exported:.0},\
             \"empty_own_ns\":{own:.0},\"llmtap_ns\":{real:.0}}}"
        );
    }
    Ok(())
}

/// Processor time per pair, nanoseconds.
fn run(command: &mut Command) -> Result<f64> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8(output.stderr)?;
    // What is lost is not copied: the hooks would look cheap.
    if !output.status.success() || !said.is_empty() {
        return Err(format!("{}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
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
