//! Sums over calls: of all, of a process, of a model.

use std::collections::HashMap;

use super::{aside::Kind, columns::State, text};
use crate::{
    llm::LlmCall,
    price::{Cost, CostSource, Currency},
};

/// Most models told apart; further ones share one entry.
const MAX_MODELS: usize = 200;

/// Sums over calls. A sum is absent as long as no call has stated its figure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub calls: u64,
    pub failed: u64,
    pub cut: u64,
    pub partial: u64,
    pub input: Option<u64>,
    pub cached: Option<u64>,
    pub output: Option<u64>,
    /// USD, or `currency`.
    pub cost: Option<f64>,
    /// The same at list price, of calls that a subscription covers.
    pub list_price: Option<f64>,
    pub without_tokens: u64,
    /// `None` is USD.
    pub currency: Option<Currency>,
    /// Requests of MCP and queries of vector stores, and how many of each failed.
    pub mcp: (u64, u64),
    pub retrievals: (u64, u64),
}

impl Totals {
    pub fn add(&mut self, call: &LlmCall, cost: Option<&Cost>) {
        let sum = |total: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *total = Some(total.unwrap_or(0).saturating_add(more));
            }
        };
        self.calls += 1;
        match State::of(call) {
            State::Done => {}
            State::Partial => self.partial += 1,
            State::Cut => self.cut += 1,
            State::Failed => self.failed += 1,
        }
        sum(&mut self.input, call.usage.input);
        sum(&mut self.cached, call.usage.cache_read);
        sum(&mut self.output, call.usage.output);
        // A call that failed has none to state.
        if call.usage.input.is_none() && call.usage.output.is_none() && State::of(call) != State::Failed {
            self.without_tokens += 1;
        }
        self.currency = self.currency.or(cost.and_then(|cost| cost.currency));
        match cost {
            Some(cost) if cost.source == CostSource::ListPrice => {
                self.list_price = Some(self.list_price.unwrap_or(0.0) + cost.total);
            }
            Some(cost) => self.cost = Some(self.cost.unwrap_or(0.0) + cost.total),
            None => {}
        }
    }

    pub fn add_aside(&mut self, kind: Kind, state: State) {
        let (all, failed) = match kind {
            Kind::Mcp => &mut self.mcp,
            Kind::Retrieval => &mut self.retrievals,
        };
        *all += 1;
        *failed += u64::from(state == State::Failed);
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.calls == 0 && self.mcp.0 == 0 && self.retrievals.0 == 0
    }

    /// `3 MCP requests, 1 failed` and `2 retrievals`, as far as there are any.
    pub fn asides(&self) -> impl Iterator<Item = String> {
        let text = |(all, failed): (u64, u64), one: &str, more: &str| {
            let all = match all {
                0 => return None,
                1 => format!("1 {one}"),
                _ => format!("{} {more}", text::grouped(all)),
            };
            Some(if failed > 0 { format!("{all}, {} failed", text::grouped(failed)) } else { all })
        };
        let mcp = text(self.mcp, "MCP request", "MCP requests");
        let retrievals = text(self.retrievals, "retrieval", "retrievals");
        mcp.into_iter().chain(retrievals)
    }

    /// `4 calls, 1 failed, 1 cut off`.
    pub fn calls_text(&self) -> String {
        let mut text = text::plural(self.calls, "call");
        for (count, what) in [(self.failed, "failed"), (self.cut, "cut off"), (self.partial, "partly seen")] {
            if count > 0 {
                text.push_str(&format!(", {} {what}", text::grouped(count)));
            }
        }
        text
    }
}

/// Sums by model, in the order in which the models were first seen.
#[derive(Debug, Default)]
pub struct Models {
    rows: Vec<(String, Totals)>,
    by_name: HashMap<String, usize>,
}

impl Models {
    pub fn add(&mut self, model: Option<&str>, call: &LlmCall, cost: Option<&Cost>) {
        let mut model = model.unwrap_or("(model not seen)");
        if !self.by_name.contains_key(model) && self.rows.len() >= MAX_MODELS {
            model = "(other models)";
        }
        let at = self.by_name.get(model).copied().unwrap_or_else(|| {
            self.rows.push((model.to_owned(), Totals::default()));
            self.by_name.insert(model.to_owned(), self.rows.len() - 1);
            self.rows.len() - 1
        });
        self.rows[at].1.add(call, cost);
    }

    pub fn rows(&self) -> &[(String, Totals)] {
        &self.rows
    }
}
