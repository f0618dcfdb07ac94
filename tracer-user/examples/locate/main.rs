//! Where hooks would go in executables and libraries, as a table.
//!
//! `locate FILE…`. Where a file `NAME.full` with symbols stands beside `NAME.bin`, which has none, each place is compared
//! with them: right, wrong or missed; for rustls with the debug information (`debug = "limited"`). `NAME`
//! of another form, or alone, is only told of.

mod records;

use std::{fs, ops::Range, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail};
use llmtap::capture::locate::{self, Function, Hooks, Program, Site};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

/// The function, and the names of those that serve as well.
const FUNCTIONS: [(&str, &[&str]); 6] = [
    ("read", &["SSL_read", "ssl3_read"]),
    ("write", &["SSL_write", "ssl3_write"]),
    ("free", &["SSL_free", "_ZN6ssl_stD2Ev", "_ZN6ssl_stD1Ev", "tls1_free", "ossl_ssl_connection_free"]),
    ("clear", &["SSL_clear", "tls1_clear"]),
    ("shutdown", &["SSL_shutdown", "ssl3_shutdown"]),
    ("host name", &["SSL_set_tlsext_host_name", "SSL_ctrl", "ssl3_ctrl"]),
];
/// Where finished reads of OpenSSL may pass.
const READS: [&str; 3] = ["ssl3_read", "ssl3_peek", "ssl3_read_internal"];

/// The functions that probes with programs of their own stand in.
fn functions_of(program: Program) -> &'static [&'static str] {
    match program {
        Program::GoRead => &["crypto/tls.(*Conn).Read"],
        Program::GoWrite => &["crypto/tls.(*Conn).writeRecordLocked"],
        Program::GoClose => &["crypto/tls.(*Conn).Close"],
        Program::GoHandshake => &["crypto/tls.(*Conn).clientHandshake-fm", "crypto/tls.(*Conn).serverHandshake-fm"],
        Program::RecordSealed(_) | Program::RecordOpened(_) => &[],
    }
}

fn main() -> Result<()> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        bail!("usage: locate FILE…");
    }
    println!(
        "| file | MB | ms | library | {} | returns | probes of its own |",
        FUNCTIONS.map(|(name, _)| name).join(" | ")
    );
    println!("|---|--:|--:|---|---|---|---|---|---|---|--:|---|");
    let mut wrong = 0;
    for path in &files {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let start = Instant::now();
        let found = locate::locate(&bytes);
        let took = start.elapsed().as_millis();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let cells = match &found {
            Ok(hooks) => row(hooks, &bytes, fs::read(path.with_extension("full")).ok().as_deref(), &mut wrong),
            Err(reason) => reason.code().to_owned(),
        };
        println!("| {name} | {} | {took} | {cells} |", bytes.len() / 1_000_000);
    }
    if wrong > 0 {
        bail!("{wrong} places are wrong");
    }
    Ok(())
}

fn row(hooks: &Hooks, bytes: &[u8], full: Option<&[u8]>, wrong: &mut u32) -> String {
    let exported = |functions: [Function; 2]| {
        hooks.exported.iter().find(|one| functions.contains(&one.function)).map(|one| one.site)
    };
    let method = hooks.method.as_ref();
    let sites: [Option<Site>; 6] = [
        method.map(|method| method.read).or_else(|| exported([Function::Read, Function::ReceiveRecord])),
        method.map(|method| method.write).or_else(|| exported([Function::Write, Function::SendRecord])),
        hooks.free,
        hooks.clear,
        hooks.shutdown,
        hooks.host_name.or(hooks.ctrl),
    ];
    let mut cells = vec![hooks.library.clone()];
    for ((_, names), site) in FUNCTIONS.iter().zip(sites) {
        cells.push(match (site, full) {
            (None, Some(_)) => "missed".to_owned(),
            (None, None) => "–".to_owned(),
            (Some(site), None) => format!("{:#x}", site.offset),
            (Some(site), Some(full)) => {
                let right = names.iter().filter_map(|name| range(full, name)).any(|at| at.contains(&site.offset));
                *wrong += u32::from(!right);
                format!("{:#x} {}", site.offset, if right { "right" } else { "WRONG" })
            }
        });
    }
    let reads = method.map_or(&[][..], |method| &method.read_returns);
    for one in reads.iter().filter(|_| full.is_some()) {
        let right = READS.iter().filter_map(|name| range(full?, name)).any(|at| at.contains(&one.offset));
        *wrong += u32::from(!right);
    }
    let stripped = hooks.stripped.as_ref().map(|stripped| stripped.returns.clone());
    let is_record = hooks.exported.iter().any(|one| one.function == Function::SendRecord);
    let returns = stripped.or_else(|| is_record.then(|| locate::record_returns(bytes)));
    // Without them, programs without uprobe sessions cannot see where calls end.
    let returns = returns.map(|returns| returns.map_or_else(|| "missed".to_owned(), |found| found.len().to_string()));
    cells.push(returns.unwrap_or_else(|| "–".to_owned()));
    let is_rustls = |program: Program| program.record().is_some();
    if let Some(full) = full
        && hooks.probes.iter().any(|probe| is_rustls(probe.program))
    {
        let cell = match records::judge(hooks, full) {
            Ok(judged) => {
                *wrong += judged.wrong as u32;
                format!("{} right, {} wrong, {} missed", judged.right, judged.wrong, judged.missed)
            }
            Err(error) => format!("{error:#}"),
        };
        cells.push(cell);
        return cells.join(" | ");
    }
    let probes: Vec<String> = hooks
        .probes
        .iter()
        .map(|probe| {
            let names = functions_of(probe.program);
            let inside =
                full.map(|full| names.iter().filter_map(|name| range(full, name)).any(|at| at.contains(&probe.offset)));
            *wrong += u32::from(inside == Some(false));
            let judged = inside.map_or("", |right| if right { " right" } else { " WRONG" });
            format!("{} {:#x}{judged}", probe.program.name(), probe.offset)
        })
        .collect();
    cells.push(if probes.is_empty() { "–".to_owned() } else { probes.join(", ") });
    cells.join(" | ")
}

/// The file offsets that a function takes up.
fn range(full: &[u8], name: &str) -> Option<Range<u64>> {
    let file = object::File::parse(full).ok()?;
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
    let segment = file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&symbol.address()))?;
    let start = segment.file_range().0 + (symbol.address() - segment.address());
    Some(start..start + symbol.size().max(1))
}
