//! `llmtap daemon`: the node's agent.

use anyhow::anyhow;

use super::Failure;
use crate::{
    capture::{Options, TargetMode, seam::User},
    config::{self, Cli, LogFormat},
    diagnostics,
    live::{self, Plan, Selection, Service, held::Held},
    session::{Places, Session, Setup},
};

/// Traces until it is told to stop.
pub fn run(cli: &Cli, arguments: &config::Daemon, held: Held) -> Result<(), Failure> {
    let path = &arguments.config;
    let mut setup = Setup::read(path).map_err(|error| Failure::usage(anyhow!(error)))?;
    if arguments.check {
        println!("{}: valid", path.display());
        return Ok(());
    }
    let file = setup.file().clone();
    let format = if cli.log_format == LogFormat::Json { LogFormat::Json } else { file.log.format };
    diagnostics::begin_service(cli.verbose, format, file.log.level, &held);
    warn_of(&file);

    let mut places = Places::default();
    setup.open(&mut places).map_err(Failure::run)?;
    let session = Session::of_setup(setup, held)?;
    let plan = Plan {
        options: Options {
            // Which processes are wanted, a reload can change: user space judges each at its exec.
            targets: TargetMode::Chosen,
            notice_all: true,
            ring_bytes: u32::try_from(file.limits.ring).unwrap_or(u32::MAX),
            plaintext: file.plaintext.ports.clone(),
            log: tracing::enabled!(tracing::Level::TRACE),
            ..Options::default()
        },
        selection: Selection::of_file(&file.select),
        launch: None,
        duration: None,
        containers: file.containers.clone(),
        kubernetes: file.kubernetes.clone(),
        service: Some(Service::new(path, file, places)),
    };
    live::trace(plan, session, &User::calling()).map(drop)
}

/// What is valid and yet can hardly be meant.
fn warn_of(file: &config::File) {
    if file.select.include.is_empty() {
        tracing::warn!("select.include is empty: nothing is traced");
    }
    let selectors = file.select.include.iter().chain(&file.select.exclude);
    if !file.containers.metadata && selectors.clone().any(config::file::Selector::needs_container) {
        tracing::warn!("containers.metadata is false: selectors by a container's image or label match nothing");
    }
}
