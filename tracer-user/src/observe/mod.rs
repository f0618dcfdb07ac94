//! Observations: what calls show of refusals, limits, changed instructions and suspicious texts. From the wire alone; no
//! model is asked.
//!
//! Spans get names, numbers and kinds; texts stay here.

#[doc(hidden)]
pub mod fuzz;
pub mod limit;
pub mod prompts;
pub mod refusal;
pub mod rules;
pub mod schema;
mod structure;
#[cfg(test)]
mod tests;

use serde::Deserialize;

pub use self::{
    limit::Limit,
    refusal::Refusal,
    rules::{Place, RulesError},
};
use self::{
    prompts::Prompts,
    rules::{Hits, Rule, Rules},
};
use crate::{
    content::Content,
    llm::LlmCall,
    span::{SpanRecord, Value, semconv},
};

/// What is observed (`observe` in the daemon's file). Refusals, limits and changed system prompts always are: they cost
/// next to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub rules: RuleOptions,
    /// Whether answers keep to the schemas of their requests. Off by default, as rules are.
    pub structured_output: bool,
}

/// Patterns in prompts, tool results and answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleOptions {
    /// Off by default: bodies are then read as a whole. What that costs stands in docs/operations.md.
    pub enabled: bool,
    /// Built-in rules that do not apply.
    pub except: Vec<String>,
    /// Own rules, in the form of the built-in ones (`rules.yaml`).
    pub own: Vec<Rule>,
}

/// Looks at calls as they end. One thread does.
#[derive(Debug, Default)]
pub struct Observer {
    prompts: Prompts,
    rules: Option<Rules>,
    structured_output: bool,
}

/// What one call shows. Debug output is harmless: it holds names and counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observations {
    pub refusal: Option<Refusal>,
    pub limit: Option<Limit>,
    /// The service has not sent this system prompt before.
    pub system_prompt_changed: bool,
    pub hits: Hits,
    /// Whether the answer keeps to the schemas of its request.
    pub structured_output: Option<bool>,
}

impl Observer {
    /// # Errors
    ///
    /// Rules that are none.
    pub fn new(options: &Options) -> Result<Self, RulesError> {
        let RuleOptions { enabled, except, own } = &options.rules;
        let rules = enabled.then(|| Rules::new(own, except)).transpose()?;
        Ok(Self { rules, structured_output: options.structured_output, prompts: Prompts::default() })
    }

    /// Goes on with other options. What it knows of system prompts stays.
    ///
    /// # Errors
    ///
    /// Rules that are none: all stays as it was.
    pub fn set_options(&mut self, options: &Options) -> Result<(), RulesError> {
        let Self { rules, structured_output, .. } = Self::new(options)?;
        (self.rules, self.structured_output) = (rules, structured_output);
        Ok(())
    }

    /// Whether it wants to see what calls say ([`LlmCall::content`]).
    pub fn wants_content(&self) -> bool {
        self.rules.is_some() || self.structured_output
    }

    /// Looks at a call that has ended, and adds to its span what there is to say.
    pub fn call(&mut self, call: &LlmCall, span: &mut SpanRecord) -> Observations {
        let service = span.resource.attribute(semconv::SERVICE_NAME).and_then(Value::as_str).unwrap_or_default();
        let observations = Observations {
            refusal: Refusal::of(call),
            limit: Limit::of(call),
            system_prompt_changed: self.prompts.changed(service, call),
            hits: match (&self.rules, &call.content) {
                (Some(rules), Some(content)) => hits(rules, content),
                _ => Hits::new(),
            },
            structured_output: call
                .content
                .as_ref()
                .filter(|_| self.structured_output)
                .and_then(|content| structure::keeps_schemas(call, content)),
        };
        observations.tell(&mut span.attributes);
        observations
    }
}

/// Examines what the call adds to its conversation: what was said before was examined before.
fn hits(rules: &Rules, content: &Content) -> Hits {
    let mut hits = Hits::new();
    content.news(&mut |place, text| {
        if let Some(place) = Place::of(place) {
            rules.examine(place, text, &mut hits);
        }
    });
    hits
}

impl Observations {
    fn tell(&self, attributes: &mut Vec<(&'static str, Value)>) {
        if let Some(refusal) = self.refusal {
            attributes.push((semconv::REFUSAL, refusal.as_str().into()));
        }
        if let Some(limit) = self.limit {
            attributes.push((semconv::LIMIT_KIND, limit.as_str().into()));
        }
        if self.system_prompt_changed {
            attributes.push((semconv::SYSTEM_PROMPT_CHANGED, true.into()));
        }
        if let Some(valid) = self.structured_output {
            attributes.push((semconv::STRUCTURED_OUTPUT_VALID, valid.into()));
        }
        if self.hits.is_empty() {
            return;
        }
        let mut names: Vec<String> = self.hits.keys().map(|(_, name)| name.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        attributes.push((semconv::OBSERVATION_RULES, Value::Texts(names)));
        for place in Place::ALL {
            let hits = self.hits.iter().filter(|((at, _), _)| *at == place).map(|(_, count)| count).sum::<u64>();
            if hits > 0 {
                attributes.push((count_of(place), hits.into()));
            }
        }
    }
}

fn count_of(place: Place) -> &'static str {
    match place {
        Place::System => semconv::OBSERVATION_SYSTEM,
        Place::Prompt => semconv::OBSERVATION_PROMPT,
        Place::ToolResult => semconv::OBSERVATION_TOOL_RESULT,
        Place::ToolDefinition => semconv::OBSERVATION_TOOL_DEFINITION,
        Place::Answer => semconv::OBSERVATION_ANSWER,
    }
}
