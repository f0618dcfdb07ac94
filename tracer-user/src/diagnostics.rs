//! Diagnostics: what llmtap says of itself, on stderr.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    sync::{Mutex, OnceLock},
    thread,
};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, file::LogLevel},
    live::held::Held,
};

/// The variable that overrides all else, with a filter of tracing-subscriber.
const VARIABLE: &str = "LLMTAP_LOG";

/// From now on a panic of ours says where it was, and its message only when that is a literal of the code: what is put
/// together at run time can quote what was parsed, as that of a wrong index into a text does.
pub fn conceal_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = thread::current();
        let said = match panic.payload().downcast_ref::<&'static str>() {
            Some(literal) => *literal,
            None => "its message is not shown: payload can be in it",
        };
        // Function names, where RUST_BACKTRACE asks for them.
        let trace = Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        eprintln!("llmtap: internal error at {place}, thread {}: {said}{trace}", thread.name().unwrap_or("?"));
    }));
}

/// Sets the level anew; empty where the command line or the environment has the say.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Sends diagnostics to `held`. `verbose` counts `-v`; the variable `LLMTAP_LOG` overrides it.
pub fn begin(verbose: u8, format: LogFormat, held: &Held) {
    // What libraries warn of, our own code judges and tells in its words.
    let level = match verbose {
        0 => LogLevel::Warn,
        1 => LogLevel::Info,
        2 => LogLevel::Debug,
        _ => LogLevel::Trace,
    };
    start(EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| filter(level)), format, held);
}

/// The daemon's: its file's `level` counts where neither `-v` nor the variable does, and can change.
pub fn begin_service(verbose: u8, format: LogFormat, level: LogLevel, held: &Held) {
    if verbose > 0 || std::env::var_os(VARIABLE).is_some() {
        return begin(verbose, format, held);
    }
    let handle = start(filter(level), format, held);
    // There is one daemon in a process.
    let _ = LEVEL.set(handle);
}

/// From now on this level counts, where the daemon's file has the say.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(match level {
        LogLevel::Warn => "error,llmtap=warn",
        LogLevel::Info => "error,llmtap=info",
        LogLevel::Debug => "warn,llmtap=debug",
        LogLevel::Trace => "trace",
    })
}

fn start(filter: EnvFilter, format: LogFormat, held: &Held) -> reload::Handle<EnvFilter, Registry> {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(Mutex::new(held.clone())).with_ansi(false);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Only the first subscriber of a process counts; there is one.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    handle
}
