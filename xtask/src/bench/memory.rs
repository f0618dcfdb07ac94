//! Resident memory of llmtap's two processes, and the time that it takes to start.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    Goal, Places, median,
    session::{Process, Session, Stage},
};

const START_ROUNDS: usize = 15;

/// Most that llmtap may grow for one call of any size, MiB.
const MAX_GROWTH: f64 = 8.0;

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let stage = Stage::set(places)?;
    println!("MiB resident (of that, memory of its own): the privileged half, the parsing half");
    let mut session = stage.client(Some(&places.llmtap), &[], true)?;
    settle();
    show("idle", &session.halves()?, "VmRSS")?;
    peak("50 streams at once", "together 50 200 4000", &mut session)?;
    session.end()?;

    let mut goals = Vec::new();
    for (what, command) in [("a request of 1 MiB", "large 1048576"), ("a stream of 10,000 events", "stream 1 10000")] {
        let mut session = stage.client(Some(&places.llmtap), &[], true)?;
        session.ask("stream 1 20")?;
        settle();
        let before: f64 = resident(&session.halves()?, "VmRSS")?.iter().sum();
        show("after one short call", &session.halves()?, "VmRSS")?;
        let grown = peak(what, command, &mut session)? - before;
        session.end()?;
        goals.push(Goal::at_most(format!("memory: growth for {what}, MiB"), grown, MAX_GROWTH, "< 8"));
    }

    let mut samples: [Vec<f64>; 2] = Default::default();
    for _ in 0..START_ROUNDS {
        samples[0].push(milliseconds(&mut Command::new("true"))?);
        samples[1].push(milliseconds(Command::new(&places.llmtap).args(["run", "--output", "none", "--", "true"]))?);
    }
    let [bare, traced] = samples.map(median);
    println!(
        "start-up and end of `llmtap run -- true` beyond those of `true`: {:.0} ms (medians of {START_ROUNDS})",
        traced - bare
    );
    Ok(goals)
}

/// The highest memory while the client does something, MiB.
fn peak(what: &str, command: &str, session: &mut Session) -> Result<f64> {
    let halves = session.halves()?;
    for process in halves {
        process.forget_peak()?;
    }
    session.ask(command)?;
    settle();
    show(&format!("highest during {what}"), &halves, "VmHWM")?;
    Ok(resident(&halves, "VmHWM")?.iter().sum())
}

fn resident(halves: &[Process; 2], field: &str) -> Result<[f64; 2]> {
    Ok([halves[0].memory(field)?, halves[1].memory(field)?])
}

fn show(what: &str, halves: &[Process; 2], field: &str) -> Result<()> {
    let ([tracer, parser], [own, parsers_own]) = (resident(halves, field)?, resident(halves, "RssAnon")?);
    println!("{what:<44} {tracer:>7.1} ({own:.1}) {parser:>7.1} ({parsers_own:.1})");
    Ok(())
}

/// Lets the ring run empty.
fn settle() {
    thread::sleep(Duration::from_millis(600));
}

fn milliseconds(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{} failed: {status}", command.get_program().display());
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
