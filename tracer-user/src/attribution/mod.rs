//! Attribution: whom a call is for (user, tenant, feature, request), from what the traced program states of it: header
//! fields and body of the request, its baggage, and the environment of the process.

mod body;
pub mod options;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

pub use self::body::Place;
use self::body::Shapes;
pub use self::options::{Options, PersonalData, Rule, Source};
use crate::{
    environment::percent_decode,
    json::{Beside, Shape, Sink},
    proto::{Headers, Part},
};

/// Longest value, in bytes: what is longer is cut.
pub const MAX_VALUE: usize = 256;

/// What is stated of one attribute.
#[derive(Clone, PartialEq, Eq)]
pub struct Attributed {
    /// The span attribute.
    pub name: &'static str,
    pub value: Arc<str>,
    /// How many values of it metrics tell apart; `None`: metrics do not have it.
    pub metric_values: Option<u32>,
    rule: usize,
    /// Place of its source among those of the rule: a lower one goes before.
    rank: usize,
}

/// Values can be personal data.
impl std::fmt::Debug for Attributed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributed").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The rules, made ready.
#[derive(Debug, Clone)]
pub struct Attribution(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Vec<Ready>,
    /// Rule and rank of every source.
    headers: Vec<(usize, usize, String)>,
    baggage: Vec<(usize, usize, String)>,
    variables: Vec<(usize, usize, String)>,
    /// The members that stand at the top, for forms.
    members: Vec<(usize, usize, String)>,
    body: Shapes,
}

#[derive(Debug)]
struct Ready {
    name: &'static str,
    metric_values: Option<u32>,
}

impl Attribution {
    pub fn new(options: &Options) -> Self {
        let [mut headers, mut baggage, mut variables, mut members] = [const { Vec::new() }; 4];
        let (mut rules, mut paths) = (Vec::new(), Vec::new());
        for (rule, stated) in options.all_rules().into_iter().enumerate() {
            rules.push(Ready { name: lasting(&stated.attribute), metric_values: stated.metric_values });
            for (rank, source) in stated.from.into_iter().enumerate() {
                match source {
                    Source::Header(name) => headers.push((rule, rank, name)),
                    Source::Baggage(name) => baggage.push((rule, rank, name)),
                    Source::Variable(name) => variables.push((rule, rank, name)),
                    Source::Body(path) => {
                        if let [member] = path.as_slice() {
                            members.push((rule, rank, member.clone()));
                        }
                        paths.push((Place { rule, rank }, path));
                    }
                }
            }
        }
        let body = Shapes::new(&paths);
        Self(Arc::new(Inner { rules, headers, baggage, variables, members, body }))
    }

    /// Begins with a request by its head.
    pub fn reading(&self, headers: &Headers) -> Reading {
        let inner = &self.0;
        let mut reading = Reading { found: Vec::new(), attribution: self.clone() };
        for (rule, rank, name) in &inner.headers {
            if let Some(value) = headers.get(name) {
                reading.found(*rule, *rank, value);
            }
        }
        if !inner.baggage.is_empty() {
            for value in headers.all("baggage").filter_map(|value| std::str::from_utf8(value).ok()) {
                for (key, value) in baggage(value) {
                    for (rule, rank, _) in inner.baggage.iter().filter(|(.., name)| *name == key) {
                        reading.found(*rule, *rank, &value);
                    }
                }
            }
        }
        reading
    }

    /// Adds what the environment of the process states, where nothing that goes before it stated anything.
    pub fn complete(&self, found: &mut Vec<Attributed>, environment: &[(String, String)]) {
        for (rule, rank, name) in &self.0.variables {
            if let Some((_, value)) = environment.iter().find(|(key, _)| key == name) {
                self.add(found, *rule, *rank, value);
            }
        }
    }

    fn add(&self, found: &mut Vec<Attributed>, rule: usize, rank: usize, value: &str) {
        let value = value.trim();
        let Some(Ready { name, metric_values }) = self.0.rules.get(rule) else { return };
        if value.is_empty() || value.contains(char::is_control) {
            return;
        }
        let known = found.iter().position(|other| other.rule == rule);
        if known.and_then(|known| found.get(known)).is_some_and(|known| known.rank <= rank) {
            return;
        }
        let attributed = Attributed { name, value: cut(value).into(), metric_values: *metric_values, rule, rank };
        match known.and_then(|known| found.get_mut(known)) {
            Some(known) => *known = attributed,
            None => found.push(attributed),
        }
    }
}

impl Default for Attribution {
    fn default() -> Self {
        Self::new(&Options::default())
    }
}

/// One request, as it streams by.
pub struct Reading {
    attribution: Attribution,
    found: Vec<Attributed>,
}

impl Reading {
    fn found(&mut self, rule: usize, rank: usize, value: &str) {
        self.attribution.add(&mut self.found, rule, rank, value);
    }

    /// The places that a reader of the body has to look at beside its own.
    pub fn beside<F: Copy + Send + Sync + 'static>(&self, own: &'static Shape<F>) -> &'static Shape<Beside<F, Place>> {
        self.attribution.0.body.beside(own)
    }

    /// Takes what such a reader finds there.
    pub fn values<'a, F, S: Sink<F>>(&'a mut self, own: &'a mut S) -> impl Sink<Beside<F, Place>> + use<'a, F, S> {
        let Self { attribution, found } = self;
        body::Values { attribution, found, own }
    }

    /// One part of a body that is a form.
    pub fn part(&mut self, part: &Part) {
        let Some(value) = part.value.as_deref().and_then(|value| std::str::from_utf8(value).ok()) else { return };
        let Self { attribution, found } = self;
        for (rule, rank, _) in attribution.0.members.iter().filter(|(.., name)| part.name == name.as_bytes()) {
            attribution.add(found, *rule, *rank, value);
        }
    }

    /// All that the request states, in the order of the rules.
    pub fn finish(&mut self) -> Vec<Attributed> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_unstable_by_key(|attributed| attributed.rule);
        found
    }
}

/// The entries of a `baggage` field (W3C Baggage): properties are left out.
fn baggage(value: &str) -> impl Iterator<Item = (&str, String)> {
    value.split(',').filter_map(|entry| {
        let (key, value) = entry.split(';').next()?.split_once('=')?;
        Some((key.trim(), percent_decode(value.trim())?))
    })
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Names of attributes are those of the program everywhere else. Configured ones are few, and stay as long.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

#[cfg(test)]
mod tests;
