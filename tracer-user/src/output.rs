//! Where calls and their spans go: to the terminal or a file, and to the collector.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    agent::Place,
    capture::{Connection, Process},
    export::{
        ExportHandle, ExportStats, Jsonl, Progress,
        pretty::{Aside, Pretty, ProcessName, Summary},
    },
    llm::LlmCall,
    mcp,
    price::Cost,
    retrieval::Retrieval,
    sampling::{self, SampledOut, Sampler},
    span::SpanRecord,
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
    exports: Vec<ExportHandle>,
    lines: Vec<Lines>,
    /// Exporters that were taken away and still send what waits, and how each stood then.
    leaving: Vec<(Progress, JoinHandle<ExportStats>)>,
    /// What those came to that have gone.
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

    /// A full disk costs spans, which are counted and said once; the others get theirs.
    fn write(&mut self, span: SpanRecord) {
        match self.out.write(span) {
            Ok(()) => {
                self.written += 1;
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
    pub fn new(view: View, exports: Vec<ExportHandle>) -> Self {
        Self {
            view,
            exports,
            lines: Vec::new(),
            leaving: Vec::new(),
            gone: Progress::default(),
            sampler: Sampler::default(),
            sampled: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// From now on exports only what sampling so keeps.
    pub fn set_sampling(&mut self, options: &sampling::Options) {
        let Self { exports, lines, sampler, sampled, .. } = self;
        sampler.set_options(options, sampled);
        sampled.drain(..).for_each(|span| send(exports, lines, span));
    }

    /// The running exporters.
    pub fn exports(&self) -> &[ExportHandle] {
        &self.exports
    }

    /// Adds an exporter.
    pub fn add_export(&mut self, export: ExportHandle) {
        self.exports.push(export);
    }

    /// Takes away the exporters of which `keep` does not want to know; what they have goes out first, for at most
    /// `deadline`, while nobody waits.
    pub fn retain_exports(&mut self, keep: impl Fn(&ExportHandle) -> bool, deadline: Duration) {
        self.reap(false);
        let (kept, leaving) = std::mem::take(&mut self.exports).into_iter().partition(keep);
        self.exports = kept;
        for export in leaving {
            let progress = export.progress();
            self.leaving.push((progress, std::thread::spawn(move || export.shutdown(deadline))));
        }
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

    /// Counts what exporters that were taken away came to.
    fn reap(&mut self, all: bool) {
        for (progress, leaving) in std::mem::take(&mut self.leaving) {
            if all || leaving.is_finished() {
                // A thread that has panicked has sent nothing more.
                let stats = leaving.join().unwrap_or(ExportStats {
                    exported: progress.exported,
                    dropped: progress.dropped + progress.waiting,
                    last_error: None,
                });
                self.gone.exported += stats.exported;
                self.gone.dropped += stats.dropped;
            } else {
                self.leaving.push((progress, leaving));
            }
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
        let Self { view, exports, lines, sampler, sampled, .. } = self;
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
        sampled.drain(..).for_each(|span| send(exports, lines, span));
        result
    }

    /// How the export of spans stands, where there is one.
    pub fn export_progress(&self) -> Option<Progress> {
        if self.exports.is_empty()
            && self.lines.is_empty()
            && self.leaving.is_empty()
            && self.gone == Progress::default()
        {
            return None;
        }
        let mut all = self.gone;
        let running = self.exports.iter().map(ExportHandle::progress);
        for progress in running.chain(self.leaving.iter().map(|(progress, _)| *progress)) {
            all.exported += progress.exported;
            all.dropped += progress.dropped;
            all.waiting += progress.waiting;
        }
        for lines in &self.lines {
            all.exported += lines.written;
            all.dropped += lines.lost;
        }
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

    /// Sends what is left to the collectors, all at the same time, for at most `deadline`.
    pub fn end_export(&mut self, deadline: Duration) -> ExportStats {
        self.sampler.finish();
        self.retain_exports(|_| false, deadline);
        self.reap(true);
        self.retain_lines(|_| false);
        ExportStats { exported: self.gone.exported, dropped: self.gone.dropped, last_error: None }
    }

    /// The closing words.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match &mut self.view {
            View::Pretty(pretty) => pretty.finish(summary),
            View::Jsonl(_) | View::None => Ok(()),
        }
    }
}

/// Hands a span to all exporters.
fn send(exports: &[ExportHandle], lines: &mut [Lines], span: SpanRecord) {
    let mut others = exports.len() + lines.len();
    let mut span = Some(span);
    // The last one gets the span itself, not a copy.
    let mut next = || {
        others = others.saturating_sub(1);
        if others == 0 { span.take() } else { span.clone() }
    };
    for export in exports {
        next().into_iter().for_each(|span| export.send(span));
    }
    for lines in lines {
        next().into_iter().for_each(|span| lines.write(span));
    }
}

fn name(names: &HashMap<u32, Arc<str>>, connection: &Connection) -> ProcessName {
    let known = connection.pid.and_then(|pid| names.get(&pid).cloned());
    let from_exe = || connection.exe.as_deref().map(|exe| Arc::from(exe.rsplit('/').next().unwrap_or(exe)));
    let name = known.or_else(from_exe).or_else(|| connection.comm.clone()).unwrap_or_else(|| Arc::from("?"));
    ProcessName { name, pid: connection.pid }
}
