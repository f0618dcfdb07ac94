//! Takes secrets and personal data out of texts: keys, tokens, passwords, e-mail addresses, card numbers and what the
//! configuration names.
//!
//! It works on whole texts. Whoever has a text in pieces (deltas of a stream, DATA frames) puts it together first: a
//! secret that is split between two pieces is only seen in the whole. Where a cap cuts a text, it is redacted before it
//! is cut, or the last secret loses the shape by which it is known.
//!
//! Secrets written with the escapes of JSON or URLs, or as base64, are found, too: one layer of it (`disguise`).
//!
//! Searches are linear in the text (finite automata, no backtracking), their memory is bounded when they are built.

mod check;
mod disguise;
#[doc(hidden)]
pub mod fuzz;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::HashMap,
    ops::Range,
    sync::{Arc, LazyLock},
};

use regex_automata::{
    Anchored, Input,
    meta::{self, Regex},
    util::{captures::Captures, syntax},
};
use serde::Deserialize;

use self::{check::Check, disguise::Unescaped, rules::Shape};

/// Bytes that the automaton of one set of patterns may take when it is built.
const NFA_BYTES: usize = 8 << 20;
/// Bytes that each thread's cache of one set of patterns may take.
const CACHE_BYTES: usize = 2 << 20;
/// Own patterns.
pub const MAX_PATTERNS: usize = 256;
/// Bytes of one own pattern.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Nested groups of one own pattern.
const MAX_NESTING: u32 = 64;
/// Bytes of a rule's name.
pub const MAX_NAME_BYTES: usize = 64;

/// What is redacted (`redaction` in the daemon's file).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Keys, tokens and passwords.
    pub secrets: bool,
    /// E-mail addresses.
    pub email: bool,
    /// Numbers of payment cards.
    pub card: bool,
    /// International bank account numbers. Off by default.
    pub iban: bool,
    /// Telephone numbers with a country code (`+…`). Off by default.
    pub phone: bool,
    /// Names of built-in rules that do not apply.
    pub except: Vec<String>,
    /// Own rules.
    pub patterns: Vec<Pattern>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secrets: true,
            email: true,
            card: true,
            iban: false,
            phone: false,
            except: Vec::new(),
            patterns: Vec::new(),
        }
    }
}

/// An own rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Lower-case letters, digits, `_`, `-` and `.`: stands in `[REDACTED:name]`.
    pub name: String,
    /// In the syntax of Rust's `regex` crate. Group 1, where there is one, is replaced, else all of the match.
    pub pattern: String,
}

/// Why options make no redactor. Patterns are configuration: their texts may be told.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("{name:?} names no rule: 1 to {MAX_NAME_BYTES} of a-z, 0-9, _, - and . do")]
    Name { name: String },
    #[error("there is no built-in rule {name:?}")]
    UnknownRule { name: String },
    #[error("more than {MAX_PATTERNS} patterns")]
    TooMany,
    #[error("pattern {name:?} is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong { name: String },
    #[error("pattern {name:?} matches the empty text")]
    Empty { name: String },
    #[error("pattern {name:?}: {reason}")]
    Pattern { name: String, reason: String },
    #[error("the patterns together: {reason}")]
    Patterns { reason: String },
}

/// Finds and replaces. Building one takes milliseconds; it may be shared between threads.
#[derive(Debug)]
pub struct Redactor {
    scans: Vec<Scan>,
}

/// Where something to redact stands, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub range: Range<usize>,
    pub rule: Arc<str>,
}

impl Redactor {
    /// # Errors
    ///
    /// An own pattern that is no regular expression, or is too large, or matches the empty text; a name that is none.
    pub fn new(options: &Options) -> Result<Self, OptionsError> {
        let sets = [
            (options.secrets, rules::SECRETS),
            (options.email, rules::EMAIL),
            (options.card, rules::CARD),
            (options.iban, rules::IBAN),
            (options.phone, rules::PHONE),
        ];
        let known = |name: &String| sets.iter().any(|(_, set)| set.iter().any(|shape| shape.rule == name));
        if let Some(name) = options.except.iter().find(|name| !known(name)) {
            return Err(OptionsError::UnknownRule { name: name.clone() });
        }
        let mut scans = Vec::new();
        for (_, set) in sets.iter().filter(|(on, _)| *on) {
            let shapes = set.iter().filter(|shape| !options.except.iter().any(|name| name == shape.rule));
            scans.extend(Scan::builtin(shapes)?);
        }
        scans.extend(Scan::own(&options.patterns)?);
        Ok(Self { scans })
    }

    /// One of built-in rules alone: tests hold that they make one.
    fn of(options: &Options) -> Self {
        Self::new(options).unwrap_or_else(|_| Self { scans: Vec::new() })
    }

    /// The text with `[REDACTED:rule]` in place of each secret; the text itself where there is none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.find(text);
        match &*found {
            [] => Cow::Borrowed(text),
            found => Cow::Owned(replace(text, found, &|found, _| mark(&found.rule))),
        }
    }

    /// What would be redacted, in order. Where several overlap, their union is one, under the name of the first.
    pub fn find(&self, text: &str) -> Vec<Found> {
        let mut found = Vec::new();
        self.scan(text, &mut found);
        if let Some(unescaped) = Unescaped::new(text) {
            let mut within = Vec::new();
            self.scan(&unescaped.text, &mut within);
            let there = within
                .into_iter()
                .filter_map(|Found { range, rule }| Some(Found { range: unescaped.source(&range)?, rule }));
            found.extend(there);
        }
        disguise::base64(text, &mut |range, decoded| {
            let mut within = Vec::new();
            self.scan(decoded, &mut within);
            // A part of base64 cannot be taken out without the rest being known by it.
            found.extend(within.into_iter().next().map(|Found { rule, .. }| Found { range, rule }));
        });
        found.sort_by_key(|one| (one.range.start, usize::MAX - one.range.end));
        found.dedup_by(|next, last| {
            let overlaps = next.range.start < last.range.end;
            if overlaps {
                last.range.end = last.range.end.max(next.range.end);
            }
            overlaps
        });
        found
    }

    fn scan(&self, text: &str, found: &mut Vec<Found>) {
        for scan in &self.scans {
            scan.find(text, found);
        }
    }
}

/// What stands for something that a rule has taken out.
pub fn mark(rule: &str) -> String {
    format!("[REDACTED:{rule}]")
}

/// The text with something else for each of `found`, which are in order: `instead` is asked with it and its text.
pub fn replace(text: &str, found: &[Found], instead: &dyn Fn(&Found, &str) -> String) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for one in found {
        clean.push_str(&text[at..one.range.start]);
        clean.push_str(&instead(one, &text[one.range.clone()]));
        at = one.range.end;
    }
    clean.push_str(&text[at..]);
    clean
}

/// Finds keys, tokens and passwords: what is told in no mode.
pub fn secrets() -> &'static Redactor {
    static SECRETS: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::of(&Options { email: false, card: false, ..Options::default() }));
    &SECRETS
}

/// Finds what may not stand in names and ids: secrets, e-mail addresses and telephone numbers. Numbers of cards and accounts
/// look like other ids too often.
pub fn told() -> &'static Redactor {
    static TOLD: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::of(&Options { card: false, phone: true, ..Options::default() }));
    &TOLD
}

/// Whether the rule finds what is not secret but somebody's.
pub fn is_personal(rule: &str) -> bool {
    [rules::EMAIL, rules::CARD, rules::IBAN, rules::PHONE].into_iter().flatten().any(|shape| shape.rule == rule)
}

/// Patterns that are searched for together.
#[derive(Debug)]
struct Scan {
    regex: Regex,
    /// By the pattern's number.
    rules: Vec<(Arc<str>, Check)>,
}

impl Scan {
    fn builtin<'a>(shapes: impl Iterator<Item = &'a Shape>) -> Result<Option<Self>, OptionsError> {
        let shapes: Vec<&Shape> = shapes.collect();
        if shapes.is_empty() {
            return Ok(None);
        }
        let patterns: Vec<&str> = shapes.iter().map(|shape| shape.pattern).collect();
        let mut names = HashMap::new();
        let rules = shapes
            .iter()
            .map(|shape| (Arc::clone(names.entry(shape.rule).or_insert_with(|| Arc::from(shape.rule))), shape.check))
            .collect();
        // A matched byte need not be a whole character; `whole_characters` sees to that.
        let regex = builder(false)
            .build_many(&patterns)
            .map_err(|error| OptionsError::Patterns { reason: error.to_string() })?;
        Ok(Some(Self { regex, rules }))
    }

    fn own(patterns: &[Pattern]) -> Result<Option<Self>, OptionsError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(OptionsError::TooMany);
        }
        for Pattern { name, pattern } in patterns {
            if !is_name(name) {
                return Err(OptionsError::Name { name: name.clone() });
            }
            if pattern.len() > MAX_PATTERN_BYTES {
                return Err(OptionsError::TooLong { name: name.clone() });
            }
            let one = builder(true)
                .build(pattern)
                .map_err(|error| OptionsError::Pattern { name: name.clone(), reason: reason(&error) })?;
            if one.is_match("") {
                return Err(OptionsError::Empty { name: name.clone() });
            }
        }
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.pattern.as_str()).collect();
        let regex =
            builder(true).build_many(&texts).map_err(|error| OptionsError::Patterns { reason: reason(&error) })?;
        let rules = patterns.iter().map(|pattern| (Arc::from(pattern.name.as_str()), Check::None)).collect();
        Ok(Some(Self { regex, rules }))
    }

    fn find(&self, text: &str, found: &mut Vec<Found>) {
        let mut captures = None;
        let mut at = 0;
        while let Some(matched) = self.regex.search(&Input::new(text).range(at..)) {
            let Some((rule, check)) = self.rules.get(matched.pattern().as_usize()) else { break };
            let secret = self.secret(text, &matched, &mut captures);
            let Some(secret) = check.secret(text.as_bytes(), secret) else {
                // Another secret may begin within what only looked like one.
                at = matched.start() + 1;
                continue;
            };
            at = matched.end().max(secret.end);
            found.push(Found { range: whole_characters(text, secret), rule: Arc::clone(rule) });
        }
    }

    /// Group 1 of a match, or all of it.
    fn secret(&self, text: &str, matched: &regex_automata::Match, captures: &mut Option<Captures>) -> Range<usize> {
        if self.regex.group_info().group_len(matched.pattern()) < 2 {
            return matched.range();
        }
        let captures = captures.get_or_insert_with(|| self.regex.create_captures());
        let input =
            Input::new(text).span(matched.start()..matched.end()).anchored(Anchored::Pattern(matched.pattern()));
        self.regex.search_captures(&input, captures);
        captures.get_group(1).map_or(matched.range(), |group| group.range())
    }
}

/// A finder whose automata have bounded memory. `unicode`: classes and boundaries know more than ASCII.
fn builder(unicode: bool) -> meta::Builder {
    let mut builder = Regex::builder();
    builder
        .configure(
            Regex::config()
                .utf8_empty(unicode)
                .nfa_size_limit(Some(NFA_BYTES))
                .onepass_size_limit(Some(NFA_BYTES))
                .hybrid_cache_capacity(CACHE_BYTES),
        )
        .syntax(syntax::Config::new().unicode(unicode).utf8(unicode).nest_limit(MAX_NESTING));
    builder
}

/// Whether it can be the name of a rule, which stands in telemetry.
pub fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(legal)
}

/// What the engine says, in one line.
pub fn reason(error: &meta::BuildError) -> String {
    if let Some(limit) = error.size_limit() {
        return format!("it needs more than {limit} bytes");
    }
    let text = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn whole_characters(text: &str, range: Range<usize>) -> Range<usize> {
    text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end)
}
