//! What the daemon's file names: read and opened by the half that may do so, handed to the half that works with it, at
//! the start by fork and at a reload over the seam.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use super::{
    Features,
    wants::{Page, Wants},
};
use crate::{
    capture::seam::{MAX_DESCRIPTORS, memory_file},
    config::{
        File,
        file::{
            Node,
            exporters::{OtlpCompression, OtlpExporter, OtlpProtocol, OtlpSignal, OtlpTemporality},
        },
    },
    environment,
    export::{
        Otlp, OtlpLogs,
        listen::Listener,
        otlp::{ConfigError, OtlpMetrics},
    },
    llm,
    price::Prices,
};

/// The largest file that the daemon's file may name, bytes. CA bundles have 250 KB, LiteLLM's prices 1 MB.
const MAX_CONTENTS: u64 = 16 << 20;

/// The daemon's file, what the files say that it names, and what else it names, opened.
pub struct Setup {
    file: File,
    node: Node,
    contents: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
    /// Whether files may still be read. Else all were.
    reads: bool,
    opened: BTreeMap<Place, OwnedFd>,
}

/// Something that is opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// A file that spans are appended to.
    Lines(PathBuf),
    /// An address of a page.
    Page(Page),
}

/// What is open at the other half: files with their identity, so that one that was moved away is opened anew.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<Place, Option<(u64, u64)>>);

/// [`Setup`] as it goes over the seam; the descriptors go beside it, in the order of `places`.
#[derive(Serialize, Deserialize)]
struct Sent {
    node: Node,
    contents: BTreeMap<PathBuf, Vec<u8>>,
    places: Vec<Place>,
}

impl Setup {
    /// Reads the file and those that it names, and checks all of it. Nothing is made and no address taken.
    ///
    /// # Errors
    /// One line that says where and what is wrong.
    pub fn read(path: &Path) -> Result<Self, String> {
        let (file, node) = File::read(path)?;
        let setup = Self { file, node, contents: RefCell::default(), reads: true, opened: BTreeMap::new() };
        setup.wants(|_| None).map_err(|error| format!("{}: {error:#}", path.display()))?;
        Ok(setup)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Options of features.
    pub fn features(&self) -> Features {
        let File { content, redaction, sampling, observe, attribution, own_telemetry, semconv, .. } = &self.file;
        Features {
            content: *content,
            redaction: redaction.clone(),
            observe: observe.clone(),
            sampling: sampling.clone(),
            attribution: attribution.clone(),
            own_telemetry: *own_telemetry,
            semconv: *semconv,
        }
    }

    /// Opens what is not open yet, of which `places` knows.
    ///
    /// # Errors
    /// What cannot be opened; `places` is then as before.
    pub fn open(&mut self, places: &mut Places) -> anyhow::Result<()> {
        let mut all = BTreeMap::new();
        for place in self.places() {
            let known = places.0.get(&place);
            let identity = match &place {
                Place::Lines(path) => identity(path),
                Place::Page(_) => None,
            };
            if known.is_some_and(|known| *known == identity) {
                all.insert(place, identity);
                continue;
            }
            let (descriptor, identity): (OwnedFd, _) = match &place {
                Place::Lines(path) => {
                    let mut options = OpenOptions::new();
                    options.append(true).create(true).mode(0o640);
                    let file = options.open(path).with_context(|| format!("cannot write {}", path.display()))?;
                    let metadata = file.metadata()?;
                    (file.into(), Some((metadata.dev(), metadata.ino())))
                }
                Place::Page(page) => {
                    let address = page.address();
                    let listener = Listener::bind(address)
                        .with_context(|| format!("cannot listen at {address}: give {} a free address", page.key()))?;
                    if let Ok(address) = listener.address() {
                        tracing::info!("{} at http://{address}", page.tells());
                    }
                    (listener.into(), None)
                }
            };
            self.opened.insert(place.clone(), descriptor);
            all.insert(place, identity);
        }
        places.0 = all;
        Ok(())
    }

    fn places(&self) -> Vec<Place> {
        let exporters = &self.file.exporters;
        let lines = exporters.jsonl.iter().map(|jsonl| Place::Lines(jsonl.path.clone()));
        let metrics = exporters.prometheus.iter().map(|page| Place::Page(Page::Metrics(page.listen.clone())));
        let health = self.file.health.listen.iter().map(|address| Place::Page(Page::Health(address.clone())));
        lines.chain(metrics).chain(health).collect()
    }

    /// What must stay open when all else is closed.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.opened.values().map(|descriptor| descriptor.as_fd())
    }

    /// As a message's descriptors: a file in memory with all that was read, then what was opened.
    pub fn into_descriptors(self) -> anyhow::Result<Vec<OwnedFd>> {
        let (places, opened): (Vec<_>, Vec<_>) = self.opened.into_iter().unzip();
        if opened.len() >= MAX_DESCRIPTORS {
            return Err(anyhow!("more than {MAX_DESCRIPTORS} files and addresses"));
        }
        let sent = Sent { node: self.node, contents: self.contents.into_inner(), places };
        let memory = memory_file(&serde_json::to_vec(&sent)?)?;
        Ok([memory.into()].into_iter().chain(opened).collect())
    }

    /// What [`Self::into_descriptors`] gave.
    pub fn of_descriptors(descriptors: Vec<OwnedFd>) -> anyhow::Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let memory = descriptors.next().context("no file in memory")?;
        let mut text = Vec::new();
        fs::File::from(memory).read_to_end(&mut text)?;
        let Sent { node, contents, places } = serde_json::from_slice(&text)?;
        let file = File::of(&node).map_err(|error| anyhow!("{error}"))?;
        let opened = places.into_iter().zip(descriptors).collect();
        Ok(Self { file, node, contents: RefCell::new(contents), reads: false, opened })
    }

    /// What is to run. New places are opened.
    pub fn into_wants(mut self) -> anyhow::Result<Wants> {
        let mut opened = std::mem::take(&mut self.opened);
        self.wants(|place| opened.remove(place))
    }

    fn wants(&self, mut opened: impl FnMut(&Place) -> Option<OwnedFd>) -> anyhow::Result<Wants> {
        let mut wants = Wants::default();
        self.exporters(&mut wants).map_err(|error| anyhow!("{error}"))?;
        for place in self.places() {
            let descriptor = opened(&place);
            match place {
                Place::Lines(path) => wants.lines.push((path, descriptor.map(fs::File::from))),
                Place::Page(page) => wants.pages.push((page, descriptor.map(Listener::from))),
            }
        }
        if self.file.content.to_events() && !wants.has_events() {
            return Err(anyhow!(
                "content.to: nobody gets the events; add an exporter by OTLP or a file of jsonl to `exporters`, or tell \
                 contents on spans alone (`to: spans`)"
            ));
        }
        wants.recognise = llm::Options {
            hosts: self.file.providers.iter().map(|(host, name)| (host.to_ascii_lowercase(), name.clone())).collect(),
            server_side: self.file.server_side,
        };
        if let Some(path) = &self.file.prices.file {
            let told = |problem: &dyn std::fmt::Display| anyhow!("prices.file: {}: {problem}", path.display());
            let text = self.contents(path).map_err(|error| told(&error))?;
            wants.prices = Some(
                Prices::with_override(text.clone(), &path.display().to_string())
                    .map_err(|error| anyhow!("prices.file: {error}"))?,
            );
            wants.prices_text = Some(text);
        }
        Ok(wants)
    }

    /// The exporters by OTLP: those of the standard variables, which go before the file, else those of the file.
    fn exporters(&self, wants: &mut Wants) -> Result<(), ConfigError> {
        let contents = |path: &Path| self.contents(path);
        let memory = usize::try_from(self.file.limits.queue_memory).unwrap_or(usize::MAX);
        let has_events = self.file.content.to_events();
        wants.otlp.extend(Otlp::with_files(None, &environment::variable, &contents)?);
        if has_events {
            wants.otlp_logs.extend(OtlpLogs::with_files(None, &environment::variable, &contents)?);
        }
        wants.otlp_metrics.extend(OtlpMetrics::with_files(None, &environment::variable, &contents)?);
        if wants.otlp.is_empty() && wants.otlp_logs.is_empty() && wants.otlp_metrics.is_empty() {
            for (index, otlp) in self.file.exporters.otlp.iter().enumerate() {
                let variables = |name: &str| match name.starts_with("OTEL_EXPORTER_OTLP_") || is_signal(name) {
                    true => {
                        variable(otlp, name).or_else(|| unstated(name).then(|| environment::variable(name)).flatten())
                    }
                    // That of the environment goes before the file.
                    false => environment::variable(name).or_else(|| {
                        matches!(name, "OTEL_BSP_MAX_QUEUE_SIZE" | "OTEL_BLRP_MAX_QUEUE_SIZE")
                            .then(|| self.file.limits.queue_spans.to_string())
                    }),
                };
                let renamed =
                    |error: ConfigError| error.renamed(|name| Some(format!("exporters.otlp[{index}].{}", key(name)?)));
                wants.otlp.extend(Otlp::with_files(None, &variables, &contents).map_err(renamed)?);
                if has_events {
                    wants.otlp_logs.extend(OtlpLogs::with_files(None, &variables, &contents).map_err(renamed)?);
                }
                wants.otlp_metrics.extend(OtlpMetrics::with_files(None, &variables, &contents).map_err(renamed)?);
            }
        }
        let bounded = std::mem::take(&mut wants.otlp).into_iter().map(|otlp| otlp.with_queue_memory(memory));
        wants.otlp = bounded.collect();
        let bounded = std::mem::take(&mut wants.otlp_logs).into_iter().map(|otlp| otlp.with_queue_memory(memory));
        wants.otlp_logs = bounded.collect();
        Ok(())
    }

    fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(known) = self.contents.borrow().get(path) {
            return Ok(known.clone());
        }
        if !self.reads {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_CONTENTS + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_CONTENTS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.contents.borrow_mut().insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
const TRACES: &str = "OTEL_TRACES_EXPORTER";
const METRICS: &str = "OTEL_METRICS_EXPORTER";
const LOGS: &str = "OTEL_LOGS_EXPORTER";

fn is_signal(name: &str) -> bool {
    matches!(name, TRACES | METRICS | LOGS)
}

/// Variables of OTLP that hold where the file states nothing.
fn unstated(name: &str) -> bool {
    name == TEMPORALITY || name.contains("_METRICS_DEFAULT_HISTOGRAM_")
}

/// An exporter of the file, said in the standard variables.
fn variable(otlp: &OtlpExporter, name: &str) -> Option<String> {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let wanted = |signal| Some(if otlp.signals.contains(&signal) { "otlp" } else { "none" }.to_owned());
    match name {
        ENDPOINT => Some(otlp.endpoint.clone()),
        PROTOCOL => otlp.protocol.map(|protocol| {
            match protocol {
                OtlpProtocol::Grpc => "grpc",
                OtlpProtocol::HttpProtobuf => "http/protobuf",
                OtlpProtocol::HttpJson => "http/json",
            }
            .to_owned()
        }),
        HEADERS => Some(otlp.headers.iter().map(|(key, value)| format!("{key}={},", encoded(value))).collect()),
        COMPRESSION => (otlp.compression == OtlpCompression::Gzip).then(|| "gzip".to_owned()),
        TIMEOUT => Some(otlp.timeout.as_millis().to_string()),
        TEMPORALITY => otlp.temporality.map(|temporality| {
            match temporality {
                OtlpTemporality::Cumulative => "cumulative",
                OtlpTemporality::Delta => "delta",
                OtlpTemporality::LowMemory => "lowmemory",
            }
            .to_owned()
        }),
        CERTIFICATE => path(&otlp.tls.ca_file),
        CLIENT_CERTIFICATE => path(&otlp.tls.cert_file),
        CLIENT_KEY => path(&otlp.tls.key_file),
        TRACES => wanted(OtlpSignal::Traces),
        METRICS => wanted(OtlpSignal::Metrics),
        LOGS => wanted(OtlpSignal::Logs),
        _ => None,
    }
}

/// The key of the file that a variable stands for.
fn key(variable: &str) -> Option<&'static str> {
    Some(match variable {
        ENDPOINT => "endpoint",
        PROTOCOL => "protocol",
        HEADERS => "headers",
        COMPRESSION => "compression",
        TIMEOUT => "timeout",
        CERTIFICATE => "tls.ca_file",
        CLIENT_CERTIFICATE => "tls.cert_file",
        CLIENT_KEY => "tls.key_file",
        _ => return None,
    })
}

/// A header's value, so that it stands in one entry of a list (RFC 3986 section 2.1).
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '%' => text.push_str("%25"),
            ',' => text.push_str("%2C"),
            ' ' => text.push_str("%20"),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: &str =
        r#"{"version": "mine", "models": [{"provider": "openai", "model": ["*"], "input": 2, "output": 8}]}"#;

    fn setup(folder: &Path, text: &str) -> Result<Setup, String> {
        let path = folder.join("llmtap.yaml");
        fs::write(&path, text).unwrap();
        Setup::read(&path)
    }

    #[test]
    fn exporters_of_the_file_have_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let text = "exporters:\n  otlp:\n    - endpoint: http://a:4317\n      headers: {x-key: 'a, b=c%'}\n    - endpoint: \
                    http://b:4318/x\n      compression: gzip\n      timeout: 2s\n      temporality: delta\n      signals: [metrics]\nlimits: \
                    {queue_memory: 1MiB, queue_spans: 100}\n";
        let wants = setup(folder.path(), text).unwrap().into_wants().unwrap();
        let [traces] = &*wants.otlp else { panic!("one exporter of spans") };
        assert_eq!(traces.settings().headers["x-key"], "a, b=c%");
        assert_eq!((traces.settings().batch.queue, traces.settings().batch.memory), (100, 1 << 20));
        let metrics: Vec<_> = wants.otlp_metrics.iter().map(|otlp| otlp.settings().0).collect();
        assert_eq!(metrics.len(), 2);
        assert_eq!(metrics[1].endpoint, "http://b:4318/x/v1/metrics");
        assert_eq!((metrics[1].gzip, metrics[1].timeout.as_secs()), (true, 2));
        let temporality = wants.otlp_metrics.iter().map(|otlp| format!("{:?}", otlp.settings().1.temporality));
        assert_eq!(temporality.collect::<Vec<_>>(), ["Cumulative", "Delta"]);
    }

    #[test]
    fn what_the_file_names_is_checked_with_it() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("exporters: {otlp: [{endpoint: nowhere}]}", "exporters.otlp[0].endpoint is not a URL"),
            (
                "exporters: {otlp: [{endpoint: 'https://h', tls: {ca_file: /none.pem}}]}",
                "exporters.otlp[0].tls.ca_file: cannot read",
            ),
            (
                "exporters: {otlp: [{endpoint: 'http://h:1', headers: {'a b': c}}]}",
                "exporters.otlp[0].headers: the key of entry 1",
            ),
            ("prices: {file: /none.json}", "prices.file: /none.json: "),
        ] {
            let told = setup(folder.path(), text).map(drop).unwrap_err();
            assert!(told.contains(expected) && told.starts_with(&folder.path().display().to_string()), "{told}");
        }
    }

    #[test]
    fn all_of_it_goes_over_the_seam() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, prices) = (folder.path().join("spans.jsonl"), folder.path().join("prices.json"));
        fs::write(&prices, PRICES).unwrap();
        let text = format!(
            "exporters:\n  jsonl: [{{path: {}}}]\n  prometheus: [{{listen: '127.0.0.1:0'}}]\nprices: {{file: {}}}\n",
            lines.display(),
            prices.display()
        );
        let mut places = Places::default();
        let mut first = setup(folder.path(), &text).unwrap();
        first.open(&mut places).unwrap();
        assert_eq!(first.descriptors().count(), 2);
        let descriptors = first.into_descriptors().unwrap();
        fs::remove_file(&prices).unwrap();
        let wants = Setup::of_descriptors(descriptors).unwrap().into_wants().unwrap();
        assert_eq!(&*wants.prices.unwrap().version(), "mine");
        assert!(matches!(&*wants.lines, [(path, Some(_))] if *path == lines));
        assert!(matches!(&*wants.pages, [(Page::Metrics(_), Some(_))]));

        // Nothing is opened twice, unless the file was moved away.
        fs::write(&prices, PRICES).unwrap();
        let mut again = setup(folder.path(), &text).unwrap();
        again.open(&mut places).unwrap();
        assert_eq!(again.descriptors().count(), 0);
        fs::rename(&lines, folder.path().join("spans.1")).unwrap();
        again.open(&mut places).unwrap();
        assert_eq!(again.descriptors().count(), 1);
    }
}
