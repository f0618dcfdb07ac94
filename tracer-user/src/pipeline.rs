//! The whole line, top down: capture → flow → proto → exchange → llm, mcp, retrieval → agent → span → output.

mod processes;
mod unread;

use std::io::{self, Write};

use serde::Deserialize;

use self::processes::{Awaited, Processes};
pub use self::unread::Unread;
use crate::{
    agent::{self, Concluded, Deed, Turns},
    attempts::{self, Attempts},
    attribution::Attribution,
    capture::{self, ByConnection, record::Recorder},
    content::Teller,
    exchange::{self, Exchanges},
    export::{ExportStats, Progress},
    flow::{self, Flows},
    guard::Guard,
    hop::{Hop, Hops, could_be_hop},
    llm::{self, Calls},
    metrics::{Metrics, Own},
    observe::{self, Observer},
    output::Output,
    price::Prices,
    proto::{self, Limits, Protocol},
    redact,
    session::Features,
    span::Synth,
};

/// What a pipeline has seen, for the closing words and for `doctor`'s hints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Observations of any kind.
    pub events: u64,
    pub connections: u64,
    /// Connections that carry what is not decoded: gRPC, or an upgrade from HTTP/1.1 to HTTP/2.
    pub grpc: u64,
    pub upgraded: u64,
    /// Not HTTP.
    pub not_http: u64,
    /// WebSockets of realtime APIs (audio in both directions), which are not decoded.
    pub realtime: u64,
    /// HTTP/2 streams that were not followed because too many were open.
    pub refused_streams: u64,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// Bytes known to be missing.
    pub lost_bytes: u64,
    /// Losses of unknown size.
    pub unknown_losses: u64,
    pub evicted_connections: u64,
    /// Requests of any kind.
    pub exchanges: u64,
    /// Model calls.
    pub calls: u64,
    /// Calls that were not followed because too many were open.
    pub refused_calls: u64,
    /// Values of calls, such as tool names, that a cap left out.
    pub dropped_values: u64,
}

impl Seen {
    /// Counts what a connection that ends carried and nobody decoded, and says it once.
    fn untold(&mut self, connection: &proto::Connection) {
        let counters = connection.http2_counters();
        if counters.grpc > 0 {
            if self.grpc == 0 {
                tracing::warn!("a connection carries gRPC, which is not traced");
            }
            self.grpc += 1;
        }
        if connection.protocol() == Protocol::Realtime {
            if self.realtime == 0 {
                tracing::warn!("a WebSocket carries a realtime API, which is not traced");
            }
            self.realtime += 1;
        }
        if connection.is_upgraded() {
            if self.upgraded == 0 {
                tracing::warn!("a connection was upgraded from HTTP/1.1 to h2c, which is not traced");
            }
            self.upgraded += 1;
        }
        if counters.refused_streams > 0 {
            if self.refused_streams == 0 {
                tracing::warn!("a connection has more streams open at once than are followed");
            }
            self.refused_streams += counters.refused_streams;
        }
    }
}

/// What is told of model calls whose process exports telemetry of them itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnTelemetry {
    /// All, marked with `llmtap.own_telemetry`.
    #[default]
    Emit,
    /// They count in metrics, but have no spans.
    MetricsOnly,
    /// Neither.
    Skip,
}

/// Why features cannot be had. Configuration is told, never payload.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    #[error("redaction: {0}")]
    Redaction(#[from] redact::OptionsError),
    #[error("observe.rules: {0}")]
    Observe(#[from] observe::RulesError),
}

/// The line from captured events to output. One thread drives it; it has no clock of its own.
pub struct Pipeline {
    flows: Flows,
    decoding: Decoding,
    prices: Prices,
    attribution: Attribution,
    own_telemetry: OwnTelemetry,
    attempts: Attempts,
    turns: Turns,
    synth: Synth,
    observer: Observer,
    output: Output,
    metrics: Option<Metrics>,
    processes: Processes,
    awaited: Awaited,
    concluded: Vec<Concluded>,
    guard: Guard,
    /// What is told of contents, if anything.
    teller: Option<Teller>,
    /// Calls that began up to then, in nanoseconds since the Unix epoch, tell no contents: those were off.
    silent_until: Option<u64>,
    /// Time of the latest observation.
    latest: Option<u64>,
}

/// The middle of the line: from bytes in order to what they tell.
struct Decoding {
    lines: ByConnection<Line>,
    hops: Hops,
    recorder: Option<Recorder<Box<dyn Write + Send>>>,
    /// The first failure of the recorder that was not told.
    failed: io::Result<()>,
    seen: Seen,
    // Between the stages; kept so that their memory is used again.
    ended: Vec<Hop>,
    /// What need not be copied, if anybody asks for it.
    unread: Option<Vec<Unread>>,
}

/// One connection: what it says, and which answer is whose.
struct Line {
    decoder: proto::Connection,
    exchanges: Exchanges,
    place: unread::Place,
}

impl Pipeline {
    pub fn new(
        calls: Calls,
        prices: Prices,
        synth: Synth,
        output: Output,
        recorder: Option<Recorder<Box<dyn Write + Send>>>,
    ) -> Self {
        Self::with_limits(flow::Limits::default(), calls, prices, synth, output, recorder)
    }

    /// The same with bounds for what waits for its predecessors.
    pub fn with_limits(
        limits: flow::Limits,
        calls: Calls,
        prices: Prices,
        synth: Synth,
        output: Output,
        recorder: Option<Recorder<Box<dyn Write + Send>>>,
    ) -> Self {
        Self {
            flows: Flows::new(limits),
            decoding: Decoding {
                lines: ByConnection::default(),
                hops: Hops::new(calls),
                recorder,
                failed: Ok(()),
                seen: Seen::default(),
                ended: Vec::new(),
                unread: None,
            },
            prices,
            attribution: Attribution::default(),
            own_telemetry: OwnTelemetry::default(),
            attempts: Attempts::new(attempts::Limits::default()),
            turns: Turns::new(agent::Limits::default()),
            synth,
            observer: Observer::default(),
            output,
            metrics: None,
            processes: Processes::default(),
            awaited: Awaited::default(),
            concluded: Vec::new(),
            teller: None,
            silent_until: None,
            latest: None,
            guard: Guard::default(),
        }
    }

    /// Also tells contents; `calls` must have been told to read them.
    #[must_use]
    pub fn with_contents(self, teller: Option<Teller>) -> Self {
        Self { teller, ..self }
    }

    /// Also counts.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// From now on [`Self::unread`] tells what need not be captured, unless it is all recorded.
    #[must_use]
    pub fn with_unread(mut self) -> Self {
        self.decoding.unread = self.decoding.recorder.is_none().then(Vec::new);
        self
    }

    /// What need not be captured, as far as it was not told before.
    pub fn unread(&mut self) -> impl Iterator<Item = Unread> + '_ {
        self.decoding.unread.iter_mut().flat_map(|unread| unread.drain(..))
    }

    /// From now on calls are recognised and priced so. Nothing that is open is lost by it.
    pub fn change(&mut self, recognise: llm::Options, prices: Option<Prices>) {
        self.decoding.hops.set_options(recognise);
        if let Some(prices) = prices {
            self.prices = prices;
        }
    }

    /// From now on it tells so: what holds for a call is what is in force when its end is read. A call that began while
    /// contents were off tells none.
    ///
    /// # Errors
    /// The options of the redactor or of the observer make none; then nothing changes.
    pub fn set_features(&mut self, features: &Features) -> Result<(), FeaturesError> {
        let Features { sampling, attribution, own_telemetry, semconv, content, redaction, observe } = features;
        let teller = Teller::new(*content, redaction)?;
        self.observer.set_options(observe)?;
        if self.teller.is_none() && teller.is_some() {
            // Some are read all the same: for what is observed.
            self.silent_until = self.latest;
        }
        self.teller = teller;
        self.decoding.hops.set_content(self.teller.is_some() || self.observer.wants_content());
        self.attribution = Attribution::new(attribution);
        self.guard.set_personal_data(attribution.personal_data);
        self.decoding.hops.set_attribution(self.attribution.clone());
        self.own_telemetry = *own_telemetry;
        self.synth.set_release(*semconv);
        self.output.set_sampling(sampling);
        Ok(())
    }

    pub fn metrics(&mut self) -> Option<&mut Metrics> {
        self.metrics.as_mut()
    }

    /// Brings the metrics of what is now up to date. It looks at every open call: not for each event.
    pub fn observe(&mut self) {
        if self.metrics.is_none() {
            return;
        }
        self.count();
        let spans = self.output.export_progress();
        let unpriced = self.prices.unpriced();
        let Some(metrics) = &mut self.metrics else { return };
        // Those of whom more is known soon would count for a service that is none.
        let known = |call: &llm::Active<'_>| call.connection.pid.is_none_or(|pid| !self.awaited.awaits(pid));
        metrics.active(self.decoding.hops.active().filter(known), |call| self.synth.resource(call.connection));
        metrics.own(&Own {
            events: self.decoding.seen.events,
            bytes: self.decoding.seen.bytes,
            lost_bytes: self.decoding.seen.lost_bytes,
            connections: self.flows.connections(),
            grpc: self.decoding.seen.grpc,
            upgraded: self.decoding.seen.upgraded,
            realtime: self.decoding.seen.realtime,
            not_http: self.decoding.seen.not_http,
            evicted: self.decoding.seen.evicted_connections,
            refused_calls: self.decoding.seen.refused_calls,
            unpriced_calls: unpriced.calls,
            unpriced_models: unpriced.models.len(),
            sampled_out: self.output.sampled_out(),
        });
        if let Some(Progress { exported, dropped, waiting }) = spans {
            metrics.spans(exported, dropped, waiting);
        }
    }

    /// How the export of spans ended.
    pub fn exported(&mut self, stats: &ExportStats) {
        if let Some(metrics) = &mut self.metrics {
            metrics.spans(stats.exported, stats.dropped, 0);
        }
    }

    /// Takes one observation. An error is one of output: nobody can read what is written.
    pub fn push(&mut self, event: capture::Event) -> io::Result<()> {
        self.decoding.seen.events += 1;
        self.latest = self.latest.max(Some(event.at()));
        if let capture::Event::Process { at, process } = &event {
            let again = self.processes.is_told_again(process);
            if !self.processes.is_news(*at, process) {
                return Ok(());
            }
            if !again {
                self.decoding.hops.replaced(process.pid);
            }
            self.synth.process(process);
            self.output.process(process);
            self.awaited.process(process);
        }
        if let capture::Event::Open { connection, .. } = &event {
            self.processes.speaks_tls(connection.pid);
        }
        if let Some(recorder) = &mut self.decoding.recorder {
            recorder.push(&event)?;
        }
        let decoding = &mut self.decoding;
        self.flows.push(event, &mut |event| decoding.take(event));
        self.emit()
    }

    /// Nothing has come for a while: what waits for its predecessors goes on without them.
    pub fn tick(&mut self) -> io::Result<()> {
        let decoding = &mut self.decoding;
        self.flows.tick(&mut |event| decoding.take(event));
        self.emit()
    }

    /// Nothing more comes: what is open ends unfinished, and the recording is closed.
    pub fn finish(&mut self) -> io::Result<Seen> {
        let decoding = &mut self.decoding;
        self.flows.finish(&mut |event| decoding.take(event));
        self.emit()?;
        self.awaited.give_up();
        let Decoding { hops, ended, .. } = &mut self.decoding;
        hops.finish(ended);
        self.emit()?;
        self.turns.finish(&mut self.concluded);
        self.emit()?;
        if let Some(recorder) = self.decoding.recorder.take() {
            recorder.finish()?;
        }
        self.count();
        Ok(self.decoding.seen)
    }

    /// Takes over what the stages count themselves.
    fn count(&mut self) {
        let seen = &mut self.decoding.seen;
        let llm::Counts { refused, dropped_values } = self.decoding.hops.counts();
        seen.refused_calls = refused;
        seen.dropped_values = dropped_values;
        let counters = self.flows.counters();
        seen.bytes = counters.bytes;
        seen.lost_bytes = counters.lost_bytes;
        seen.unknown_losses = counters.unknown_losses;
        seen.evicted_connections = counters.evicted_connections;
    }

    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Whether plaintext of this process was seen.
    pub fn has_seen(&self, pid: u32) -> bool {
        self.processes.has_spoken(pid)
    }

    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// llm, mcp, retrieval → agent → span → output
    fn emit(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.decoding.failed, Ok(()))?;
        // Most records end nothing.
        if self.decoding.ended.is_empty() && self.concluded.is_empty() {
            return Ok(());
        }
        if self.awaited.holds(&self.decoding.ended) {
            return Ok(());
        }
        let Decoding { ended, seen, hops, .. } = &mut self.decoding;
        for mut hop in ended.drain(..) {
            self.guard.hop(&mut hop);
            match hop {
                Hop::Model(mut call) => {
                    seen.calls += 1;
                    if let Some(process) = call.connection.pid.and_then(|pid| self.processes.of(pid)) {
                        self.attribution.complete(&mut call.request.attributed, &process.environment);
                    }
                    self.guard.attributed(&mut call.request.attributed);
                    let repetition = self.attempts.repeats(&call);
                    call.attempt = call.attempt.or(repetition.as_ref().map(|repetition| repetition.number));
                    let place = self.turns.push(&call, &mut self.concluded);
                    let cost = self.prices.cost(&call);
                    let mut span = self.synth.call(&call, place.as_ref(), cost.as_ref());
                    self.attempts.push(&call, repetition.as_ref(), cost.as_ref(), span.link());
                    if let Some(repetition) = repetition {
                        self.synth.repetition(&mut span, repetition);
                    }
                    let twice = self.processes.tells_of_models(call.connection.pid, hops);
                    if twice {
                        self.synth.told_twice(&mut span);
                    }
                    let observed = self.observer.call(&call, &mut span);
                    if let Some(metrics) = &mut self.metrics
                        && !(twice && self.own_telemetry == OwnTelemetry::Skip)
                    {
                        let exported = self.output.would_export(&span);
                        metrics.call(&call, cost.as_ref(), &span, exported);
                        metrics.observed(&call, &observed, &span, exported);
                    }
                    let mut span = (!twice || self.own_telemetry == OwnTelemetry::Emit).then_some(span);
                    let silent = self.silent_until.is_some_and(|until| call.times.start <= until);
                    if let (Some(teller), Some(content), Some(span), false) =
                        (&self.teller, &call.content, &mut span, silent)
                    {
                        self.output.content(teller, content, span)?;
                    }
                    self.output.call(&call, place.as_ref(), cost.as_ref(), span)?;
                }
                Hop::Mcp(request) => {
                    let place = self.turns.place(&Deed::of(&request.carrier, request.tool.as_deref()));
                    let span = self.synth.mcp(&request, place.as_ref());
                    self.output.mcp(&request, place.as_ref(), span)?;
                }
                Hop::Retrieval(retrieval) => {
                    let place = self.turns.place(&Deed::of(&retrieval.carrier, None));
                    let span = self.synth.retrieval(&retrieval, place.as_ref());
                    self.output.retrieval(&retrieval, place.as_ref(), span)?;
                }
            }
        }
        for concluded in self.concluded.drain(..) {
            let pid = match &concluded {
                Concluded::Tool(run) => run.asked_by.connection.pid,
                Concluded::Turn(turn) => turn.first.connection.pid,
            };
            let twice = self.processes.tells_of_models(pid, hops);
            let span = match concluded {
                Concluded::Tool(run) => {
                    let span = self.synth.tool(&run);
                    if let Some(metrics) = &mut self.metrics
                        && !(twice && self.own_telemetry == OwnTelemetry::Skip)
                    {
                        metrics.tool(&run, &span, self.output.would_export(&span));
                    }
                    span
                }
                Concluded::Turn(turn) => self.synth.turn(&turn),
            };
            if !twice || self.own_telemetry == OwnTelemetry::Emit {
                self.output.span(span)?;
            }
        }
        Ok(())
    }
}

impl Decoding {
    /// flow → proto → exchange → llm, mcp, retrieval
    fn take(&mut self, event: flow::Event) {
        let Self { lines, hops, recorder, failed, seen, ended, unread } = self;
        let mut tell = |event: exchange::Event<'_>| {
            let of_interest = hops.push(&event, ended);
            if let (Some(recorder), true, Ok(())) = (&mut *recorder, of_interest, &*failed) {
                *failed = recorder.model_traffic(event.id().connection);
            }
        };
        match event {
            flow::Event::Open { key, connection, .. } => {
                seen.connections += 1;
                let decoder = proto::Connection::new(Limits::default(), connection.role, could_be_hop);
                let place = unread::Place::default();
                lines.insert(key, Line { decoder, exchanges: Exchanges::new(key, connection), place });
            }
            flow::Event::Bytes { at, key, direction, bytes } => {
                let Some(Line { decoder, exchanges, place }) = lines.get_mut(&key) else { return };
                decoder.push(at, direction, &bytes, &mut |event| {
                    seen.exchanges += u64::from(matches!(event, proto::Event::RequestHead { .. }));
                    exchanges.push(event, &mut tell);
                });
                place.pass(direction, bytes.len() as u64);
                if let Some(unread) = unread {
                    unread.extend(place.ask(key, decoder));
                }
                if let (Some(recorder), Protocol::Http2) = (recorder, decoder.protocol()) {
                    recorder.speaks_http2(key);
                }
            }
            flow::Event::Gap { at, key, direction, lost } => {
                let Some(Line { decoder, exchanges, place }) = lines.get_mut(&key) else { return };
                decoder.gap(at, direction, lost, &mut |event| exchanges.push(event, &mut tell));
                place.pass(direction, lost.unwrap_or(0));
            }
            flow::Event::Close { at, key, .. } | flow::Event::Abandon { at, key } => {
                let Some(Line { mut decoder, mut exchanges, .. }) = lines.remove(&key) else { return };
                let mut pair = |event: proto::Event<'_>| exchanges.push(event, &mut tell);
                match event {
                    flow::Event::Close { by, .. } => {
                        decoder.close(at, by, &mut pair);
                        exchanges.close(at, by, &mut tell);
                    }
                    _ => {
                        decoder.abandon(at, &mut pair);
                        exchanges.abandon(at, &mut tell);
                    }
                }
                seen.not_http += u64::from(decoder.protocol() == Protocol::Other);
                seen.untold(&decoder);
            }
        }
    }
}

#[cfg(test)]
mod tests;
