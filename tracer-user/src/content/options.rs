//! What is told of contents, and where.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::Deserialize;

use super::{Content, render::Rendered};
use crate::{
    config::values,
    redact::{self, OptionsError, Redactor},
};

/// `content` of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub capture: Capture,
    /// Where contents are told.
    pub to: To,
    /// Most bytes of JSON that one span or event gets. 64 KiB by default.
    #[serde(with = "values::size")]
    pub span_size: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { capture: Capture::None, to: To::Spans, span_size: 64 << 10 }
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
}

/// Tells contents as the options want it.
#[derive(Debug)]
pub struct Teller {
    options: Options,
    /// Always there when it has to be.
    redactor: Option<Redactor>,
}

impl Teller {
    /// `None` when no content is to be told.
    ///
    /// # Errors
    /// The options of the redactor make none.
    pub fn new(options: Options, redaction: &redact::Options) -> Result<Option<Self>, OptionsError> {
        let redactor = match options.capture {
            Capture::None => return Ok(None),
            Capture::Full => None,
            Capture::Redacted => Some(Redactor::new(redaction)?),
        };
        Ok(Some(Self { options, redactor }))
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What may be told of a content.
    pub fn tell(&self, content: &Content) -> Rendered {
        let most = usize::try_from(self.options.span_size).unwrap_or(usize::MAX);
        match &self.redactor {
            Some(redactor) => content.render(most, &|text| redactor.redact(text)),
            None => content.render(most, &|text| Cow::Borrowed(text)),
        }
    }
}
