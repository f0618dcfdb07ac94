//! What one run of any command writes and where: opened from its options before anything starts, and, live, before
//! privileges are given up.

mod setup;
mod wants;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::{
    attribution,
    capture::{
        record::Recorder,
        seam::{Totals, User, as_user, local_offset, terminal_columns},
    },
    commands::Failure,
    config::{self, Shared, file::Limits},
    content,
    export::{
        Jsonl, Otlp, OtlpLogs,
        listen::Listener,
        otlp::{OtlpMetrics, Resolve, WhenFull, exemplars},
        pretty::{self, Pretty, Summary, UntracedProcess, loss_line, unpriced_line, wants_color},
    },
    flow,
    live::{health::Health, held::Held},
    llm::{self, Calls},
    metrics::{Clock, Exemplars, Metrics, Sums},
    observe,
    output::{Output, View},
    pipeline::{OwnTelemetry, Pipeline, Seen},
    price::Prices,
    redact, sampling,
    span::{Host, Ids, Synth, semconv::Release},
};

pub use self::setup::{Places, Setup};
use self::wants::{Page, Running, Wants};

/// How long the collector may take for what is left at the end, spans and metrics together.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// What of it spans may take where metrics follow, which tell how many spans were sent.
const SPANS_DEADLINE: Duration = Duration::from_secs(4);

/// Columns of `pretty` where there is no terminal.
const DEFAULT_COLUMNS: usize = 120;

/// Where output goes unless `-o` names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Everything that one run reads and writes, opened.
pub struct Session {
    view: config::Output,
    out: Option<File>,
    stream: Stream,
    held: Held,
    pretty: pretty::Options,
    record: Option<(File, bool)>,
    /// Until the line is built.
    wants: Wants,
    /// The daemon's file, until the line is built.
    setup: Option<Setup>,
    running: Running,
    sums: Option<Arc<Sums>>,
    health: Arc<Health>,
    exemplars: Exemplars,
    /// What own prices were read from.
    prices: Option<Vec<u8>>,
    limits: Limits,
    /// Whether it is the daemon's: its file may ask for metrics later.
    is_daemon: bool,
    host: Host,
    features: Features,
}

/// What a run tells and how, beyond the command line: options of features, each a key of the daemon's file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    pub sampling: sampling::Options,
    pub attribution: attribution::Options,
    pub own_telemetry: OwnTelemetry,
    pub semconv: Release,
    pub content: content::Options,
    pub redaction: redact::Options,
    pub observe: observe::Options,
}

impl Session {
    /// Opens what the options name, with the rights of `user`. `held` takes what goes to `stream`.
    pub fn open(shared: &Shared, stream: Stream, held: Held, user: &User, live: bool) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            as_user(user, || options.open(path))
                .with_context(|| format!("cannot write {}", path.display()))
                .map_err(Failure::run)
        };
        let prices = match &shared.prices {
            Some(path) => {
                let text = as_user(user, || std::fs::read(path))
                    .with_context(|| format!("cannot read {}", path.display()))
                    .map_err(Failure::run)?;
                Prices::with_override(text, &path.display().to_string()).map_err(Failure::usage)?
            }
            None => Prices::builtin(),
        };
        let endpoint = shared.otlp_endpoint.as_deref();
        let otlp = Otlp::from_environment(endpoint).map_err(Failure::usage)?;
        let content =
            content::Options { capture: shared.capture_content, to: shared.content_to, ..content::Options::default() };
        let logs = content.to_events().then(|| OtlpLogs::from_environment(endpoint)).transpose();
        let otlp_logs = logs.map_err(Failure::usage)?.flatten();
        let otlp_metrics = OtlpMetrics::from_environment(endpoint).map_err(Failure::usage)?;
        let exemplars = exemplars(&|name| std::env::var(name).ok()).map_err(Failure::usage)?;
        let page = |address: &String| Ok((Page::Metrics(address.clone()), Some(listen(address)?)));
        let pages: Result<Vec<_>> = shared.metrics_listen.iter().map(page).collect();
        let pages = pages.map_err(Failure::run)?;
        let out = shared.output_file.as_deref().map(create).transpose()?;
        let record = match shared.record.as_deref() {
            Some(path) => Some((create(path)?, path.extension().is_some_and(|extension| extension == "zst"))),
            None => None,
        };
        let terminal = match (&out, stream) {
            (Some(file), _) => terminal(file),
            (None, Stream::Stdout) => terminal(&io::stdout()),
            (None, Stream::Stderr) => terminal(&io::stderr()),
        };
        let variable = |name: &str| std::env::var(name).ok();
        let pretty = pretty::Options {
            width: Some(terminal.unwrap_or(DEFAULT_COLUMNS)),
            color: wants_color(terminal.is_some(), variable("NO_COLOR").as_deref(), variable("TERM").as_deref()),
            utc_offset: if live { i32::try_from(local_offset()).unwrap_or(0) } else { 0 },
            ..pretty::Options::default()
        };
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES");
        let host = if live { Host::read(attributes.as_deref()) } else { Host::default() };
        let when_full = if live { WhenFull::Drop } else { WhenFull::Wait };
        let wants = Wants {
            otlp: otlp.map(|otlp| otlp.when_full(when_full)).into_iter().collect(),
            otlp_logs: otlp_logs.map(|otlp| otlp.when_full(when_full)).into_iter().collect(),
            otlp_metrics: otlp_metrics.into_iter().collect(),
            pages,
            recognise: llm::Options { hosts: shared.provider.clone(), server_side: shared.server_side },
            prices: Some(prices),
            ..Wants::default()
        };
        if content.to_events() && shared.output != config::Output::Jsonl && !wants.has_events() {
            let to = if content.to_spans() { "both" } else { "events" };
            return Err(Failure::usage(anyhow!(
                "--content-to {to}: nobody gets the events; name an endpoint for them with --otlp-endpoint, or use --output \
                 jsonl, or tell contents on spans alone (--content-to spans)"
            )));
        }
        if !content.is_on() && shared.content_to != content::To::Spans {
            tracing::warn!("--content-to: no contents are told; --capture-content redacted or full asks for them");
        }
        Ok(Self {
            view: shared.output,
            out,
            stream,
            held,
            pretty,
            record,
            wants,
            setup: None,
            running: Running::default(),
            sums: None,
            health: Arc::default(),
            exemplars,
            prices: None,
            limits: Limits::default(),
            is_daemon: false,
            host,
            features: Features { content, ..Features::default() },
        })
    }

    #[must_use]
    pub fn with_features(self, features: Features) -> Self {
        Self { features, ..self }
    }

    /// Names of the variables of traced processes that the half which parses needs.
    pub fn variables(&self) -> Vec<String> {
        self.features.attribution.variables()
    }

    /// The daemon's, with what its file names opened.
    pub fn of_setup(setup: Setup, held: Held) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let exemplars = exemplars(&variable).map_err(Failure::usage)?;
        let host = Host::read(variable("OTEL_RESOURCE_ATTRIBUTES").as_deref());
        Ok(Self {
            view: config::Output::None,
            out: None,
            stream: Stream::Stderr,
            held,
            pretty: pretty::Options::default(),
            record: None,
            wants: Wants::default(),
            limits: setup.file().limits.clone(),
            features: setup.features(),
            setup: Some(setup),
            running: Running::default(),
            sums: None,
            health: Arc::default(),
            exemplars,
            prices: None,
            is_daemon: true,
            host,
        })
    }

    /// Whether anybody gets metrics, or may some day.
    pub fn has_metrics(&self) -> bool {
        self.is_daemon || self.wants.has_metrics()
    }

    /// What is told of this half at the page of its health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What must stay open when all else is closed.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let record = self.record.as_ref().map(|(file, _)| file);
        let files = self.out.iter().chain(record).map(|file| file.as_fd());
        let pages = self.wants.pages.iter().filter_map(|(_, listener)| listener.as_ref()).map(AsFd::as_fd);
        let opened = self.setup.iter().flat_map(Setup::descriptors);
        files.chain(pages).chain(opened).map(|descriptor| descriptor.as_raw_fd()).collect()
    }

    /// What goes to the terminal waits here while the terminal is the command's.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Builds the line and starts the exporters. Call it once.
    pub fn pipeline(&mut self, resolver: Arc<dyn Resolve>, live: bool) -> Result<Pipeline> {
        let out: Box<dyn Write + Send> = match (self.out.take(), self.stream) {
            (Some(file), _) => Box::new(BufWriter::with_capacity(1 << 16, file)),
            (None, Stream::Stderr) => Box::new(self.held.clone()),
            (None, Stream::Stdout) => Box::new(BufWriter::with_capacity(1 << 16, io::stdout())),
        };
        let view = match self.view {
            config::Output::Pretty => View::Pretty(Box::new(Pretty::new(out, self.pretty.clone()))),
            config::Output::Jsonl => View::Jsonl(Jsonl::new(out)),
            config::Output::None => View::None,
        };
        let metrics = self
            .has_metrics()
            .then(|| Metrics::new(&self.host, if live { Clock::Wall } else { Clock::Calls }, self.exemplars));
        self.sums = metrics.as_ref().map(Metrics::sums);
        let recorder = match self.record.take() {
            Some((file, true)) => Some(Recorder::new(Box::new(zstd::Encoder::new(file, 3)?.auto_finish()) as Box<_>)?),
            Some((file, false)) => Some(Recorder::new(Box::new(BufWriter::with_capacity(1 << 16, file)) as Box<_>)?),
            None => None,
        };
        let ids = if live { Ids::live() } else { Ids::replay() };
        let synth = Synth::new(ids, std::mem::take(&mut self.host));
        let limits = llm::Limits { open_calls: self.limits.calls, ..llm::Limits::default() };
        let calls = Calls::new(limits, llm::Options::default());
        let limits = flow::Limits { connections: self.limits.connections, ..flow::Limits::default() };
        let output = Output::new(view);
        let pipeline = Pipeline::with_limits(limits, calls, Prices::builtin(), synth, output, recorder);
        let mut pipeline = pipeline.with_metrics(metrics);
        pipeline.set_features(&self.features)?;
        let wants = match self.setup.take() {
            Some(setup) => setup.into_wants()?,
            None => std::mem::take(&mut self.wants),
        };
        self.change(wants, &mut pipeline, &resolver)?;
        Ok(pipeline)
    }

    /// Takes over the daemon's file that was read anew. What did not change goes on untouched; no connection and no call
    /// is lost.
    pub fn reload(&mut self, setup: Setup, pipeline: &mut Pipeline, resolver: &Arc<dyn Resolve>) -> Result<()> {
        // Names of attributes do not change while llmtap runs.
        self.features = Features { semconv: self.features.semconv, ..setup.features() };
        pipeline.set_features(&self.features)?;
        self.change(setup.into_wants()?, pipeline, resolver)
    }

    /// The one place where receivers, recognition and prices come into force, at the start and at a reload.
    fn change(&mut self, wants: Wants, pipeline: &mut Pipeline, resolver: &Arc<dyn Resolve>) -> Result<()> {
        let Wants { otlp, otlp_logs, otlp_metrics, lines, pages, recognise, prices, prices_text } = wants;
        // The same prices stay, with what they have counted.
        let changed = prices.is_some() != self.prices.is_some() || prices_text.is_none() || prices_text != self.prices;
        if changed && (prices.is_some() || self.prices.is_some()) {
            pipeline.change(recognise, Some(prices.unwrap_or_else(Prices::builtin)));
        } else {
            pipeline.change(recognise, None);
        }
        self.prices = prices_text;
        let has_spans = !otlp.is_empty() || !lines.is_empty() || self.view == config::Output::Jsonl;
        if self.features.content.to_spans() && !has_spans {
            tracing::warn!(
                "contents are to be told on spans, and nobody gets spans: {}",
                match self.is_daemon {
                    true => "add an exporter by OTLP or a file of jsonl to `exporters`",
                    false => "name an endpoint with --otlp-endpoint, or use --output jsonl (pretty prints no contents)",
                }
            );
        }
        Running::change_spans(otlp, otlp_logs, lines, pipeline.output(), resolver, EXPORT_DEADLINE)?;
        let sums = self.sums.as_ref();
        self.running.change_metrics(otlp_metrics, pages, sums, &self.health, resolver, EXPORT_DEADLINE)
    }

    /// Ends the line: the tree and the total, what is left to export, and a last line when anything was lost.
    pub fn close(&mut self, mut pipeline: Pipeline, totals: Totals) -> Result<()> {
        let seen = pipeline.finish()?;
        pipeline.observe();
        let end = Instant::now() + EXPORT_DEADLINE;
        let for_spans = if self.sums.is_some() { SPANS_DEADLINE } else { EXPORT_DEADLINE };
        let (stats, logs) = pipeline.output().end_export(for_spans);
        pipeline.exported(&stats);
        self.running.end(end.saturating_duration_since(Instant::now()));
        let mut summary = summary(&seen, totals, (stats.dropped, logs.dropped), pipeline.prices());
        // A program can load two TLS libraries and use the one that is hooked.
        summary.untraced.retain(|process| !pipeline.has_seen(process.pid));
        pipeline.output().finish(&summary)?;
        self.held.release()?;
        // `pretty` says it below its total.
        if self.view != config::Output::Pretty
            && let Some(line) = unpriced_line(&summary)
        {
            eprintln!("{line}");
        }
        if let Some(line) = loss_line(&summary) {
            eprintln!("{line}");
        }
        Ok(())
    }

    /// Says on stderr why this half fails.
    pub fn complain(&self, error: &anyhow::Error) {
        let _ = self.held.release();
        eprintln!("llmtap: {error:#}");
    }
}

fn summary(seen: &Seen, totals: Totals, (spans_dropped, logs_dropped): (u64, u64), prices: &Prices) -> Summary {
    Summary {
        events_lost: totals
            .lost
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>()
            .max(seen.lost_bytes.min(1) + seen.unknown_losses),
        spans_dropped,
        logs_dropped,
        calls_refused: seen.refused_calls,
        values_dropped: seen.dropped_values,
        connections_untraced: seen.grpc + seen.upgraded + seen.realtime + seen.evicted_connections,
        processes: totals.processes,
        connections: seen.connections,
        exchanges: seen.exchanges,
        libraries: totals.hooked,
        untraced: totals
            .untraced
            .into_iter()
            .map(|(name, pid, reason)| UntracedProcess { name, pid, reason })
            .collect(),
        unpriced: prices.unpriced(),
    }
}

/// Binds what `--metrics-listen` names.
fn listen(address: &str) -> Result<Listener> {
    let listener = Listener::bind(address)
        .with_context(|| format!("cannot listen at {address}: give --metrics-listen a free address of this machine"))?;
    if let Ok(address) = listener.address() {
        tracing::info!("metrics are at http://{address}/metrics");
    }
    Ok(listener)
}

/// Columns, when `stream` is a terminal.
fn terminal(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    stream.is_terminal().then(|| terminal_columns(stream.as_fd()).unwrap_or(DEFAULT_COLUMNS))
}
