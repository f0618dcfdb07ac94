//! `llmtap run -- CMD`: starts a program and traces it and its descendants.

use std::io::{IsTerminal as _, stderr, stdin, stdout};

use super::Failure;
use crate::{
    capture::{
        Options, container,
        seam::{Command, User},
    },
    config, kubernetes,
    live::{self, Plan, Selection, held::Held},
    session::{Session, Stream},
};

/// Whether output has to wait for the command's end: it goes to the terminal that the command uses, too.
pub fn shares_terminal(arguments: &config::Run) -> bool {
    let command_has_terminal = stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal();
    !arguments.at_once && stderr().is_terminal() && command_has_terminal
}

/// Runs the command; returns its status.
pub fn run(arguments: &config::Run, held: Held) -> Result<u8, Failure> {
    // env(1): every failure of our own is 125, so that it is not taken for the command's.
    start(arguments, held).map_err(|failure| match failure.status {
        126 | 127 => failure,
        _ => Failure { status: 125, ..failure },
    })
}

fn start(arguments: &config::Run, held: Held) -> Result<u8, Failure> {
    let user = User::calling();
    let environment = if arguments.as_root { std::env::vars_os().collect() } else { user.environment() };
    let command = Command {
        arguments: arguments.command.clone(),
        environment,
        user: (user.by_sudo && !arguments.as_root).then(|| user.clone()),
    };
    let session = Session::open(&arguments.shared, Stream::Stderr, held, &user, true)?;
    let plan = Plan {
        options: Options {
            ring_bytes: arguments.live.ring << 20,
            mode: arguments.live.mode(),
            plaintext: arguments.live.plaintext.clone(),
            // The command may do something new at any time, and the run is for it alone.
            rest: None,
            ..Options::default()
        },
        selection: Selection::default(),
        launch: Some(command),
        duration: None,
        service: None,
        containers: container::Options::default(),
        kubernetes: kubernetes::Options::default(),
    };
    live::trace(plan, session, &user)
}
