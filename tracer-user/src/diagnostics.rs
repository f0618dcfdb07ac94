//! Diagnostics: what llmtap says of itself, on stderr.

use std::sync::Mutex;

use tracing_subscriber::{EnvFilter, fmt};

use crate::{config::LogFormat, live::held::Held};

/// Sends diagnostics to `held`. `verbose` counts `-v`; the variable `LLMTAP_LOG` overrides it with a filter of
/// tracing-subscriber.
pub fn begin(verbose: u8, format: LogFormat, held: &Held) {
    // What libraries warn of, our own code judges and tells in its words.
    let level = match verbose {
        0 => "error,llmtap=warn",
        1 => "error,llmtap=info",
        2 => "warn,llmtap=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("LLMTAP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = fmt().with_env_filter(filter).with_writer(Mutex::new(held.clone())).with_ansi(false);
    // Only the first subscriber of a process counts; there is one.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
