//! Where calls and their spans go: to the terminal or a file, and to the collector.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
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
    export: Option<ExportHandle>,
    sampler: Sampler,
    /// Kept so that its memory is used again.
    sampled: Vec<SpanRecord>,
    names: HashMap<u32, Arc<str>>,
}

impl Output {
    pub fn new(view: View, export: Option<ExportHandle>) -> Self {
        Self { view, export, sampler: Sampler::default(), sampled: Vec::new(), names: HashMap::new() }
    }

    /// From now on exports only what sampling so keeps.
    pub fn set_sampling(&mut self, options: &sampling::Options) {
        let Self { export, sampler, sampled, .. } = self;
        sampler.set_options(options, sampled);
        let released = sampled.drain(..);
        if let Some(export) = export {
            released.for_each(|span| export.send(span));
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
        let Self { view, export, sampler, sampled, .. } = self;
        let Some(export) = export else {
            return match view {
                View::Jsonl(jsonl) => jsonl.write(span),
                View::Pretty(_) | View::None => Ok(()),
            };
        };
        // Only when both want it is it copied.
        let result = match view {
            View::Jsonl(jsonl) => jsonl.write(span.clone()),
            View::Pretty(_) | View::None => Ok(()),
        };
        sampler.push(span, sampled);
        sampled.drain(..).for_each(|span| export.send(span));
        result
    }

    /// How the export of spans stands, where there is one.
    pub fn export_progress(&self) -> Option<Progress> {
        self.export.as_ref().map(ExportHandle::progress)
    }

    /// Spans that sampling kept from the export.
    pub fn sampled_out(&self) -> SampledOut {
        self.sampler.sampled_out()
    }

    /// Sends what is left to the collector, for at most `deadline`.
    pub fn end_export(&mut self, deadline: Duration) -> ExportStats {
        self.sampler.finish();
        self.export.take().map(|export| export.shutdown(deadline)).unwrap_or_default()
    }

    /// The closing words.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match &mut self.view {
            View::Pretty(pretty) => pretty.finish(summary),
            View::Jsonl(_) | View::None => Ok(()),
        }
    }
}

fn name(names: &HashMap<u32, Arc<str>>, connection: &Connection) -> ProcessName {
    let known = connection.pid.and_then(|pid| names.get(&pid).cloned());
    let from_exe = || connection.exe.as_deref().map(|exe| Arc::from(exe.rsplit('/').next().unwrap_or(exe)));
    let name = known.or_else(from_exe).or_else(|| connection.comm.clone()).unwrap_or_else(|| Arc::from("?"));
    ProcessName { name, pid: connection.pid }
}
