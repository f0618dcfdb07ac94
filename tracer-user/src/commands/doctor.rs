//! `llmtap doctor`

use std::io::{self, Write as _};

use anyhow::anyhow;

use super::Failure;
use crate::{capture::process, config, doctor};

/// Prints the report. Status 77 when tracing does not work here.
pub fn run(arguments: &config::Doctor) -> Result<(), Failure> {
    if let Some(pid) = arguments.pid.filter(|pid| !process::is_alive(*pid)) {
        return Err(Failure::run(anyhow!("no process has PID {pid}: `ps -e` lists those that run")));
    }
    let mut report = doctor::examine(arguments.pid);
    if let Some(time) = arguments.watch.filter(|_| report.machine.ready) {
        doctor::watch(&mut report.processes, time).map_err(Failure::cannot)?;
    }
    let mut out = io::stdout().lock();
    let written = if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        doctor::print(&report, &mut out)
    };
    written.map_err(|error| Failure::run(anyhow!("cannot write the output: {error}")))?;
    match report.machine.checks.iter().find(|check| check.needed && !check.ok) {
        Some(check) => Err(Failure::cannot(anyhow!(
            "{}: {}",
            check.name,
            check.fix.clone().unwrap_or_else(|| check.found.clone())
        ))),
        None => Ok(()),
    }
}
