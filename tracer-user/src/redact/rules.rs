//! The built-in rules: which shapes are secrets or personal data.
//!
//! A pattern must decide soon: after a bounded number of bytes it has failed or has matched, and only then may it go on
//! for as long as its class lasts. So a hostile text costs no more than a constant times its length, although the search
//! begins again behind each match. What has to be looked at further before it is known is the [`Check`]'s. Patterns see bytes; `\b` and classes are ASCII.

use super::check::Check;

/// One shape of one rule; a rule may have several. Group 1, where there is one, is the secret, else all of the match is.
pub struct Shape {
    pub rule: &'static str,
    pub pattern: &'static str,
    pub check: Check,
}

const fn shape(rule: &'static str, pattern: &'static str, check: Check) -> Shape {
    Shape { rule, pattern, check }
}

/// Keys, tokens and passwords. Each begins with letters that are seldom elsewhere: one pass finds the few places where
/// any of them can stand.
///
/// Prefixes and lengths are those that the services document or hand out. Keys without a shape of their own (Mistral,
/// Cohere, Azure OpenAI) are found where a name stands before them (`assigned_secret`).
pub const SECRETS: &[Shape] = &[
    shape("anthropic_key", r"sk-ant-[\w-]{20,}", Check::None),
    shape("openai_key", r"sk-(?:proj|svcacct|admin|None)-[\w-]{20,}", Check::None),
    shape("openrouter_key", r"sk-or-[\w-]{20,}", Check::None),
    shape("langfuse_key", r"sk-lf-[0-9a-f-]{36}", Check::None),
    // Also of DeepSeek, Moonshot, DashScope and others that follow OpenAI's form.
    shape("openai_key", r"sk-[A-Za-z0-9]{20,}", Check::Key),
    shape("google_key", r"AIza[\w-]{35}", Check::Edge),
    shape("google_key", r"AQ\.Ab[\w-]{40,}", Check::Edge),
    shape("google_oauth", r"ya29\.[\w-]{20,}", Check::Edge),
    shape("google_oauth", r"GOCSPX-[\w-]{28}", Check::None),
    shape("aws_key_id", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", Check::Edge),
    shape("aws_bedrock_key", r"ABSK[A-Za-z0-9+/]{80,}={0,2}", Check::Edge),
    shape("aws_bedrock_key", r"bedrock-api-key-[A-Za-z0-9+/]{20,}={0,2}", Check::None),
    shape("github_token", r"gh[pousr]_[A-Za-z0-9]{36,}", Check::None),
    shape("github_token", r"github_pat_\w{50,}", Check::None),
    shape("gitlab_token", r"glpat-[\w-]{20,}", Check::None),
    shape("slack_token", r"xox[abeoprs]-[\w-]{10,}", Check::None),
    shape("slack_token", r"xapp-[0-9]-[\w-]{20,}", Check::None),
    shape("slack_webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,}", Check::None),
    shape("stripe_key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", Check::None),
    shape("stripe_key", r"whsec_[A-Za-z0-9+/]{24,}={0,2}", Check::None),
    shape("huggingface_token", r"hf_[A-Za-z0-9]{30,}", Check::Edge),
    shape("groq_key", r"gsk_[A-Za-z0-9]{40,}", Check::None),
    shape("xai_key", r"xai-[A-Za-z0-9]{60,}", Check::None),
    shape("perplexity_key", r"pplx-[A-Za-z0-9]{40,}", Check::None),
    shape("replicate_token", r"r8_[A-Za-z0-9]{37}", Check::Edge),
    shape("nvidia_key", r"nvapi-[\w-]{60,}", Check::None),
    shape("tavily_key", r"tvly-[\w-]{20,}", Check::None),
    shape("langsmith_key", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", Check::None),
    shape("pinecone_key", r"pcsk_\w{40,}", Check::None),
    shape("npm_token", r"npm_[A-Za-z0-9]{36}", Check::None),
    shape("pypi_token", r"pypi-AgEI[\w-]{50,}", Check::None),
    shape("sendgrid_key", r"SG\.[\w-]{22}\.[\w-]{43}", Check::Edge),
    shape("digitalocean_token", r"do[opr]_v1_[0-9a-f]{64}", Check::None),
    shape("databricks_token", r"dapi[0-9a-f]{32}", Check::Edge),
    shape("vault_token", r"hv[bs]\.[\w-]{24,}", Check::Edge),
    shape("azure_key", r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2})", Check::None),
    // A cut key has no last line: what looks like its body goes with it.
    shape(
        "private_key",
        concat!(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
            r"(?:(?:\s|\\[nr]){1,8}(?:Proc-Type|DEK-Info|Version|Comment)[^\n\\]{0,200}){0,4}",
            r"[A-Za-z0-9+/=\s\\]*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
        Check::None,
    ),
    shape("jwt", r"eyJ[\w-]{8}", Check::Jwt),
    shape("bearer_token", r"(?:Bearer|bearer|BEARER) {1,4}([\w.~+/-]{16})", Check::Token),
    shape("basic_credentials", r"(?:Basic|basic|BASIC) {1,4}([A-Za-z0-9+/]{8})", Check::Basic),
    shape("url_password", "://", Check::Url),
    shape("connection_password", r#";(?:[Pp]assword|PASSWORD|[Pp]wd|PWD)=([^;"'()\s]{4})"#, Check::Value),
    shape(
        "assigned_secret",
        concat!(
            r"(?:password|PASSWORD|Password|passwd|PASSWD|secret|SECRET|Secret|api_key|API_KEY|apikey|APIKEY|apiKey",
            r"|ApiKey|api-key|Api-Key|API-KEY|access_key|ACCESS_KEY|accessKey|AccessKey|auth_token|AUTH_TOKEN|authToken",
            r"|access_token|ACCESS_TOKEN|accessToken|refresh_token|REFRESH_TOKEN|refreshToken|private_key|PRIVATE_KEY)",
            r#"[A-Za-z_]{0,20}[\\"']{0,3} {0,4}(?::=|=>|[:=]) {0,4}[\\"']{0,3}"#,
            r"([\w.+/=!@#$%^&*~-]{8})",
        ),
        Check::Assigned,
    ),
];

/// Local part and domain as they are in use, not all that RFC 5322 allows.
pub const EMAIL: &[Shape] =
    &[shape("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}\b", Check::Email)];

/// In one piece, or grouped as it is printed.
pub const CARD: &[Shape] = &[shape(
    "card_number",
    concat!(
        r"[0-9]{14,19}|[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}(?: [0-9]{3})?|[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{4}(?:-[0-9]{3})?",
        r"|3[0-9]{3} [0-9]{6} [0-9]{4,5}|3[0-9]{3}-[0-9]{6}-[0-9]{4,5}",
    ),
    Check::Card,
)];

/// ISO 13616, in one piece or in groups of four.
pub const IBAN: &[Shape] =
    &[shape("iban", r"[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)", Check::Iban)];

/// With its country code: other forms look like any number.
pub const PHONE: &[Shape] = &[shape("phone", r"\+[1-9][0-9 ().-]{6,20}[0-9]", Check::Phone)];
