//! Pretty: what a person reads. One aligned line for each call as it ends; at the end a tree and a total.
//!
//! Every string here may come from hostile traffic: all of them pass [`text::clean`] before they reach the terminal.

mod aside;
mod columns;
mod summary;
#[cfg(test)]
mod tests;
pub mod text;
mod totals;
mod tree;

use std::{
    io::{self, Write},
    sync::Arc,
};

pub use aside::Aside;
pub use summary::{Summary, UntracedProcess, loss_line, unpriced_line};

use self::{columns::Layout, text::Paint, tree::Tree};
use crate::{llm::LlmCall, price::Cost};

/// A traced process as a line names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessName {
    /// Its script or executable.
    pub name: Arc<str>,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Columns of the terminal; `None` when the output is none.
    pub width: Option<usize>,
    /// Colours: on a terminal, unless `NO_COLOR` is set (no-color.org).
    pub color: bool,
    /// Seconds east of Greenwich, for times of day: local time live, 0 in a replay, which is the same everywhere.
    pub utc_offset: i32,
    /// Calls that the tree lists; older ones live on in its sums.
    pub max_calls: usize,
}

/// Width where there is no terminal to ask: what fits a page and most windows.
const DEFAULT_WIDTH: usize = 120;
/// Nobody's terminal is wider; the width may come from anywhere.
const MAX_WIDTH: usize = 1_000;

impl Default for Options {
    fn default() -> Self {
        Self { width: None, color: false, utc_offset: 0, max_calls: 10_000 }
    }
}

/// Whether a terminal is to show colours: `NO_COLOR` with any value but the empty one says no, and so does a terminal
/// that cannot.
pub fn wants_color(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
    is_terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb")
}

/// Writes calls for people. Each line reaches `writer` in one piece.
#[derive(Debug)]
pub struct Pretty<W> {
    writer: W,
    width: usize,
    layout: Layout,
    paint: Paint,
    offset: i32,
    tree: Tree,
    begun: bool,
}

impl<W: Write> Pretty<W> {
    pub fn new(writer: W, options: Options) -> Self {
        let width = options.width.unwrap_or(DEFAULT_WIDTH).clamp(1, MAX_WIDTH);
        Self {
            writer,
            width,
            layout: Layout::new(width),
            paint: Paint(options.color),
            offset: options.utc_offset,
            tree: Tree::new(options.max_calls),
            begun: false,
        }
    }

    /// Writes the line of a call that has ended. `tool_call` is the id of the tool call in whose run it was made.
    pub fn call(
        &mut self,
        call: &LlmCall,
        tool_call: Option<&str>,
        cost: Option<&Cost>,
        process: &ProcessName,
    ) -> io::Result<()> {
        self.tree.add(call, tool_call, cost, process);
        let line = self.layout.line(call, cost, process, self.offset, self.paint);
        self.line(&line)
    }

    /// Writes the line of another hop.
    pub fn aside(&mut self, aside: &Aside<'_>, process: &ProcessName) -> io::Result<()> {
        self.tree.add_aside(aside, process);
        let line = self.layout.aside(aside, process, self.offset, self.paint);
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let mut lines = String::new();
        if !self.begun {
            self.begun = true;
            lines.push_str(&self.layout.header(self.paint));
            lines.push('\n');
        }
        lines.push_str(line);
        lines.push('\n');
        self.write(&lines)
    }

    /// Writes the tree and the total, or, when there was no call, what may be the reason.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        let mut blocks = Vec::new();
        if self.tree.is_empty() {
            blocks.push(summary::nothing_seen(summary, self.width, self.paint));
        } else {
            blocks.push(self.tree.render(self.width, self.offset, self.paint));
            blocks.push(summary::totals(&self.tree, summary, self.width, self.paint));
        }
        let mut text = String::new();
        for block in blocks {
            if self.begun || !text.is_empty() {
                text.push('\n');
            }
            for line in block {
                text.push_str(&line);
                text.push('\n');
            }
        }
        self.write(&text)
    }

    pub fn into_inner(self) -> W {
        self.writer
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}
