//! Answers that were not given: the model declined, or a filter stood in the way.

use crate::llm::{LlmCall, call::Withheld};

/// Why, in one word for all services (`llmtap.refusal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The model itself declined.
    Refusal,
    /// The service's filter took the prompt or the answer for harmful, forbidden or personal.
    ContentFilter,
    /// The answer repeated a protected text.
    Recitation,
    /// A guardrail that the customer has set up stepped in.
    Guardrail,
}

/// Reasons of finished choices, and of prompts without one, as services state them:
///
/// - OpenAI, Azure, Mistral and most others `content_filter`; OpenRouter passes `refusal` on.
/// - Anthropic `refusal`; Bedrock `content_filtered` and `guardrail_intervened`.
/// - Gemini's `FinishReason` and `BlockedReason`; those that are only about the form of an answer are not here.
/// - Cohere `ERROR_TOXIC`; Zhipu `sensitive`.
const REASONS: &[(&str, Refusal)] = &[
    ("refusal", Refusal::Refusal),
    ("content_filter", Refusal::ContentFilter),
    ("content_filtered", Refusal::ContentFilter),
    ("safety", Refusal::ContentFilter),
    ("blocklist", Refusal::ContentFilter),
    ("prohibited_content", Refusal::ContentFilter),
    ("spii", Refusal::ContentFilter),
    ("image_safety", Refusal::ContentFilter),
    ("image_prohibited_content", Refusal::ContentFilter),
    ("jailbreak", Refusal::ContentFilter),
    ("error_toxic", Refusal::ContentFilter),
    ("sensitive", Refusal::ContentFilter),
    ("recitation", Refusal::Recitation),
    ("image_recitation", Refusal::Recitation),
    ("guardrail_intervened", Refusal::Guardrail),
    ("model_armor", Refusal::Guardrail),
];

/// Errors that say the same: Azure's and OpenAI's `content_filter`, OpenAI's of images, DashScope's, Zhipu's 1301.
const ERRORS: &[(&str, Refusal)] = &[
    ("content_filter", Refusal::ContentFilter),
    ("content_policy_violation", Refusal::ContentFilter),
    ("responsibleaipolicyviolation", Refusal::ContentFilter),
    ("moderation_blocked", Refusal::ContentFilter),
    ("data_inspection_failed", Refusal::ContentFilter),
    ("datainspectionfailed", Refusal::ContentFilter),
    ("prompt_blocked", Refusal::ContentFilter),
    ("1301", Refusal::ContentFilter),
];

impl Refusal {
    /// All kinds: what the metric can have.
    pub const ALL: [Self; 4] = [Self::Refusal, Self::ContentFilter, Self::Recitation, Self::Guardrail];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::ContentFilter => "content_filter",
            Self::Recitation => "recitation",
            Self::Guardrail => "guardrail",
        }
    }

    /// Whether the call was refused; the first choice that was says why. `None` also where the service does not say:
    /// a polite answer that declines looks like any other.
    pub fn of(call: &LlmCall) -> Option<Self> {
        let reasons = call.response.finish_reasons.iter().find_map(|reason| find(REASONS, reason));
        let withheld = || match call.response.withheld? {
            Withheld::Filter => Some(Self::ContentFilter),
            Withheld::Guardrail => Some(Self::Guardrail),
        };
        let declined = || call.response.refused.then_some(Self::Refusal);
        let error = || find(ERRORS, &call.error.as_ref()?.kind);
        reasons.or_else(withheld).or_else(declined).or_else(error)
    }
}

fn find<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        llm::call::CallError,
        span::samples::{bare_call, full_call},
    };

    fn finished(reasons: &[&str]) -> LlmCall {
        let mut call = full_call();
        call.response.finish_reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
        call
    }

    #[test]
    fn each_service_s_words_are_one_kind() {
        for (reasons, refusal) in [
            (&["content_filter"][..], Some(Refusal::ContentFilter)),
            (&["stop", "SAFETY"], Some(Refusal::ContentFilter)),
            (&["RECITATION"], Some(Refusal::Recitation)),
            (&["refusal"], Some(Refusal::Refusal)),
            (&["guardrail_intervened"], Some(Refusal::Guardrail)),
            (&["stop", "length", "tool_calls", "MAX_TOKENS", "OTHER", "MALFORMED_FUNCTION_CALL"], None),
            (&[], None),
        ] {
            assert_eq!(Refusal::of(&finished(reasons)), refusal, "{reasons:?}");
        }
    }

    #[test]
    fn refusal_parts_and_errors_tell_it_too() {
        let mut call = finished(&["stop"]);
        call.response.refused = true;
        assert_eq!(Refusal::of(&call), Some(Refusal::Refusal));
        let failed = |kind: &'static str| LlmCall { error: Some(CallError { kind: kind.into() }), ..bare_call() };
        assert_eq!(Refusal::of(&failed("content_filter")), Some(Refusal::ContentFilter));
        assert_eq!(Refusal::of(&failed("DataInspectionFailed")), Some(Refusal::ContentFilter));
        assert_eq!(Refusal::of(&failed("rate_limit_exceeded")), None);
    }
}
