//! Enumerations as numbers: clients that are generated from Google's protocol buffers ask for
//! `$alt=json;enum-encoding=int`. The numbers of the two services differ:
//! - `Candidate.FinishReason`, `PromptFeedback.BlockReason` of `google/ai/generativelanguage/v1beta/generative_service.proto`
//! - `Candidate.FinishReason`, `PromptFeedback.BlockedReason` of `google/cloud/aiplatform/v1/prediction_service.proto`, `content.proto`

use crate::llm::answer::Numbers;

/// By number; 0 is unspecified.
pub static NUMBERS: Numbers = Numbers {
    finish: |provider| if provider == VERTEX { VERTEX_FINISH } else { FINISH },
    block: |provider| if provider == VERTEX { VERTEX_BLOCK } else { BLOCK },
};

const VERTEX: &str = "gcp.vertex_ai";

const FINISH: &[&str] = &[
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "UNEXPECTED_TOOL_CALL",
];
const BLOCK: &[&str] =
    &["BLOCK_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY"];

const VERTEX_FINISH: &[&str] = &[
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "UNEXPECTED_TOOL_CALL",
    "NO_IMAGE",
];
const VERTEX_BLOCK: &[&str] =
    &["BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "MODEL_ARMOR"];
