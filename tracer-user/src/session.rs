//! What one run of any command writes and where: opened from its options before anything starts, and, live, before
//! privileges are given up.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    attribution,
    capture::{
        record::Recorder,
        seam::{Totals, User, as_user, local_offset, terminal_columns},
    },
    commands::Failure,
    config::{self, Shared},
    export::{
        Jsonl, MetricsThread, Otlp,
        otlp::{OtlpMetrics, Resolve, WhenFull, exemplars},
        pretty::{self, Pretty, Summary, UntracedProcess, loss_line, unpriced_line, wants_color},
        prometheus::Listener,
    },
    live::held::Held,
    llm::{self, Calls},
    metrics::{Clock, Exemplars, Metrics},
    output::{Output, View},
    pipeline::{OwnTelemetry, Pipeline, Seen},
    price::Prices,
    sampling,
    span::{Host, Ids, Synth, semconv::Release},
};

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
    prices: Option<Prices>,
    otlp: Option<Otlp>,
    otlp_metrics: Option<OtlpMetrics>,
    exemplars: Exemplars,
    listener: Option<Listener>,
    metrics: Option<MetricsThread>,
    host: Host,
    recognise: llm::Options,
    features: Features,
}

/// What a run tells and how, beyond the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    pub sampling: sampling::Options,
    pub attribution: attribution::Options,
    pub own_telemetry: OwnTelemetry,
    pub semconv: Release,
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
        let otlp_metrics = OtlpMetrics::from_environment(endpoint).map_err(Failure::usage)?;
        let exemplars = exemplars(&|name| std::env::var(name).ok()).map_err(Failure::usage)?;
        let listener = shared.metrics_listen.as_deref().map(listen).transpose().map_err(Failure::run)?;
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
        let recognise = llm::Options { hosts: shared.provider.clone(), server_side: shared.server_side };
        let prices = Some(prices);
        Ok(Self {
            view: shared.output,
            out,
            stream,
            held,
            pretty,
            record,
            prices,
            otlp,
            otlp_metrics,
            exemplars,
            listener,
            metrics: None,
            host,
            recognise,
            features: Features::default(),
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

    /// Whether anybody gets metrics.
    pub fn has_metrics(&self) -> bool {
        self.otlp_metrics.is_some() || self.listener.is_some()
    }

    /// What must stay open when all else is closed.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let record = self.record.as_ref().map(|(file, _)| file);
        let files = self.out.iter().chain(record).map(|file| file.as_fd());
        files.chain(self.listener.iter().map(AsFd::as_fd)).map(|descriptor| descriptor.as_raw_fd()).collect()
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
        let export = self
            .otlp
            .take()
            .map(|otlp| if live { otlp } else { otlp.when_full(WhenFull::Wait) }.start(Arc::clone(&resolver)))
            .transpose()
            .context("no exporter thread")?;
        let metrics = self
            .has_metrics()
            .then(|| Metrics::new(&self.host, if live { Clock::Wall } else { Clock::Calls }, self.exemplars));
        if let Some(metrics) = &metrics {
            let (otlp, listener) = (self.otlp_metrics.take(), self.listener.take());
            let thread = MetricsThread::start(metrics.sums(), otlp, listener, resolver);
            self.metrics = Some(thread.context("no thread for metrics")?);
        }
        let recorder = match self.record.take() {
            Some((file, true)) => Some(Recorder::new(Box::new(zstd::Encoder::new(file, 3)?.auto_finish()) as Box<_>)?),
            Some((file, false)) => Some(Recorder::new(Box::new(BufWriter::with_capacity(1 << 16, file)) as Box<_>)?),
            None => None,
        };
        let ids = if live { Ids::live() } else { Ids::replay() };
        let synth = Synth::new(ids, std::mem::take(&mut self.host));
        let calls = Calls::new(llm::Limits::default(), std::mem::take(&mut self.recognise));
        let prices = self.prices.take().unwrap_or_else(Prices::builtin);
        let pipeline = Pipeline::new(calls, prices, synth, Output::new(view, export), recorder);
        let mut pipeline = pipeline.with_metrics(metrics);
        pipeline.set_features(&self.features);
        Ok(pipeline)
    }

    /// Ends the line: the tree and the total, what is left to export, and a last line when anything was lost.
    pub fn close(&mut self, mut pipeline: Pipeline, totals: Totals) -> Result<()> {
        let seen = pipeline.finish()?;
        pipeline.observe();
        let end = Instant::now() + EXPORT_DEADLINE;
        let for_spans = if self.metrics.is_some() { SPANS_DEADLINE } else { EXPORT_DEADLINE };
        let stats = pipeline.output().end_export(for_spans);
        pipeline.exported(&stats);
        if let Some(metrics) = self.metrics.take() {
            metrics.shutdown(end.saturating_duration_since(Instant::now()));
        }
        let mut summary = summary(&seen, totals, stats.dropped, pipeline.prices());
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

fn summary(seen: &Seen, totals: Totals, spans_dropped: u64, prices: &Prices) -> Summary {
    Summary {
        events_lost: totals
            .lost
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>()
            .max(seen.lost_bytes.min(1) + seen.unknown_losses),
        spans_dropped,
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
