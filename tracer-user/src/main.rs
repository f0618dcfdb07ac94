//! args → config → run → exit status

use std::{
    io::{self, stderr},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use llmtap::{
    commands::{self, Failure},
    config::{Cli, Command},
    diagnostics,
    live::held::Held,
};

/// A call ends with some hundred frees, for which musl's allocator is slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    diagnostics::conceal_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let hold = matches!(&cli.command, Command::Run(arguments) if commands::run::shares_terminal(arguments));
    let held = Held::new(Box::new(stderr()), hold);
    // The daemon's file may say how.
    if !matches!(cli.command, Command::Daemon(_)) {
        diagnostics::begin(cli.verbose, cli.log_format, &held);
    }
    let result = match &cli.command {
        Command::Run(arguments) => commands::run::run(arguments, held.clone()),
        Command::Trace(arguments) => commands::trace::run(arguments, held.clone()).map(|()| 0),
        Command::Replay(arguments) => commands::replay::run(arguments, held.clone()).map(|()| 0),
        Command::Daemon(arguments) => commands::daemon::run(&cli, arguments, held.clone()).map(|()| 0),
        Command::Doctor(arguments) => commands::doctor::run(arguments).map(|()| 0),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "llmtap", &mut io::stdout());
            Ok(0)
        }
    };
    let _ = held.release();
    match result {
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, error }) => {
            eprintln!("llmtap: {error:#}");
            ExitCode::from(status)
        }
    }
}

/// One line that says what is wrong and where the options are listed.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let text = error.to_string();
    // clap's text goes on with the missing arguments, a tip, and the usage.
    let told: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let subcommand = std::env::args().nth(1).filter(|name| !name.starts_with('-')).map(|name| format!(" {name}"));
    let is_known = |name: &str| Cli::command().find_subcommand(name.trim()).is_some();
    let subcommand = subcommand.filter(|name| is_known(name)).unwrap_or_default();
    let told = told.join(" ");
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    eprintln!("llmtap: {told} (`llmtap{subcommand} --help` lists the options)");
    // env(1): a failure of run's own is not to be taken for the command's.
    ExitCode::from(if subcommand == " run" { 125 } else { 2 })
}
