//! `llmtap replay`: the line over a capture file.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    capture::replay::Replay,
    config,
    export::Jsonl,
    llm::{self, Calls},
    output::{Output, View},
    pipeline::Pipeline,
    price::Prices,
    span::{Host, Ids, Synth},
};

/// Replays the file and writes what it tells.
pub fn run(arguments: &config::Replay) -> Result<()> {
    let input: Box<dyn Read> = if arguments.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&arguments.file).with_context(|| format!("cannot open {}", arguments.file.display()))?)
    };
    let mut replay = Replay::new(input).with_context(|| arguments.file.display().to_string())?;
    let out: Box<dyn Write + Send> = match &arguments.shared.output_file {
        Some(path) => Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?),
        None => Box::new(io::stdout()),
    };
    let view = match arguments.shared.output {
        config::Output::Jsonl => View::Jsonl(Jsonl::new(Box::new(BufWriter::with_capacity(1 << 16, out)))),
        _ => View::None,
    };
    let synth = Synth::new(Ids::replay(), Host::default());
    let calls = Calls::new(llm::Limits::default(), llm::Options::default());
    let mut pipeline = Pipeline::new(calls, Prices::builtin(), synth, Output::new(view), None);
    let mut events = Vec::new();
    let outcome = loop {
        let next = replay.next(&mut events);
        for event in events.drain(..) {
            pipeline.push(event)?;
        }
        match next {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // What stands before the damage of a file still counts.
    pipeline.finish()?;
    outcome.with_context(|| arguments.file.display().to_string())
}
