//! What is told of contents, and where.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::Deserialize;

use super::{Content, render::Rendered};

/// `content` of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub capture: Capture,
    /// Where contents are told.
    pub to: To,
    /// Most bytes of JSON that one span or event gets. 65,536 by default.
    pub span_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { capture: Capture::None, to: To::Spans, span_bytes: 64 << 10 }
    }
}

/// Prompts and answers in telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    #[default]
    None,
    /// Without what looks like a secret or personal data.
    Redacted,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Attributes of the call's span.
    #[default]
    Spans,
    /// A log record `gen_ai.client.inference.operation.details` of its own.
    Events,
    Both,
}

impl Options {
    /// Whether anything is told.
    pub fn is_on(&self) -> bool {
        self.capture != Capture::None
    }

    pub fn to_spans(&self) -> bool {
        self.is_on() && self.to != To::Events
    }

    pub fn to_events(&self) -> bool {
        self.is_on() && self.to != To::Spans
    }

    /// What may be told of a content; nothing unless it is wanted.
    pub fn render(&self, content: &Content) -> Option<Rendered> {
        match self.capture {
            // Whoever asks for it is refused before anything starts, until there is a redactor.
            Capture::None | Capture::Redacted => None,
            Capture::Full => Some(content.render(self.span_bytes, &|text| Cow::Borrowed(text))),
        }
    }
}
