//! What the user side costs: payload bytes from captured events to spans on one core, against one typed `serde_json`
//! parse of the same payload's JSON texts. Prints one JSON object a workload.
//!
//! `replay_cost [ROUNDS] [NAME]`, only workloads with NAME in their names; captures named by `LLMTAP_CORPUS` (a folder) are
//! measured, too. `replay_cost ROUNDS NAME spans` runs that variant alone, for a profiler.
//!
//! Times are of this thread's own processor clock and of variants that take turns, so that other work on the machine
//! counts little; medians. `decode` is flow, proto and exchange; `spans` the whole line without output; `file` the same
//! from the text of a capture file, with the reading of it.
//!
//! A protocol adds its row by a function that gives a [`Workload`]: `workload::Script` writes HTTP/1.1; other framings give
//! events and JSON texts of their own.

mod answers;
mod baseline;
mod http2;
mod recorded;
mod websocket;
mod workload;

use std::{
    hint::black_box,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use llmtap::{
    capture::{ByConnection, Event, record::Recorder, replay::Replay},
    exchange::{self, Exchanges},
    flow::{self, Flows},
    llm::{self, Calls, could_be_model_call},
    output::{Output, View},
    pipeline::Pipeline,
    price::Prices,
    proto,
    span::{Host, Ids, Synth},
};

use crate::{
    baseline::{Borrowed, Owned, Text},
    workload::Workload,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(41), |text| text.parse())?;
    let only = arguments.next().unwrap_or_default();
    let profiled = arguments.next().is_some_and(|variant| variant == "spans");
    let mut workloads = workload::all()?;
    workloads.extend(recorded::dialects()?);
    if let Some(folder) = std::env::var_os("LLMTAP_CORPUS") {
        workloads.push(recorded::corpus(folder.as_ref())?);
    }
    for workload in workloads.iter().filter(|workload| workload.name.contains(&only)) {
        if profiled {
            for _ in 0..rounds {
                black_box(spans(&mut workload.events.clone(), &mut pipeline(None))?);
            }
        } else {
            measure(workload, rounds)?;
        }
    }
    Ok(())
}

fn measure(workload: &Workload, rounds: usize) -> Result<()> {
    let file = recorded(&workload.events)?;
    let mut samples: [Vec<f64>; 5] = Default::default();
    let mut calls = 0;
    for _ in 0..rounds {
        samples[0].push(timed(|| baseline::<Owned>(workload))?.0);
        samples[1].push(timed(|| baseline::<Borrowed>(workload))?.0);
        let mut events = workload.events.clone();
        samples[2].push(timed(|| Ok(decode(&mut events)))?.0);
        let (mut events, mut pipeline) = (workload.events.clone(), self::pipeline(None));
        let (spent, seen) = timed(|| spans(&mut events, &mut pipeline))?;
        samples[3].push(spent);
        let mut pipeline = self::pipeline(None);
        samples[4].push(timed(|| from_file(&file, &mut pipeline))?.0);
        calls = seen;
    }
    if calls == 0 {
        return Err(format!("{}: no call was seen in it", workload.name).into());
    }
    let [owned, borrowed, decode, spans, file] = samples.map(median);
    let (payload, units) = (workload.payload() as f64, workload.units as f64);
    println!(
        "{{\"workload\":\"{}\",\"payload_bytes\":{payload},\"units\":{units},\"spans\":{calls},\
         \"owned_ns\":{:.0},\"borrowed_ns\":{:.0},\"decode_ns\":{:.0},\"spans_ns\":{:.0},\"file_ns\":{:.0},\
         \"spans_gb_per_s\":{:.2},\"file_gb_per_s\":{:.2},\"against_owned\":{:.2},\"against_borrowed\":{:.2},\
         \"file_against_owned\":{:.2}}}",
        workload.name,
        owned / units,
        borrowed / units,
        decode / units,
        spans / units,
        file / units,
        payload / spans,
        payload / file,
        owned / spans,
        borrowed / spans,
        owned / file,
    );
    Ok(())
}

/// What any reader of the payload has to do: undo the content codings, parse each JSON text once.
fn baseline<'a, T: Text<'a>>(workload: &'a Workload) -> Result<usize> {
    for body in &workload.coded {
        black_box(body.decode()?);
    }
    for (shape, text) in &workload.texts {
        shape.parse::<T>(text)?;
    }
    Ok(workload.texts.len())
}

/// Nanoseconds of this thread's processor time, and what the work gave.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = processor_time();
    let result = black_box(work()?);
    Ok((processor_time() - start, result))
}

fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "clock_gettime(2)")]
    // SAFETY: `time` is a valid timespec for the call.
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
    }
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The whole line, without output.
fn pipeline(recorder: Option<Recorder<Box<dyn Write + Send>>>) -> Pipeline {
    let calls = Calls::new(llm::Limits::default(), llm::Options::default());
    let synth = Synth::new(Ids::replay(), Host::default());
    Pipeline::new(calls, Prices::builtin(), synth, Output::new(View::None), recorder)
}

/// The events are handed over, as capture does: the vector's memory stays.
fn spans(events: &mut Vec<Event>, pipeline: &mut Pipeline) -> Result<u64> {
    for event in events.drain(..) {
        pipeline.push(event)?;
    }
    Ok(pipeline.finish()?.calls)
}

fn from_file(file: &[u8], pipeline: &mut Pipeline) -> Result<u64> {
    let mut replay = Replay::new(file)?;
    let mut events = Vec::new();
    while replay.next(&mut events)? {
        for event in events.drain(..) {
            pipeline.push(event)?;
        }
    }
    Ok(pipeline.finish()?.calls)
}

/// flow, proto and exchange alone; gives the number of pieces.
fn decode(events: &mut Vec<Event>) -> usize {
    let mut count = 0;
    exchanges(events, |event| {
        black_box(event);
        count += 1;
    });
    count
}

fn exchanges(events: &mut Vec<Event>, mut each: impl FnMut(exchange::Event<'_>)) {
    let mut flows = Flows::new(flow::Limits::default());
    let mut connections = ByConnection::default();
    let mut take = |event| match event {
        flow::Event::Open { key, connection, .. } => {
            let decoder = proto::Connection::new(proto::Limits::default(), connection.role, could_be_model_call);
            connections.insert(key, (decoder, Exchanges::new(key, connection)));
        }
        flow::Event::Bytes { at, key, direction, bytes } => {
            let Some((decoder, exchanges)) = connections.get_mut(&key) else { return };
            decoder.push(at, direction, &bytes, &mut |event| exchanges.push(event, &mut each));
        }
        flow::Event::Close { key, .. } | flow::Event::Abandon { key, .. } => {
            connections.remove(&key);
        }
        flow::Event::Gap { .. } => {}
    };
    for event in events.drain(..) {
        flows.push(event, &mut take);
    }
}

/// The events as a capture file.
fn recorded(events: &[Event]) -> Result<Vec<u8>> {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let file = Shared::default();
    let mut pipeline = pipeline(Some(Recorder::new(Box::new(file.clone()) as Box<_>)?));
    for event in events {
        pipeline.push(event.clone())?;
    }
    pipeline.finish()?;
    let bytes = std::mem::take(&mut *file.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(bytes)
}
