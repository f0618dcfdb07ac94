//! What configuration says of attribution.

use serde::{Deserialize, Deserializer, de::Error};

use crate::{credentials, span::semconv};

/// Rules in all.
const MAX_RULES: usize = 32;
/// Sources of one rule.
const MAX_SOURCES: usize = 16;
/// Names of attributes, header fields, variables and members, in bytes.
const MAX_NAME: usize = 64;
/// Variables that are read of a process.
const MAX_VARIABLES: usize = 64;
/// Members on the way to a value of a body.
const MAX_DEPTH: usize = 4;

/// Attributes of ours that rules fill by default, and may fill otherwise.
const FILLED: &[&str] =
    &[semconv::USER_ID, semconv::SESSION_ID, semconv::TENANT, semconv::FEATURE, semconv::CLIENT_REQUEST_ID];

/// Whom a call is for: attributes from what the traced program states of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Also the built-in rules, but for attributes that `rules` names.
    pub defaults: bool,
    pub rules: Vec<Rule>,
    /// What becomes of e-mail addresses and telephone numbers in values; credentials go in any case.
    pub personal_data: PersonalData,
}

impl Default for Options {
    fn default() -> Self {
        Self { defaults: true, rules: Vec::new(), personal_data: PersonalData::default() }
    }
}

impl Options {
    /// All rules that apply, each attribute once: the first one counts.
    pub(super) fn all_rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        let built_in = if self.defaults { built_in() } else { Vec::new() };
        for rule in self.rules.iter().cloned().chain(built_in).take(MAX_RULES) {
            if !rules.iter().any(|other| other.attribute == rule.attribute) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Names of the variables that are read of traced processes. No other crosses over to the half that parses.
    pub fn variables(&self) -> Vec<String> {
        let rules = self.all_rules();
        let sources = rules.into_iter().flat_map(|rule| rule.from);
        let mut names: Vec<String> = sources
            .filter_map(|source| match source {
                Source::Variable(name) => Some(name),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(MAX_VARIABLES);
        names
    }
}

/// What becomes of personal data (e-mail addresses, telephone numbers) in values that attribution finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonalData {
    /// `[REDACTED:email]` stands in its place.
    #[default]
    Redacted,
    /// `[email:` and the first 16 hex digits of its SHA-256 in lower case, and `]`: the same for the same address
    /// everywhere, so that one user stays one. Whoever guesses the address can check it: a pseudonym, not anonymous.
    Hashed,
    /// It is told as it is.
    Kept,
}

/// One attribute and where its value is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Name of the span attribute.
    pub attribute: String,
    /// The first source that states a value wins.
    pub from: Vec<Source>,
    /// The value is an attribute of metrics, too, but no more values than this; all others count as `_OTHER`.
    pub metric_values: Option<u32>,
}

/// Where a value may stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A field of the request's head, in lower case.
    Header(String),
    /// A member of the request's body, by the names on the way to it.
    Body(Vec<String>),
    /// A key of the request's `baggage`.
    Baggage(String),
    /// A variable of the process's environment.
    Variable(String),
}

/// What applies unless configuration says otherwise: fields by which the services themselves know end users, and
/// headers that are in wide use.
fn built_in() -> Vec<Rule> {
    let header = |name: &str| Source::Header(name.to_owned());
    let body = |path: &str| Source::Body(path.split('.').map(str::to_owned).collect());
    let rule = |attribute: &str, from: Vec<Source>| Rule { attribute: attribute.to_owned(), from, metric_values: None };
    vec![
        rule(
            semconv::USER_ID,
            vec![header("x-user-id"), body("safety_identifier"), body("user"), body("metadata.user_id")],
        ),
        rule(semconv::SESSION_ID, vec![header("x-session-id"), body("metadata.session_id")]),
        rule(semconv::TENANT, vec![header("x-tenant-id"), body("metadata.tenant_id"), header("openai-organization")]),
        rule(semconv::FEATURE, vec![header("x-feature"), body("metadata.feature")]),
        rule(
            semconv::CLIENT_REQUEST_ID,
            vec![header("x-client-request-id"), header("x-request-id"), header("x-correlation-id")],
        ),
    ]
}

/// As the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedRule {
    attribute: String,
    from: Vec<StatedSource>,
    #[serde(default)]
    metric_values: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StatedSource {
    header: Option<String>,
    body: Option<String>,
    baggage: Option<String>,
    env: Option<String>,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StatedRule { attribute, from, metric_values } = StatedRule::deserialize(deserializer)?;
        if !is_attribute(&attribute) {
            return Err(D::Error::custom(
                "`attribute` must be lower-case words with dots between them, none that llmtap fills itself and none in \
                 `gen_ai.` or `llmtap.`",
            ));
        }
        if from.is_empty() || from.len() > MAX_SOURCES {
            return Err(D::Error::custom(format!("`from` must have 1 to {MAX_SOURCES} sources")));
        }
        let from: Result<_, String> = from.into_iter().map(StatedSource::checked).collect();
        Ok(Self { attribute, from: from.map_err(D::Error::custom)?, metric_values })
    }
}

/// Attribute names of OpenTelemetry's form, none of which anything else here fills.
fn is_attribute(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|letter: char| letter.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let taken = semconv::ALL.iter().any(|(known, _)| *known == name) && !FILLED.contains(&name);
    // What else stands there, the registry lists.
    let reserved = ["gen_ai.", "llmtap."].iter().any(|space| name.starts_with(space)) && !FILLED.contains(&name);
    name.len() <= MAX_NAME && name.split('.').all(is_word) && !taken && !reserved
}

impl StatedSource {
    fn checked(self) -> Result<Source, String> {
        let Self { header, body, baggage, env } = self;
        let usage = || "a source is one of `header`, `body`, `baggage`, `env`".to_owned();
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
        };
        match (header, body, baggage, env) {
            (Some(name), None, None, None) if is_name(&name) => match credentials::is_credential_header(&name) {
                true => Err(format!("the header {name} carries a credential, which never leaves llmtap")),
                false => Ok(Source::Header(name.to_ascii_lowercase())),
            },
            (None, Some(path), None, None) => {
                let path: Vec<String> = path.split('.').map(str::to_owned).collect();
                let is_path = path.len() <= MAX_DEPTH && path.iter().all(|name| is_name(name));
                match path.iter().find(|name| is_secret(name)) {
                    _ if !is_path => Err(format!("`body` is up to {MAX_DEPTH} names with dots between them")),
                    Some(name) => Err(format!("the member {name} carries a credential, which never leaves llmtap")),
                    None => Ok(Source::Body(path)),
                }
            }
            (None, None, Some(name), None) if is_name(&name) => match is_secret(&name) {
                true => Err(format!("the baggage {name} carries a credential, which never leaves llmtap")),
                false => Ok(Source::Baggage(name)),
            },
            (None, None, None, Some(name)) if is_name(&name) && !name.contains('=') => match is_secret(&name) {
                true => Err(format!("the variable {name} carries a credential, which never leaves llmtap")),
                false => Ok(Source::Variable(name)),
            },
            _ => Err(usage()),
        }
    }
}

/// Names under which programs keep credentials: `OPENAI_API_KEY`, `password`, `GITHUB_TOKEN`.
fn is_secret(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "key",
        "apikey",
        "token",
        "secret",
        "password",
        "passwd",
        "credential",
        "credentials",
        "auth",
        "authorization",
    ];
    let plain = name.to_ascii_lowercase();
    credentials::is_credential_header(&plain)
        || plain.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(yaml: &str) -> Result<Rule, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_names_an_attribute_and_its_sources() {
        let read = rule(
            "{attribute: llmtap.tenant, from: [{header: X-Team}, {body: metadata.team}, {env: TEAM}, {baggage: team}], metric_values: 50}",
        );
        let from = vec![
            Source::Header("x-team".into()),
            Source::Body(vec!["metadata".into(), "team".into()]),
            Source::Variable("TEAM".into()),
            Source::Baggage("team".into()),
        ];
        assert_eq!(read.unwrap(), Rule { attribute: "llmtap.tenant".into(), from, metric_values: Some(50) });
    }

    #[test]
    fn credentials_are_no_source() {
        for source in [
            "header: Authorization",
            "header: x-api-key",
            "header: Cookie",
            "header: helicone-auth",
            "body: api_key",
            "body: metadata.access_token",
            "env: OPENAI_API_KEY",
            "env: GITHUB_TOKEN",
            "env: DB_PASSWORD",
            "baggage: token",
        ] {
            let error = rule(&format!("{{attribute: a.b, from: [{{{source}}}]}}")).unwrap_err();
            assert!(error.contains("credential"), "{source}: {error}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (yaml, part) in [
            ("{attribute: gen_ai.request.model, from: [{header: x}]}", "fills itself"),
            ("{attribute: llmtap.team, from: [{header: x}]}", "`llmtap.`"),
            ("{attribute: gen_ai.team, from: [{header: x}]}", "`gen_ai.`"),
            ("{attribute: 'Team Name', from: [{header: x}]}", "lower-case"),
            ("{attribute: a.b, from: []}", "sources"),
            ("{attribute: a.b, from: [{}]}", "one of"),
            ("{attribute: a.b, from: [{header: a, body: b}]}", "one of"),
            ("{attribute: a.b, from: [{body: a.b.c.d.e}]}", "names"),
            ("{attribute: a.b, from: [{body: a..b}]}", "names"),
            ("{attribute: a.b, from: [{head: x}]}", "head"),
            ("{attribute: a.b}", "from"),
        ] {
            let error = rule(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }

    #[test]
    fn own_rules_replace_built_in_ones() {
        let options: Options =
            serde_saphyr::from_str("rules: [{attribute: user.id, from: [{env: APP_USER}, {env: APP_NAME}]}]").unwrap();
        let rules = options.all_rules();
        assert_eq!(rules.iter().filter(|rule| rule.attribute == "user.id").count(), 1);
        assert_eq!(rules[0].from, [Source::Variable("APP_USER".into()), Source::Variable("APP_NAME".into())]);
        assert_eq!(rules.len(), FILLED.len());
        assert_eq!(options.variables(), ["APP_NAME", "APP_USER"]);
        assert_eq!(Options { defaults: false, ..Options::default() }.all_rules(), []);
        assert!(built_in().iter().all(|rule| is_attribute(&rule.attribute)));
    }
}
