//! `llmtap replay`: the line over a capture file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::Failure;
use crate::{
    capture::{
        replay::Replay,
        seam::{Totals, User},
    },
    config,
    export::otlp::SystemResolver,
    live::held::Held,
    session::{Session, Stream},
};

/// How often the metrics of what is now are brought up to date.
const OBSERVE: Duration = Duration::from_millis(250);

/// Replays the file and writes what it tells.
pub fn run(arguments: &config::Replay, held: Held) -> Result<(), Failure> {
    let user = User::calling();
    let name = || arguments.file.display().to_string();
    let input: Box<dyn Read> = if arguments.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&arguments.file).with_context(|| format!("cannot open {}", name())).map_err(Failure::run)?)
    };
    let mut replay = Replay::new(input).with_context(name).map_err(Failure::run)?;
    let mut session = Session::open(&arguments.shared, Stream::Stdout, held, &user, false)?;
    let mut pipeline = session.pipeline(Arc::new(SystemResolver), false).map_err(Failure::run)?;
    let mut events = Vec::new();
    let mut observed = Instant::now();
    let outcome = loop {
        let next = replay.next(&mut events);
        for event in events.drain(..) {
            pipeline.push(event).context("cannot write the output").map_err(Failure::run)?;
        }
        if observed.elapsed() >= OBSERVE {
            pipeline.observe();
            observed = Instant::now();
        }
        match next {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // What stands before the damage of a file still counts.
    session.close(pipeline, Totals::default()).context("cannot write the output").map_err(Failure::run)?;
    outcome.with_context(name).map_err(Failure::run)
}
