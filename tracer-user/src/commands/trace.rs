//! `llmtap trace`: programs that run already, until Ctrl-C.

use anyhow::anyhow;

use super::Failure;
use crate::{
    capture::{Options, TargetMode, container, seam::User},
    config, kubernetes,
    live::{self, Plan, Selection, held::Held},
    session::{Session, Stream},
};

/// Traces until it is told to stop.
pub fn run(arguments: &config::Trace, held: Held) -> Result<(), Failure> {
    let user = User::calling();
    let mut selection = Selection::of(arguments);
    selection.translate().map_err(|why| Failure::run(anyhow!(why)))?;
    let targets = if selection.all {
        TargetMode::All
    } else if arguments.select.cgroup.is_empty() {
        TargetMode::Chosen
    } else {
        TargetMode::Cgroups(arguments.select.cgroup.clone())
    };
    let session = Session::open(&arguments.shared, Stream::Stdout, held, &user, true)?;
    let plan = Plan {
        options: Options {
            targets,
            ring_bytes: arguments.live.ring << 20,
            mode: arguments.live.mode(),
            plaintext: arguments.live.plaintext.clone(),
            log: tracing::enabled!(tracing::Level::TRACE),
            notice_all: selection.by_name() || selection.all,
            ..Options::default()
        },
        selection,
        launch: None,
        duration: arguments.duration,
        service: None,
        containers: container::Options::default(),
        kubernetes: kubernetes::Options::default(),
    };
    live::trace(plan, session, &user).map(drop)
}
