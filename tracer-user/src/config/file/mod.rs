//! The daemon's file: YAML, one top-level key per feature. `deploy/llmtap.yaml` shows every key; a test holds the two
//! together.
//!
//! A feature's options are a structure in the feature's own module, `#[serde(default, deny_unknown_fields)]`, without
//! `flatten`; its key is one field of [`File`].

mod deserialize;
mod error;
mod expand;
pub mod exporters;
pub mod select;
mod tree;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;

pub use self::{
    error::Error,
    exporters::Exporters,
    select::{Facts, Select, Selector},
    tree::{Environment, Node},
};
use super::{LogFormat, values};
use crate::{
    attribution,
    capture::container,
    content, kubernetes,
    observe::{self, Observer},
    pipeline::OwnTelemetry,
    redact::{self, Redactor},
    sampling,
    span::semconv::Release,
};

/// Everything that the file can say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub select: Select,
    pub exporters: Exporters,
    /// Providers behind hosts of one's own: `HOST` or `HOST:PORT` to the provider's name.
    pub providers: BTreeMap<String, String>,
    /// Also tell the calls that traced processes answer.
    pub server_side: bool,
    pub plaintext: Plaintext,
    pub prices: PriceFiles,
    pub content: content::Options,
    /// What is taken out of contents that are told redacted.
    pub redaction: redact::Options,
    /// Which spans are exported.
    pub sampling: sampling::Options,
    /// What is looked for in calls, beside what is always told.
    pub observe: observe::Options,
    /// Whom a call is for.
    pub attribution: attribution::Options,
    /// What is told of calls whose process exports telemetry of them itself.
    pub own_telemetry: OwnTelemetry,
    /// Whose names attributes have.
    pub semconv: Release,
    pub containers: container::Options,
    pub kubernetes: kubernetes::Options,
    pub limits: Limits,
    pub health: Health,
    pub log: Log,
}

/// Plaintext HTTP on TCP ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plaintext {
    pub ports: Vec<u16>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceFiles {
    /// Own prices over the built-in table.
    pub file: Option<PathBuf>,
}

/// Bounds of memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory between the kernel and llmtap, bytes: a power of two from 64 KiB to 1 GiB.
    #[serde(with = "values::size")]
    pub ring: u64,
    /// Spans that wait for one exporter; more are dropped and counted.
    pub queue_spans: usize,
    /// Memory that they may take, bytes.
    #[serde(with = "values::size")]
    pub queue_memory: u64,
    /// Connections followed at once; beyond it the longest silent ones are forgotten.
    pub connections: usize,
    /// Calls followed at once; more are not followed and counted.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ring: 16 << 20, queue_spans: 2048, queue_memory: 64 << 20, connections: 16 << 10, calls: 4096 }
    }
}

/// `/healthz` and `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// `HOST:PORT`; without it there is neither.
    pub listen: Option<String>,
}

/// Diagnostics, on stderr.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl File {
    /// Largest file that is read, bytes.
    pub const MAX_BYTES: u64 = 1 << 20;

    /// Reads and checks the file, with the variables of this process.
    ///
    /// # Errors
    /// One line that names the file, and where in it what is wrong.
    pub fn read(path: &std::path::Path) -> Result<(Self, Node), String> {
        let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let size = fs::metadata(path).map_err(|error| told(&error))?.len();
        if size > Self::MAX_BYTES {
            return Err(told(&"larger than 1 MiB"));
        }
        let text = fs::read_to_string(path).map_err(|error| told(&error))?;
        let environment = |name: &str| std::env::var(name).ok();
        let node = Node::parse(&text, &environment).map_err(|error| told(&error))?;
        let file = Self::of(&node).map_err(|error| told(&error))?;
        Ok((file, node))
    }

    /// Reads and checks the file's text.
    ///
    /// # Errors
    /// The first problem that is found.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Error> {
        Self::of(&Node::parse(text, environment)?)
    }

    /// The same from a tree that was read already.
    ///
    /// # Errors
    /// The first problem that is found.
    pub fn of(node: &Node) -> Result<Self, Error> {
        let file = Self::deserialize(deserialize::At::new(node))?;
        file.check()?;
        Ok(file)
    }

    /// What no single type can tell. What the machine must say (whether files can be read and addresses bound) is
    /// found out when they are opened.
    fn check(&self) -> Result<(), Error> {
        let at = |path: &str, problem: &str| Err(Error::new(problem).within(path.to_owned()));
        for (list, selectors) in [("include", &self.select.include), ("exclude", &self.select.exclude)] {
            if let Some(index) = selectors.iter().position(Selector::is_empty) {
                return at(&format!("select.{list}[{index}]"), "names nothing: give a key, or `all: true`");
            }
        }
        if !self.limits.ring.is_power_of_two() || !((64 << 10)..=(1 << 30)).contains(&self.limits.ring) {
            return at("limits.ring", "give a power of two from 64KiB to 1GiB");
        }
        for (path, value) in [
            ("limits.queue_spans", self.limits.queue_spans),
            ("limits.connections", self.limits.connections),
            ("limits.calls", self.limits.calls),
        ] {
            if !(1..=1 << 20).contains(&value) {
                return at(path, "give a number from 1 to 1048576");
            }
        }
        if let Err(error) = Redactor::new(&self.redaction) {
            return at("redaction", &error.to_string());
        }
        if let Err(error) = Observer::new(&self.observe) {
            return at("observe.rules", &error.to_string());
        }
        if self.plaintext.ports.contains(&0) {
            return at("plaintext.ports", "give ports from 1 to 65535");
        }
        for (index, otlp) in self.exporters.otlp.iter().enumerate() {
            if otlp.signals.is_empty() {
                return at(&format!("exporters.otlp[{index}].signals"), "give one, or leave the key out");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
