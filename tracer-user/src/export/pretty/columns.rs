//! The line of a call as it ends: which columns a width has room for, and what stands in them.

use super::{
    ProcessName,
    aside::Aside,
    text::{self, ABSENT, Paint, Tone},
};
use crate::{
    llm::LlmCall,
    price::{self, Cost, CostSource},
    span::tokens_per_second,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Process,
    Provider,
    Model,
    Status,
    Input,
    Cached,
    Output,
    First,
    Total,
    Speed,
    Cost,
}

struct Spec {
    column: Column,
    title: &'static str,
    /// Stands in for the title where that has no room.
    short: &'static str,
    /// Columns of the terminal: at least, and at most.
    least: usize,
    most: usize,
    /// Narrow terminals leave out the highest first.
    rank: u8,
    right: bool,
}

#[rustfmt::skip]
const SPECS: [Spec; 12] = [
    Spec { column: Column::Time,     title: "TIME",     short: "TIME",     least: 8,  most: 8,  rank: 3, right: false },
    Spec { column: Column::Process,  title: "PROCESS",  short: "PROCESS",  least: 8,  most: 20, rank: 4, right: false },
    Spec { column: Column::Provider, title: "PROVIDER", short: "PROVIDER", least: 10, most: 16, rank: 9, right: false },
    Spec { column: Column::Model,    title: "MODEL",    short: "MODEL",    least: 17, most: 34, rank: 0, right: false },
    Spec { column: Column::Status,   title: "STATUS",   short: "STATUS",   least: 11, most: 44, rank: 0, right: false },
    Spec { column: Column::Input,    title: "INPUT",    short: "INPUT",    least: 6,  most: 9,  rank: 1, right: true },
    Spec { column: Column::Cached,   title: "CACHED",   short: "CACHE",    least: 6,  most: 9,  rank: 7, right: true },
    Spec { column: Column::Output,   title: "OUTPUT",   short: "OUT",      least: 5,  most: 7,  rank: 1, right: true },
    Spec { column: Column::First,    title: "FIRST",    short: "FIRST",    least: 5,  most: 6,  rank: 6, right: true },
    Spec { column: Column::Total,    title: "TOTAL",    short: "TOTAL",    least: 5,  most: 6,  rank: 2, right: true },
    Spec { column: Column::Speed,    title: "TOK/S",    short: "TOK/S",    least: 5,  most: 6,  rank: 8, right: true },
    Spec { column: Column::Cost,     title: "COST",     short: "COST",     least: 7,  most: 9,  rank: 5, right: true },
];

/// From this width on there is room for milliseconds, the provider and what the answer ended with.
const WIDE: usize = 160;
/// From this width on columns stand two spaces apart.
const ROOMY: usize = 140;
/// From this width of its column on, a process is shown with its number.
const PROCESS_WITH_PID: usize = 12;

/// Room for all words of a status without the notes behind them.
const FULL: usize = usize::MAX - 1;

/// Columns and their widths for one width of the terminal.
#[derive(Debug)]
pub struct Layout {
    cells: Vec<(Column, usize)>,
    gap: usize,
    wide: bool,
}

impl Layout {
    pub fn new(width: usize) -> Self {
        let wide = width >= WIDE;
        let gap = if width >= ROOMY { 2 } else { 1 };
        let mut specs: Vec<&Spec> = SPECS.iter().filter(|spec| wide || spec.column != Column::Provider).collect();
        let least =
            |specs: &[&Spec]| specs.iter().map(|spec| spec.least).sum::<usize>() + gap * specs.len().saturating_sub(1);
        while least(&specs) > width && specs.len() > 1 {
            let last = specs.iter().enumerate().max_by_key(|(_, spec)| spec.rank).map(|(at, _)| at);
            if let Some(at) = last {
                specs.remove(at);
            }
        }
        let mut spare = width.saturating_sub(least(&specs));
        let mut cells: Vec<(Column, usize)> = specs.iter().map(|spec| (spec.column, spec.least)).collect();
        // Room goes where it tells most: whole process names, whole model names, exact figures, then the status.
        for column in [
            Column::Time,
            Column::Process,
            Column::Cost,
            Column::Input,
            Column::Cached,
            Column::Output,
            Column::Total,
            Column::First,
            Column::Speed,
            Column::Provider,
            Column::Model,
            Column::Status,
        ] {
            let Some(at) = cells.iter().position(|(own, _)| *own == column) else { continue };
            let most = match column {
                Column::Time if wide => 12,
                // At middling widths a short process name leaves the room to the model.
                Column::Process if !wide => 14,
                Column::Model if !wide => 26,
                Column::Cached if !wide => 7,
                Column::Speed if !wide => 5,
                _ => specs[at].most,
            };
            let more = most.saturating_sub(cells[at].1).min(spare);
            // A time with half its milliseconds, or a number without its pid, is no gain.
            let useful = match column {
                Column::Time => cells[at].1 + more == most,
                Column::Process => cells[at].1 + more >= PROCESS_WITH_PID,
                _ => true,
            };
            if useful {
                cells[at].1 += more;
                spare -= more;
            }
        }
        // A terminal too narrow for even one column gets what fits of it.
        if let [(_, only)] = cells.as_mut_slice() {
            *only = (*only).min(width);
        }
        Self { cells, gap, wide }
    }

    pub fn header(&self, paint: Paint) -> String {
        let mut line = String::new();
        for (at, (column, cells)) in self.cells.iter().enumerate() {
            if at > 0 {
                text::spaces(&mut line, self.gap);
            }
            let Some(spec) = SPECS.iter().find(|spec| spec.column == *column) else { continue };
            let title = if text::width(spec.title) > *cells { spec.short } else { spec.title };
            let indent = if *column == Column::Status { "  " } else { "" };
            text::pad(&mut line, &format!("{indent}{title}"), *cells, spec.right);
        }
        let line = line.trim_end();
        let mut out = String::new();
        paint.push(&mut out, Tone::Dim, line);
        out
    }

    pub fn line(
        &self,
        call: &LlmCall,
        cost: Option<&Cost>,
        process: &ProcessName,
        offset: i32,
        paint: Paint,
    ) -> String {
        let state = State::of(call);
        let mut line = String::new();
        let mut at = 0;
        while let Some(&(column, cells)) = self.cells.get(at) {
            if at > 0 {
                text::spaces(&mut line, self.gap);
            }
            at += 1;
            let mut cells = cells;
            if column == Column::Status {
                // A call that failed has few figures: its reason may stand where they would.
                let spread = matches!(state, State::Failed | State::Cut);
                let full = text::width(&state.words(call, FULL)) + 2;
                while spread
                    && full > cells
                    && let Some(&(next, more)) = self.cells.get(at)
                    && is_figure(next)
                    && figure(next, call, cost, more).is_none()
                {
                    cells += self.gap + more;
                    at += 1;
                }
                let words = state.words(call, if self.wide { usize::MAX } else { cells.saturating_sub(2) });
                paint.push(&mut line, state.tone(), state.mark());
                line.push(' ');
                let mut cell = String::new();
                text::pad(&mut cell, &words, cells.saturating_sub(2), false);
                let tone = if state == State::Done { Tone::Plain } else { state.tone() };
                paint.push(&mut line, tone, &cell);
                continue;
            }
            self.cell(&mut line, (column, cells), call, cost, process, offset, paint);
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// The line of a hop that is no model call. It has no figure but its time.
    pub fn aside(&self, aside: &Aside<'_>, process: &ProcessName, offset: i32, paint: Paint) -> String {
        let mut line = String::new();
        let mut columns = self.cells.iter().enumerate().peekable();
        while let Some((at, &(column, mut cells))) = columns.next() {
            if at > 0 {
                text::spaces(&mut line, self.gap);
            }
            let mut cell = String::new();
            let tone = match column {
                Column::Time => {
                    text::pad(&mut cell, &text::clock(aside.carrier.end, offset, cells > 8), cells, false);
                    Tone::Dim
                }
                Column::Process => {
                    process_cell(&mut line, process, cells, paint);
                    continue;
                }
                Column::Provider => {
                    text::pad(&mut cell, aside.provider, cells, false);
                    Tone::Dim
                }
                Column::Model => {
                    text::pad(&mut cell, &text::cut(&aside.subject, cells), cells, false);
                    Tone::Name
                }
                Column::Status => {
                    // Its words may stand where a call has its tokens.
                    while let Some((_, (next, more))) = columns.peek()
                        && *next != Column::Total
                        && is_figure(*next)
                        && text::width(&aside.words) + 2 > cells
                    {
                        cells += self.gap + more;
                        columns.next();
                    }
                    paint.push(&mut line, aside.state.tone(), aside.state.mark());
                    line.push(' ');
                    text::pad(
                        &mut cell,
                        &text::cut(&aside.words, cells.saturating_sub(2)),
                        cells.saturating_sub(2),
                        false,
                    );
                    if aside.state == State::Done { Tone::Plain } else { aside.state.tone() }
                }
                Column::Total => {
                    text::pad(&mut cell, &text::duration(aside.total()), cells, true);
                    Tone::Plain
                }
                _ => {
                    text::pad(&mut cell, "", cells, true);
                    Tone::Dim
                }
            };
            paint.push(&mut line, tone, &cell);
        }
        line.truncate(line.trim_end().len());
        line
    }

    #[expect(clippy::too_many_arguments, reason = "one call, the rest is how to show it")]
    fn cell(
        &self,
        line: &mut String,
        (column, cells): (Column, usize),
        call: &LlmCall,
        cost: Option<&Cost>,
        process: &ProcessName,
        offset: i32,
        paint: Paint,
    ) {
        let mut cell = String::new();
        let tone = match column {
            Column::Time => {
                text::pad(&mut cell, &text::clock(call.times.end, offset, cells > 8), cells, false);
                Tone::Dim
            }
            Column::Process => {
                process_cell(line, process, cells, paint);
                return;
            }
            Column::Provider => {
                text::pad(&mut cell, &text::clean(&call.provider, 32), cells, false);
                Tone::Dim
            }
            Column::Model => {
                let model = model_name(call);
                text::pad(&mut cell, &fit_model(model.as_deref().unwrap_or(ABSENT), cells), cells, false);
                if model.is_some() { Tone::Strong } else { Tone::Dim }
            }
            _ => {
                let figure = figure(column, call, cost, cells);
                text::pad(&mut cell, figure.as_deref().unwrap_or(ABSENT), cells, true);
                if figure.is_some() { Tone::Plain } else { Tone::Dim }
            }
        };
        paint.push(line, tone, &cell);
    }
}

/// The name, and the number where there is room for it whole.
fn process_cell(line: &mut String, process: &ProcessName, cells: usize, paint: Paint) {
    let name = text::clean(&process.name, 64);
    let pid =
        process.pid.map(|pid| format!(" {pid}")).filter(|pid| cells >= PROCESS_WITH_PID && pid.len() + 4 <= cells);
    let pid = pid.unwrap_or_default();
    let name = text::cut(&name, cells - pid.len());
    let rest = cells.saturating_sub(text::width(&name) + pid.len());
    paint.push(line, Tone::Name, &name);
    paint.push(line, Tone::Dim, &pid);
    text::spaces(line, rest);
}

fn is_figure(column: Column) -> bool {
    matches!(
        column,
        Column::Input | Column::Cached | Column::Output | Column::First | Column::Total | Column::Speed | Column::Cost
    )
}

/// A figure of the call; `None` when it is not known.
fn figure(column: Column, call: &LlmCall, cost: Option<&Cost>, cells: usize) -> Option<String> {
    let count = |tokens: Option<u64>| tokens.map(|tokens| text::count(tokens, cells));
    let usage = &call.usage;
    match column {
        Column::Input => count(usage.input),
        Column::Cached => count(usage.cache_read),
        Column::Output => count(usage.output),
        Column::First => first_token(call).map(text::duration),
        Column::Total => total_time(call).map(text::duration),
        Column::Speed => tokens_per_second(call).map(text::rate),
        Column::Cost => cost.map(|cost| cost_text(cost, cells)),
        Column::Time | Column::Process | Column::Provider | Column::Model | Column::Status => None,
    }
}

/// Nanoseconds from the end of the request to the first event with content: what a user waits for.
pub fn first_token(call: &LlmCall) -> Option<u64> {
    call.times.first_token?.checked_sub(call.times.request_end?)
}

pub fn total_time(call: &LlmCall) -> Option<u64> {
    call.times.end.checked_sub(call.times.start)
}

/// A list price that a subscription covers is nobody's bill: it stands in brackets.
pub fn cost_text(cost: &Cost, cells: usize) -> String {
    if cost.source == CostSource::ListPrice {
        format!("({})", text::money(cost.total, cells.saturating_sub(2), cost.currency))
    } else {
        text::money(cost.total, cells, cost.currency)
    }
}

/// The model that answered, else the one that was asked for.
pub fn model_name(call: &LlmCall) -> Option<String> {
    let model = call.response.model.as_deref().or(call.request.model.as_deref())?;
    Some(text::clean(model, 128)).filter(|model| !model.is_empty())
}

/// A name too long for its cell loses its date before it loses what tells it from its siblings.
pub fn fit_model(model: &str, cells: usize) -> String {
    let undated = price::strip_date(model).unwrap_or(model);
    if text::width(model) <= cells || text::width(undated) > cells {
        text::cut(model, cells)
    } else if text::width(undated) < cells {
        format!("{undated}…")
    } else {
        undated.to_owned()
    }
}

/// How a call ended, as a line shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Done,
    /// Done, but some of its bytes were lost to llmtap: figures are of what was seen.
    Partial,
    /// The client or the network ended it before its end.
    Cut,
    Failed,
}

impl State {
    pub fn of(call: &LlmCall) -> Self {
        use crate::llm::call::Completeness;
        if call.aborted {
            Self::Cut
        } else if call.error.is_some() || call.response.status.is_some_and(|status| status >= 400) {
            Self::Failed
        } else if call.completeness != Completeness::Full || call.lost_bytes.is_some() {
            Self::Partial
        } else {
            Self::Done
        }
    }

    pub fn mark(self) -> &'static str {
        match self {
            Self::Done => "✓",
            Self::Partial => "?",
            Self::Cut => "!",
            Self::Failed => "✗",
        }
    }

    pub fn tone(self) -> Tone {
        match self {
            Self::Done => Tone::Good,
            Self::Partial | Self::Cut => Tone::Warning,
            Self::Failed => Tone::Bad,
        }
    }

    /// The HTTP status, whether it was a stream, and why it failed. In less room than that the status of what went well
    /// is left out; with `usize::MAX` all that is worth a line's end is added.
    pub fn words(self, call: &LlmCall, cells: usize) -> String {
        let mut words: Vec<String> = Vec::new();
        let kind = call.error.as_ref().map(|error| text::clean(&error.kind, 48));
        match (self, kind) {
            (Self::Cut, kind) => words.push(kind.unwrap_or_else(|| "cut".to_owned())),
            (_, Some(kind)) => {
                words.extend(call.response.status.map(|status| status.to_string()));
                // A kind that only repeats the status says nothing.
                if words.first() != Some(&kind) {
                    words.push(kind);
                }
            }
            (_, None) => {
                words.extend(call.response.status.map(|status| status.to_string()));
                if call.response.streamed {
                    words.push("stream".to_owned());
                }
            }
        }
        let mut text = words.join(" ");
        // The last word says most.
        if cells < text::width(&text)
            && let Some(last) = words.pop()
        {
            text = last;
        }
        if cells == usize::MAX {
            let mut notes: Vec<String> = Vec::new();
            if self == Self::Done || self == Self::Partial {
                let reasons: Vec<String> =
                    call.response.finish_reasons.iter().take(2).map(|reason| text::clean(reason, 24)).collect();
                let tools: Vec<String> =
                    call.response.tool_calls.iter().take(4).map(|tool| text::clean(&tool.name, 32)).collect();
                let tools = if tools.is_empty() { String::new() } else { format!(": {}", tools.join(", ")) };
                notes.extend((!reasons.is_empty()).then(|| format!("{}{tools}", reasons.join(","))));
            }
            notes.extend(call.attempt.filter(|attempt| *attempt > 1).map(|attempt| format!("attempt {attempt}")));
            notes.extend(call.lost_bytes.filter(|lost| *lost > 0).map(|lost| format!("{} lost", text::bytes(lost))));
            for note in notes {
                if !text.is_empty() {
                    text.push_str(", ");
                }
                text.push_str(&note);
            }
        }
        if text.is_empty() { "no answer seen".to_owned() } else { text }
    }
}
