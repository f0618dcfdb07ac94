//! Where spans go: to the terminal or a file, and to the collector.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::{capture::Process, export::Jsonl, llm::LlmCall, price::Cost, span::SpanRecord};

/// What `--output` names.
pub enum View {
    Jsonl(Jsonl<Box<dyn Write + Send>>),
    None,
}

/// All outputs of one run.
pub struct Output {
    view: View,
}

impl Output {
    pub fn new(view: View) -> Self {
        Self { view }
    }

    /// A traced process was seen, or has replaced its image.
    pub fn process(&mut self, _process: &Arc<Process>) {}

    /// A call has ended.
    pub fn call(&mut self, _call: &LlmCall, _cost: Option<&Cost>, span: SpanRecord) -> io::Result<()> {
        match &mut self.view {
            View::Jsonl(jsonl) => jsonl.write(span),
            View::None => Ok(()),
        }
    }
}
