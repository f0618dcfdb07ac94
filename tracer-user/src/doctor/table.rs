//! The report for people.

use std::io::{self, Write};

use super::{ProcessVerdict, Report, sockets::Connections};
use crate::export::pretty::text::clean;

/// Most characters of a name or path.
const MAX_TEXT: usize = 200;

/// Writes the report as two tables.
pub fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "MACHINE  {} {}", report.machine.architecture, clean(&report.machine.kernel, MAX_TEXT))?;
    for check in &report.machine.checks {
        let sign = if check.ok { "✓" } else { "✗" };
        writeln!(out, "  {sign} {:<14} {}", check.name, clean(&check.found, MAX_TEXT))?;
        if let Some(fix) = &check.fix {
            writeln!(out, "    → {fix}")?;
        }
    }
    if let Some(mode) = &report.machine.attach_mode {
        writeln!(out, "  attaches by {mode}")?;
    }
    writeln!(out)?;
    if report.processes.is_empty() {
        writeln!(out, "No process with TLS code was found.")?;
    } else {
        let rows: Vec<[String; 6]> = report
            .processes
            .iter()
            .map(|process| {
                [
                    process.pid.to_string(),
                    clean(&process.name, MAX_TEXT),
                    process.library.clone().unwrap_or_else(|| "–".into()),
                    count(process.connections),
                    format!("{} {}", if process.traced { "✓" } else { "✗" }, process.reason),
                    clean(&explanation(process), MAX_TEXT),
                ]
            })
            .collect();
        let heads = ["PID", "PROCESS", "TLS", "CONNECTIONS", "VERDICT", ""];
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
            cells.chain(heads.get(column).map(|head| head.chars().count())).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2), width(3), width(4)];
        let mut line = |cells: [&str; 6]| {
            let [pid, name, library, connections, verdict, explanation] = cells;
            let [a, b, c, d, e] = widths;
            writeln!(
                out,
                "{}",
                format!("{pid:>a$}  {name:<b$}  {library:<c$}  {connections:<d$}  {verdict:<e$}  {explanation}")
                    .trim_end()
            )
        };
        line(heads)?;
        for row in &rows {
            line(row.each_ref().map(String::as_str))?;
        }
        let mut fixes: Vec<_> =
            report.processes.iter().filter_map(|process| Some((process.reason, process.fix?))).collect();
        fixes.sort_unstable();
        fixes.dedup();
        for (reason, fix) in fixes {
            writeln!(out, "  → {reason}: {fix}")?;
        }
    }
    if report.unreadable > 0 {
        writeln!(out, "{} processes could not be examined: run as root, for example with sudo", report.unreadable)?;
    }
    Ok(())
}

/// `2 tls, 1 quic`
fn count(connections: Connections) -> String {
    let Connections { tls, local_models, quic } = connections;
    let parts = [(tls, "tls"), (local_models, "local"), (quic, "quic")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "–".into() } else { parts.join(", ") }
}

/// With what passed its hooks, where that is known.
fn explanation(process: &ProcessVerdict) -> String {
    let Some(seen) = &process.seen else { return process.explanation.clone() };
    let hosts: Vec<&str> = seen.hosts.iter().map(String::as_str).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!(": {}", hosts.join(", ")) };
    format!(
        "{}; {} bytes on {} connections, {} to model hosts{hosts}",
        process.explanation, seen.bytes, seen.connections, seen.to_model_hosts
    )
}
