//! The error that a body states, in the forms that services use:
//!
//! - OpenAI and its likes: `{"error": {"code", "type", "message"}}`
//! - Anthropic: `{"type": "error", "error": {"type", "message"}}`
//! - Google: `{"error": {"code": number, "status", "message"}}`
//! - IBM: `{"errors": [{"code", "message"}]}`
//! - Cohere: `{"message": "…"}`, where an answer has an object or nothing
//! - xAI, Azure's gateway, vLLM and others: the same members at the top level, `error` a string or absent

use std::borrow::Cow;

use super::{call::CallError, json::Scalar};

/// Longest code that is told. Codes are words; something longer is a message, and messages can hold payload.
const CODE_BYTES: usize = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The `error` member itself.
    Error,
    /// A text where only errors have one.
    Message,
    Code,
    Type,
    Status,
    /// The same at the top level.
    TopCode,
    TopType,
    /// A number that stands in every body: 0 is success (MiniMax).
    ResultCode,
}

#[derive(Default)]
pub struct Failure {
    /// The body has an `error` member that is not null.
    present: bool,
    code: Option<String>,
    number: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    top_code: Option<String>,
    top_kind: Option<String>,
}

impl Failure {
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// An `error` object begins, or an event says that it is an error.
    pub fn begin(&mut self) {
        self.present = true;
    }

    pub fn scalar(&mut self, part: Part, value: Scalar<'_>) {
        if let (Part::Code | Part::TopCode | Part::ResultCode, Scalar::Number(number)) = (part, value) {
            if part == Part::ResultCode {
                self.present |= number != "0";
            }
            self.number.get_or_insert_with(|| number.chars().take(CODE_BYTES).collect());
            return;
        }
        let place = match part {
            Part::Error | Part::Message => {
                self.present |= value.is_present();
                return;
            }
            Part::ResultCode => return,
            Part::Code => &mut self.code,
            Part::Type => &mut self.kind,
            Part::Status => &mut self.status,
            Part::TopCode => &mut self.top_code,
            Part::TopType => &mut self.top_kind,
        };
        if let Some(text) = value.str()
            && place.is_none()
            && text.len() <= CODE_BYTES
            && !text.contains(char::is_control)
        {
            *place = Some(text.to_owned());
        }
    }

    /// What failed, if the status or the body say that something did.
    pub fn error(&mut self, http_status: Option<u16>) -> Option<CallError> {
        let failed = http_status.filter(|status| *status >= 400);
        if failed.is_none() && !self.present {
            return None;
        }
        // `"type": "error"` only says what the object is.
        let top_kind = self.top_kind.take().filter(|kind| kind != "error");
        // A code that is a number mostly repeats an HTTP status: a word says more.
        let kind = [
            self.code.take(),
            self.top_code.take(),
            self.kind.take(),
            self.status.take(),
            top_kind,
            self.number.take(),
        ]
        .into_iter()
        .flatten()
        .next()
        .map(Cow::Owned)
        .or_else(|| failed.map(|status| Cow::Owned(status.to_string())))
        .unwrap_or(Cow::Borrowed("_OTHER"));
        Some(CallError { kind })
    }
}
