//! Calls that a service did not take: too many, not paid for, or too busy.

use crate::llm::LlmCall;

/// What stood in the way, in one word for all services (`llmtap.limit.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests or tokens per time: waiting helps.
    Rate,
    /// What was bought or allowed is used up: waiting does not help soon.
    Quota,
    /// The service has no capacity, whoever asks.
    Overload,
}

/// Codes, types and statuses of errors. Google's `RESOURCE_EXHAUSTED` is both a rate and a daily quota; it is told as the
/// rate, which it mostly is.
const ERRORS: &[(&str, Limit)] = &[
    // OpenAI and its likes.
    ("rate_limit_exceeded", Limit::Rate),
    ("rate_limit_reached", Limit::Rate),
    ("requests", Limit::Rate),
    ("tokens", Limit::Rate),
    ("rate_limit", Limit::Rate),
    ("too_many_requests", Limit::Rate),
    ("toomanyrequests", Limit::Rate),
    ("insufficient_quota", Limit::Quota),
    ("quota_exceeded", Limit::Quota),
    ("billing_hard_limit_reached", Limit::Quota),
    ("billing_not_active", Limit::Quota),
    ("insufficient_balance", Limit::Quota),
    ("insufficient_user_quota", Limit::Quota),
    ("credit_exhausted", Limit::Quota),
    ("engine_overloaded", Limit::Overload),
    ("engine_overloaded_error", Limit::Overload),
    ("server_is_overloaded", Limit::Overload),
    ("slow_down", Limit::Overload),
    // xAI's and others' long forms.
    ("usage_limit_reached", Limit::Quota),
    ("exceeded_current_quota_error", Limit::Quota),
    // Anthropic.
    ("rate_limit_error", Limit::Rate),
    ("billing_error", Limit::Quota),
    ("overloaded_error", Limit::Overload),
    // Google.
    ("RESOURCE_EXHAUSTED", Limit::Rate),
    ("UNAVAILABLE", Limit::Overload),
    // AWS.
    ("ThrottlingException", Limit::Rate),
    ("TooManyRequestsException", Limit::Rate),
    ("ServiceQuotaExceededException", Limit::Quota),
    ("ServiceUnavailableException", Limit::Overload),
    ("ModelNotReadyException", Limit::Overload),
    // DashScope.
    ("Throttling", Limit::Rate),
    ("Throttling.RateQuota", Limit::Rate),
    ("Throttling.BurstRate", Limit::Rate),
    ("Throttling.AllocationQuota", Limit::Quota),
    ("Arrearage", Limit::Quota),
];

impl Limit {
    /// All kinds: what the metric can have.
    pub const ALL: [Self; 3] = [Self::Rate, Self::Quota, Self::Overload];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::Overload => "overload",
        }
    }

    /// The limit that made the call fail: by the word of its error, else by its HTTP status (429; 402; 503 and
    /// Anthropic's 529).
    pub fn of(call: &LlmCall) -> Option<Self> {
        let kind = &*call.error.as_ref()?.kind;
        let word = ERRORS.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name)).map(|(_, limit)| *limit);
        word.or(match call.response.status {
            Some(429) => Some(Self::Rate),
            Some(402) => Some(Self::Quota),
            Some(503 | 529) => Some(Self::Overload),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{llm::call::CallError, span::samples::bare_call};

    #[test]
    fn the_error_s_word_goes_before_the_status() {
        for (kind, status, limit) in [
            ("insufficient_quota", Some(429), Some(Limit::Quota)),
            ("rate_limit_exceeded", Some(429), Some(Limit::Rate)),
            ("overloaded_error", Some(529), Some(Limit::Overload)),
            ("overloaded_error", Some(200), Some(Limit::Overload)),
            ("throttlingException", None, Some(Limit::Rate)),
            ("RESOURCE_EXHAUSTED", Some(429), Some(Limit::Rate)),
            ("some_new_code", Some(429), Some(Limit::Rate)),
            ("402", Some(402), Some(Limit::Quota)),
            ("invalid_request_error", Some(400), None),
            ("500", Some(500), None),
            ("timeout", None, None),
        ] {
            let mut call = LlmCall { error: Some(CallError { kind: kind.into() }), ..bare_call() };
            call.response.status = status;
            assert_eq!(Limit::of(&call), limit, "{kind} {status:?}");
        }
        let mut fine = bare_call();
        fine.response.status = Some(200);
        assert_eq!(Limit::of(&fine), None);
    }
}
