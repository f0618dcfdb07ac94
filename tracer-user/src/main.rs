//! args → config → run → exit status

use std::process::ExitCode;

use clap::Parser as _;
use llmtap::{commands, config};

fn main() -> ExitCode {
    let cli = config::Cli::parse();
    let result = match &cli.command {
        config::Command::Replay(arguments) => commands::replay::run(arguments),
        _ => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llmtap: {error:#}");
            ExitCode::FAILURE
        }
    }
}
