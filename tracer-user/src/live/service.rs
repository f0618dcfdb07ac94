//! What the half with privileges does more as a daemon: it reads the file anew when asked, tells the service manager how
//! it is (sd_notify(3)), and asks the other half for a sign of life.

use std::{
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use sd_notify::NotifyState;

use super::select::Selection;
use crate::{
    capture::seam::{Channel, ToParser},
    config::File,
    diagnostics,
    session::{Places, Setup},
};

/// How often the other half is asked.
const BEAT: Duration = Duration::from_secs(1);

/// How long it may stay silent before the service manager's watchdog is left alone.
const SILENCE: Duration = Duration::from_secs(15);

/// The daemon's part of the privileged half.
pub struct Service {
    path: PathBuf,
    file: File,
    /// What the other half has open.
    places: Places,
    next: Instant,
    /// When the other half last answered.
    answered: Instant,
}

impl Service {
    /// `file` is in force, read from `path`; `places` are open.
    pub fn new(path: &Path, file: File, places: Places) -> Self {
        let now = Instant::now();
        Self { path: path.to_owned(), file, places, next: now, answered: now }
    }

    /// Hooks stand.
    pub fn begin(&mut self, channel: &Channel) {
        let _ = channel.send(&ToParser::Began);
        // The other half has had other things to do.
        self.answered = Instant::now();
        tell(&[NotifyState::Ready, NotifyState::Status("tracing")]);
    }

    /// When it wants to speak next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Asks the other half, and tells the watchdog, when it is time.
    pub fn beat(&mut self, channel: &Channel) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + BEAT;
        let _ = channel.send(&ToParser::Beat);
        if now.saturating_duration_since(self.answered) < SILENCE {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The other half has answered.
    pub fn answered(&mut self) {
        self.answered = Instant::now();
    }

    /// Reads the file anew, hands it to the other half and tells what else changes; the selection, if that does. A file
    /// that is not good changes nothing.
    pub fn reload(&mut self, channel: &Channel) -> Option<Selection> {
        tell(&[NotifyState::Reloading, NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Status("reading"))]);
        match self.read(channel) {
            Ok(selection) => {
                tell(&[NotifyState::Ready, NotifyState::Status("tracing")]);
                selection
            }
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                tell(&[
                    NotifyState::Ready,
                    NotifyState::Status("tracing; the file's last change was refused: see the log"),
                ]);
                None
            }
        }
    }

    fn read(&mut self, channel: &Channel) -> anyhow::Result<Option<Selection>> {
        let mut setup = Setup::read(&self.path).map_err(|error| anyhow!(error))?;
        let mut places = self.places.clone();
        setup.open(&mut places)?;
        let file = setup.file().clone();
        let descriptors = setup.into_descriptors()?;
        let borrowed: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        channel.send_with(&ToParser::Reload, &borrowed).context("the other half does not take it")?;
        self.places = places;
        let old = std::mem::replace(&mut self.file, file);
        diagnostics::set_level(self.file.log.level);
        let restart = unchangeable(&old, &self.file);
        if !restart.is_empty() {
            tracing::warn!("{} changed: that needs a restart", restart.join(", "));
            // What is in force is compared with the next change.
            self.file.limits = old.limits.clone();
            self.file.plaintext = old.plaintext.clone();
            self.file.log.format = old.log.format;
            self.file.semconv = old.semconv;
            self.file.containers = old.containers.clone();
            self.file.kubernetes = old.kubernetes.clone();
        }
        let changed = changes(&old, &self.file);
        tracing::info!(
            "the configuration was read again: {}",
            match &*changed {
                [] => "nothing changed".to_owned(),
                changed => format!("{} changed", changed.join(", ")),
            }
        );
        Ok((old.select != self.file.select).then(|| Selection::of_file(&self.file.select)))
    }

    /// Names of the variables of traced processes that the other half needs.
    pub fn variables(&self) -> Vec<String> {
        self.file.attribution.variables()
    }

    /// It is about to end.
    pub fn end(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// Keys that come into force only with a restart.
fn unchangeable(old: &File, new: &File) -> Vec<&'static str> {
    let (one, other) = (&old.limits, &new.limits);
    [
        ("limits.ring", one.ring != other.ring),
        ("limits.connections", one.connections != other.connections),
        ("limits.calls", one.calls != other.calls),
        ("plaintext", old.plaintext != new.plaintext),
        ("semconv", old.semconv != new.semconv),
        ("containers", old.containers != new.containers),
        ("kubernetes", old.kubernetes != new.kubernetes),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// Keys that are in force anew.
fn changes(old: &File, new: &File) -> Vec<&'static str> {
    [
        ("select", old.select != new.select),
        ("exporters", old.exporters != new.exporters),
        ("providers", old.providers != new.providers),
        ("server_side", old.server_side != new.server_side),
        ("prices", old.prices != new.prices),
        ("sampling", old.sampling != new.sampling),
        ("attribution", old.attribution != new.attribution),
        ("own_telemetry", old.own_telemetry != new.own_telemetry),
        ("limits", old.limits != new.limits),
        ("health", old.health != new.health),
        ("log", old.log != new.log),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// Where nobody listens, nobody is told.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
