//! Live tracing: one process loads, attaches and starts the command; the other parses, writes and exports.

mod cluster;
pub mod health;
pub mod held;
mod parser;
mod privileged;
mod proof;
mod select;
mod service;
mod watch;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    process,
    time::Duration,
};

use anyhow::Context as _;

use cluster::Cluster;
pub use select::Selection;
pub use service::Service;
use watch::Watch;

use crate::{
    capture::{
        LoadError, Options, RingReader, Tracer, container,
        seam::{Channel, Command, Signals, User, confine, fork_parser, ignore, may_confine},
    },
    commands::Failure,
    kubernetes,
    session::Session,
};

/// What one live run does.
pub struct Plan {
    pub options: Options,
    pub selection: Selection,
    /// The command of `run`.
    pub launch: Option<Command>,
    pub duration: Option<Duration>,
    /// The daemon's part.
    pub service: Option<Service>,
    pub containers: container::Options,
    pub kubernetes: kubernetes::Options,
}

/// Traces until the command ends, the time is over, or a signal asks to stop. Returns the command's status, or 0.
pub fn trace(plan: Plan, mut session: Session, user: &User) -> Result<u8, Failure> {
    may_confine().map_err(Failure::cannot)?;
    let mut tracer = Tracer::load(&plan.options).map_err(|error| match error {
        LoadError::Cgroup(_) => Failure::usage(error),
        _ => Failure::cannot(error),
    })?;
    let reader = tracer.ring_reader().map_err(Failure::cannot)?;
    if let Err(error) = tracer.hold_programs(&plan.selection.names) {
        tracing::info!("programs are not held at their start ({error}): very short ones may be missed");
    }
    let (ours, theirs) = Channel::pair().context("no socket pair").map_err(Failure::run)?;

    let signals = match plan.launch {
        // ^C at the terminal goes to the whole foreground group: it is the command's to answer.
        Some(_) => {
            ignore(&[libc::SIGINT, libc::SIGQUIT]);
            Signals::watch(&[libc::SIGTERM, libc::SIGHUP])
        }
        None => Signals::watch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]),
    }
    .context("no descriptor for signals")
    .map_err(Failure::run)?;

    let cluster = Cluster::start(&plan.kubernetes, user);
    match fork_parser().context("no second process").map_err(Failure::run)? {
        Some(parser) => {
            let watch = session.has_metrics().then(|| Watch::new(parser));
            let variables = session.variables();
            // Its files and addresses are the other half's: who closes them must be the last.
            drop((theirs, reader, session));
            privileged::run(tracer, &ours, parser, &signals, plan, watch, cluster, variables)
        }
        None => {
            // Probes belong to the other half: they must not outlive it because of our copies of its descriptors.
            let keep = kept_descriptors(&reader, &theirs, &session);
            std::mem::forget((tracer, ours, signals, cluster));
            ignore(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP]);
            let status = match confine(&keep, user).context("cannot give up privileges") {
                Ok(()) => parse(reader, theirs, &mut session),
                Err(error) => Err(error),
            };
            let code = match status {
                Ok(()) => 0,
                Err(error) => {
                    session.complain(&error);
                    1
                }
            };
            process::exit(code)
        }
    }
}

fn kept_descriptors(reader: &RingReader, channel: &Channel, session: &Session) -> Vec<RawFd> {
    let mut keep = vec![0, 1, 2, reader.as_fd().as_raw_fd(), channel.as_fd().as_raw_fd()];
    keep.extend(session.descriptors());
    keep
}

/// The parsing half, once it has no privileges.
fn parse(reader: RingReader, channel: Channel, session: &mut Session) -> anyhow::Result<()> {
    channel.set_nonblocking()?;
    let names = parser::Names::new(channel.try_clone()?);
    let mut pipeline = session.pipeline(std::sync::Arc::new(names.clone()), true)?.with_unread();
    let held = session.held().clone();
    let totals = match parser::run(reader, &channel, &names, &mut pipeline, session) {
        Ok(totals) => totals,
        Err(error) => {
            // The reader of our output may be gone, as with `llmtap trace | head`.
            held.release()?;
            return Err(anyhow::Error::new(error).context("cannot write the output"));
        }
    };
    parser::keep_answering(channel, names);
    let closed = session.close(pipeline, totals.unwrap_or_default());
    held.release()?;
    closed.map_err(|error| match error.downcast_ref::<io::Error>() {
        Some(_) => error.context("cannot write the output"),
        None => error,
    })
}
