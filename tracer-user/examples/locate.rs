//! What the search for hooks finds in given files, as a table.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use llmtap::capture::locate::{self, Function, Hooks, Site};

/// Prints a row a file. Searching is timed apart from reading.
fn main() -> Result<()> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    println!("| file | MB | ms | library | read | write | free | shutdown | host name | returns |");
    println!("|---|--:|--:|---|---|---|---|---|---|--:|");
    for path in &files {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let start = Instant::now();
        let found = locate::locate(&bytes);
        let took = start.elapsed();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        println!("| {name} | {} | {} | {} |", bytes.len() / 1_000_000, milliseconds(took), cells(&found));
    }
    Ok(())
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis()
}

fn cells(found: &Result<Hooks, locate::Reason>) -> String {
    let hooks = match found {
        Ok(hooks) => hooks,
        Err(reason) => return reason.code().to_owned(),
    };
    let place = |site: Option<Site>| site.map_or_else(|| "–".to_owned(), |site| format!("{:#x}", site.offset));
    let exported = |function| place(hooks.exported.iter().find(|one| one.function == function).map(|one| one.site));
    let returns = hooks.stripped.as_ref().map(|stripped| stripped.returns.as_ref().map_or(0, Vec::len));
    [
        hooks.library.clone(),
        exported(Function::Read),
        exported(Function::Write),
        place(hooks.free),
        place(hooks.shutdown),
        place(hooks.host_name),
        returns.map_or_else(|| "–".to_owned(), |returns| returns.to_string()),
    ]
    .join(" | ")
}
