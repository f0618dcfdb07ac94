//! What is kept of each call until the end, and the tree made of it: process, calls in order, the tools an answer asks
//! for, and below a tool the call that carries its result.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    ProcessName,
    aside::Aside,
    columns::{self, State},
    text::{self, Paint, Tone},
    totals::{Models, Totals},
};
use crate::{llm::LlmCall, price::Cost};

/// Most processes told apart; further ones share one entry.
const MAX_PROCESSES: usize = 1_000;
/// Most tool calls of one answer that are kept.
const MAX_TOOLS: usize = 32;
/// Longest tool-call id kept, in bytes: no provider's has more than 64.
const MAX_ID: usize = 128;
/// The tree grows no wider than this: figures far away from their line are hard to follow.
const MAX_WIDTH: usize = 130;
const MAX_DEPTH: usize = 6;

/// One call, as much as the tree shows of it.
#[derive(Debug)]
struct Record {
    process: usize,
    start: u64,
    end: u64,
    model: Option<Box<str>>,
    state: State,
    words: Box<str>,
    input: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cost: Option<Box<str>>,
    tools: Box<[Tool]>,
    /// Tool calls of the answer that are not kept.
    more_tools: usize,
    /// The call, by its number, and its tool whose result this call carries, or in whose run it was made.
    answers: Option<(u64, usize)>,
    /// Made in the tool's run: it does not carry its result.
    within: bool,
}

#[derive(Debug)]
struct Tool {
    name: Box<str>,
    id: Option<Arc<str>>,
}

#[derive(Debug)]
struct Process {
    name: ProcessName,
    totals: Totals,
    /// Calls that no longer stand in the tree.
    folded: u64,
}

/// Calls so far, in bounded memory: past `max_calls` the oldest live on in their process's totals only.
#[derive(Debug)]
pub struct Tree {
    max_calls: usize,
    /// Number of the first record.
    first: u64,
    records: VecDeque<Record>,
    /// Tool calls in the records.
    tools: usize,
    processes: Vec<Process>,
    by_name: HashMap<ProcessName, usize>,
    /// Tool calls that may still be answered: the latest of an id, in its process.
    asked: HashMap<(usize, Arc<str>), (u64, usize)>,
    pub totals: Totals,
    pub models: Models,
}

impl Tree {
    pub fn new(max_calls: usize) -> Self {
        Self {
            max_calls: max_calls.max(1),
            first: 0,
            records: VecDeque::new(),
            tools: 0,
            processes: Vec::new(),
            by_name: HashMap::new(),
            asked: HashMap::new(),
            totals: Totals::default(),
            models: Models::default(),
        }
    }

    pub fn add(&mut self, call: &LlmCall, tool_call: Option<&str>, cost: Option<&Cost>, name: &ProcessName) {
        let process = self.process(name);
        self.totals.add(call, cost);
        self.processes[process].totals.add(call, cost);
        let model = columns::model_name(call);
        self.models.add(model.as_deref(), call, cost);
        self.make_room();
        let number = self.first + self.records.len() as u64;
        let answers = call.request.tool_results.iter().filter_map(|id| self.asked_for(process, id)).max();
        let within = answers.is_none().then(|| self.asked_for(process, tool_call?)).flatten();
        // Calls with many tools each must not make the bound on calls mean nothing.
        let most = if self.tools > 2 * self.max_calls { 2 } else { MAX_TOOLS };
        let tools: Vec<Tool> = call
            .response
            .tool_calls
            .iter()
            .take(most)
            .map(|tool| Tool {
                name: text::clean(&tool.name, 64).into(),
                id: tool.id.as_deref().map(|id| Arc::from(short_id(id))),
            })
            .collect();
        for (at, tool) in tools.iter().enumerate() {
            if let Some(id) = &tool.id {
                self.asked.insert((process, Arc::clone(id)), (number, at));
            }
        }
        self.tools += tools.len();
        let state = State::of(call);
        self.records.push_back(Record {
            process,
            start: call.times.start,
            end: call.times.end,
            model: model.map(Into::into),
            state,
            words: state.words(call, usize::MAX - 1).into(),
            input: call.usage.input,
            cached: call.usage.cache_read,
            output: call.usage.output,
            total: columns::total_time(call),
            cost: cost.map(|cost| columns::cost_text(cost, 9).into()),
            more_tools: call.response.tool_calls.len().saturating_sub(tools.len()),
            tools: tools.into(),
            answers: answers.or(within),
            within: within.is_some(),
        });
    }

    /// Adds a hop that is no model call.
    pub fn add_aside(&mut self, aside: &Aside<'_>, name: &ProcessName) {
        let process = self.process(name);
        self.totals.add_aside(aside.kind, aside.state);
        self.processes[process].totals.add_aside(aside.kind, aside.state);
        self.make_room();
        self.records.push_back(Record {
            process,
            start: aside.carrier.start,
            end: aside.carrier.end,
            model: Some(aside.subject.as_str().into()),
            state: aside.state,
            words: aside.words.as_str().into(),
            input: None,
            cached: None,
            output: None,
            total: Some(aside.total()),
            cost: None,
            more_tools: 0,
            tools: Box::default(),
            answers: aside.tool_call.and_then(|id| self.asked_for(process, id)),
            within: true,
        });
    }

    /// The call, and its tool call, that has this id.
    fn asked_for(&self, process: usize, id: &str) -> Option<(u64, usize)> {
        self.asked.get(&(process, Arc::from(short_id(id)))).copied()
    }

    fn make_room(&mut self) {
        if self.records.len() == self.max_calls {
            self.fold_oldest();
        }
    }

    fn process(&mut self, name: &ProcessName) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let known = self.processes.len();
        if known <= MAX_PROCESSES {
            let others = ProcessName { name: "other processes".into(), pid: None };
            let name = if known < MAX_PROCESSES { name.clone() } else { others };
            self.processes.push(Process { name: name.clone(), totals: Totals::default(), folded: 0 });
            self.by_name.insert(name, known);
        }
        known.min(MAX_PROCESSES)
    }

    fn fold_oldest(&mut self) {
        let Some(oldest) = self.records.pop_front() else { return };
        self.processes[oldest.process].folded += 1;
        self.tools -= oldest.tools.len();
        for tool in oldest.tools {
            let Some(id) = tool.id else { continue };
            let key = (oldest.process, id);
            // The id may have been used again by a later call.
            if self.asked.get(&key).is_some_and(|(number, _)| *number == self.first) {
                self.asked.remove(&key);
            }
        }
        self.first += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// The tree, line by line.
    pub fn render(&self, width: usize, offset: i32, paint: Paint) -> Vec<String> {
        let shape = Shape::new(width.min(MAX_WIDTH), offset, paint);
        let children = self.children(shape.depth);
        let mut lines = vec![shape.header()];
        for (at, process) in self.processes.iter().enumerate() {
            lines.push(shape.process(process));
            if process.folded > 0 {
                let earlier = text::plural(process.folded, "earlier call");
                lines.push(shape.note(&format!("   {earlier}, counted above and not listed")));
            }
            let roots = children.get(&Place::Process(at)).map(Vec::as_slice).unwrap_or_default();
            self.render_calls(&shape, &children, roots, "", &mut lines);
        }
        lines
    }

    /// Which calls stand where, in the order in which they began.
    fn children(&self, max_depth: usize) -> HashMap<Place, Vec<usize>> {
        let mut places: Vec<(Place, usize)> = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let asker = record.answers.and_then(|(number, tool)| {
                let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
                Some((at, tool, *places.get(at)?))
            });
            places.push(match asker {
                None => (Place::Process(record.process), 0),
                Some((at, tool, (_, depth))) if depth < max_depth => (Place::Tool(at, tool), depth + 1),
                // A long conversation goes on at the same depth rather than out of the window.
                Some((_, _, place)) => place,
            });
        }
        let mut children: HashMap<Place, Vec<usize>> = HashMap::new();
        for (at, (place, _)) in places.into_iter().enumerate() {
            children.entry(place).or_default().push(at);
        }
        for calls in children.values_mut() {
            calls.sort_by_key(|at| self.records.get(*at).map_or(0, |record| record.start));
        }
        children
    }

    /// Recursion is bounded by the depth that `children` allows.
    fn render_calls(
        &self,
        shape: &Shape,
        children: &HashMap<Place, Vec<usize>>,
        calls: &[usize],
        prefix: &str,
        lines: &mut Vec<String>,
    ) {
        for (n, at) in calls.iter().enumerate() {
            let Some(record) = self.records.get(*at) else { continue };
            let (branch, below) = branches(n + 1 == calls.len());
            lines.push(shape.call(record, &format!("{prefix}{branch}")));
            let prefix = format!("{prefix}{below}");
            for (tool_at, tool) in record.tools.iter().enumerate() {
                let (branch, below) = branches(tool_at + 1 == record.tools.len() && record.more_tools == 0);
                let answers = children.get(&Place::Tool(*at, tool_at)).map(Vec::as_slice).unwrap_or_default();
                // From the answer that asks to the request that carries the result.
                let carries = answers.iter().filter_map(|at| self.records.get(*at)).find(|answer| !answer.within);
                let round = carries.and_then(|carries| carries.start.checked_sub(record.end));
                lines.push(shape.tool(&tool.name, round, &format!("{prefix}{branch}")));
                self.render_calls(shape, children, answers, &format!("{prefix}{below}"), lines);
            }
            if record.more_tools > 0 {
                let more = text::plural(record.more_tools as u64, "more tool call");
                lines.push(shape.note(&format!("{prefix}└─ {more}")));
            }
        }
    }
}

fn branches(last: bool) -> (&'static str, &'static str) {
    if last { ("└─ ", "   ") } else { ("├─ ", "│  ") }
}

/// An id as it is kept: enough of it to tell it apart.
fn short_id(id: &str) -> &str {
    let mut end = id.len().min(MAX_ID);
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    &id[..end]
}

/// Below what a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Process(usize),
    /// A tool call: the record's place and the tool's number in it.
    Tool(usize, usize),
}

/// Widths of the tree's parts.
struct Shape {
    /// Columns before the figures.
    left: usize,
    depth: usize,
    figures: Vec<(&'static str, usize)>,
    offset: i32,
    paint: Paint,
}

impl Shape {
    fn new(width: usize, offset: i32, paint: Paint) -> Self {
        let mut figures = vec![("INPUT", 9), ("CACHED", 9), ("OUTPUT", 7), ("TOTAL", 6), ("COST", 9)];
        let room = |figures: &[(&str, usize)]| figures.iter().map(|(_, cells)| cells + 1).sum::<usize>();
        // The names come first: figures that leave less than this for them go.
        for drop in ["CACHED", "TOTAL", "COST", "INPUT", "OUTPUT"] {
            if width < room(&figures) + 45 {
                figures.retain(|(title, _)| *title != drop);
            }
        }
        let left = width.saturating_sub(room(&figures));
        Self { left, depth: (left / 12).clamp(1, MAX_DEPTH), figures, offset, paint }
    }

    fn header(&self) -> String {
        let mut line = String::new();
        let titles = self.figures.iter().map(|(title, _)| Some((*title).to_owned())).collect::<Vec<_>>();
        self.finish(&mut line, 0, &titles, Tone::Dim);
        line
    }

    fn note(&self, note: &str) -> String {
        let mut line = String::new();
        self.paint.push(&mut line, Tone::Dim, &text::cut(note, self.left));
        line
    }

    fn process(&self, process: &Process) -> String {
        let mut line = String::new();
        let totals = &process.totals;
        let figures = self.figures(
            totals.input,
            totals.cached,
            totals.output,
            None,
            totals.cost.map(|usd| text::money(usd, 9, totals.currency)),
        );
        let room = self.room(&figures);
        let name = text::cut(&text::clean(&process.name.name, 64), room);
        let mut used = text::width(&name);
        self.paint.push(&mut line, Tone::Name, &name);
        let pid = process.name.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
        let calls = (totals.calls > 0).then(|| totals.calls_text());
        let counts: Vec<String> = calls.into_iter().chain(totals.asides()).collect();
        let rest = text::cut(&format!("{pid}  {}", counts.join(" · ")), room.saturating_sub(used));
        used += text::width(&rest);
        self.paint.push(&mut line, Tone::Dim, &rest);
        self.finish(&mut line, used, &figures, Tone::Strong);
        line
    }

    fn call(&self, record: &Record, prefix: &str) -> String {
        let cost = record.cost.as_deref().map(str::to_owned);
        let figures = self.figures(record.input, record.cached, record.output, record.total, cost);
        let room = self.room(&figures);
        let mut line = String::new();
        let mut used = 0;
        let mut push = |tone: Tone, part: &str| -> usize {
            let part = text::cut(part, room.saturating_sub(used));
            used += text::width(&part);
            self.paint.push(&mut line, tone, &part);
            used
        };
        push(Tone::Dim, prefix);
        push(record.state.tone(), record.state.mark());
        push(Tone::Dim, &format!(" {} ", text::clock(record.start, self.offset, false)));
        // How it ended must stay readable beside a long name.
        let short = record.words.rsplit(' ').next().unwrap_or_default();
        let at = push(Tone::Plain, "");
        let model = record.model.as_deref().unwrap_or(text::ABSENT);
        let least = text::width(short).min(20) + 2;
        let model = columns::fit_model(model, room.saturating_sub(at + least).max(8));
        push(Tone::Strong, &model);
        let at = push(Tone::Plain, "  ");
        let words = if text::width(&record.words) + at > room { short } else { &record.words };
        push(if record.state == State::Done { Tone::Dim } else { record.state.tone() }, words);
        self.finish(&mut line, used, &figures, Tone::Plain);
        line
    }

    fn tool(&self, name: &str, round: Option<u64>, prefix: &str) -> String {
        let figures = self.figures(None, None, None, round, None);
        let room = self.room(&figures);
        let mut line = String::new();
        let prefix = text::cut(prefix, room);
        self.paint.push(&mut line, Tone::Dim, &prefix);
        let label = text::cut(&format!("tool {name}"), room.saturating_sub(text::width(&prefix)));
        self.paint.push(&mut line, Tone::Name, &label);
        self.finish(&mut line, text::width(&prefix) + text::width(&label), &figures, Tone::Plain);
        line
    }

    fn figures(
        &self,
        input: Option<u64>,
        cached: Option<u64>,
        output: Option<u64>,
        total: Option<u64>,
        cost: Option<String>,
    ) -> Vec<Option<String>> {
        self.figures
            .iter()
            .map(|(title, cells)| match *title {
                "INPUT" => input.map(|tokens| text::count(tokens, *cells)),
                "CACHED" => cached.map(|tokens| text::count(tokens, *cells)),
                "OUTPUT" => output.map(|tokens| text::count(tokens, *cells)),
                "TOTAL" => total.map(text::duration),
                _ => cost.clone(),
            })
            .collect()
    }

    /// Columns for the words of a line: they may go on below figures that the line does not have.
    fn room(&self, figures: &[Option<String>]) -> usize {
        let blank = figures.iter().zip(&self.figures).take_while(|(figure, _)| figure.is_none());
        self.left + blank.map(|(_, (_, cells))| cells + 1).sum::<usize>()
    }

    /// Appends the figures; what is not known stays blank.
    fn finish(&self, line: &mut String, used: usize, figures: &[Option<String>], tone: Tone) {
        let blank = figures.iter().take_while(|figure| figure.is_none()).count();
        if blank < figures.len() {
            text::spaces(line, self.room(figures).saturating_sub(used));
        }
        for (figure, (_, cells)) in figures.iter().zip(&self.figures).skip(blank) {
            let mut cell = String::from(" ");
            text::pad(&mut cell, figure.as_deref().unwrap_or(""), *cells, true);
            self.paint.push(line, tone, &cell);
        }
        line.truncate(line.trim_end().len());
    }
}
