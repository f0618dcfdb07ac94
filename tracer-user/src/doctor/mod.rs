//! What this machine allows, and what each process uses: the answer to "why do I see nothing?".

mod machine;
mod process;
mod sockets;
mod table;
mod watch;

use serde::Serialize;

pub use machine::{Check, Machine};
pub use process::ProcessVerdict;
pub use table::print;
pub use watch::{Seen, watch};

use crate::capture::{self, survey::Survey};

/// All that `llmtap doctor` tells.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub processes: Vec<ProcessVerdict>,
    /// Processes whose mappings could not be read.
    pub unreadable: u64,
}

/// Examines the machine and process `pid`, or all.
pub fn examine(pid: Option<u32>) -> Report {
    let mut report = Report { machine: Machine::examine(), processes: Vec::new(), unreadable: 0 };
    let mut survey = Survey::default();
    // This very program carries the names that it looks for.
    let program = |pid: &str| Some(std::fs::read_link(format!("/proc/{pid}/exe")).ok()?.file_name()?.to_owned());
    let own = program("self");
    let is_other = |pid: &u32| own.is_none() || program(&pid.to_string()) != own;
    let all = || capture::process::running().into_iter().filter(is_other).collect();
    for one in pid.map_or_else(all, |pid| vec![pid]) {
        match process::examine(one, &mut survey, report.machine.version) {
            Some(verdicts) => report.processes.extend(verdicts),
            // A process that has ended meanwhile is nobody's problem.
            None if !capture::process::is_alive(one) => {}
            None => {
                report.unreadable += 1;
                if pid.is_some() {
                    report.processes.push(process::unreadable(one));
                }
            }
        }
    }
    report
}

/// Library, if it is one that is hooked, and reason of each verdict on process `pid`; none once it has ended.
pub fn judge(survey: &mut Survey, pid: u32) -> Vec<(Option<String>, &'static str)> {
    let verdicts = process::examine(pid, survey, machine::version(&machine::kernel())).unwrap_or_default();
    verdicts.into_iter().map(|verdict| (verdict.library, verdict.reason)).collect()
}
