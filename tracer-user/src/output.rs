//! Where calls and their spans go: to the terminal or a file, and to the collector.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    agent::Place,
    capture::{Connection, Process},
    content::{Content, Teller},
    export::{
        ExportStats, Exports, Jsonl, Progress,
        otlp::{Handle, Record},
        pretty::{Aside, Pretty, ProcessName, Summary},
    },
    llm::LlmCall,
    mcp,
    price::Cost,
    retrieval::Retrieval,
    sampling::{self, SampledOut, Sampler},
    span::{EventRecord, SpanRecord},
};

/// Names of processes that are remembered. Past it all are forgotten: a line then shows the command's name.
const MAX_NAMES: usize = 16 << 10;

/// What `--output` names.
pub enum View {
    Pretty(Box<Pretty<Box<dyn Write + Send>>>),
    Jsonl(Jsonl<Box<dyn Write + Send>>),
    None,
}

/// All outputs of one run.
pub struct Output {
    view: View,
    spans: Exports<SpanRecord>,
    events: Exports<EventRecord>,
    lines: Vec<Lines>,
    /// What files came to that were taken away.
    gone: Progress,
    sampler: Sampler,
    /// Kept so that its memory is used again.
    sampled: Vec<SpanRecord>,
    names: HashMap<u32, Arc<str>>,
}

/// A file of spans beside the view.
pub struct Lines {
    path: PathBuf,
    out: Jsonl<Box<dyn Write + Send>>,
    written: u64,
    lost: u64,
    failing: bool,
}

impl Lines {
    pub fn new(path: PathBuf, out: Box<dyn Write + Send>) -> Self {
        Self { path, out: Jsonl::new(out), written: 0, lost: 0, failing: false }
    }

    fn write(&mut self, span: SpanRecord) {
        let result = self.out.write(span);
        self.written += u64::from(result.is_ok());
        self.settle(result);
    }

    fn event(&mut self, event: EventRecord) {
        let result = self.out.event(event);
        self.settle(result);
    }

    /// A full disk costs spans, which are counted and said once; the others get theirs.
    fn settle(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("spans are written to {} again", self.path.display());
                }
            }
            Err(error) => {
                self.lost += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("cannot write spans to {}: {error}", self.path.display());
                }
            }
        }
    }
}

impl Output {
    pub fn new(view: View) -> Self {
        Self {
            view,
            spans: Exports::default(),
            events: Exports::default(),
            lines: Vec::new(),
            gone: Progress::default(),
            sampler: Sampler::default(),
            sampled: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// From now on exports only what sampling so keeps.
    pub fn set_sampling(&mut self, options: &sampling::Options) {
        let Self { spans, lines, sampler, sampled, .. } = self;
        sampler.set_options(options, sampled);
        sampled.drain(..).for_each(|span| send(spans.running(), lines, span, Lines::write));
    }

    /// The exporters of spans.
    pub fn spans(&mut self) -> &mut Exports<SpanRecord> {
        &mut self.spans
    }

    /// Those of events.
    pub fn events(&mut self) -> &mut Exports<EventRecord> {
        &mut self.events
    }

    /// Puts the file of spans at `path` in the place of the one that has the same path, if there is one.
    pub fn add_lines(&mut self, path: PathBuf, out: Box<dyn Write + Send>) {
        match self.lines.iter_mut().find(|lines| lines.path == path) {
            Some(lines) => lines.out = Jsonl::new(out),
            None => self.lines.push(Lines::new(path, out)),
        }
    }

    pub fn retain_lines(&mut self, keep: impl Fn(&Path) -> bool) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lines).into_iter().partition(|lines| keep(&lines.path));
        self.lines = kept;
        for Lines { written, lost, .. } in gone {
            self.gone.exported += written;
            self.gone.dropped += lost;
        }
    }

    /// A traced process was seen, or has replaced its image.
    pub fn process(&mut self, process: &Process) {
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        if let Some(name) = process.service_name().or_else(|| process.exe.clone()) {
            self.names.insert(process.pid, name);
        }
    }

    /// A call has ended; `span` is for export and files.
    pub fn call(
        &mut self,
        call: &LlmCall,
        place: Option<&Place>,
        cost: Option<&Cost>,
        span: Option<SpanRecord>,
    ) -> io::Result<()> {
        if let View::Pretty(pretty) = &mut self.view {
            let tool_call = match place {
                Some(Place::Tool { id, .. }) => Some(id.as_str()),
                _ => None,
            };
            pretty.call(call, tool_call, cost, &name(&self.names, &call.connection))?;
        }
        span.map_or(Ok(()), |span| self.span(span))
    }

    /// Tells a call's content: as its own event, on `span`, or both.
    pub fn content(&mut self, teller: &Teller, content: &Content, span: &mut SpanRecord) -> io::Result<()> {
        let told = teller.tell(content);
        let result = match teller.options().to_events() {
            true => self.event(EventRecord::details(span, told.clone()), self.sampler.keeps(span)),
            false => Ok(()),
        };
        if teller.options().to_spans() {
            span.add_content(told);
        }
        result
    }

    /// An event goes where its span goes: `kept` says whether sampling exports that.
    fn event(&mut self, event: EventRecord, kept: bool) -> io::Result<()> {
        let result = match &mut self.view {
            View::Jsonl(jsonl) => jsonl.event(event.clone()),
            View::Pretty(_) | View::None => Ok(()),
        };
        if kept && event.sampled() {
            send(self.events.running(), &mut self.lines, event, Lines::event);
        }
        result
    }

    /// A request of MCP was answered, or has ended otherwise.
    pub fn mcp(&mut self, request: &mcp::Request, place: Option<&Place>, span: SpanRecord) -> io::Result<()> {
        if let View::Pretty(pretty) = &mut self.view {
            let process = name(&self.names, &request.carrier.connection);
            pretty.aside(&Aside::mcp(request, place), &process)?;
        }
        self.span(span)
    }

    /// A query of a vector store has ended.
    pub fn retrieval(&mut self, retrieval: &Retrieval, place: Option<&Place>, span: SpanRecord) -> io::Result<()> {
        if let View::Pretty(pretty) = &mut self.view {
            let process = name(&self.names, &retrieval.carrier.connection);
            pretty.aside(&Aside::retrieval(retrieval, place), &process)?;
        }
        self.span(span)
    }

    /// A span that is no call of its own: concluded from several.
    pub fn span(&mut self, span: SpanRecord) -> io::Result<()> {
        let Self { view, spans, lines, sampler, sampled, .. } = self;
        let exports = spans.running();
        let result = match view {
            // Only when others want it, too, is it copied.
            View::Jsonl(jsonl) if exports.is_empty() && lines.is_empty() => return jsonl.write(span),
            View::Jsonl(jsonl) => jsonl.write(span.clone()),
            View::Pretty(_) | View::None => Ok(()),
        };
        if exports.is_empty() && lines.is_empty() {
            return result;
        }
        sampler.push(span, sampled);
        sampled.drain(..).for_each(|span| send(exports, lines, span, Lines::write));
        result
    }

    /// How the export of spans stands, where there is one.
    pub fn export_progress(&self) -> Option<Progress> {
        let spans = self.spans.progress();
        if spans.is_none() && self.lines.is_empty() && self.gone == Progress::default() {
            return None;
        }
        let mut all = spans.unwrap_or_default();
        all.exported += self.gone.exported + self.lines.iter().map(|lines| lines.written).sum::<u64>();
        all.dropped += self.gone.dropped + self.lines.iter().map(|lines| lines.lost).sum::<u64>();
        Some(all)
    }

    /// Whether the span of a call is for export, as far as it is known by itself.
    pub fn would_export(&self, span: &SpanRecord) -> bool {
        self.sampler.keeps(span)
    }

    /// Spans that sampling kept from the export.
    pub fn sampled_out(&self) -> SampledOut {
        self.sampler.sampled_out()
    }

    /// Sends what is left to the collectors, all at the same time, for at most `deadline`. How the export of spans and
    /// that of events ended.
    pub fn end_export(&mut self, deadline: Duration) -> (ExportStats, ExportStats) {
        self.sampler.finish();
        self.spans.end(deadline);
        self.events.end(deadline);
        let (mut spans, events) = (self.spans.ended(), self.events.ended());
        self.retain_lines(|_| false);
        spans.exported += self.gone.exported;
        spans.dropped += self.gone.dropped;
        (spans, events)
    }

    /// The closing words.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match &mut self.view {
            View::Pretty(pretty) => pretty.finish(summary),
            View::Jsonl(_) | View::None => Ok(()),
        }
    }
}

/// Hands a record to all exporters, and to files by `write`.
fn send<R: Record + Clone>(exports: &[Handle<R>], lines: &mut [Lines], record: R, write: fn(&mut Lines, R)) {
    let mut others = exports.len() + lines.len();
    let mut record = Some(record);
    // The last one gets the record itself, not a copy.
    let mut next = || {
        others = others.saturating_sub(1);
        if others == 0 { record.take() } else { record.clone() }
    };
    for export in exports {
        next().into_iter().for_each(|record| export.send(record));
    }
    for lines in lines {
        next().into_iter().for_each(|record| write(lines, record));
    }
}

fn name(names: &HashMap<u32, Arc<str>>, connection: &Connection) -> ProcessName {
    let known = connection.pid.and_then(|pid| names.get(&pid).cloned());
    let from_exe = || connection.exe.as_deref().map(|exe| Arc::from(exe.rsplit('/').next().unwrap_or(exe)));
    let name = known.or_else(from_exe).or_else(|| connection.comm.clone()).unwrap_or_else(|| Arc::from("?"));
    ProcessName { name, pid: connection.pid }
}
