//! What this machine allows, and what each process uses: the answer to "why do I see nothing?".

mod machine;
mod table;

use std::io;

use serde::Serialize;

pub use machine::{Check, Machine};
pub use table::print;

use crate::capture::{
    process,
    survey::{Placement, Survey, TlsFile},
};

/// All that `llmtap doctor` tells.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub processes: Vec<ProcessVerdict>,
    /// Processes whose mappings could not be read.
    pub unreadable: u64,
}

/// One process with TLS code.
#[derive(Debug, Serialize)]
pub struct ProcessVerdict {
    pub pid: u32,
    pub name: String,
    /// The file that holds the TLS code, as the process names it.
    pub file: String,
    /// `openssl 3.0.15`; absent where it is not one that llmtap hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Whether llmtap sees what the process says.
    pub traced: bool,
    /// A short stable name: `ok`, `ok_exported` (hooked at the exported functions, which costs the process more), `ok_found` (hooked at functions
    /// that no symbol names), or why not.
    pub reason: &'static str,
    /// The same in words.
    pub explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<&'static str>,
}

/// Examines the machine and process `pid`, or all.
pub fn examine(pid: Option<u32>) -> Report {
    let mut report = Report { machine: Machine::examine(), processes: Vec::new(), unreadable: 0 };
    let mut survey = Survey::default();
    // This very program carries the names that it looks for.
    let own = std::process::id();
    for pid in pid.map_or_else(process::running, |pid| vec![pid]).into_iter().filter(|pid| *pid != own) {
        match survey.process(pid) {
            Ok(files) => report.processes.extend(verdicts(pid, files)),
            // A process that has ended meanwhile is nobody's problem.
            Err(_) if !process::is_alive(pid) => {}
            Err(_) => report.unreadable += 1,
        }
    }
    report
}

/// The hooked TLS library, if any, and the reason, of each TLS code that counts in process `pid`.
pub fn judge(survey: &mut Survey, pid: u32) -> io::Result<Vec<(Option<String>, &'static str)>> {
    let verdicts = verdicts(pid, survey.process(pid)?);
    Ok(verdicts.into_iter().map(|verdict| (verdict.library, verdict.reason)).collect())
}

/// A program can link several TLS libraries and use one: where one is hooked, the others are not told of.
fn verdicts(pid: u32, mut files: Vec<TlsFile>) -> Vec<ProcessVerdict> {
    if files.iter().any(|file| file.verdict.is_ok()) {
        files.retain(|file| file.verdict.is_ok());
    }
    let name =
        process::facts(pid).ok().and_then(|facts| facts.service).map_or_else(|| "?".into(), |name| name.to_string());
    let verdict = |file: TlsFile| match file.verdict {
        Ok((library, placement)) => ProcessVerdict {
            pid,
            name: name.clone(),
            file: file.path,
            library: Some(library),
            traced: true,
            reason: match placement {
                Placement::Method => "ok",
                Placement::Exported => "ok_exported",
                Placement::Found => "ok_found",
            },
            explanation: match placement {
                Placement::Method => "hooked",
                Placement::Exported => "hooked at its exported functions",
                Placement::Found => "hooked at functions found without symbols",
            }
            .into(),
            fix: None,
        },
        Err(reason) => ProcessVerdict {
            pid,
            name: name.clone(),
            explanation: format!("{} {reason}", file.path.rsplit('/').next().unwrap_or(&file.path)),
            file: file.path,
            library: None,
            traced: false,
            reason: reason.code(),
            fix: reason.fix(),
        },
    };
    files.into_iter().map(verdict).collect()
}
