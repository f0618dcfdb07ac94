//! `mock-provider`: the mock for the demo and for one's own trials, and the comparison of a trace with its log.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tests::{
    compare,
    environment::Python,
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
    /// Makes the virtual environment of the demo's scripts and prints the path of its Python
    PrepareDemo,
    /// Install what the tests of back ends need
    PrepareBackends,
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
    /// Offer HTTP/2 by ALPN beside HTTP/1.1
    #[arg(long)]
    http2: bool,
    /// Stop when standard input ends: with whoever started it, however that ends
    #[arg(long)]
    until_stdin_ends: bool,
    /// Worker threads
    #[arg(long, default_value_t = 2, value_name = "N")]
    workers: usize,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-provider: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Compare { log, spans }) => {
            let report = compare::compare(&mock::read_log(&log)?, &spans::read(&spans)?);
            print!("{report}");
            anyhow::ensure!(report.exact(), "the trace differs from what the mock sent");
            Ok(())
        }
        Some(Command::PrepareDemo) => {
            println!("{}", Python::Demo.prepared()?.display());
            Ok(())
        }
        Some(Command::PrepareBackends) => {
            // Each says for itself what it lacks: one must not keep the others out.
            let made = [Python::Clients, Python::Phoenix].map(Python::prepared);
            made.into_iter().try_for_each(|python| python.map(drop))
        }
        None => serve(arguments.serve),
    }
}

fn serve(arguments: Serve) -> anyhow::Result<()> {
    let mock = MockProvider::start(&Options {
        listen: arguments.listen,
        authority_file: arguments.ca_file.clone(),
        server_file: None,
        log: arguments.log,
        plaintext: arguments.plaintext,
        http2: arguments.http2,
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
    wait_for_end(arguments.until_stdin_ends)?;
    mock.truth(Duration::from_secs(1));
    Ok(())
}

fn wait_for_end(with_stdin: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let (ended, stdin_end) = tokio::sync::oneshot::channel();
        // Where nobody takes it, it lives to the end, and the other side stays pending.
        let mut ended = Some(ended);
        if let Some(ended) = ended.take_if(|_| with_stdin) {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = ended.send(());
            });
        }
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
            _ = stdin_end => {}
        }
        Ok(())
    })
}
