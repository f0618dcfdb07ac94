//! The end of a run: totals, what had no price, what was lost, and, when nothing was seen, why that may be.

use super::{
    text::{self, ABSENT, Paint, Tone},
    totals::Totals,
    tree::Tree,
};
use crate::price::Unpriced;

/// Facts of a run that the calls themselves do not tell.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Events that the kernel could not hand over.
    pub events_lost: u64,
    /// Spans that no exporter took.
    pub spans_dropped: u64,
    pub logs_dropped: u64,
    /// Calls that were not followed because too many were open at the same time.
    pub calls_refused: u64,
    /// Values of calls, such as tool names, that a cap left out.
    pub values_dropped: u64,
    /// Connections that could not be followed.
    pub connections_untraced: u64,
    /// Processes that were traced.
    pub processes: u64,
    /// Connections whose plaintext was seen.
    pub connections: u64,
    /// Requests and responses seen on them, of any kind.
    pub exchanges: u64,
    /// TLS libraries that were hooked, for example `openssl 3.5.1 (/usr/lib/x86_64-linux-gnu/libssl.so.3)`.
    pub libraries: Vec<String>,
    /// Processes with a TLS stack that could not be hooked, and why.
    pub untraced: Vec<UntracedProcess>,
    pub unpriced: Unpriced,
}

/// A process that llmtap saw and could not look into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UntracedProcess {
    pub name: String,
    pub pid: u32,
    /// What `doctor` says: the reason and, where there is one, the fix.
    pub reason: String,
}

/// Names listed before "and N more".
const MAX_LISTED: usize = 5;

/// The last line on stderr when anything was lost; `None` when nothing was.
pub fn loss_line(summary: &Summary) -> Option<String> {
    let losses: Vec<String> = [
        ("events lost", summary.events_lost),
        ("spans dropped", summary.spans_dropped),
        ("content events dropped", summary.logs_dropped),
        ("calls refused", summary.calls_refused),
        ("values dropped", summary.values_dropped),
        ("connections untraced", summary.connections_untraced),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(what, count)| format!("{what}: {}", text::grouped(count)))
    .collect();
    (!losses.is_empty()).then(|| format!("llmtap: {}", losses.join(", ")))
}

/// Totals below the tree.
pub fn totals(tree: &Tree, summary: &Summary, width: usize, paint: Paint) -> Vec<String> {
    let totals = &tree.totals;
    let mut lines = Vec::new();
    if tree.models.rows().len() > 1 {
        lines.extend(by_model(tree, width, paint));
        let asides: Vec<String> = totals.asides().collect();
        if !asides.is_empty() {
            lines.push(text::cut(&format!("Beside  {}", asides.join(" · ")), width));
        }
    } else {
        lines.extend(sentence(totals, width, paint));
    }
    let mut notes = Vec::new();
    if let Some(list_price) = totals.list_price {
        notes.push(format!(
            "(…) is the list price of calls that a subscription covers: {} in all",
            text::money(list_price, usize::MAX, totals.currency)
        ));
    }
    if let Some(currency) = totals.currency {
        notes.push(format!("costs are in {}", currency.as_str()));
    }
    if totals.partial > 0 {
        notes.push("? marks a call of which bytes were lost: its figures are what was seen".to_owned());
    }
    if totals.without_tokens > 0 {
        let calls = text::plural(totals.without_tokens, "call");
        notes.push(format!("{calls} ended without token counts: not in the sums"));
    }
    if let Some(note) = unpriced(&summary.unpriced) {
        notes.push(note);
    }
    for note in notes {
        let mut line = String::new();
        paint.push(&mut line, Tone::Dim, &text::cut(&note, width));
        lines.push(line);
    }
    lines
}

/// The total of one model's calls, in as many lines as it needs.
fn sentence(totals: &Totals, width: usize, paint: Paint) -> Vec<String> {
    let mut parts: Vec<String> = (totals.calls > 0).then(|| totals.calls_text()).into_iter().collect();
    if let Some(input) = totals.input {
        let cached = totals.cached.filter(|cached| *cached > 0);
        let cached = cached.map(|cached| format!(" ({} cached)", text::grouped(cached))).unwrap_or_default();
        parts.push(format!("{} in{cached}", text::grouped(input)));
    }
    parts.extend(totals.output.map(|output| format!("{} out", text::grouped(output))));
    parts.extend(totals.cost.map(|cost| text::money(cost, usize::MAX, totals.currency)));
    parts.extend(totals.asides());
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::from("Total  ");
    for (at, part) in parts.iter().enumerate() {
        let joint = if at == 0 { "" } else { " · " };
        if at > 0 && text::width(&line) + text::width(joint) + text::width(part) > width {
            lines.push(std::mem::replace(&mut line, "       ".to_owned()));
        } else {
            line.push_str(joint);
        }
        line.push_str(part);
    }
    lines.push(line);
    for (at, line) in lines.iter_mut().enumerate() {
        let cut = text::cut(line, width);
        line.clear();
        match cut.strip_prefix("Total").filter(|_| at == 0) {
            Some(rest) => {
                paint.push(line, Tone::Strong, "Total");
                line.push_str(rest);
            }
            None => line.push_str(&cut),
        }
    }
    lines
}

fn by_model(tree: &Tree, width: usize, paint: Paint) -> Vec<String> {
    let mut rows: Vec<(String, &Totals)> =
        tree.models.rows().iter().map(|(model, totals)| (model.clone(), totals)).collect();
    // The dearest first, then the most used.
    rows.sort_by(|(a, x), (b, y)| {
        let cost = |totals: &Totals| totals.cost.unwrap_or(0.0);
        cost(y).total_cmp(&cost(x)).then(y.calls.cmp(&x.calls)).then(a.cmp(b))
    });
    let longest = rows.iter().map(|(model, _)| text::width(model)).max().unwrap_or(0).max(5);
    rows.push(("Total".to_owned(), &tree.totals));
    let mut columns: Vec<(&str, usize)> =
        vec![("CALLS", 6), ("ERRORS", 6), ("INPUT", 11), ("CACHED", 9), ("OUTPUT", 9), ("COST", 9)];
    for drop in ["CACHED", "ERRORS", "CALLS", "INPUT", "OUTPUT"] {
        let room: usize = columns.iter().map(|(_, cells)| cells + 1).sum();
        if room + longest.min(24) > width {
            columns.retain(|(title, _)| *title != drop);
        }
    }
    let room: usize = columns.iter().map(|(_, cells)| cells + 1).sum();
    let name = longest.min(width.saturating_sub(room));
    let mut lines = Vec::new();
    let mut header = String::new();
    text::pad(&mut header, "MODEL", name, false);
    for (title, cells) in &columns {
        header.push(' ');
        text::pad(&mut header, title, *cells, true);
    }
    let mut line = String::new();
    paint.push(&mut line, Tone::Dim, header.trim_end());
    lines.push(line);
    let last = rows.len() - 1;
    for (at, (model, totals)) in rows.into_iter().enumerate() {
        let mut line = String::new();
        let mut cell = String::new();
        text::pad(&mut cell, &model, name, false);
        paint.push(&mut line, if at == last { Tone::Strong } else { Tone::Plain }, &cell);
        for (title, cells) in &columns {
            let figure = match *title {
                "CALLS" => Some(text::count(totals.calls, *cells)),
                "ERRORS" => {
                    Some(totals.failed + totals.cut).filter(|failed| *failed > 0).map(|n| text::count(n, *cells))
                }
                "INPUT" => totals.input.map(|tokens| text::count(tokens, *cells)),
                "CACHED" => totals.cached.map(|tokens| text::count(tokens, *cells)),
                "OUTPUT" => totals.output.map(|tokens| text::count(tokens, *cells)),
                _ => totals.cost.map(|usd| text::money(usd, *cells, totals.currency)),
            };
            let mut cell = String::from(" ");
            // No failure is worth no mark at all; other figures are marked as not known.
            let absent = if *title == "ERRORS" { "" } else { ABSENT };
            text::pad(&mut cell, figure.as_deref().unwrap_or(absent), *cells, true);
            let tone = match (figure.is_some(), *title, at == last) {
                (false, ..) => Tone::Dim,
                (true, "ERRORS", _) => Tone::Bad,
                (true, _, true) => Tone::Strong,
                (true, _, false) => Tone::Plain,
            };
            paint.push(&mut line, tone, &cell);
        }
        line.truncate(line.trim_end().len());
        lines.push(line);
    }
    lines
}

/// A line on stderr that names what had no price; `None` when all had.
pub fn unpriced_line(summary: &Summary) -> Option<String> {
    unpriced(&summary.unpriced).map(|words| format!("llmtap: {words}"))
}

fn unpriced(unpriced: &Unpriced) -> Option<String> {
    if unpriced.calls == 0 {
        return None;
    }
    let mut names: Vec<String> = unpriced.models.keys().take(MAX_LISTED).map(|name| text::clean(name, 128)).collect();
    let more = unpriced.models.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let (calls, names) = (text::plural(unpriced.calls, "call"), names.join(", "));
    Some(match unpriced.models.len() {
        0 => format!("no price for a model without a name ({calls})"),
        1 => format!("no price for model {names} ({calls}): give one with --prices FILE"),
        _ => format!("no price for models {names} ({calls}): give them with --prices FILE"),
    })
}

/// What to say when a run saw no model call: what was seen, what that means, what to do next.
pub fn nothing_seen(summary: &Summary, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut title = String::new();
    paint.push(&mut title, Tone::Strong, "No model call was seen.");
    lines.push(title);
    let seen = [
        text::plural(summary.processes, "process").replace("processs", "processes"),
        text::plural(summary.connections, "connection"),
        text::plural(summary.exchanges, "HTTP exchange"),
    ];
    lines.push(format!("  seen    {}", seen.join(", ")));
    let libraries = if summary.libraries.is_empty() {
        "no TLS library".to_owned()
    } else {
        let listed: Vec<String> =
            summary.libraries.iter().take(MAX_LISTED).map(|name| text::clean(name, 128)).collect();
        let more = summary.libraries.len().saturating_sub(MAX_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", listed.join(", "))
    };
    lines.push(format!("  hooked  {libraries}"));
    for untraced in summary.untraced.iter().take(MAX_LISTED) {
        let name = text::clean(&untraced.name, 32);
        lines.push(format!("  not     {name} {}: {}", untraced.pid, text::clean(&untraced.reason, 300)));
    }
    lines.push(String::new());
    let (why, next) = advice(summary);
    lines.extend([why, next].into_iter().flat_map(|sentence| wrap(sentence, width)));
    lines.extend(wrap(
        "`llmtap doctor` says for each process what llmtap can see in it and, if it cannot, what to do.",
        width,
    ));
    let mut cut: Vec<String> =
        lines.iter().map(|line| if line.contains('\u{1b}') { line.clone() } else { text::cut(line, width) }).collect();
    cut.truncate(40);
    cut
}

/// Why nothing may have been seen, and what to try.
fn advice(summary: &Summary) -> (&'static str, &'static str) {
    if summary.events_lost > 0 {
        (
            "Some of what the kernel sent was lost, and calls may have been in it.",
            "Try again with less load on the machine, or trace fewer processes.",
        )
    } else if summary.processes == 0 {
        (
            "No process matched what was to be traced, or none started while llmtap looked.",
            "Check --pid, --cgroup, --comm or --exe; `llmtap run -- CMD` starts and traces a program.",
        )
    } else if !summary.untraced.is_empty() {
        (
            "A program above has a TLS stack that llmtap cannot hook, so its calls stay invisible.",
            "The reason stands beside it; docs/runtimes.md lists what is traced.",
        )
    } else if summary.libraries.is_empty() {
        (
            "No traced process loaded a TLS library that llmtap knows: it spoke plain HTTP, or not at all.",
            "For a local server without TLS name its port: --plaintext 11434.",
        )
    } else if summary.connections == 0 {
        (
            "TLS libraries were hooked, but nobody opened a connection through them while llmtap looked.",
            "Make the program call its model while llmtap runs; for a local server without TLS: --plaintext 11434.",
        )
    } else {
        (
            "Connections were read, but no request on them had the path and shape of a model API that llmtap knows.",
            "If one should have: record it with --record FILE and look at it with `llmtap replay -v FILE`.",
        )
    }
}

/// Breaks a sentence at spaces.
fn wrap(sentence: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if text::width(line) + 1 + text::width(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
