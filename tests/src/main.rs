//! `mock-provider`: the mock for the demo and for one's own trials, and the comparison of a trace with its log.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tests::{
    compare,
    mock::{self, MockProvider, Options},
    spans,
};

#[derive(Parser)]
#[command(
    name = "mock-provider",
    version,
    about = "A model provider that knows exactly what it said and when: OpenAI and Anthropic over HTTPS on loopback",
    after_long_help = mock::HELP,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Compares the spans of a trace with the log of the mock; status 1 when any differs
    Compare {
        /// What `mock-provider --log` wrote
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
        /// What `llmtap --output jsonl` wrote
        #[arg(long, value_name = "FILE")]
        spans: PathBuf,
    },
}

#[derive(Args)]
struct Serve {
    /// Address to serve at; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR")]
    listen: SocketAddr,
    /// Write the certificate authority here: name it in SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS or
    /// `curl --cacert`
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Write one JSON line for each exchange: what was sent and when
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write the base URL here once it serves
    #[arg(long, value_name = "FILE")]
    url_file: Option<PathBuf>,
    /// Serve plain HTTP, as local inference servers do
    #[arg(long)]
    plaintext: bool,
    /// Worker threads
    #[arg(long, default_value_t = 2, value_name = "N")]
    workers: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Compare { log, spans }) => {
            let report = compare::compare(&mock::read_log(&log)?, &spans::read(&spans)?);
            print!("{report}");
            anyhow::ensure!(report.exact(), "the trace differs from what the mock sent");
            Ok(())
        }
        None => serve(arguments.serve),
    }
}

fn serve(arguments: Serve) -> anyhow::Result<()> {
    let mock = MockProvider::start(&Options {
        listen: arguments.listen,
        authority_file: arguments.ca_file.clone(),
        log: arguments.log,
        plaintext: arguments.plaintext,
        workers: arguments.workers,
    })?;
    println!("serving at {}", mock.url());
    if let Some(path) = &arguments.ca_file {
        println!("trust it with SSL_CERT_FILE={}", path.display());
    }
    if let Some(path) = &arguments.url_file {
        // Whoever waits for the file must never see half of it.
        let partial = path.with_extension("partial");
        std::fs::write(&partial, mock.url())
            .and_then(|()| std::fs::rename(&partial, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    wait_for_signal()?;
    mock.truth(Duration::from_secs(1));
    Ok(())
}

fn wait_for_signal() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
