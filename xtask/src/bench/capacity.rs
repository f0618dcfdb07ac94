//! What a node needs: processor, memory and network of llmtap for so many calls a second and so many open streams. The
//! table of docs/operations.md is made by it.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    Goal, Places, number,
    session::{Session, Stage},
    sink::Sink,
};

/// Short calls, one after the other.
const CALLS: u64 = 2000;

/// Streams at once, their events, and the pause between two events of one: what a busy machine can still generate.
const STREAMS: u64 = 1000;
const EVENTS: u64 = 30;
const PAUSE_MS: u64 = 1000;

/// Events a second of a stream in the table: a fast model.
const TABLE_EVENTS: f64 = 50.0;

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let stage = Stage::set(places)?;
    let load = fs::read_to_string("/proc/loadavg")?;
    println!("the machine: {} cores, load {}", thread::available_parallelism()?, load.trim());

    let (plain, packed) = (calls(places, &stage, "none")?, calls(places, &stage, "gzip")?);
    let streams = streams(places, &stage)?;
    println!("\nmeasured: {CALLS} calls of 20 tokens; {STREAMS} streams at once, {EVENTS} events each");
    println!("{:<58} {:>10} {:>10}", "", "privileged", "parsing");
    row("processor time of a call, ms", plain.processor);
    row("processor time of an event of a stream, ms", streams.processor);
    row("resident memory, no calls, MiB", plain.idle);
    row("highest resident memory while all streams are open, MiB", streams.peak);
    println!("{:<58} {:>10.0} plain, {:.0} gzip", "bytes by OTLP for a call", plain.bytes, packed.bytes);

    let cores = |cost: [f64; 2], rate: f64| cost.iter().sum::<f64>() / 1e3 * rate;
    println!("\nfor the table:");
    println!("1,000 calls a second: {:.2} cores", cores(plain.processor, 1e3));
    println!(
        "1,000 calls a second: {:.1} Mbit/s of OTLP, {:.1} with gzip",
        plain.bytes * 8e3 / 1e6,
        packed.bytes * 8e3 / 1e6
    );
    println!(
        "1,000 streams of {TABLE_EVENTS:.0} events a second: {:.2} cores",
        cores(streams.processor, 1e3 * TABLE_EVENTS)
    );
    let grown = streams.peak.iter().sum::<f64>() - plain.idle.iter().sum::<f64>();
    println!("1,000 streams: {grown:.1} MiB more than without calls");
    Ok(Vec::new())
}

fn row(what: &str, [privileged, parsing]: [f64; 2]) {
    println!("{what:<58} {privileged:>10.3} {parsing:>10.3}");
}

struct Calls {
    /// Milliseconds a call, by half.
    processor: [f64; 2],
    /// MiB, by half.
    idle: [f64; 2],
    /// Bytes of OTLP a call, heads of requests included.
    bytes: f64,
}

fn calls(places: &Places, stage: &Stage, compression: &str) -> Result<Calls> {
    let sink = Sink::start()?;
    let mut session = stage.exporting(&places.llmtap, &sink.url(), compression)?;
    session.ask("calls 20")?;
    settle();
    let idle = memory(&session, "VmRSS")?;
    let before = processor(&session)?;
    let answer = session.ask(&format!("calls {CALLS}"))?;
    settle();
    let after = processor(&session)?;
    println!("{CALLS} calls in {:.1} s, OTLP compression {compression}", number(&answer, "wall_ns") / 1e9);
    session.end()?;
    let taken = sink.taken();
    ensure!(taken.traces > 0, "no spans came by OTLP");
    let processor = [0, 1].map(|half| (after[half] - before[half]) / CALLS as f64);
    Ok(Calls { processor, idle, bytes: taken.trace_bytes as f64 / (CALLS + 20) as f64 })
}

struct Streams {
    /// Milliseconds an event, by half.
    processor: [f64; 2],
    peak: [f64; 2],
}

fn streams(places: &Places, stage: &Stage) -> Result<Streams> {
    let sink = Sink::start()?;
    let mut session = stage.exporting(&places.llmtap, &sink.url(), "none")?;
    session.ask("calls 20")?;
    settle();
    for half in session.halves()? {
        half.forget_peak()?;
    }
    let before = processor(&session)?;
    let answer = session.ask(&format!("together {STREAMS} {EVENTS} {}", PAUSE_MS * 1000))?;
    settle();
    let after = processor(&session)?;
    let peak = memory(&session, "VmHWM")?;
    session.end()?;
    ensure!(number(&answer, "streams") as u64 == STREAMS, "the client ran {answer}");
    ensure!(sink.taken().traces > 0, "no spans came by OTLP");
    let events = (STREAMS * EVENTS) as f64;
    Ok(Streams { processor: [0, 1].map(|half| (after[half] - before[half]) / events), peak })
}

fn processor(session: &Session) -> Result<[f64; 2]> {
    let [privileged, parsing] = session.halves()?;
    Ok([privileged.processor_ms()?, parsing.processor_ms().context("the parsing half")?])
}

fn memory(session: &Session, field: &str) -> Result<[f64; 2]> {
    let [privileged, parsing] = session.halves()?;
    Ok([privileged.memory(field)?, parsing.memory(field)?])
}

/// Lets the ring run empty, and what waits for export leave.
fn settle() {
    thread::sleep(Duration::from_millis(1500));
}
